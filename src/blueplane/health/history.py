"""The history of health: what every figure was, a minute each, for seven days.

Owns what a sample is made of, and how samples become points of equal distance.
Promises a gap, None, where nothing was measured, and at most ``MAX_KEPT`` samples in memory while
Redis is away.
Leaves storing to ``pipeline/health_log.py``.

A sample has every number under its dotted name (``queue.queue_depth``), yes and no as 1 and 0, and
each colour as 0 (green) to 3 (red); moments and words are left out. Of the looks of its minute it
has the worst: the smallest of what is good when it is large (``RISING``), the largest of all else.
"""

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Literal, Protocol

from blueplane.clock import wall_ms
from blueplane.errors import BlueplaneError, NotFoundError, UsageError
from blueplane.health.check import Moment, Snapshot
from blueplane.logs import get
from blueplane.pipeline.health_log import KEPT_MS, MINUTE_MS, Sample, Series

_log = get("health")

#: Samples that wait in memory while they cannot be written: two hours.
MAX_KEPT: Final = 120
#: Figures of one sample: a week of so many takes 8 MB at most.
MAX_FIGURES: Final = 240
#: Digits of a fraction that are kept: more say nothing and take room.
DIGITS: Final = 5
#: Ends of the names of numbers that are good when they are large.
RISING: Final = ("success_rate", "disk_free_mb")
#: The same of numbers that are moments, of which no history makes sense.
MOMENTS: Final = ("_timestamp", "_timestamp_ms", "as_of", "as_of_ms")
#: The name of a component's colour; alone it is that of everything.
COLOUR: Final = "health_status"

Point = tuple[int, float | None]
Take = Literal["average", "max"]


class Log(Protocol):
    """Where samples are kept; everything raises QueueError while it cannot be reached."""

    def write(self, samples: Sequence[Sample]) -> None:
        """Append samples, oldest first."""

    def names(self) -> list[str]:
        """Return the names of all figures that are kept."""

    def read(self, wanted: Sequence[str], since_ms: int, now_ms: int) -> dict[str, Series]:
        """Return what is kept of figures, by minute."""


class History:
    """Collects samples for the health thread and answers whoever asks, in any thread."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._minute: int | None = None
        self._worst: dict[str, float] = {}
        #: The figures of the last look that were not known.
        self._unknown: frozenset[str] = frozenset()
        self._waiting: deque[Sample] = deque(maxlen=MAX_KEPT)
        self._trouble: str | None = None

    def keep(self, snapshot: Snapshot, moment: Moment) -> None:
        """Take a look up into the sample of its minute; write the one of the minute before."""
        minute = moment.wall_ms // MINUTE_MS
        if self._minute not in (None, minute):
            self._close(self._minute)
        self._minute = minute
        self._unknown = unknown(snapshot)
        for name, value in figures(snapshot).items():
            self._worst[name] = _worse(name, self._worst.get(name, value), value)

    def _close(self, minute: int) -> None:
        values = {name: _brief(value) for name, value in self._worst.items()}
        if values:
            self._waiting.append(Sample(minute * MINUTE_MS, values))
            self._worst.clear()
            self._write()

    def _write(self) -> None:
        samples = list(self._waiting)
        try:
            self._log.write(samples)
        except BlueplaneError as error:
            self._say(str(error))
            return
        self._say(None)
        self._waiting.clear()

    def _say(self, trouble: str | None) -> None:
        """Say once that samples wait, and once that they do no more."""
        if trouble is not None and self._trouble is None:
            _log.info("history waits", reason=trouble)
        elif trouble is None and self._trouble is not None:
            _log.info("history goes on", samples=len(self._waiting))
        self._trouble = trouble

    # -- answers ---------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Return the names of all figures, in order; raise QueueError while Redis is away."""
        found = set(self._worst)  # the three in the order in which a figure goes through them
        found.update(*(sample.values for sample in tuple(self._waiting)))
        return sorted(found.union(self._log.names()))

    def query(
        self, metric: str, since_ms: int, step_ms: int = MINUTE_MS, take: Take = "average"
    ) -> list[Point]:
        """Return a point every ``step_ms`` from ``since_ms`` until now, as ``points`` makes them.

        Raises UsageError for a step or a span that makes no sense, QueueError while Redis is away.
        """
        now_ms = wall_ms()
        span = Span.until(now_ms, since_ms, step_ms)
        series = dict(self._log.read([metric], span.since_ms, now_ms)[metric])
        for sample in tuple(self._waiting):
            if metric in sample.values:
                series[sample.at_ms] = sample.values[metric]
        return points(metric, series, span, take)

    def answer(
        self, metric: str, since_ms: int, step_ms: int = MINUTE_MS, take: Take = "average"
    ) -> dict[str, Any]:
        """Return the answer as JSON shows it; the metric ``*`` asks for the names of all.

        Raises what ``query`` does, and NotFoundError for the name of no figure.
        """
        if metric == "*":
            return {"metrics": self.names()}
        found = self.query(metric, since_ms, step_ms, take)
        nothing = all(value is None for _, value in found)
        if nothing and metric not in self._unknown and metric not in self.names():
            message = "no figure of that name has a history; metric=* lists those that have one"
            raise NotFoundError(message)
        return {"metric": metric, "step_ms": step_ms, "points": found}


@dataclass(frozen=True, slots=True)
class Span:
    """From when until when, exclusive, in steps; all in milliseconds, whole minutes."""

    since_ms: int
    until_ms: int
    step_ms: int

    @classmethod
    def until(cls, now_ms: int, since_ms: int, step_ms: int) -> "Span":
        """Return the span up to now, of which no more than is kept; it begins at a whole step.

        Raises UsageError for a step that is no whole minute or a beginning that is not in the past.
        """
        if step_ms < MINUTE_MS or step_ms % MINUTE_MS or step_ms > KEPT_MS:
            message = f"step of {step_ms} ms: whole minutes (60000 ms) are wanted, at most 7 days"
            raise UsageError(message)
        if since_ms >= now_ms:
            message = "since must be in the past"
            raise UsageError(message)
        begin_ms = max(since_ms, now_ms - KEPT_MS)
        return cls(begin_ms - begin_ms % step_ms, now_ms - now_ms % MINUTE_MS, step_ms)


def points(metric: str, series: Series, span: Span, take: Take = "average") -> list[Point]:
    """Return a point a step: the average of its samples or their largest; None without any.

    Of a colour always the worst: an average of colours says nothing.
    """
    cells: dict[int, list[float]] = {}
    for at_ms, value in series.items():
        cells.setdefault((at_ms - span.since_ms) // span.step_ms, []).append(value)
    joined = max if take == "max" or _last(metric) == COLOUR else _mean
    steps = range(span.since_ms, span.until_ms, span.step_ms)
    return [
        (at_ms, joined(cells[place]) if place in cells else None)
        for place, at_ms in enumerate(steps)
    ]


# --- samples -------------------------------------------------------------------------------------


def figures(snapshot: Snapshot) -> dict[str, float]:
    """Return every figure of a snapshot that has a history, by its dotted name."""
    found: dict[str, float] = {COLOUR: int(snapshot.colour)}
    for component, report in snapshot.reports.items():
        found[f"{component}.{COLOUR}"] = int(report.colour)
        found.update(
            (name, value)
            for name, value in _flat(component, report.figures)
            if isinstance(value, int | float) and math.isfinite(value)
        )
    return dict(islice(found.items(), MAX_FIGURES))


def unknown(snapshot: Snapshot) -> frozenset[str]:
    """Return the names of what has no value in a snapshot, and may be a number the next time."""
    return frozenset(
        name
        for component, report in snapshot.reports.items()
        for name, value in _flat(component, report.figures)
        if value is None
    )


def _flat(before: str, values: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Yield everything under its dotted name, but moments."""
    for key, value in values.items():
        name = f"{before}.{key}"
        if isinstance(value, Mapping):
            yield from _flat(name, value)
        elif not key.endswith(MOMENTS):
            yield name, value


def _worse(name: str, one: float, other: float) -> float:
    good_when_large = isinstance(other, bool) or name.endswith(RISING)
    return min(one, other) if good_when_large else max(one, other)


def _brief(value: float) -> float:
    """Return yes and no as numbers, and a fraction with as many digits as are kept."""
    return value + 0 if isinstance(value, int) else float(f"{value:.{DIGITS}g}")


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
