"""One transcript on disk: whole lines from a byte offset.

Owns opening the file, telling it from another one under its name, and cutting it into lines.
Promises that nothing but a regular file of this user, reached without a link, is read; that a line
is only returned whole; and that what is held is bounded by ``MAX_LINE``.
Leaves what is in a line to ``transcript.py``, and when to read to the monitor.
"""

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

from blueplane.capture.claude_code.transcript import TAIL, Line, Place, tail_of
from blueplane.digests import blake2b
from blueplane.errors import BlueplaneError
from blueplane.event import Mark

#: Bytes that are read at once.
CHUNK: Final = 1024 * 1024
#: A longer line is not read: only its size is kept.
MAX_LINE: Final = 8 * 1024 * 1024
#: Unread bytes above which a file with holes in it is no transcript.
MAX_SPARSE: Final = 64 * 1024 * 1024
#: Bytes of the first line that tell a file from another, and bytes that are searched for a time.
HEAD: Final = 1024
DATED: Final = 64 * 1024
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class RefusedFileError(BlueplaneError):
    """What stands under a transcript's name is no file that may be read."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Lines that were read, up to ``end``; no further one ends before ``scanned``.

    ``more``: there is more to read at once.
    """

    lines: Sequence[Line]
    end: int
    scanned: int
    more: bool = False


NOTHING: Final = Piece((), 0, 0)


class OpenFile:
    """A transcript that is open; a context manager."""

    def __init__(self, path: str, secret: bytes) -> None:
        """Open ``path``, which must be as ``os.path.realpath`` gives it; ``secret`` keys hashes.

        Raises RefusedFileError, or OSError when the file is gone or cannot be opened.
        """
        self._secret = secret
        #: What goes into what stands for a line of this file, and says nothing of its path.
        self.salt = int(blake2b(os.fsencode(path), key=secret, digest_size=4).hexdigest(), 16)
        self._fd = os.open(path, _FLAGS)
        if not _is_at(self._fd, path):
            self.close()
            message = "a link leads there"
            raise RefusedFileError(message)
        found = os.fstat(self._fd)
        self.size, self.inode, self.mtime_ns = found.st_size, found.st_ino, found.st_mtime_ns
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            self.close()
            message = "not a file of this user"
            raise RefusedFileError(message)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._fd)

    def mark(self, place: Place) -> Mark:
        """Return what tells this file from another that may come to stand in its place."""
        found = self.fingerprint(whole=place.whole)
        return Mark(0, self.inode, found, place.generation, place.born_ms)

    def fingerprint(self, *, whole: bool) -> str:
        """Return what tells the file from another by its first line; "" before that is complete.

        Of one that is ``whole`` all of its beginning counts.
        """
        head = os.pread(self._fd, HEAD, 0)
        line, newline, _ = (head, b"", b"") if whole else head.partition(b"\n")
        if not (newline or whole) and len(head) < HEAD:
            return ""
        return blake2b(line, key=self._secret, digest_size=8).hexdigest()

    def is_marked(self, mark: Mark, *, whole: bool) -> bool:
        """Say whether this is the file of ``mark``, grown perhaps."""
        return (
            mark.inode == self.inode
            and mark.offset <= self.size
            and mark.fingerprint == self.fingerprint(whole=whole)
            and (whole or self._has_tail(mark))
        )

    def _has_tail(self, mark: Mark) -> bool:
        """Say whether the line that ends at a mark is what it was, as far as that is known."""
        found = self.tail(mark.offset)
        return not mark.offset or (found == mark.tail if mark.tail else found > 0)

    def is_read(self, mark: Mark, *, whole: bool) -> bool:
        """Say whether this is the file of ``mark``, and nothing was added."""
        return mark.offset == self.size and self.is_marked(mark, whole=whole)

    def head(self) -> bytes:
        """Return the beginning, for what it says of time and place."""
        return os.pread(self._fd, DATED, 0)

    def tail(self, offset: int) -> int:
        """Return what stands for the line that ends at ``offset``; 0 when none ends there."""
        start = max(0, offset - TAIL - 1)
        before = os.pread(self._fd, offset - start, start)
        if not before.endswith(b"\n"):
            return 0
        return tail_of(before[:-1].rpartition(b"\n")[2], self.salt)

    def refuse_holes(self, offset: int) -> None:
        """Raise RefusedFileError when what is unread is large and has holes."""
        if self.size - offset > MAX_SPARSE and os.lseek(self._fd, offset, os.SEEK_HOLE) < self.size:
            message = "it has holes"
            raise RefusedFileError(message)

    def whole(self) -> Piece:
        """Return the file as one line, if it is not too long and seems complete."""
        raw = os.pread(self._fd, MAX_LINE + 1, 0)
        if len(raw) > MAX_LINE or not raw.rstrip().endswith(b"}"):
            return Piece((), 0, len(raw))
        return Piece([Line(raw, 0, len(raw))], len(raw), len(raw))

    def lines(self, start: int, scanned: int) -> Piece:
        """Return whole lines from ``start``; none ended before ``scanned`` when that was read."""
        if not start < scanned <= self.size:
            # No more than there is: a buffer of a whole chunk costs more than a small file's bytes.
            data = os.pread(self._fd, min(CHUNK, max(1, self.size - start)), start)
            if cut := data.rfind(b"\n") + 1:
                lines = _split(data[:cut], start)
                return Piece(lines, lines[-1].end, start + cut, start + cut < self.size)
            scanned = start + len(data)
        return self._long_line(start, scanned)

    def _long_line(self, start: int, scanned: int) -> Piece:
        """Return the line at ``start``; more than one where it was cut off since it was scanned."""
        end = self._line_end(scanned)
        if end - start > MAX_LINE:
            end = self._line_end(start)
        if end - start > MAX_LINE:
            return Piece([Line(b"", start, end)], end, end, end < self.size)
        data = os.pread(self._fd, max(0, end - start), start)
        if not data.endswith(b"\n"):  # it is not finished, or cut off just now
            return Piece((), start, start if end else max(scanned, self.size))
        lines = _split(data, start)
        return Piece(lines, lines[-1].end, end, end < self.size)

    def _line_end(self, position: int) -> int:
        """Return where the line at ``position`` ends, 0 when it is not finished."""
        while data := os.pread(self._fd, CHUNK, position):
            found = data.find(b"\n")
            if found >= 0:
                return position + found + 1
            position += len(data)
        return 0


def _is_at(fd: int, path: str) -> bool:
    """Say whether an open file is at ``path`` itself, and no link led there."""
    with suppress(OSError):  # one look, where the system tells, for one at each directory
        if os.readlink(f"/proc/self/fd/{fd}") == path:  # noqa: PTH115 - for every file
            return True
    return os.path.realpath(path) == path


def _split(data: bytes, start: int) -> list[Line]:
    """Cut whole lines; a blank one belongs to the next, and is a line where none follows."""
    lines: list[Line] = []
    position = start
    for raw in data[:-1].split(b"\n"):
        end = position + len(raw) + 1
        position = end
        if raw.strip():
            lines.append(Line(raw, start, end))
            start = end
    return lines or [Line(b" ", start, position)]
