"""How a command has something changed: by the running server, or by one of its own.

Owns the way to an operation of the server, whether one runs or not.
Promises that only one process changes the store, for a server of one's own holds the home's lock;
that a server which begins, or ends, is waited for; and that a command that is ended leaves nothing
of its server behind.
Leaves what an operation does to the server (``Daemon.operations``).
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from threading import Event as Flag
from typing import Any, Final, Protocol, TypeAlias

import click

from blueplane.clock import monotonic_s
from blueplane.config import load
from blueplane.daemon import Daemon
from blueplane.errors import AlreadyRunningError, RemoteError, ServerUnavailableError
from blueplane.interfaces.cli import visible
from blueplane.interfaces.cli.ending import ending
from blueplane.interfaces.cli.storage import stored
from blueplane.lock import is_running
from blueplane.logs import set_up
from blueplane.paths import Home
from blueplane.server.control import Report, ask

#: Seconds for which a long operation may be silent: it writes the whole database anew.
SILENT_S: Final = 3600.0
#: Seconds for which a server that begins, or ends, is waited for, between two looks, and without a
#: server before one that was there does not come back.
SETTLED_S: Final = 10.0
_LOOK_S: Final = 0.05
GONE_S: Final = 3.0
#: What may be asked again, of another server, when one did not answer.
_AGAIN: Final = frozenset({"backfill.status"})


Answer: TypeAlias = Any  # JSON, as the operation made it


class Act(Protocol):
    """Has an operation carried out."""

    @property
    def running(self) -> bool:
        """Whether the server that does it goes on to run."""

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
        self._daemon = daemon
        self._quick = daemon.operations()
        self._long = daemon.long_operations()

    def __call__(self, operation: str, report: Report | None = None, **arguments: object) -> Answer:
        self._daemon.watch_redis()  # as the main thread of a server does
        if operation in self._quick:
            return self._quick[operation](**arguments)
        return self._long[operation](report or _ignore, **arguments)


class _Either:
    """The server of the moment: when one is gone, the next, or in the end one of our own."""

    def __init__(self, home: Home, own: ExitStack) -> None:
        self._home, self._own = home, own
        self._act = self._find()

    @property
    def running(self) -> bool:
        return self._act.running

    def __call__(self, operation: str, report: Report | None = None, **arguments: object) -> Answer:
        try:
            return self._act(operation, report, **arguments)
        except ServerUnavailableError:
            if operation not in _AGAIN:
                raise
        self._act = self._find(GONE_S)
        return self._act(operation, report, **arguments)

    def _find(self, patience_s: float = 0.0) -> "Act":
        if not await_server(self._home, patience_s):
            try:
                return self._own.enter_context(_serving(self._home))
            except AlreadyRunningError:  # another one began at the same moment
                await_server(self._home)
        return _Server(self._home)


def await_server(home: Home, patience_s: float = 0.0) -> bool:
    """Return whether a server runs, once it answers, or, for ``patience_s``, none does.

    One that does neither for long counts as running: asking it says what is wrong.
    """
    began_s = monotonic_s()
    while (waited_s := monotonic_s() - began_s) < SETTLED_S:
        if is_running(home):
            if _answers(home):
                return True
        elif waited_s >= patience_s:
            return False
        Flag().wait(_LOOK_S)
    return is_running(home)


def _answers(home: Home) -> bool:
    try:
        ask(home.control_socket, "")
    except RemoteError:  # it knows no such operation
        return True
    except ServerUnavailableError:
        return False
    return True


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
    with ExitStack() as own:
        yield _Either(home, own)


@contextmanager
def _serving(home: Home) -> Iterator[Act]:
    """Start a server for the block; raises AlreadyRunningError."""
    settings = load(home, os.environ)
    set_up(home.log_file, settings.log.level, settings.log.max_bytes, None, settings.log.levels)
    if not home.root.exists():
        click.echo(f"blueplane: a new home is made: {visible(str(home.root))}", err=True)
    with ending() as end:
        daemon = Daemon(home, settings)
        daemon.start()
        try:
            with end.heeded():
                yield _Own(daemon)
        finally:
            daemon.stop()
