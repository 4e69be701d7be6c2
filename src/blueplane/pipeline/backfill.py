"""How far the sources are that read what editors keep: how much is read, how much is left.

Owns the answer of ``backfill.status``: amounts of each source, the rate of late, and how much of
what was read the workers have not seen.
Promises to call nothing read whose outcome is not stored.
Leaves reading to the sources, which do it whether anybody asks or not.
"""

from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Final, NamedTuple, TypeAlias

from blueplane.clock import monotonic_s
from blueplane.event import Extent
from blueplane.store.queries import SERVER_READ_S, OutcomeCount, Reader, reading

Answer: TypeAlias = dict[str, Any]

#: Seconds over which a rate is taken, and between two of its samples at least.
RATE_S: Final = 10.0
SAMPLE_S: Final = 0.2


class Origin(NamedTuple):
    """A source as it is asked: how much it has, and under which names its events are counted.

    ``even`` says that its events are spread over its bytes, so that what is left can be estimated.
    """

    what: str
    extent: Callable[[], Extent]
    look_anew: Callable[[], None]
    platform: str
    sources: tuple[str, ...]
    even: bool


@dataclass(frozen=True, slots=True)
class Around:
    """What else is asked: what holds events up, and who derives from those that are written."""

    trouble: Callable[[], str | None]
    workers: Callable[[], Collection[str]]


class Backfill:
    """Answers how far sources are."""

    def __init__(self, database: Path, origins: tuple[Origin, ...], around: Around) -> None:
        self._database = database
        self._origins = origins
        self._around = around
        self._lock = Lock()
        #: By moment: what was read of each source, (bytes, events).
        self._samples: deque[tuple[float, dict[str, tuple[int, int]]]] = deque()
        #: The last row when all was read: up to there workers have something to do.
        self._goal: int | None = None

    def look_anew(self) -> None:
        """Have every source look for what there is: nothing is read before it has."""
        for each in self._origins:
            each.look_anew()
        self._goal = None

    def status(self) -> Answer:
        """Return ``rows``, one for each source, what is ``unread``, and what holds it up.

        ``read`` says that nothing is left but what is unread, ``to_derive`` how many events of it
        workers have not seen, and ``done`` that they have seen all. A rate is unknown until
        somebody has asked before.
        """
        extents = {each.what: each.extent() for each in self._origins}  # before their outcomes
        read = all(each.is_read for each in extents.values())
        with reading(self._database, SERVER_READ_S) as reader:
            counts = reader.outcomes()
            to_derive = self._to_derive(reader, read=read)
        events = {each.what: _events(each, counts) for each in self._origins}
        rates = self._rates({what: (each.taken, events[what]) for what, each in extents.items()})
        return {
            "rows": [
                _row(each, extents[each.what], events[each.what], rates[each.what])
                for each in self._origins
            ],
            "unread": [
                {"path": each.path, "bytes": each.bytes, "reason": each.reason}
                for extent in extents.values()
                for each in extent.unread
            ],
            "read": read,
            "to_derive": to_derive,
            "done": read and not to_derive,
            "trouble": self._around.trouble(),
        }

    def _to_derive(self, reader: Reader, *, read: bool) -> int:
        marks, last = reader.watermarks(), reader.last_sequence()
        upto = min((marks.get(name, 0) for name in self._around.workers()), default=last)
        self._goal = (self._goal or last) if read else None
        return max(0, (self._goal or last) - upto)

    def _rates(self, now: Mapping[str, tuple[int, int]]) -> dict[str, Answer]:
        with self._lock:
            now_s = monotonic_s()
            while len(self._samples) > 1 and now_s - self._samples[1][0] >= RATE_S:
                self._samples.popleft()
            if not self._samples or now_s - self._samples[-1][0] >= SAMPLE_S:
                self._samples.append((now_s, dict(now)))
            then_s, then = self._samples[0]
        return {what: _rate(then[what], now[what], now_s - then_s) for what in now}


def _rate(then: tuple[int, int], now: tuple[int, int], passed_s: float) -> Answer:
    known = passed_s >= SAMPLE_S
    pairs = zip(("bytes_per_s", "events_per_s"), then, now, strict=True)
    return {name: max(0, round((new - old) / passed_s)) if known else None
            for name, old, new in pairs}  # fmt: skip


def _events(origin: Origin, counts: list[OutcomeCount]) -> int:
    """Return how many events of a source have their outcome stored, since the beginning."""
    return sum(each.count for each in counts
               if each.platform == origin.platform and each.source in origin.sources)  # fmt: skip


def _row(origin: Origin, extent: Extent, events: int, rate: Answer) -> Answer:
    return {
        "what": origin.what,
        "files": extent.files,
        "files_left": extent.files_left,
        "bytes": extent.bytes,
        "bytes_left": extent.bytes_left,
        "events": events,
        "events_left": _events_left(origin, extent, events),
        **rate,
        "bytes_per_s": rate["bytes_per_s"] if origin.even else None,
    }


def _events_left(origin: Origin, extent: Extent, events: int) -> int | None:
    """Return how many events are left: those on the road, and an estimate of those in the files."""
    if not extent.files_left:
        return extent.waiting
    done = extent.bytes - extent.bytes_left
    if not (origin.even and done and events):
        return None
    return extent.waiting + round(extent.bytes_left * events / done)
