"""Waiting for files in one directory, as the operating system allows.

Owns inotify (Linux), kqueue (macOS, BSD) and, elsewhere, looking again after a short time.
Promises to return early when a file was finished or ``wake`` was called, and never to miss one for
longer than the timeout that it was given.
Leaves reading the directory to the caller, except for the names that inotify tells for free.
"""

import ctypes
import os
import select
import struct
from pathlib import Path
from typing import Any, Final, Protocol

#: Seconds between two looks where the system cannot wake us.
POLL_S: Final = 0.05
#: inotify(7): a file that was open for writing was closed; moved in; the queue overflowed.
_IN_CLOSE_WRITE: Final = 0x8
_IN_MOVED_TO: Final = 0x80
_IN_Q_OVERFLOW: Final = 0x4000
_EVENT: Final = struct.Struct("iIII")
_READ_BYTES: Final = 64 * 1024
#: kqueue is there on macOS and BSD only, and so are its names.
_select: Any = select


class Watch(Protocol):
    """Waits for finished files in a directory."""

    def wait(self, timeout_s: float) -> list[str] | None:
        """Wait; return the names of finished files, or None when the caller must look itself."""

    def wake(self) -> None:
        """End a wait from another thread."""

    def close(self) -> None:
        """Give the descriptors back."""


class Wakeable:
    """A pipe that ends a wait."""

    def __init__(self) -> None:
        self.read_end, self._write_end = os.pipe()
        os.set_blocking(self.read_end, False)
        os.set_blocking(self._write_end, False)

    def wake(self) -> None:
        """End a wait; a full pipe is awake already."""
        try:
            os.write(self._write_end, b"w")
        except BlockingIOError:
            return

    def drain(self) -> None:
        """Forget what woke us."""
        try:
            os.read(self.read_end, _READ_BYTES)
        except BlockingIOError:
            return

    def close(self) -> None:
        """Close both ends."""
        os.close(self.read_end)
        os.close(self._write_end)


class InotifyWatch(Wakeable):
    """Linux: the kernel names each file at the moment its last writer closes it."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        mask = _IN_CLOSE_WRITE | _IN_MOVED_TO
        if self._fd < 0 or libc.inotify_add_watch(self._fd, os.fsencode(directory), mask) < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(directory))
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)
        self._poll.register(self.read_end, select.POLLIN)

    def wait(self, timeout_s: float) -> list[str] | None:
        """Wait for a finished file or a wake."""
        ready = {fd for fd, _ in self._poll.poll(timeout_s * 1000)}
        if self.read_end in ready:
            self.drain()
        if not ready:
            return None
        return self._read_names() if self._fd in ready else []

    def _read_names(self) -> list[str] | None:
        data = os.read(self._fd, _READ_BYTES)
        names: list[str] = []
        offset = 0
        while offset < len(data):
            _, mask, _, size = _EVENT.unpack_from(data, offset)
            offset += _EVENT.size
            if mask & _IN_Q_OVERFLOW:
                return None
            names.append(os.fsdecode(data[offset : offset + size].rstrip(b"\0")))
            offset += size
        return names

    def close(self) -> None:
        """Close the inotify descriptor and the pipe."""
        os.close(self._fd)
        super().close()


class KqueueWatch(Wakeable):
    """macOS and BSD: the kernel says that the directory changed, not what finished in it.

    A file changes its directory when it is made, before it is whole: after a change we look again
    every ``POLL_S`` for a while.
    """

    #: Looks after a change before it is quiet again.
    LOOKS: Final = 20

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._fd = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
        self._queue = _select.kqueue()
        flags = _select.KQ_EV_ADD | _select.KQ_EV_CLEAR
        self._queue.control(
            [
                _select.kevent(self._fd, _select.KQ_FILTER_VNODE, flags, _select.KQ_NOTE_WRITE),
                _select.kevent(self.read_end, _select.KQ_FILTER_READ, _select.KQ_EV_ADD),
            ],
            0,
        )
        self._looks = 0

    def wait(self, timeout_s: float) -> None:
        """Wait for a change of the directory or a wake."""
        patience_s = min(timeout_s, POLL_S) if self._looks else timeout_s
        events = self._queue.control(None, 2, patience_s)
        self._looks = self.LOOKS if events else max(0, self._looks - 1)
        self.drain()

    def close(self) -> None:
        """Close the queue, the directory and the pipe."""
        self._queue.close()
        os.close(self._fd)
        super().close()


class PollWatch(Wakeable):
    """Anywhere: look again every ``POLL_S``."""

    def wait(self, timeout_s: float) -> None:
        """Wait for a wake, at most ``POLL_S``."""
        select.select([self.read_end], [], [], min(timeout_s, POLL_S))
        self.drain()


def watch(directory: Path) -> Watch:
    """Return the best watch there is; one that cannot be had (too many in use) becomes polling."""
    try:
        if hasattr(select, "kqueue"):
            return KqueueWatch(directory)
        return InotifyWatch(directory)
    except (OSError, AttributeError):
        return PollWatch()
