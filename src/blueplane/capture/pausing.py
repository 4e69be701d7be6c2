"""Pausing: the user has the hooks take nothing, for good or for a while.

Owns ``run/paused``, and ``run/paused-until``, whose mtime is the end of a pause: the two files that
every hook looks at.
Promises that a pause holds from the moment it is asked for, with a server or without one, that one
pause gives way to another without a gap, and that it is remembered before it ends.
Leaves heeding it to ``hooks/blueplane-hook``, and to every source that asks ``paused``, or, of what
it reads later than it was written, ``pauses``.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blueplane.capture.pauses import Pauses, Span, remember, remembered
from blueplane.clock import NS_PER_MS, NS_PER_S, wall_ms, wall_ns
from blueplane.errors import HomeError
from blueplane.lock import one_at_a_time
from blueplane.paths import Home, private_directory, replacing

#: The last millisecond of a pause that nobody has ended.
_OPEN_MS: Final = 1 << 62
#: Milliseconds of a new pause that count for the one before it, too: they leave no gap.
_OVERLAP_MS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause; without ``until_ms``, since the epoch, it lasts until somebody ends it."""

    until_ms: int | None


def paused(home: Home) -> Pause | None:
    """Return the pause that holds now; None when events may be taken."""
    if os.path.exists(home.paused_flag):  # noqa: PTH110 - what cannot be seen raises there
        return Pause(None)
    until_ns = _end_ns(home)
    return Pause(until_ns // NS_PER_MS) if until_ns > wall_ns() else None


def pauses(home: Home) -> Pauses:
    """Return when capture was paused, and is; what cannot be seen is no pause."""
    now = tuple(_spans(home, _OPEN_MS))  # first: what goes there is among the others before
    return Pauses(remembered(home.pauses), now)


def pause(home: Home, seconds: int | None) -> Pause:
    """Pause, or change the pause that holds; for good without ``seconds``.

    Raises HomeError when the files cannot be made.
    """
    private_directory(home.root)
    private_directory(home.run)
    until_ns = None if seconds is None else wall_ns() + seconds * NS_PER_S
    wanted, other = home.paused_flag, home.paused_until
    if until_ns is not None:
        wanted, other = other, wanted
    with _changing(home):
        remember(home.pauses, _spans(home, wall_ms() + _OVERLAP_MS))
        _place(wanted, until_ns)
        other.unlink(missing_ok=True)
    return Pause(None if until_ns is None else until_ns // NS_PER_MS)


def resume(home: Home) -> bool:
    """End the pause; False when there was none. Raises HomeError when a file cannot be removed."""
    if not home.run.is_dir():
        return False
    with _changing(home):
        before = paused(home)
        remember(home.pauses, _spans(home, wall_ms()))
        for path in (home.paused_flag, home.paused_until):
            path.unlink(missing_ok=True)
    return before is not None


def tidy(home: Home) -> bool:
    """Remove the file of a pause that is over; True when one was there."""
    if not 0 < _end_ns(home) <= wall_ns():
        return False
    with _changing(home):
        over = _end_ns(home) <= wall_ns()  # again: it may have been made longer meanwhile
        if over:
            remember(home.pauses, _spans(home, wall_ms()))
            home.paused_until.unlink(missing_ok=True)
    return over


def _spans(home: Home, open_ms: int) -> Iterator[Span]:
    """Yield the pauses of the two files; one that holds counts up to ``open_ms``."""
    now_ms = wall_ms()
    for path in (home.paused_flag, home.paused_until):
        with suppress(OSError):
            found = path.stat()
            first_ms, end_ms = found.st_ctime_ns // NS_PER_MS, found.st_mtime_ns // NS_PER_MS
            if path == home.paused_flag or end_ms > now_ms:
                yield min(first_ms, now_ms), open_ms  # also when the clock was set back in it
            elif first_ms < end_ms:
                yield first_ms, end_ms


def _end_ns(home: Home) -> int:
    """Return the end that ``paused-until`` gives; 0 without one."""
    with suppress(OSError):
        return home.paused_until.stat().st_mtime_ns
    return 0


def _place(path: Path, mtime_ns: int | None) -> None:
    """Put an empty file there in one step, with its time, and never through a link."""
    with replacing(path) as file:
        if mtime_ns is not None:
            os.utime(file.fileno(), ns=(mtime_ns, mtime_ns))


@contextmanager
def _changing(home: Home) -> Iterator[None]:
    """Let nobody else change the pause meanwhile."""
    try:
        with one_at_a_time(home.run):
            yield
    except OSError as error:
        path = error.filename or home.run
        message = f"{path}: {error.strerror}; make {home.run} a directory that you can write to"
        raise HomeError(message) from error
