"""When capture was paused: what is dated then is left out, however late it is read.

Owns ``run/pauses``, a line for each pause that is over: its first and its last millisecond.
Promises to remember the last ``MAX_SPANS``, and to pass over what is no such line.
Leaves beginning and ending a pause, and the one that holds, to ``pausing.py``.
"""

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Final, TypeAlias

from blueplane.capture.rule_names import PAUSED
from blueplane.errors import FilteredError
from blueplane.paths import replacing

#: The first and the last millisecond of a pause, since the epoch.
Span: TypeAlias = tuple[int, int]

#: Pauses that are remembered: of years, at some a day.
MAX_SPANS: Final = 4_096


@dataclass(frozen=True, slots=True)
class Pauses:
    """Pauses that are ``over``, in order and apart from each other, and those of the moment."""

    over: tuple[Span, ...] = ()
    now: tuple[Span, ...] = ()

    def cover(self, at_ms: int) -> bool:
        """Say whether capture was paused at a time."""
        before = bisect_right(self.over, at_ms, key=itemgetter(0))
        spans = (*self.over[max(0, before - 1) : before], *self.now)
        return any(first <= at_ms <= last for first, last in spans)

    def check(self, *times_ms: int) -> None:
        """Raise FilteredError when capture was paused at one of some times."""
        if any(map(self.cover, times_ms)):
            raise FilteredError(PAUSED)


NO_PAUSES: Final = Pauses()


def remembered(path: Path) -> tuple[Span, ...]:
    """Return the pauses that a file has."""
    try:
        found = os.lstat(path)
    except OSError:
        return ()  # there was none
    return _read(path, (found.st_ino, found.st_size, found.st_mtime_ns))


def remember(path: Path, spans: Iterable[Span]) -> None:
    """Add pauses to a file; raises OSError."""
    before = remembered(path)
    after = tuple(_joined([*before, *spans]))[-MAX_SPANS:]
    if after != before:
        with replacing(path) as file:
            file.writelines(b"%d %d\n" % span for span in after)


@lru_cache(maxsize=1)
def _read(path: Path, _seen: tuple[int, ...]) -> tuple[Span, ...]:
    spans: list[Span] = []
    with suppress(OSError):
        for line in path.read_bytes().splitlines():
            with suppress(ValueError):
                first, last = map(int, line.split())
                spans.append((first, last))
    return tuple(_joined(spans))


def _joined(spans: Iterable[Span]) -> Iterator[Span]:
    """Yield spans in order, those that meet as one."""
    waiting: Span | None = None
    for span in sorted(spans):
        if waiting is not None and span[0] <= waiting[1]:
            waiting = waiting[0], max(waiting[1], span[1])
            continue
        if waiting is not None:
            yield waiting
        waiting = span
    if waiting is not None:
        yield waiting
