"""A real server in a process of its own that a test can start, ask, signal and kill.

Owns the server's process, its environment and, in private mode, the Redis that it leaves behind.
Promises that nothing of it runs after ``close``, whatever the test did to it.
Leaves what must hold to the test, and the events to ``oracle.py``.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psutil

from blueplane.errors import BlueplaneError
from blueplane.paths import Home
from blueplane.server.control import ask
from blueplane.store.queries import reading
from helpers.nursery import Child, Nursery
from helpers.redis_server import RedisServer
from helpers.waiting import has_ended, wait_until

ROOT = Path(__file__).parents[2]
#: Seconds; generous, for only a failure takes that long.
READY_S = 30.0
END_S = 30.0
#: The same for a balance, which the program itself does not wait for as long.
BALANCE_S = 5.0


class Server:
    """One server of ``home``; use it as a context manager, or call ``close`` at the end.

    Without ``redis`` it runs its own private one. ``settings`` are variables of the environment;
    ``MUTANT`` names a change of the program (``mutants.py``). With ``nursery`` it is forked there.
    """

    def __init__(
        self,
        home: Home,
        redis: RedisServer | None = None,
        nursery: Nursery | None = None,
        **settings: str,
    ) -> None:
        self.home = home
        self.output = home.root.parent / "server.out"
        self._settings = settings
        self._nursery = nursery
        if redis is not None:
            self._settings["BLUEPLANE_REDIS_URL"] = redis.url
        self._process: subprocess.Popen[bytes] | Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- life ------------------------------------------------------------------------------------

    def start(self, faults: str = "", prefix: Sequence[str] = ()) -> None:
        """Start it and return at once; ``prefix`` is a command line to run it under.

        One that was killed is waited for: its clients hear of it before it is gone.
        """
        wait_until(lambda: not self.alive(), END_S, "the server before it has ended")
        arguments = ["serve", "--home", str(self.home.root)]
        variables = {**environment(), **self._settings, "BLUEPLANE_FAULTS": faults}
        if self._nursery is not None and not prefix:
            self._process = self._nursery.fork(arguments, str(self.output), variables)
            return
        module = "helpers.mutants" if self._settings.get("MUTANT") else "blueplane"
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [*prefix, sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=variables,
            )

    def start_ready(self, faults: str = "") -> None:
        """Start it and wait until events can pass."""
        self.start(faults)
        self.wait_ready()

    def wait_ready(self, timeout_s: float = READY_S) -> None:
        """Wait until it answers and is attached to Redis."""
        wait_until(self.connected, timeout_s, "the server is attached to redis")

    def wait_running(self, timeout_s: float = READY_S) -> None:
        """Wait until it answers, attached or not."""
        wait_until(self._answers, timeout_s, "the server answers")

    def send(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None, "the server is not started"
        self._process.send_signal(number)

    def wait(self, timeout_s: float = END_S) -> int:
        """Wait for its end and return the exit code, negative for a signal."""
        wait_until(lambda: not self.alive(), timeout_s, "the server ended")
        assert self._process is not None, "the server is not started"
        assert self._process.returncode is not None
        return self._process.returncode

    def stop(self) -> int:
        """End it in order and return the exit code."""
        self.send(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End it at once, if it runs."""
        if self.alive():
            self.send(signal.SIGKILL)
            self.wait()

    def alive(self) -> bool:
        """Whether the process runs (frozen counts)."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None, "the server is not started"
        return self._process.pid

    def close(self) -> None:
        """Kill the server and the private Redis of its home."""
        self.kill()
        self.kill_redis()

    def kill_redis(self) -> bool:
        """Kill the private Redis of the home; False when none runs."""
        try:
            process = psutil.Process(int((self.home.redis / "pid").read_text()))
            if str(self.home.socket("redis.sock")) not in " ".join(process.cmdline()):
                return False
            process.kill()
            wait_until(lambda: has_ended(process.pid), END_S, "redis ended")
        except (OSError, ValueError, psutil.NoSuchProcess):
            return False
        return True

    # -- asking ----------------------------------------------------------------------------------

    def ask(self, operation: str, **arguments: Any) -> Any:
        """Ask over the control socket; raise the server's error."""
        return ask(self.home.socket("control.sock"), operation, **arguments)

    def status(self) -> dict[str, Any]:
        """Return the status; the server takes the balance for it."""
        status: dict[str, Any] = self.ask("status", balance_s=BALANCE_S)
        return status

    def balance(self) -> dict[str, Any]:
        """Have the balance taken, if the server runs, and return what is stored ({} for none)."""
        with suppress(BlueplaneError):  # then the stored one is all there is
            self.status()
        return stored_balance(self.home)

    def connected(self) -> bool:
        """Whether it answers and is attached to Redis; fails the test when it has ended."""
        return self._answers() and bool(self.status()["redis"]["connected"])

    def log(self) -> str:
        """Return its log of all its lives, without what was rotated away."""
        try:
            return self.home.log_file.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def _answers(self) -> bool:
        assert self.alive(), f"the server ended: {self.output.read_text(errors='replace')[-2000:]}"
        try:
            self.status()
        except BlueplaneError:
            return False
        return True


def environment() -> dict[str, str]:
    """Return our environment, with what a child needs to import the program and these helpers."""
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
    return {**os.environ, "PYTHONPATH": paths}


def stored_balance(home: Home) -> dict[str, Any]:
    """Return the stored snapshot of both laws, {} when there is none."""
    with reading(home.database) as reader:
        snapshot = reader.balance()
    return snapshot.body if snapshot else {}
