"""The lock of a home: one server, whatever a pid file says; and that of a directory of files.

Owns the lock on the home directory, and ``run/server.lock``, which names its holder.
Promises that a lock lives no longer than the process that took it, whatever is removed below.
Leaves stopping the holder to whoever asks.
"""

import fcntl
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Final

from blueplane.clock import iso_utc, monotonic_s, wall_ms
from blueplane.errors import AlreadyRunningError, HomeError
from blueplane.paths import Home, private_file

#: Seconds for which a taken lock is tried again: ``is_running`` holds it for a moment, too.
PATIENCE_S: Final = 0.5
_TICK_S: Final = 0.02
#: Not the file below it: whoever removes that would let a second server in.
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
#: What a holder writes.
_HOLDER: Final = re.compile(r"pid ([0-9]{1,10}) since (\S+)")


class ServerLock:
    """Held for the life of the process."""

    def __init__(self, home: Home) -> None:
        self._root = home.root
        self._path = home.lock_file
        self._directory: int | None = None
        self._file: FileIO | None = None

    def take(self) -> None:
        """Take the lock; raise AlreadyRunningError, naming the holder, when another has it."""
        directory = os.open(self._root, _DIRECTORY)
        deadline_s = monotonic_s() + PATIENCE_S
        while not _try(directory, fcntl.LOCK_EX):
            if monotonic_s() > deadline_s:
                os.close(directory)
                message = (
                    f"another server runs for {self._path.parent.parent} ({holder(self._path)}); "
                    "stop it first, or set BLUEPLANE_HOME"
                )
                raise AlreadyRunningError(message)
            threading.Event().wait(_TICK_S)
        try:
            self._file = private_file(self._path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            os.close(directory)
            message = f"{self._path}: {error.strerror}; it must be a plain file of yours: remove it"
            raise HomeError(message) from error
        self._directory = directory
        os.ftruncate(self._file.fileno(), 0)
        os.write(self._file.fileno(), f"pid {os.getpid()} since {iso_utc(wall_ms())}\n".encode())

    def release(self) -> None:
        """Give the lock back."""
        if self._file is not None:
            os.ftruncate(self._file.fileno(), 0)
            self._file.close()
            self._file = None
        if self._directory is not None:
            os.close(self._directory)
            self._directory = None


def holder(lock_file: Path) -> str:
    """Return what the holder of a lock wrote into it."""
    try:
        text = lock_file.read_text("ascii", "replace").strip()
    except OSError:
        text = ""
    return text or "unknown process"


def named_holder(lock_file: Path) -> tuple[int, str] | None:
    """Return pid and start (ISO 8601) of the holder of a lock; None when the text names none."""
    wrote = _HOLDER.fullmatch(holder(lock_file))
    return (int(wrote[1]), wrote[2]) if wrote else None


def is_running(home: Home) -> bool:
    """Whether a server holds the lock of ``home``; raise HomeError when that cannot be seen."""
    try:
        directory = os.open(home.root, _DIRECTORY)
    except FileNotFoundError:
        return False
    except OSError as error:
        message = f"{home.root}: {error.strerror}; make it a directory that you can read"
        raise HomeError(message) from error
    try:
        return not _try(directory, fcntl.LOCK_SH)
    finally:
        os.close(directory)


@contextmanager
def one_at_a_time(directory: Path) -> Iterator[None]:
    """Have whoever asks for the same directory wait until the block ends; raise OSError."""
    descriptor = os.open(directory, _DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
