"""Logging: the form of a line, the file, and that nothing of it ever fails."""

import ast
import logging
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueplane import clock, config_values, logs
from blueplane.errors import HomeError, StoreError
from blueplane.paths import Home

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO |WARN |ERROR) \S.*")


@pytest.fixture(autouse=True)
def _silent_afterwards() -> Iterator[None]:
    yield
    logs.set_up(None, "info", 1, console=None)


@pytest.fixture
def log_file(home: Home) -> Path:
    """Give the log of a home, set up at level info with rotation far away."""
    logs.set_up(home.log_file, "info", 10**6, console=None)
    return home.log_file


HEAD = """
import os, sys
from blueplane import logs, paths
home = paths.default_home()
log = logs.get('test')
"""
SET_UP = "logs.set_up(home.log_file, 'info', 10**6, console=sys.stderr)\n"


def run(script: str, home: Home) -> subprocess.CompletedProcess[str]:
    """Run ``script`` in a process of its own that knows ``home`` and has a ``log``."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert environ["BLUEPLANE_HOME"] == str(home.root)
    command = [sys.executable, "-X", "dev", "-c", HEAD + script]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def test_line_has_time_level_component_event_and_fields_when_written(
    log_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line is time, level, component, event and key=value, in this order."""
    # Given a known moment
    monkeypatch.setattr(clock, "wall_ms", lambda: 1_795_155_395_123)
    # When something is logged
    logs.get("writer").info("flush", events=100, ms=3.2)
    # Then this is the line
    assert log_file.read_text() == "2026-11-20T06:16:35.123Z INFO  writer flush events=100 ms=3.2\n"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (True, "true"),
        (0.1 + 0.2, "0.3"),
        (12.0, "12"),
        (b"\x01\xff", "01ff"),
        ("", '""'),
        ("two words", '"two words"'),
        ('a"b\\c', r'"a\"b\\c"'),
        ("k=v", '"k=v"'),
        ("\x1b[31m\n\u202e", r'"\x1b[31m\n\u202e"'),
        ("é", "é"),
        ("x" * 600, "x" * 500 + "..."),
        (StoreError("db: full"), '"StoreError: db: full"'),
        (KeyError("a payload"), "KeyError"),
        (OSError(28, "No space", "/a/payload"), '"OSError ENOSPC"'),
    ],
)
def test_value_is_plain_or_quoted_when_written(log_file: Path, value: object, shown: str) -> None:
    """A value is plain when it reads back as one word, else quoted; errors show no payload."""
    # Given a value / When it is logged
    logs.get("test").warning("seen", value=value)
    # Then it is shown like this
    assert log_file.read_text().endswith(f"WARN  test seen value={shown}\n")


def test_exception_names_its_place_when_it_was_raised(log_file: Path) -> None:
    """A foreign exception is logged by class and place, without its words."""
    # Given an exception that a library raised below a module of ours, with words of its own
    try:
        config_values.redact_url("redis://[a payload")
    except ValueError as error:
        # When it is logged
        logs.get("test").error("crashed", error=error)
    # Then class and our own file and line are there, and the words are not
    assert re.search(r'crashed error="ValueError at config_values\.py:\d+"$', log_file.read_text())


@given(st.text(), st.text())
def test_call_makes_exactly_one_line_when_the_text_is_hostile(event: str, value: str) -> None:
    """Whatever is logged, one call is one line of printable characters."""
    # Given any text / When it is formatted as an event and as a value
    record = logging.LogRecord("blueplane", logging.INFO, "", 0, event, None, None)
    record.component, record.fields = "test", {"value": value}
    line = logs._LineFormatter().format(record)
    # Then it is one line of the known form
    assert line.isprintable()
    assert LINE.fullmatch(line)


def test_level_decides_when_a_line_is_below_it(log_file: Path) -> None:
    """A line below the level is not written."""
    # Given the level info / When a debug line is logged
    logs.get("test").debug("detail")
    # Then nothing is there
    assert log_file.read_text() == ""


def words(file: Path) -> list[str]:
    """Return level, component and event of every line."""
    return [" ".join(line.split()[1:4]) for line in file.read_text().splitlines()]


def say_everything() -> None:
    """Log at every level, as two components and as one that is not known."""
    for component in ("writer", "spooler", "test"):
        log = logs.get(component)
        for level in ("debug", "info", "warning", "error"):
            getattr(log, level)("said")


def test_component_has_its_own_level_when_it_is_given_one(home: Home) -> None:
    """A component with a level of its own keeps more or less than the others."""
    # Given one that says all, one that says little, and the others
    levels = ["writer=debug", "spooler=error"]
    logs.set_up(home.log_file, "warning", 10**6, None, levels)
    # When all of them log
    say_everything()
    # Then each has what its level keeps
    assert words(home.log_file) == [
        "DEBUG writer said",
        "INFO writer said",
        "WARN writer said",
        "ERROR writer said",
        "ERROR spooler said",
        "WARN test said",
        "ERROR test said",
    ]


def test_levels_and_size_change_when_the_log_is_adjusted(log_file: Path) -> None:
    """A log that is set up takes other levels and another size at once, and forgets the old."""
    # Given a log, and a component that had a level of its own
    logs.adjust("info", 10**6, ["spooler=debug"])
    # When it is adjusted
    logs.adjust("error", 10**6, ["writer=info"])
    say_everything()
    # Then only the new levels hold
    assert words(log_file) == [
        "INFO writer said",
        "WARN writer said",
        "ERROR writer said",
        "ERROR spooler said",
        "ERROR test said",
    ]
    # When its size is adjusted / Then it is rotated there
    logs.adjust("info", 100, [])
    logs.get("test").info("rotated")
    assert words(log_file) == ["INFO test rotated"]


def test_console_shows_warnings_when_the_file_keeps_only_errors(home: Home) -> None:
    """Levels are the file's: a person at the terminal still sees every warning."""
    # Given a process with a terminal, whose file keeps errors only
    script = "logs.set_up(home.log_file, 'error', 10**6, sys.stderr, ['writer=error'])\n"
    # When components warn
    ended = run(script + "log.warning('one'); logs.get('writer').warning('two')", home)
    # Then the terminal has it and the file does not
    assert [line.split()[3] for line in ended.stderr.splitlines()] == ["one", "two"]
    assert home.log_file.read_text() == ""


def test_nothing_is_made_of_a_line_when_its_level_is_off(
    log_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that nobody keeps costs no more than a look at its level."""
    # Given a component with debug, and a trap for every line that is made
    logs.adjust("info", 10**6, ["writer=debug"])
    made: list[str] = []
    monkeypatch.setattr(clock, "wall_ms", lambda: made.append("line") or 1)
    # When another one logs a debug line, and then that one
    logs.get("spooler").debug("off")
    off = list(made)
    logs.get("writer").debug("on")
    # Then only the second was made
    assert (off, made) == ([], ["line"])
    assert words(log_file) == ["DEBUG writer on"]


def test_components_are_those_that_log_when_the_source_is_read() -> None:
    """Every component that can have a level of its own logs, and every one that logs can."""
    # Given every call that makes a log
    source = Path(logs.__file__).parent
    made = [
        node.value
        for file in source.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_log"
    ]
    # When their words are collected
    names = {ast.literal_eval(call.args[0]) for call in made if isinstance(call, ast.Call)}
    # Then they are the known ones, in order
    assert tuple(sorted(names)) == logs.COMPONENTS


def test_call_goes_nowhere_when_nothing_is_set_up(home: Home) -> None:
    """A program that never set up logging prints nothing."""
    # Given a process without set-up / When it logs an error
    ended = run("log.error('x')", home)
    # Then it prints nothing
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_console_repeats_warnings_when_there_is_one(home: Home) -> None:
    """A warning is on the console and in the file, once; what is only news is in the file."""
    # Given a process with both, and a library that sets up the root logger / When it logs
    set_up = SET_UP + "import logging; logging.basicConfig()\n"
    ended = run(set_up + "log.warning('alarm'); log.info('news')", home)
    # Then both have the warning, and the file has the news
    assert LINE.fullmatch(ended.stderr.strip())
    lines = home.log_file.read_text().splitlines(keepends=True)
    assert lines[0] == ended.stderr
    assert [line.split()[3] for line in lines] == ["alarm", "news"]


def test_files_are_private_and_bounded_when_rotated(home: Home) -> None:
    """Every log file is 0600 whatever the umask and its old mode, and four of them are kept."""
    # Given a log that somebody opened up, and a loose umask
    home.log_file.touch(0o666)
    home.log_file.chmod(0o666)
    old = os.umask(0)
    try:
        # When it is rotated many times
        logs.set_up(home.log_file, "info", 1000, console=None)
        repaired = stat.S_IMODE(home.log_file.stat().st_mode)
        for i in range(300):
            logs.get("test").info("rotate", i=i)
    finally:
        os.umask(old)
    # Then the newest line is in the newest file, all are private and none is larger
    files = sorted(home.logs.iterdir())
    assert [f.name for f in files] == ["server.log", *(f"server.log.{i}" for i in (1, 2, 3))]
    assert repaired == 0o600
    assert {stat.S_IMODE(f.stat().st_mode) for f in files} == {0o600}
    assert max(f.stat().st_size for f in files) <= 1000
    assert home.log_file.read_text().endswith("i=299\n")


@pytest.mark.fault("G9")
@pytest.mark.parametrize("make", [os.symlink, os.link], ids=["symlink", "hardlink"])
def test_set_up_refuses_when_the_file_is_a_link(
    home: Home, make: Callable[[Path, Path], None]
) -> None:
    """A link in the place of the log is refused, and what it leads to stays as it is."""
    # Given a file of somebody else with a link to it
    other = home.root / "other"
    other.write_text("kept")
    other.chmod(0o644)
    make(other, home.log_file)
    # When logging is set up
    with pytest.raises(HomeError, match=r"server\.log: is a link to another file; remove it"):
        logs.set_up(home.log_file, "info", 1000, console=None)
    # Then the file is untouched
    assert other.read_text() == "kept"
    assert stat.S_IMODE(other.stat().st_mode) == 0o644


@pytest.mark.fault("C2", "F9")
def test_program_goes_on_when_the_log_cannot_grow(home: Home) -> None:
    """A log on a full disk loses lines, raises nothing, prints nothing, and recovers."""
    # Given a process that may not make a file grow, which fails like a full disk
    script = """
import resource
logs.set_up(home.log_file, 'info', 10**6, console=None)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
for i in range(500): log.info('lost', i=i)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
log.info('found')
print('alive')
"""
    # When it logs beyond that, and then may again
    ended = run(script, home)
    # Then it went on in silence, and logs again
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "alive\n", "")
    assert " test lost i=0\n" in home.log_file.read_text()
    assert "i=499" not in home.log_file.read_text()
    assert home.log_file.read_text().endswith("test found\n")


@pytest.mark.fault("F9")
def test_program_goes_on_when_the_log_directory_vanishes(home: Home) -> None:
    """A log that cannot be opened is tried again at every line."""
    # Given a process whose log directory is gone when it sets up logging
    script = """
os.rename(home.logs, home.root / 'gone')
logs.set_up(home.log_file, 'info', 10**6, console=None)
log.info('lost')
os.rename(home.root / 'gone', home.logs)
log.info('found')
print('alive')
"""
    # When it logs before and after the directory is back
    ended = run(script, home)
    # Then only the later line is there, and nothing was raised or printed
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "alive\n", "")
    assert "lost" not in home.log_file.read_text()
    assert home.log_file.read_text().endswith("test found\n")


@pytest.mark.fault("F9")
@pytest.mark.parametrize("before", ["os.close(2)", "r, w = os.pipe(); os.close(r); os.dup2(w, 2)"])
def test_program_goes_on_when_the_console_is_closed(home: Home, before: str) -> None:
    """A closed terminal, or a pipe without reader, costs no line of the file."""
    # Given a process whose standard error is gone / When it logs
    ended = run(f"{SET_UP}{before}\nlog.info('hello')\nprint('alive')", home)
    # Then it goes on, and the file has the line
    assert (ended.returncode, ended.stdout) == (0, "alive\n")
    assert home.log_file.read_text().endswith("test hello\n")


def test_call_loses_its_line_when_a_value_cannot_be_shown(home: Home) -> None:
    """A value that fails when it is shown does not fail its caller, and nothing is printed."""
    # Given such a value
    script = """
class Broken:
    def __str__(self): raise RuntimeError
log.info('first', value=Broken())
log.info('second')
"""
    # When it is logged, and then something else
    ended = run(SET_UP + script, home)
    # Then only the second line is there
    assert ended.returncode == 0
    assert "first" not in ended.stderr + home.log_file.read_text()
    assert "Traceback" not in ended.stderr
    assert home.log_file.read_text().endswith("test second\n")
