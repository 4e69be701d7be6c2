"""The lock of a home: one server, whatever a pid file says.

Owns ``run/server.lock`` and who holds it.
Promises that the lock lives exactly as long as the process that took it.
Leaves stopping the holder to whoever asks.
"""

import fcntl
import os
import threading
from io import FileIO
from pathlib import Path
from typing import Final

from blueplane.clock import iso_utc, monotonic_s, wall_ms
from blueplane.errors import AlreadyRunningError
from blueplane.paths import Home, private_file

#: Seconds for which a taken lock is tried again: ``is_running`` holds it for a moment, too.
PATIENCE_S: Final = 0.5
_TICK_S: Final = 0.02


class ServerLock:
    """Held for the life of the process."""

    def __init__(self, home: Home) -> None:
        self._path = home.lock_file
        self._file: FileIO | None = None

    def take(self) -> None:
        """Take the lock; raise AlreadyRunningError, naming the holder, when another has it."""
        file = private_file(self._path, os.O_RDWR | os.O_CREAT)
        deadline_s = monotonic_s() + PATIENCE_S
        while not _try(file, fcntl.LOCK_EX):
            if monotonic_s() > deadline_s:
                file.close()
                message = (
                    f"another server runs for {self._path.parent.parent} ({holder(self._path)}); "
                    "stop it first, or set BLUEPLANE_HOME"
                )
                raise AlreadyRunningError(message)
            threading.Event().wait(_TICK_S)
        os.ftruncate(file.fileno(), 0)
        os.write(file.fileno(), f"pid {os.getpid()} since {iso_utc(wall_ms())}\n".encode())
        self._file = file

    def release(self) -> None:
        """Give the lock back."""
        if self._file is not None:
            os.ftruncate(self._file.fileno(), 0)
            self._file.close()
            self._file = None


def holder(lock_file: Path) -> str:
    """Return what the holder of a lock wrote into it."""
    try:
        text = lock_file.read_text("ascii", "replace").strip()
    except OSError:
        text = ""
    return text or "unknown process"


def is_running(home: Home) -> bool:
    """Whether a server holds the lock of ``home``."""
    try:
        file = private_file(home.lock_file, os.O_RDWR)
    except OSError:
        return False
    with file:
        return not _try(file, fcntl.LOCK_SH)


def _try(file: FileIO, kind: int) -> bool:
    try:
        fcntl.flock(file.fileno(), kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
