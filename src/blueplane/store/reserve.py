"""A file that only takes up room, for the day on which the disk is full.

Owns that file, its size, and when there is enough room to make it.
Promises that its bytes are really taken, and at most a tenth of what is free; once given back it is
not made again before there is room for one as large.
Leaves to retention what the room is used for.
"""

import errno
import os
from pathlib import Path
from typing import Final

from blueplane.paths import free_bytes, private_file

#: Bytes of the file at most; one below the least would help nobody.
MOST_BYTES: Final = 8 * 1024 * 1024
LEAST_BYTES: Final = 128 * 1024
#: Free bytes for each byte of the file: it takes a tenth of the disk's room at most.
SHARE: Final = 10
#: What file systems say that cannot allocate.
_CANNOT: Final = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


class Reserve:
    """The reserve at ``path``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._least = LEAST_BYTES

    def keep(self) -> None:
        """Make the file if it is missing and there is room for it."""
        if self._path.exists():
            return
        size = min(MOST_BYTES, (free_bytes(self._path.parent) or 0) // SHARE)
        if size < self._least:
            return
        try:
            with private_file(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as stream:
                _allocate(stream.fileno(), size)
        except OSError:  # filled up meanwhile: half a reserve would look like a whole one
            self._path.unlink(missing_ok=True)

    def release(self) -> bool:
        """Give the room back; False when there was none to give."""
        try:
            size = self._path.stat().st_size
            self._path.unlink()
        except OSError:
            return False
        self._least = max(LEAST_BYTES, size)
        return True


def _allocate(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
        else:
            return
    block = os.urandom(64 * 1024)  # some file systems take no room for zeros
    for start in range(0, size, len(block)):
        os.pwrite(descriptor, block[: size - start], start)
