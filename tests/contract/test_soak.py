"""The soak: the verb, the figures it prints, and that it can fail."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.redis_server import find_binary, missing
from helpers.server import ROOT, environment

SOAK = ROOT / "tests" / "soak" / "soak.py"
OPERATIONS = ROOT / "docs" / "OPERATIONS.md"
#: Seconds; a kill takes a fifth of one on an idle machine.
RUN_S = 100.0
KEPT = re.compile(r"the home is kept in (/\S+)")
ROW = re.compile(r"^\| ([a-z ]+) \| (.+) \|$", re.MULTILINE)
#: What stands for a program that a test puts in place of the real one.
ECHO = "import json, os, sys; print(json.dumps([os.getcwd(), os.environ['PYTHONPATH'], *sys.argv]))"

Done = subprocess.CompletedProcess[str]


def soak(*arguments: str) -> Done:
    """Run the soak to its end, and remove the home that it keeps when something was wrong."""
    if find_binary() is None:
        missing("redis-server")
    done = subprocess.run(
        [sys.executable, str(SOAK), *arguments],
        env=environment(), capture_output=True, text=True, timeout=RUN_S, check=False,
    )  # fmt: skip
    if kept := KEPT.search(done.stderr):
        shutil.rmtree(kept[1])
    return done


def figures(text: str) -> dict[str, str]:
    """Return the rows of a block of figures, by name."""
    start = text.find("| soak | last result |")
    assert start >= 0, f"no block of figures: {text[-2_000:]}"
    rows = text[start:].partition("\n\n")[0]
    return {name: value for name, value in ROW.findall(rows) if name != "soak"}


@pytest.mark.fault("A2", "A6", "A13", "B2")
def test_soak_prints_the_figures_when_nothing_is_lost() -> None:
    """A soak of a few kills says what was killed and issued, with both laws, and succeeds."""
    # Given / When
    ran = soak("--kills", "5", "--seed", "1")

    # Then
    assert ran.returncode == 0, ran.stderr
    found = figures(ran.stdout)
    names = ("kills", "seed", "lost", "complaints")
    assert [found[name] for name in names] == ["5", "1", "0", "0"]
    assert int(found["rows written"]) > 5
    assert found["messages"].startswith("closed: enqueued ")
    assert found["events"].startswith("closed: captured ")
    assert ran.stderr.splitlines()[0] == "soak: seed 1"
    assert "soak: 5 of 5 kills" in ran.stderr


def test_soak_fails_when_entries_are_acknowledged_too_early() -> None:
    """A server that acknowledges before it commits is found out, and its home is kept."""
    # Given / When a server with that promise broken is killed again and again
    ran = soak("--kills", "25", "--seed", "1", "--mutant", "acknowledge_before_commit")

    # Then
    assert ran.returncode == 1
    assert "soak: lost 1: (" in ran.stderr
    assert KEPT.search(ran.stderr)


def test_soak_says_so_when_the_time_is_over() -> None:
    """A soak that cannot do all its kills in its time has not succeeded."""
    # Given / When there is no time at all
    ran = soak("--kills", "5", "--minutes", "0")

    # Then
    assert ran.returncode == 1
    assert "stopped after 0 minutes, 0 of 5 kills" in ran.stderr


def test_operations_has_the_last_soak_when_it_was_run() -> None:
    """docs/OPERATIONS.md shows every figure of the last soak: nothing lost, no complaint."""
    # Given the names that a soak prints
    source = SOAK.read_text()
    names = re.findall(r'"([a-z ]+)"', source[source.index("FIGURES") :].partition("fmt: skip")[0])

    # When
    found = figures(OPERATIONS.read_text().partition("\n## Soak\n")[2])

    # Then
    assert list(found) == names
    assert (found["lost"], found["complaints"]) == ("0", "0")
    assert int(found["kills"].replace(",", "")) >= 200


def test_build_runs_the_soak_when_asked(tmp_path: Path) -> None:
    """The verb hands its arguments over, and lets the soak import the helpers of the tests."""
    # Given a checkout that is set up, with another program in the place of the soak
    (tmp_path / "tests" / "soak").mkdir(parents=True)
    (tmp_path / "tests" / "soak" / "soak.py").write_text(ECHO)
    shutil.copy(ROOT / "build.py", tmp_path)
    change = (
        "import runpy, sys; sys.argv = ['build.py', 'soak', '--kills', '5'];"
        " names = runpy.run_path('build.py'); main = names['main'];"
        " main.__globals__.update(ensure_venv=lambda _lock: None,"
        " install_test_programs=lambda: None, BIN=names['Path'](sys.executable).parent);"
        " sys.exit(main(sys.argv[1:]))"
    )

    # When
    ran = subprocess.run(
        [sys.executable, "-c", change], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    # Then
    assert ran.returncode == 0, ran.stderr
    where = str(tmp_path / "tests")
    assert json.loads(ran.stdout) == [str(tmp_path), where, f"{where}/soak/soak.py", "--kills", "5"]
