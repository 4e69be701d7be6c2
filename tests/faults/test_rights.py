"""What belongs to somebody else: the program names it and what to do, and ends with 4."""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from blueplane.lock import ServerLock
from blueplane.paths import Home
from helpers.redis_server import missing
from helpers.server import environment

NOBODY = 65534
PATIENCE_S = 30.0
#: What the machine refuses, as opposed to 2 for a configuration that cannot be used.
REFUSED, UNUSABLE = 4, 2
#: Runs the program as nobody; imports come first, for nobody may not be able to read them.
AS_NOBODY = f"""
import importlib.readers, os, sys
from importlib import import_module
from blueplane.interfaces.cli import main
for module, _ in main.COMMANDS.values():
    import_module(module)
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
sys.exit(main.main())
"""


@pytest.fixture
def public() -> Iterator[Path]:
    """Give a directory that every user can reach and write to."""
    if os.geteuid() != 0:
        missing("right to become another user (root)")
    with tempfile.TemporaryDirectory(prefix="bp-", dir="/tmp") as name:
        path = Path(name)
        path.chmod(0o777)
        yield path


def run(home: Home, *arguments: str) -> tuple[int, str]:
    """Run the program as nobody; return the exit code and its one line of complaint."""
    ended = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, *arguments, "--home", str(home.root)],
        env=environment(), cwd="/", capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    return ended.returncode, ended.stderr


def give(home: Home) -> None:
    """Give all of a home to nobody."""
    for path in [home.root, *home.root.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)


@pytest.mark.fault("F7")
@pytest.mark.parametrize(
    ("command", "code", "path", "fix"),
    [
        ("serve", UNUSABLE, "/config.yaml", "make it a plain file that you can read"),
        ("start", REFUSED, "", "make it a directory that you can read"),
        ("stop", REFUSED, "", "make it a directory that you can read"),
        ("restart", UNUSABLE, "/config.yaml", "make it a plain file that you can read"),
        ("status", REFUSED, "", "make it a directory that you can read"),
        ("logs", REFUSED, "/logs/server.log", "make it a file that you can read"),
        ("pause", REFUSED, "", "chown it"),
        ("resume", REFUSED, "/run", "make it yours"),
    ],
)
def test_command_names_the_home_when_it_is_another_users(
    public: Path, command: str, code: int, path: str, fix: str
) -> None:
    """In a home of somebody else each command says what it could not use, and what to do."""
    # Given a home of root's / When nobody runs a command there
    home = Home(public / "home")
    home.prepare()
    ended = run(home, command)
    # Then one line has the path and the way out
    assert ended[0] == code
    assert ended[1].startswith(f"blueplane: {home.root}{path}: ")
    assert fix in ended[1]


@pytest.mark.fault("F7")
@pytest.mark.parametrize(
    ("path", "fix"),
    [
        ("logs", "chown it"),
        ("spool", "chown it"),
        ("run", "chown it"),
        ("redis", "chown it"),
        ("logs/server.log", "make it yours to write, or remove it"),
        ("run/server.lock", "yours"),
        ("secret", "yours"),
        ("telemetry.db", "file that you can write to"),
    ],
)
def test_serve_names_the_part_when_it_is_another_users(public: Path, path: str, fix: str) -> None:
    """A part of the home that belongs to somebody else is named before anything is captured."""
    # Given a home of nobody's with one part of root's
    home = Home(public / "home")
    home.prepare()
    give(home)
    part = home.root / path
    if not part.is_dir():
        part.touch(0o600)
    os.chown(part, 0, 0)
    # When nobody starts a server
    code, said = run(home, "serve")
    # Then one line has the path and the way out
    assert code == REFUSED
    assert said.startswith(f"blueplane: {part}: ")
    assert fix in said


@pytest.mark.fault("F7")
def test_stop_says_so_when_the_server_is_another_users(public: Path) -> None:
    """A socket that may not be used is named with the reason, and nobody calls that no server."""
    # Given a home of nobody's in which a server of root's runs: it holds the lock and the socket
    home = Home(public / "home")
    home.prepare()
    give(home)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(home.socket("control.sock")))
        home.socket("control.sock").chmod(0o600)
        lock = ServerLock(home)
        lock.take()
        # When nobody has it stopped
        code, said = run(home, "stop")
        lock.release()
    # Then it gets no signal, and the line says why
    assert code == REFUSED
    assert "gets no signal" in said
