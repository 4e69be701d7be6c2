"""How a command has something changed: by the running server, or by one of its own.

Owns the way to an operation of the server, whether one runs or not.
Promises that only one process changes the store, for a server of one's own holds the home's lock,
and that a command that is ended leaves nothing of its server behind.
Leaves what an operation does to the server (``Daemon.operations``).
"""

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Protocol, TypeAlias

from blueplane.config import load
from blueplane.daemon import Daemon
from blueplane.interfaces.cli.storage import stored
from blueplane.lock import is_running
from blueplane.logs import set_up
from blueplane.paths import Home
from blueplane.server.control import Report, ask

#: Seconds for which a long operation may be silent: it writes the whole database anew.
SILENT_S: Final = 3600.0
#: What ends a command as Ctrl-C does.
_ENDS: Final = (signal.SIGTERM, signal.SIGHUP)


Answer: TypeAlias = Any  # JSON, as the operation made it


class Act(Protocol):
    """Has an operation carried out.

    ``running`` says whether the server that does it goes on to run.
    """

    running: bool

    def __call__(self, operation: str, report: Report | None = None, **arguments: object) -> Answer:
        """Return the answer; ``report`` is told how far a long operation is."""


class _Server:
    running = True

    def __init__(self, home: Home) -> None:
        self._socket = home.control_socket

    def __call__(self, operation: str, report: Report | None = None, **arguments: object) -> Answer:
        return ask(self._socket, operation, timeout_s=SILENT_S, progress=report, **arguments)


class _Own:
    running = False

    def __init__(self, daemon: Daemon) -> None:
        self._quick = daemon.operations()
        self._long = daemon.long_operations()

    def __call__(self, operation: str, report: Report | None = None, **arguments: object) -> Answer:
        if operation in self._quick:
            return self._quick[operation](**arguments)
        return self._long[operation](report or _ignore, **arguments)


def _ignore(_progress: Mapping[str, Any]) -> None:
    """Nobody watches."""


@contextmanager
def acting(home: Home) -> Iterator[Act]:
    """Give the way to have operations carried out; without a server, start one for the block.

    Raises NotFoundError when nothing was ever stored here.
    """
    with stored(home):
        pass
    with serving(home) as act:
        yield act


@contextmanager
def serving(home: Home) -> Iterator[Act]:
    """Give the same, also where nothing is stored yet."""
    if is_running(home):
        yield _Server(home)
        return
    settings = load(home, os.environ)
    set_up(home.log_file, settings.log.level, settings.log.max_bytes, None, settings.log.levels)
    daemon = Daemon(home, settings)
    with _ending_in_order():
        daemon.start()
        try:
            yield _Own(daemon)
        finally:
            daemon.stop()


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """Have what ends a command raise KeyboardInterrupt, unless it is ignored, as by nohup."""
    heeded = [number for number in _ENDS if signal.getsignal(number) == signal.SIG_DFL]
    for number in heeded:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in heeded:
            signal.signal(number, signal.SIG_DFL)
