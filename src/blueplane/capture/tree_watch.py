"""Waiting for changes in many directories, as the operating system allows.

Owns inotify over a bounded number of directories, and, elsewhere, waking up after a short time.
Promises to name a changed file where the system names it, and else to say that the caller must
look; a directory that is not watched any more is no error.
Leaves which directories are worth watching to the caller.
"""

import ctypes
import os
import select
import struct
from typing import Final, Protocol

from blueplane.capture.watch import Wakeable

#: Directories that are watched: the last ones that the caller named. The kernel allows 8,192 on
#: small machines, and a watch takes 1 KB of it.
MAX_WATCHES: Final = 1_024
#: Seconds between two looks where the system does not name what changed.
POLL_S: Final = 0.25
#: inotify(7): modified, moved from and to, created, deleted; only of a directory, not of a link.
_MASK: Final = 0x2 | 0x40 | 0x80 | 0x100 | 0x200 | 0x01000000 | 0x02000000
_IN_IGNORED: Final = 0x8000
_IN_Q_OVERFLOW: Final = 0x4000
_EVENT: Final = struct.Struct("iIII")
_READ_BYTES: Final = 64 * 1024


class TreeWatch(Protocol):
    """Waits for changes in the directories that were added last."""

    def add(self, directory: str) -> None:
        """Watch one more directory, or keep on watching it."""

    def wait(self, timeout_s: float) -> list[tuple[str, str]] | None:
        """Wait; return (directory, name) of what changed, or None when the caller must look."""

    def wake(self) -> None:
        """End a wait from another thread."""

    def close(self) -> None:
        """Give the descriptors back."""


class InotifyTree(Wakeable):
    """Linux: the kernel names each file that changes in a watched directory."""

    def __init__(self) -> None:
        super().__init__()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._fd < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        self._numbers: dict[str, int] = {}
        self._directories: dict[int, str] = {}
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)
        self._poll.register(self.read_end, select.POLLIN)

    def add(self, directory: str) -> None:
        """Watch a directory; the one that was named longest ago may be given up for it."""
        number = self._numbers.pop(directory, None)
        if number is None:
            number = self._libc.inotify_add_watch(self._fd, os.fsencode(directory), _MASK)
        if number < 0:
            return  # gone, or too many are in use: the caller looks now and then
        self._numbers[directory] = number
        self._directories[number] = directory
        if len(self._numbers) > MAX_WATCHES:
            self._libc.inotify_rm_watch(self._fd, self._numbers.pop(next(iter(self._numbers))))

    def wait(self, timeout_s: float) -> list[tuple[str, str]] | None:
        """Wait for a change or a wake."""
        ready = {fd for fd, _ in self._poll.poll(timeout_s * 1000)}
        if self.read_end in ready:
            self.drain()
        return self._read() if self._fd in ready else []

    def _read(self) -> list[tuple[str, str]] | None:
        data = os.read(self._fd, _READ_BYTES)
        changed: dict[tuple[str, str], None] = {}
        offset = 0
        while offset < len(data):
            number, mask, _, size = _EVENT.unpack_from(data, offset)
            offset += _EVENT.size
            if mask & _IN_Q_OVERFLOW:
                return None
            directory = self._directories.get(number)
            if mask & _IN_IGNORED:
                self._forget(number)
            elif directory is not None:
                name = os.fsdecode(data[offset : offset + size].rstrip(b"\0"))
                changed[directory, name] = None
            offset += size
        return list(changed)

    def _forget(self, number: int) -> None:
        directory = self._directories.pop(number, "")
        if self._numbers.get(directory) == number:
            del self._numbers[directory]

    def close(self) -> None:
        """Close the inotify descriptor and the pipe."""
        os.close(self._fd)
        super().close()


class PollTree(Wakeable):
    """Anywhere: have the caller look again every ``POLL_S``."""

    def add(self, directory: str) -> None:
        """Do nothing: nothing is watched."""

    def wait(self, timeout_s: float) -> list[tuple[str, str]] | None:
        """Wait for a wake, at most ``POLL_S``."""
        select.select([self.read_end], [], [], min(timeout_s, POLL_S))
        self.drain()
        return None


def watch_tree() -> TreeWatch:
    """Return the best watch there is."""
    try:
        return InotifyTree()
    except (OSError, AttributeError):
        return PollTree()
