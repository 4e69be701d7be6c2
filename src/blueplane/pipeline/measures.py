"""What the writer measures: batches, how long they took, and what failed.

Owns counters that only grow, the times of the last batches, and a histogram of how long events
took from their capture to their row.
Promises next to no cost in the writer's way: a few additions a batch, nothing a row but what runs
inside the interpreter.
Leaves judging to ``health/``, which reads it from another thread.
"""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from blueplane.clock import monotonic_s, wall_ms

#: Batches whose times are kept.
MAX_BATCHES: Final = 8_192
#: Minutes for which successes and failures are kept apart.
HOUR: Final = 60
_MINUTE_S: Final = 60.0


class BatchTime(NamedTuple):
    """One durable batch: when (monotonic seconds), how many rows, how many milliseconds."""

    at_s: float
    rows: int
    ms: float


@dataclass(slots=True)
class Minute:
    """The events of one minute of the monotonic clock."""

    number: int
    succeeded: int = 0
    failed: int = 0


@dataclass(slots=True)
class Measures:
    """The measures of one server since its start; written by the writer's thread only."""

    batches: deque[BatchTime] = field(default_factory=lambda: deque(maxlen=MAX_BATCHES))
    minutes: deque[Minute] = field(default_factory=lambda: deque(maxlen=HOUR))
    #: Events whose write succeeded, and that failed: alone, or as the batch of an outage.
    succeeded: int = 0
    failed: int = 0
    last_success_ms: int | None = None
    last_failure_ms: int | None = None
    #: The class of the last error, never its words.
    last_error: str | None = None
    #: Messages that were acknowledged, and when the last of them was (monotonic seconds).
    settled: int = 0
    settled_s: float = field(default_factory=monotonic_s)
    #: Milliseconds of a batch: 2**n > ms -> batches.
    batch_ms: Counter[int] = field(default_factory=Counter)
    batch_sum_ms: float = 0.0
    #: Milliseconds from capture to row: 2**n > ms -> rows.
    road_ms: Counter[int] = field(default_factory=Counter)
    road_sum_ms: int = 0
    #: Events that the present outage was counted with; None while there is no outage.
    _refused: int | None = None

    def batch(self, seconds: float, road_ms: Sequence[int], *, others: int = 0) -> None:
        """Note a batch that is durable, and how long each of its events took to get there.

        ``others`` are rows of which nobody knows how long they took.
        """
        rows, now_s = len(road_ms) + others, monotonic_s()
        self.batches.append(BatchTime(now_s, rows, seconds * 1000))
        self.batch_ms[int(seconds * 1000).bit_length()] += 1
        self.batch_sum_ms += seconds * 1000
        self.succeeded += rows
        self._minute(now_s).succeeded += rows
        self.last_success_ms = wall_ms()
        # A clock that went back makes times of less than none.
        times = road_ms if min(road_ms, default=0) >= 0 else [max(0, ms) for ms in road_ms]
        self.road_ms.update(map(int.bit_length, times))
        self.road_sum_ms += sum(times)

    def failure(self, events: int, error: Exception) -> None:
        """Note events that could not be written."""
        self.failed += events
        self._minute(monotonic_s()).failed += events
        self.last_failure_ms = wall_ms()
        self.last_error = type(error).__name__

    def outage(self, events: int, error: Exception) -> None:
        """Note that the store refused ``events`` at once, or 0; one batch counts for an outage."""
        if self._refused is None or (events and not self._refused):
            self.failure(events, error)
            self._refused = events

    def end_outage(self) -> None:
        """Note that the store answers."""
        self._refused = None

    def acknowledged(self, messages: int) -> None:
        """Note messages that left the stream."""
        self.settled += messages
        self.settled_s = monotonic_s()

    def last_hour(self, now_s: float) -> tuple[int, int]:
        """Return how many events succeeded and failed in this minute and the 59 before it."""
        first = int(now_s // _MINUTE_S) - HOUR + 1
        recent = [each for each in tuple(self.minutes) if each.number >= first]
        return sum(each.succeeded for each in recent), sum(each.failed for each in recent)

    def _minute(self, now_s: float) -> Minute:
        number = int(now_s // _MINUTE_S)
        if not self.minutes or self.minutes[-1].number != number:
            self.minutes.append(Minute(number))
        return self.minutes[-1]
