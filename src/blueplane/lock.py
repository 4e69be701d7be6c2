"""The lock of a home: one server, whatever a pid file says.

Owns the lock on the home directory, and ``run/server.lock``, which names its holder.
Promises that the lock lives exactly as long as the process that took it, whatever is removed below.
Leaves stopping the holder to whoever asks.
"""

import fcntl
import os
import threading
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


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
