"""What a command that people type often imports: start-up is most of the time that it takes."""

import json
import subprocess
import sys
from contextlib import closing

import pytest

from blueplane.paths import Home
from blueplane.pipeline.commits import Commits
from helpers.server import environment

#: Runs a command and prints the names of all modules that were imported for it.
RUN = """
import contextlib, io, json, sys
from blueplane.interfaces.cli.main import main
with contextlib.redirect_stdout(io.StringIO()):
    main(sys.argv[1:])
print(json.dumps(sorted(sys.modules)))
"""
#: What takes long to import, and is for other commands.
SLOW = {
    "redis.connection",
    "yaml",
    "importlib.metadata",
    "rich.console",
    "psutil",
    "subprocess",
    "tempfile",
}


#: What a report of rollups needs none of, either.
SLOWER = {"blueplane.store.queries", "blueplane.config", "orjson", "zstandard"}
#: What a status line needs none of.
SLOWEST = {"click", "rich", "difflib"}


@pytest.mark.parametrize("command", ["status", "health", "--help"])
def test_command_imports_nothing_slow_when_it_only_shows(home: Home, command: str) -> None:
    """Neither Redis nor YAML nor anything else that takes long is imported to show a screen."""
    # Given a home with the defaults
    assert not home.config_file.exists()
    # When
    modules = imported(RUN, command)
    # Then
    assert SLOW & modules == set()


def test_a_report_imports_little_when_it_is_shown(home: Home) -> None:
    """Of the store only what reads rollups, and no configuration where none names a price."""
    # Given
    with closing(Commits(home.database)):
        home.config_file.write_text("log:\n  level: info\n")
    # When
    modules = imported(RUN, "usage")
    # Then
    assert (SLOW | SLOWER) & modules == set()
    assert "blueplane.store.usage_reports" in modules


def test_a_status_line_imports_least_when_it_is_printed(home: Home) -> None:
    """It is printed every few seconds: without a library for command lines."""
    # Given
    with closing(Commits(home.database)):
        run = RUN.replace("cli.main", "cli.entry").replace("main(sys.argv[1:])", "main()")
    # When
    modules = imported(run, "statusline")
    # Then
    assert (SLOW | SLOWER | SLOWEST) & modules == set()


def imported(run: str, command: str) -> set[str]:
    """Return the modules that a command imports."""
    done = subprocess.run(
        [sys.executable, "-c", run, command], env=environment(), capture_output=True, text=True,
        check=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return set(json.loads(done.stdout))
