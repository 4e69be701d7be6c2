"""Seeing events of a monitor through to their outcomes.

Owns what was read and has no outcome yet, and the waiting for it.
Promises that an event is sent again until its outcome is stored, that one which has its outcome is
not sent, that a mark is stored with the last outcome of what it covers, and to hold nothing but
what was handed over last.
Leaves reading, and what a mark says, to the monitor; knows neither Redis nor our database.

Nothing else needs to be remembered: identity and time of an event come from its content, so the
store knows what was sent twice.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Condition
from threading import Event as Flag
from typing import Final, Protocol

from blueplane.capture.cursor.events import SOURCE
from blueplane.capture.sources import Intake, Outcomes
from blueplane.clock import monotonic_s, wall_ms
from blueplane.errors import QueueError, StoreError
from blueplane.event import Event, Mark, Settlement
from blueplane.logs import get
from blueplane.threads import Backoff

_log = get("databases")

#: Seconds before the queue or our own store is tried again: the first delay and the longest.
RETRY_S: Final = (0.1, 2.0)
#: Seconds between two looks at the stop flag while outcomes are waited for.
TICK_S: Final = 0.5
#: Events that are remembered to be settled.
REMEMBERED: Final = 20_000
#: Minutes over which events a minute are counted.
PACE_MIN: Final = 5


class Records(Outcomes, Protocol):
    """What the store knows and is told; every method raises StoreError when it is away."""

    def marks(self, source: str) -> dict[str, Mark]:
        """Return how far each item of a source is settled."""

    def mark(self, source: str, item: str) -> Mark | None:
        """Return how far one item is settled; None for one that is not known."""

    def cover(self, source: str, item: str, mark: Mark, origins: Sequence[str]) -> None:
        """Have a mark stored with the last outcome of ``origins``, at once if there are none."""


@dataclass(slots=True)
class _Held:
    """An event that was read and has no outcome yet."""

    event: Event
    sent: bool


class Courier:
    """Carries what one monitor finds; ``beat`` is called while its thread waits here."""

    def __init__(
        self, intake: Intake, records: Records, stopping: Flag, beat: Callable[[], None]
    ) -> None:
        self._intake = intake
        self._records = records
        self._stopping = stopping
        self._beat = beat
        #: Guards what the writer's thread changes, and is notified when it has.
        self._changed = Condition()
        self._held: dict[str, _Held] = {}
        self._elsewhere: set[str] = set()
        self._known: OrderedDict[bytes, None] = OrderedDict()
        #: Whether the store may be another one than it was.
        self.reconciled = False
        self._backoff = Backoff(*RETRY_S)
        self._trouble: str | None = None
        self._minutes: Counter[int] = Counter()
        #: For health: events that were sent, things that could not be read, and the last time.
        self.sent = self.quarantined = 0
        self.last_ms: int | None = None

    # -- for the writer ----------------------------------------------------------------------------

    def release(self, origins: Sequence[str]) -> None:
        """Note that outcomes are stored; other sources' origins are not known here."""
        with self._changed:
            for origin in self._held.keys() & origins:
                del self._held[origin]
            self._elsewhere.difference_update(origins)
            self._changed.notify_all()

    def reconcile(self, origins: Mapping[str, bytes]) -> None:
        """Forget what was sent: of what is held, ``origins`` are in the stream, the rest is not."""
        with self._changed:
            for origin, held in self._held.items():
                held.sent = origin in origins
            self._elsewhere = {origin for origin in origins if origin.startswith("d:")}
            self._elsewhere -= self._held.keys()
            self.reconciled = True
            self._changed.notify_all()

    def wake(self) -> None:
        """Go on: the stream takes events again."""
        with self._changed:
            self._changed.notify_all()

    def waiting(self) -> int:
        """Return how many events were read and have no outcome yet."""
        return len(self._held) + len(self._elsewhere)

    # -- for the monitor ---------------------------------------------------------------------------

    def events_per_min(self) -> float:
        """Return the rate of the last minutes."""
        now = _minute()
        minutes = range(now - PACE_MIN + 1, now + 1)
        return sum(self._minutes[minute] for minute in minutes) / PACE_MIN

    def deliver(
        self, made: Sequence[Event | Settlement], item: str, mark: Mark | None = None
    ) -> bool:
        """See things of an item through to their outcomes; False when asked to stop first.

        ``mark`` is stored in the transaction of the last one.
        """
        events = {each.event_id: each for each in made if isinstance(each, Event)}
        fresh = [event for key, event in events.items() if key not in self._known]
        self._settle([each for each in made if isinstance(each, Settlement)])
        if mark is not None:
            self._cover(item, mark, [event.origin for event in fresh])
        if self._stopping.is_set() or not self._see_through(fresh):
            return False
        self._remember(fresh)
        if mark is not None and fresh:
            self.patiently(lambda: self._make_sure(item, mark))
        return True

    def forget(self) -> None:
        """Forget what was settled: the store does not know it."""
        self._known.clear()

    def put(self, item: str, mark: Mark) -> None:
        """Store how far an item is settled."""
        self._cover(item, mark, ())

    def _cover(self, item: str, mark: Mark, origins: Sequence[str]) -> None:
        self.patiently(lambda: self._records.cover(SOURCE, item, mark, origins))

    def _make_sure(self, item: str, mark: Mark) -> None:
        """Store a mark if it is not: some events had their outcome before it covered them."""
        if self._records.mark(SOURCE, item) != mark:
            self._records.cover(SOURCE, item, mark, ())

    def _settle(self, outcomes: Sequence[Settlement]) -> None:
        if outcomes:
            self.quarantined += sum(each.outcome == "quarantined" for each in outcomes)
            self.patiently(lambda: self._records.settle(outcomes))

    def _see_through(self, events: Sequence[Event]) -> bool:
        """Send events until each has its outcome stored; False when asked to stop first."""
        if not events:
            return True
        with self._changed:
            self._held = {
                event.origin: _Held(event, event.origin in self._elsewhere) for event in events
            }
            self._elsewhere -= self._held.keys()
        while not self._stopping.is_set():
            self._beat()
            if self._intake.open:
                self.patiently(self._send)
            with self._changed:
                if not self._held:
                    return True
                self._changed.wait(TICK_S)
        return False

    def _send(self) -> None:
        """Append what is not in the stream, unless its outcome is stored."""
        with self._changed:
            unsent = [held for held in self._held.values() if not held.sent]
        if not unsent:
            return
        settled = self._records.settled([held.event for held in unsent])
        self.release(list(settled))
        with self._changed:
            chosen = [held for held in unsent
                      if not held.sent and held.event.origin in self._held]  # fmt: skip
            for held in chosen:
                held.sent = True  # before the append, which the writer may outrun
        if not chosen:
            return
        try:
            self._intake.emit([held.event for held in chosen], self._stopping)
        except QueueError:
            with self._changed:
                for held in chosen:
                    held.sent = False
            raise
        self._count(len(chosen))

    def _count(self, events: int) -> None:
        self.sent += events
        self.last_ms = wall_ms()
        minute = _minute()
        self._minutes[minute] += events
        for old in [each for each in self._minutes if each < minute - PACE_MIN]:
            del self._minutes[old]

    def _remember(self, events: Sequence[Event]) -> None:
        for event in events:
            self._known[event.event_id] = None
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    # -- trouble -----------------------------------------------------------------------------------

    def patiently(self, work: Callable[[], None]) -> None:
        """Do ``work`` until neither the queue nor the store is in its way, or asked to stop."""
        while not self._stopping.is_set():
            self._beat()
            try:
                work()
            except (QueueError, StoreError) as error:
                if isinstance(error, QueueError):
                    self._intake.recover(error)
                self.hold_back(error)
            else:
                self.end_trouble()
                return

    def hold_back(self, error: QueueError | StoreError) -> None:
        """Wait a while, with one line for each change of what is wrong."""
        if self._trouble != str(error):
            self._trouble = str(error)
            _log.warning("databases wait", reason=error)
        self._stopping.wait(self._backoff.next_s())

    def end_trouble(self) -> None:
        """Note that nothing is wrong any more."""
        self._trouble = None
        self._backoff.reset()


def _minute() -> int:
    return int(monotonic_s() // 60)
