"""The entry point: what is imported, what is said, and what the program exits with."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from blueplane import __version__, errors
from blueplane.interfaces.cli import main as cli
from blueplane.interfaces.cli import visible

#: A command module that does what its first argument says.
COMMAND = """
import errno, os, signal, click
from blueplane import errors

@click.command()
@click.argument("what")
def act(what):
    "Do something."
    if what == "interrupt":
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()
    if what == "long":
        for _ in range(100_000):
            click.echo("a line of some length")
    if what == "buffered":
        print("a line")
    if what == "dash":
        click.echo("\\u2013")
    if what == "bug":
        raise KeyError("two\\nlines")
    if what == "disk":
        raise OSError(errno.ENOSPC, "No space left on device", "/some/file")
    if what == "hostile":
        raise errors.UsageError("a\\x1b[31m\\nb")
    if what == "abort":
        raise click.Abort
    if what.startswith("return="):
        return int(what[7:])
    if what in vars(errors):
        raise getattr(errors, what)("here: this happened; do that")
"""
HEAD = "import sys; from blueplane.interfaces.cli import main as m\n"
WITH_ACT = HEAD + "m.COMMANDS['act'] = ('act_command', 'Do something.')\n"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Give an environment in which a process finds the program and the command ``act``."""
    (tmp_path / "act_command.py").write_text(COMMAND)
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    environ.pop("PYTHONUNBUFFERED", None)  # a buffer that cannot be written is part of the tests
    return environ


def start(script: str, environ: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    """Start ``script`` with ``arguments`` in a process of its own."""
    command = [sys.executable, "-c", script, *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environ, stdout=pipe, stderr=pipe, text=True)


def act(environ: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    """Run ``blueplane`` with ``arguments``; return exit code, output and complaints."""
    process = start(WITH_ACT + "sys.exit(m.main())", environ, *arguments)
    output, complaints = process.communicate(timeout=30)
    return process.returncode, output, complaints


def test_version_is_printed_when_run_as_a_module(environ: dict[str, str]) -> None:
    """``python -m blueplane --version`` prints name and version."""
    # Given the program / When it is asked for its version
    command = [sys.executable, "-m", "blueplane", "--version"]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    # Then that is all it prints
    assert (ended.stdout, ended.stderr) == (f"blueplane {__version__}\n", "")


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], []])
def test_help_lists_every_command_when_asked(
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The help names every command with its line, within 80 columns, and exits with 0."""
    # Given the table of commands / When help is asked for
    code = cli.main(arguments)
    # Then every command is in it
    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    for name, (_, text) in cli.COMMANDS.items():
        assert any(line.split() == [name, *text.split()] for line in lines)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("command", "words"),
    [("pause", "30m (minutes)"), ("health", "30m (minutes)"), ("forget", "6m (months)")],
)
def test_help_says_what_an_m_is_when_a_time_is_wanted(
    command: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pause is of minutes and what is forgotten of months: each help says so."""
    # Given / When
    code = cli.main([command, "--help"])
    # Then
    assert code == 0
    assert words in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["nonsense"]])
def test_start_imports_no_command_when_none_is_run(
    environ: dict[str, str],
    arguments: list[str],
) -> None:
    """Help, version and a wrong command import no command module and nothing heavy."""
    # Given a process that lists what it imported
    script = HEAD + "m.main(); print(*sys.modules, file=sys.stderr)"
    # When it runs without a command
    _, complaints = start(script, environ, *arguments).communicate(timeout=30)
    modules = complaints.split()
    # Then only the frame is there
    heavy = {"rich", "yaml", "redis", "sqlite3", "orjson", "logging"}
    assert heavy.isdisjoint(modules)
    assert {m for m in modules if m.startswith("blueplane.interfaces.cli.")} == {
        "blueplane.interfaces.cli.main",
    }


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["act", "return=0"], (0, "")),
        (["act", "return=1"], (1, "")),
        (["act", "UsageError"], (2, "here: this happened; do that")),
        (["act", "ConfigError"], (2, "here: this happened; do that")),
        (["act", "NotFoundError"], (1, "here: this happened; do that")),
        (["act", "AlreadyRunningError"], (3, "here: this happened; do that")),
        (["act", "StoreError"], (4, "here: this happened; do that")),
        (["act", "hostile"], (2, r"a\x1b[31m\nb")),
        (["act", "abort"], (1, "the answer was no, so nothing was changed")),
        (["acct"], (2, "no command 'acct'; did you mean act?")),
        (["stat"], (2, "no command 'stat'; did you mean start or status?")),
        (["zzzzz"], (2, "no command 'zzzzz'; see `blueplane --help`")),
        (["\x1b[31m"], (2, r"no command '\x1b[31m'; see `blueplane --help`")),
        (
            ["backfill", "--home"],
            (2, "Option '--home' requires an argument; see `blueplane backfill --help`"),
        ),
        (["--nonsense"], (2, "No such option '--nonsense'; see `blueplane --help`")),
        (["act"], (2, "Missing argument 'WHAT'; see `blueplane act --help`")),
    ],
)
def test_error_is_one_line_and_an_exit_code_when_raised(
    environ: dict[str, str],
    arguments: list[str],
    says: tuple[int, str],
) -> None:
    """Every error is one line that begins with the program's name, with the exit code owed."""
    # Given a command that fails, or a wrong command line / When it is run
    code, output, complaints = act(environ, *arguments)
    # Then this is all that is said
    line = f"blueplane: {says[1]}\n" if says[1] else ""
    assert (code, output, complaints) == (says[0], "", line)


def test_error_exits_with_its_own_code_when_of_any_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each class of the error tree decides the exit code."""
    # Given every class of the tree
    found: list[type[errors.BlueplaneError]] = [
        value for value in vars(errors).values() if isinstance(value, type)
    ]
    for error in found:
        two = (errors.MalformedPayloadError, errors.EditorDatabaseError)
        detail = ("word", "detail") if error in two else ("word",)

        def fail(
            _arguments: list[str],
            error: type[errors.BlueplaneError] = error,
            detail: tuple[str, ...] = detail,
        ) -> int:
            raise error(*detail)

        # When a command raises it
        monkeypatch.setattr(cli, "_run", fail)
        # Then its code is that of the program
        assert cli.main([]) == error.exit_code


@pytest.mark.parametrize("place", [("--debug", "act", "bug"), ("act", "bug", "--debug")])
def test_bug_shows_its_traceback_when_debugging(
    environ: dict[str, str],
    place: tuple[str, ...],
) -> None:
    """A bug of ours is one line and 70; with --debug, anywhere, its traceback is above it."""
    # Given a command with a bug / When it is run without and with --debug
    quiet = act(environ, "act", "bug")
    code, output, complaints = act(environ, *place)
    # Then the line is the same, and only one has a traceback
    line = (
        r"blueplane: a bug of ours: KeyError: 'two\nlines'; run with --debug for the traceback"
        "\n"
    )
    assert quiet == (70, "", line)
    assert (code, output) == (70, "")
    assert complaints.startswith("Traceback")
    assert complaints.endswith(line)


def test_debug_is_silent_when_nothing_fails(environ: dict[str, str]) -> None:
    """With --debug a command that succeeds prints nothing more."""
    # Given a command that succeeds / When it is run with --debug / Then nothing is said
    assert act(environ, "act", "return=0", "--debug") == (0, "", "")


@pytest.mark.fault("C16", "F7")
def test_machine_is_blamed_when_it_refuses(environ: dict[str, str]) -> None:
    """What the system refuses is named with its file, exits with 4 and is no bug of ours."""
    # Given a command that meets a full disk / When it is run
    code, _, complaints = act(environ, "act", "disk")
    # Then file and reason are named
    assert code == 4
    assert complaints.startswith("blueplane: /some/file: No space left on device; ")


def test_interrupt_is_silent_when_a_person_stops_a_command(environ: dict[str, str]) -> None:
    """Ctrl-C ends a command with 130 and without a word."""
    # Given a command that gets SIGINT / When it is run / Then it ends like this
    assert act(environ, "act", "interrupt") == (130, "", "")


@pytest.mark.fault("F9")
def test_pipe_is_silent_when_its_reader_leaves(environ: dict[str, str]) -> None:
    """A reader that has enough, like ``head``, ends a command without a word."""
    # Given a command with much output
    process = start(WITH_ACT + "sys.exit(m.main())", environ, "act", "long")
    assert process.stdout is not None
    assert process.stderr is not None
    # When its reader reads a line and leaves
    process.stdout.readline()
    process.stdout.close()
    # Then it ends at once, in silence, as if SIGPIPE had ended it
    with process.stderr:
        assert process.stderr.read() == ""
    assert process.wait(timeout=30) == 141


@pytest.mark.fault("F9")
@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ("--help >/dev/full", 4, "blueplane: output: No space left on device; "),
        ("--help >&-", 0, ""),
        ("--help 2>&- >/dev/full", 4, ""),
        ("nonsense 2>&-", 2, ""),
        ("nonsense 2>/dev/full", 2, ""),
    ],
)
def test_output_that_cannot_be_written_is_no_bug(
    environ: dict[str, str],
    arguments: str,
    code: int,
    says: str,
) -> None:
    """A full disk under standard output is named in a line; a closed one is accepted."""
    # Given a shell that redirects the output
    command = f'exec "{sys.executable}" -m blueplane {arguments}'
    # When the program prints
    ended = subprocess.run(["sh", "-c", command], env=environ, capture_output=True, check=False)
    # Then there is a line at most
    assert ended.returncode == code
    assert ended.stderr.decode().startswith(says)
    assert ended.stderr.count(b"\n") == bool(says)


@pytest.mark.fault("F9")
def test_output_is_missed_when_its_last_piece_cannot_be_written(environ: dict[str, str]) -> None:
    """A command whose output is still buffered at its end does not exit with 0 on a full disk."""
    # Given a command that leaves its output to be written at the end
    command = [sys.executable, "-c", WITH_ACT + "sys.exit(m.main())", "act", "buffered"]
    # When it runs with a full disk under its output
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            command, env=environ, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    # Then it says so
    assert (ended.returncode, ended.stderr) == (4, "blueplane: output: No space left on device\n")


def test_output_is_escaped_when_the_encoding_lacks_a_character(environ: dict[str, str]) -> None:
    """A character that the output cannot encode is escaped and does not end the command."""
    # Given a process whose output has no dash for what is unknown
    latin = {**environ, "PYTHONIOENCODING": "latin-1"}
    # When a command prints one / Then it is escaped
    assert act(latin, "act", "dash") == (0, "\\u2013\n", "")


def test_visible_escapes_only_when_a_character_does_not_print() -> None:
    """Text from outside cannot steer a terminal or break a line."""
    # Given harmless and hostile text / When it is made visible / Then only the latter changes
    assert visible("plain é 日本") == "plain é 日本"
    assert visible("\x1b[2J\r\n\u202e\udcff") == r"\x1b[2J\r\n\u202e\udcff"
