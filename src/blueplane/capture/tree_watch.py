"""Waiting for changes in many directories, as the operating system allows.

Owns inotify over a bounded number of directories, and, elsewhere, waking up after a short time.
Promises to name a changed file where the system names it, and else to say that the caller must
look; a directory that is not watched any more is no error, and one that lasts is not given up for
one that does not.
Leaves which directories are worth watching, and which of them last, to the caller.
"""

import ctypes
import errno
import os
import select
import struct
from pathlib import Path
from typing import Final, Protocol

from blueplane.capture.watch import Wakeable

#: Directories that are watched at most: the last ones that the caller named. A watch takes 1 KB of
#: the kernel.
MAX_WATCHES: Final = 8_192
#: The share of what the system allows a user (8,192 on small machines): editors want some, too.
#: And the share of ours for directories that do not last.
_SHARE: Final = 4
_PASSING_SHARE: Final = 4
_ALLOWED: Final = Path("/proc/sys/fs/inotify/max_user_watches")
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

    def add(self, directory: str, *, lasting: bool) -> None:
        """Watch one more directory, or keep on watching it."""

    def wait(self, timeout_s: float) -> list[tuple[str, str]] | None:
        """Wait; return (directory, name) of what changed, or None when the caller must look."""

    def wake(self) -> None:
        """End a wait from another thread."""

    def close(self) -> None:
        """Give the descriptors back."""


class _Pool:
    """Directories that are watched, those that were named last at the end, and how many may be."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.numbers: dict[str, int] = {}


class InotifyTree(Wakeable):
    """Linux: the kernel names each file that changes in a watched directory."""

    def __init__(self, limit: int = MAX_WATCHES) -> None:
        super().__init__()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._fd < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        passing = limit // _PASSING_SHARE
        self._lasting, self._passing = _Pool(limit - passing), _Pool(passing)
        self._directories: dict[int, str] = {}
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)
        self._poll.register(self.read_end, select.POLLIN)

    def add(self, directory: str, *, lasting: bool) -> None:
        """Watch a directory; the one of its kind that was named longest ago may go for it."""
        pool = self._lasting if lasting else self._passing
        number = pool.numbers.pop(directory, None)
        if number is None:
            number = self._begin(directory)
        if number < 0:
            return  # gone, or too many are in use: the caller looks now and then
        pool.numbers[directory] = number
        self._directories[number] = directory
        if len(pool.numbers) > pool.limit:
            self._give_up(pool)

    def _begin(self, directory: str) -> int:
        """Watch a directory; where the system allows no more, in the place of a passing one."""
        path = os.fsencode(directory)
        number: int = self._libc.inotify_add_watch(self._fd, path, _MASK)
        if number < 0 and ctypes.get_errno() == errno.ENOSPC and self._passing.numbers:
            self._give_up(self._passing)
            number = self._libc.inotify_add_watch(self._fd, path, _MASK)
        return number

    def _give_up(self, pool: "_Pool") -> None:
        self._libc.inotify_rm_watch(self._fd, pool.numbers.pop(next(iter(pool.numbers))))

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
        for pool in (self._lasting, self._passing):
            if pool.numbers.get(directory) == number:
                del pool.numbers[directory]

    def close(self) -> None:
        """Close the inotify descriptor and the pipe."""
        os.close(self._fd)
        super().close()


class PollTree(Wakeable):
    """Anywhere: have the caller look again every ``POLL_S``."""

    def add(self, directory: str, *, lasting: bool) -> None:
        """Do nothing: nothing is watched."""

    def wait(self, timeout_s: float) -> list[tuple[str, str]] | None:
        """Wait for a wake, at most ``POLL_S``."""
        select.select([self.read_end], [], [], min(timeout_s, POLL_S))
        self.drain()
        return None


def watch_tree() -> TreeWatch:
    """Return the best watch there is."""
    try:
        return InotifyTree(_limit())
    except (OSError, AttributeError):
        return PollTree()


def _limit() -> int:
    """Return how many directories may be watched here."""
    try:
        return min(MAX_WATCHES, int(_ALLOWED.read_text()) // _SHARE)
    except (OSError, ValueError):
        return MAX_WATCHES
