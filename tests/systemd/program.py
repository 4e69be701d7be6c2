"""The program in a machine, as its user runs it.

Owns putting it there, from this checkout or the executable that ``BLUEPLANE_TEST_SYSTEMD`` names,
and handing events over to it.
Promises that the service runs what an install would have it run.
Leaves what must hold to the tests.
"""

import json
import os
import sys
import sysconfig
from pathlib import Path
from typing import Any

import orjson
import pytest
from machine import HOME, PYTHON, Ended, Machine

from helpers.waiting import wait_until

ROOT = Path(__file__).parents[2]
#: The executable to be tested; "source" is this checkout.
CHOSEN = os.environ.get("BLUEPLANE_TEST_SYSTEMD", "source")
FROZEN = CHOSEN != "source"

SOURCE, SITE = "/opt/blueplane/src", "/opt/blueplane/site"
FILES = "/opt/blueplane"
PROGRAM = f"{HOME}/.local/share/blueplane/current/blueplane"
READY_S = 30.0

#: Has the Python of the machine find the program and what it needs.
_FOUND = "/usr/local/lib/python3.11/dist-packages/blueplane.pth"


def shared() -> dict[Path, str]:
    """Return what the machine must see of this one."""
    found = {ROOT / "hooks": f"{FILES}/hooks", ROOT / "packaging": f"{FILES}/packaging"}
    if FROZEN:
        return {**found, Path(CHOSEN).resolve().parent: f"{FILES}/dist"}
    if sys.version_info[:2] != PYTHON:
        pytest.exit(f"the machine has Python {PYTHON[0]}.{PYTHON[1]}: name an executable", 2)
    found[ROOT / "src"] = SOURCE
    found[Path(sysconfig.get_path("purelib"))] = SITE
    return found


class Program:
    """``blueplane`` in a machine; ``home`` is its home, ``data`` where it keeps itself."""

    def __init__(
        self, machine: Machine, home: str = f"{HOME}/.blueplane", data: str = f"{HOME}/.local/share"
    ) -> None:
        self.machine = machine
        self.home = home
        self._variables = {"BLUEPLANE_HOME": home, "XDG_DATA_HOME": data}
        self._first = [f"{FILES}/dist/{Path(CHOSEN).name}"]
        if not FROZEN:
            script = 'printf "%s\\n" "$1" "$2" > "$3"'
            found = machine.root("sh", "-c", script, "sh", SOURCE, SITE, _FOUND)
            assert found.returncode == 0, found.stderr
            self._first = ["/usr/bin/python3", "-I", "-m", "blueplane"]

    # -- commands ----------------------------------------------------------------------------------

    def run(self, *words: str) -> Ended:
        """Run a command of the program."""
        return self.machine.run(*self._first, *words, **self._variables)

    def install(self) -> None:
        """Install the service and start it."""
        ended = self.run("install", "service", "--yes")
        assert ended.returncode == 0, ended.stdout + ended.stderr

    def install_ready(self) -> dict[str, Any]:
        """Install the service, start it, and wait until events can pass; return the status."""
        self.install()
        self.wait_ready()
        return self.status()

    def status(self) -> dict[str, Any]:
        """Return what ``status`` knows."""
        answer: dict[str, Any] = json.loads(self.run("status", "--format", "json").stdout)
        return answer

    def is_ready(self) -> bool:
        """Whether a server answers, and is attached to Redis."""
        status = self.status()
        return bool(status["server"]["version"] and status["redis"]["connected"])

    def wait_ready(self) -> None:
        """Wait until events can pass."""
        try:
            wait_until(self.is_ready, READY_S, "the server is attached")
        except AssertionError as error:
            said = self.machine.run("systemctl", "--user", "status", "blueplane.service").stdout
            message = f"{error}\n{said}\n{self.log()}{self.output()}"
            raise AssertionError(message) from None

    def pid(self) -> int:
        """Return the pid of the service's main process, 0 without one."""
        return int(self.machine.show("MainPID"))

    def log(self) -> str:
        """Return the server's log."""
        return self.machine.read(f"{self.home}/logs/server.log")

    def output(self) -> str:
        """Return what the server printed."""
        return self.machine.read(f"{self.home}/logs/serve.out")

    # -- events ------------------------------------------------------------------------------------

    def capture(self, count: int, label: str = "session") -> None:
        """Hand ``count`` events over through the hook, as an editor would."""
        payload = orjson.dumps({"session_id": label, "prompt": "hello"}).decode()
        script = (
            'n=0; while [ $n -lt "$1" ]; do n=$((n + 1));'
            ' printf %s "$2" | sh "$3" claude_code UserPromptSubmit || exit 1; done'
        )
        hook = f"{FILES}/hooks/blueplane-hook"
        words = ["sh", "-c", script, "sh", str(count), payload, hook]
        assert self.machine.run(*words, **self._variables).returncode == 0

    def written(self) -> int:
        """Return how many rows there are."""
        return int(self.status()["total"]["written"] or 0)

    def wait_written(self, count: int) -> None:
        """Wait until there are ``count`` rows; then nothing waits, and both laws close."""
        wait_until(lambda: self.written() >= count, READY_S, f"{count} rows")
        wait_until(self._is_settled, READY_S, "nothing waits, and both laws close")
        assert self.written() == count

    def _is_settled(self) -> bool:
        status = self.status()
        balance = status["balance"]
        return bool(balance and balance["balanced"]) and not status["spool"]["files"]
