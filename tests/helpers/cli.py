"""A command as people run it: a process of its own, to its end.

Owns its environment and what is kept of how it ended.
Promises that a command never shows a traceback.
Leaves what it must say to the test.
"""

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from blueplane.paths import Home
from helpers.server import environment

TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.out)
        return answer


def program_environment(home: Home, **variables: str) -> dict[str, str]:
    """Return the environment of a command; its output is buffered, as people have it."""
    environ = {**environment(), "BLUEPLANE_HOME": str(home.root), **variables}
    environ.pop("PYTHONUNBUFFERED", None)
    return environ


def run(home: Home, *arguments: str, stdin: str = "", **variables: str) -> Ended:
    """Run ``blueplane`` with ``arguments`` to its end; it must never show a traceback."""
    ended = subprocess.run(
        [sys.executable, "-m", "blueplane", *arguments],
        env=program_environment(home, **variables),
        input=stdin, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert "Traceback" not in ended.stdout + ended.stderr
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def on_terminal(home: Home, *arguments: str, **variables: str) -> Ended:
    """Run ``blueplane`` on a terminal of 80 columns of its own; all it wrote there is ``out``."""
    master, slave = pty.openpty()
    chosen = {"TERM": "xterm-256color", "COLUMNS": "80", **variables}
    environ = program_environment(home, **chosen)
    command = [sys.executable, "-m", "blueplane", *arguments]
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environ)
    os.close(slave)
    screen = bytearray()
    with suppress(OSError):  # nobody at the other end any more
        while piece := os.read(master, 65536):
            screen += piece
    os.close(master)
    return Ended(process.wait(TIMEOUT_S), screen.decode().replace("\r\n", "\n"), "")
