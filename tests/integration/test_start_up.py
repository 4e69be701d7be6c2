"""What a command that people type often imports: start-up is most of the time that it takes."""

import json
import subprocess
import sys

import pytest

from blueplane.paths import Home
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


@pytest.mark.parametrize("command", ["status", "health", "--help"])
def test_command_imports_nothing_slow_when_it_only_shows(home: Home, command: str) -> None:
    """Neither Redis nor YAML nor anything else that takes long is imported to show a screen."""
    # Given a home with the defaults
    assert not home.config_file.exists()
    # When
    done = subprocess.run(
        [sys.executable, "-c", RUN, command], env=environment(), capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    # Then
    assert SLOW & set(json.loads(done.stdout)) == set()
