"""How far the sources are that read what editors keep: how much is read, how much is left.

Owns the answer of ``backfill.status``: amounts of each source, and the rate of late.
Promises to call nothing read whose outcome is not stored.
Leaves reading to the sources, which do it whether anybody asks or not.
"""

from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any, Final, NamedTuple, TypeAlias

from blueplane.clock import monotonic_s
from blueplane.event import Extent
from blueplane.store.queries import SERVER_READ_S, OutcomeCount, reading

Answer: TypeAlias = dict[str, Any]

#: Seconds over which a rate is taken, and between two of its samples at least.
RATE_S: Final = 10.0
SAMPLE_S: Final = 0.2


class Origin(NamedTuple):
    """A source as it is asked: how much it has, and under which names its events are counted.

    ``even`` says that its lines are spread over its bytes, so that what is left can be estimated.
    """

    what: str
    extent: Callable[[], Extent]
    platform: str
    sources: tuple[str, ...]
    even: bool


class Backfill:
    """Answers how far sources are; ``trouble`` says what holds events up."""

    def __init__(
        self, database: Path, origins: tuple[Origin, ...], trouble: Callable[[], str | None]
    ) -> None:
        self._database = database
        self._origins = origins
        self._trouble = trouble
        self._lock = Lock()
        #: By moment: what was read of each source, (bytes, lines).
        self._samples: deque[tuple[float, dict[str, tuple[int, int]]]] = deque()

    def status(self) -> Answer:
        """Return ``rows``, one for each source, whether all is ``done``, and ``trouble``.

        A rate is unknown until somebody has asked before.
        """
        extents = {each.what: each.extent() for each in self._origins}  # before their outcomes
        with reading(self._database, SERVER_READ_S) as reader:
            counts = reader.outcomes()
        lines = {each.what: _lines(each, counts) for each in self._origins}
        rates = self._rates(
            {what: (each.bytes - each.bytes_left, lines[what]) for what, each in extents.items()}
        )
        return {
            "rows": [
                _row(each, extents[each.what], lines[each.what]) | rates[each.what]
                for each in self._origins
            ],
            "done": all(
                each.known and not (each.files_left or each.bytes_left or each.waiting)
                for each in extents.values()
            ),
            "trouble": self._trouble(),
        }

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
    pairs = zip(("bytes_per_s", "lines_per_s"), then, now, strict=True)
    return {name: max(0, round((new - old) / passed_s)) if known else None
            for name, old, new in pairs}  # fmt: skip


def _lines(origin: Origin, counts: list[OutcomeCount]) -> int:
    """Return how many lines of a source have their outcome stored, since the beginning."""
    return sum(each.count for each in counts
               if each.platform == origin.platform and each.source in origin.sources)  # fmt: skip


def _row(origin: Origin, extent: Extent, lines: int) -> Answer:
    return {
        "what": origin.what,
        "files": extent.files,
        "files_left": extent.files_left,
        "bytes": extent.bytes,
        "bytes_left": extent.bytes_left,
        "lines": lines,
        "lines_left": _lines_left(origin, extent, lines),
    }


def _lines_left(origin: Origin, extent: Extent, lines: int) -> int | None:
    """Return how many lines are left: those on the road, and an estimate of those in the files."""
    if not extent.files_left:
        return extent.waiting
    done = extent.bytes - extent.bytes_left
    if not (origin.even and done and lines):
        return None
    return extent.waiting + round(extent.bytes_left * lines / done)
