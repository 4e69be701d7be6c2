"""Handing lines of transcripts on: to the road, or, where no event comes of one, to the store.

Owns what is on the road, and what the store is still to be told.
Promises that a line whose outcome is stored, or that is on the road, is not sent again, and that
the store knows a file before its lines are on the road.
Leaves what is in a line to ``transcript.py``, and reading lines again to the monitor.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event as Flag
from threading import Lock
from typing import Final, Protocol

from blueplane.capture.claude_code.files import Transcript
from blueplane.capture.claude_code.hooks import PLATFORM as CLAUDE_CODE
from blueplane.capture.claude_code.places import SOURCE
from blueplane.capture.claude_code.transcript import Line, Place, TranscriptReader
from blueplane.capture.sources import Intake, Outcomes
from blueplane.clock import monotonic_s, wall_ms
from blueplane.errors import FilteredError, MalformedPayloadError, QueueRefusedError
from blueplane.event import Event, Mark, Settlement
from blueplane.logs import get

_log = get("transcripts")

#: Lines, and bytes of them, that are handed on together: to wait for the store, and for Redis,
#: takes as long for few.
CHUNK: Final = 1_000
CHUNK_BYTES: Final = 4 * 1024 * 1024
#: Minutes of the rate that is shown.
RATE_MIN: Final = 5


class TranscriptIntake(Intake, Protocol):
    """The way into the stream, and what is on it."""

    @property
    def in_flight(self) -> int:
        """How many events are on their way."""

    def origins(self) -> Sequence[str]:
        """Return the origins of those that are."""


class Records(Outcomes, Protocol):
    """What the store knows and is told; every method raises StoreError when it is away."""

    def mark(self, source: str, item: str) -> Mark | None:
        """Return how far a file is settled; None for one that is not known."""

    def announce(self, marks: Mapping[str, Mark]) -> None:
        """Store what files items are, before their lines are on the road."""

    def settle(self, outcomes: Sequence[Settlement], passed: Sequence[str] = ()) -> None:
        """Store outcomes of lines that never reach the stream, and pass over settled ones."""


@dataclass(slots=True, eq=False)
class Haul:
    """What was made of some lines: events, and why there is none of others.

    The outcome of ``suspects`` may be stored already. The lines themselves, which may be long, are
    let go of one by one.
    """

    files: list[Transcript] = field(default_factory=list)
    lines: int = 0
    bytes: int = 0
    events: list[Event] = field(default_factory=list)
    outcomes: list[Settlement] = field(default_factory=list)
    suspects: list[Event] = field(default_factory=list)

    @property
    def full(self) -> bool:
        """Whether it is time to hand it on."""
        return self.lines >= CHUNK or self.bytes >= CHUNK_BYTES


class Courier:
    """Hands on what the monitor reads; ``stopping`` ends its waits."""

    def __init__(
        self, reader: TranscriptReader, intake: TranscriptIntake, records: Records, stopping: Flag
    ) -> None:
        self._reader, self._intake, self._records = reader, intake, records
        self._stopping = stopping
        self._lock = Lock()
        #: Origins of lines that are in the stream, as far as we know.
        self._pending: set[str] = set()
        #: Generations of items of which something was in the stream when we began anew.
        self.adopted: dict[str, int] = {}
        #: Files by item that the store is to know before the next lines are handed on.
        self._unknown: dict[str, Mark] = {}
        #: What became of lines that never reach the stream, and origins of lines whose outcome is
        #: stored: the store is told with the next lines, for each telling waits for the writer.
        self._outcomes: list[Settlement] = []
        self._passed: list[str] = []
        self._rate: deque[tuple[int, int]] = deque(maxlen=RATE_MIN + 1)
        #: For health: events that were handed on, lines that could not be read, and the time of
        #: the last event.
        self.captured = self.errors = 0
        self.active_ms: int | None = None

    def release(self, origins: Sequence[str]) -> None:
        """Let go of lines whose outcome is stored."""
        with self._lock:
            self._pending.difference_update(origins)

    @property
    def in_flight(self) -> int:
        """How many lines are in the stream."""
        return len(self._pending)

    def waiting(self) -> int:
        """Return how many lines were sorted and have no outcome that is stored yet."""
        return len(self._pending) + len(self._outcomes) + len(self._passed)

    def events_per_min(self) -> float:
        """Return the rate of the last minutes."""
        first = _minute() - RATE_MIN
        return sum(count for minute, count in list(self._rate) if minute > first) / RATE_MIN

    def begin_anew(self) -> None:
        """Learn what is in the stream, and forget what is found again."""
        with self._lock:  # what is released after this was in flight when we asked
            self._pending = {each for each in self._intake.origins() if each.startswith("t:")}
        self.adopted = dict(map(_item_of, self._pending))
        self._outcomes, self._passed = [], []

    def is_in_flight(self, item: str) -> bool:
        """Say whether lines of a file are in the stream."""
        name = f"t:{item}-"
        with self._lock:
            return any(origin.startswith(name) for origin in self._pending)

    def announce(self, item: str, mark: Mark) -> None:
        """Have the store know a file before the next lines are on the road."""
        self._unknown[item] = mark

    def hand_on(self, haul: Haul) -> None:
        """Give events to the road, and note what becomes of other lines."""
        self.tell()
        settled = self._records.settled(haul.suspects) if haul.suspects else set()
        events = [event for event in haul.events if event.origin not in settled]
        for start in range(0, len(events), CHUNK):
            self._emit(events[start : start + CHUNK])
        self._outcomes += [each for each in haul.outcomes if each.origin not in settled]
        self._passed += sorted(settled)

    def tell(self) -> None:
        """Have the store know the files of the next lines, and what became of the last ones."""
        if self._unknown:
            self._records.announce(self._unknown)
            self._unknown = {}
        if self._outcomes or self._passed:
            self._records.settle(self._outcomes, self._passed)
            self._outcomes, self._passed = [], []

    def sort(self, file: Transcript, line: Line, haul: Haul) -> None:
        """Make of a line what becomes of it, unless it is on the road."""
        place = file.place
        if place is None:
            return
        suspect = line.start < file.suspect_to
        if suspect and place.origin(line) in self._pending:
            return
        outcome = self._judge(place, line)
        if isinstance(outcome, Settlement):
            haul.outcomes.append(outcome)
            if suspect and outcome.outcome == "filtered":
                haul.suspects.append(self._reader.identify(line, place))
            return
        haul.events.append(outcome)
        if suspect:
            haul.suspects.append(outcome)

    def _judge(self, place: Place, line: Line) -> Event | Settlement:
        """Make the event of a line, or say why there is none."""
        try:
            return self._reader.read(line, place)
        except FilteredError as error:
            outcome, rule = "filtered", error.rule
        except MalformedPayloadError as error:
            self.errors += 1
            outcome, rule = "quarantined", error.rule
            _log.warning("line not read", file=place.item, at=line.start, rule=rule)
        size, origin = line.end - line.start, place.origin(line)
        return Settlement(origin, outcome, rule, CLAUDE_CODE.name, "", size, SOURCE)

    def _emit(self, events: Sequence[Event]) -> None:
        with self._lock:  # before the append: a line may be released before that returns
            self._pending.update(event.origin for event in events)
        try:
            self._intake.emit(events, self._stopping)
        except QueueRefusedError:  # none of them is in the stream
            self.release([event.origin for event in events])
            raise
        self.captured += len(events)
        self.active_ms = wall_ms()
        minute = _minute()
        if not self._rate or self._rate[-1][0] != minute:
            self._rate.append((minute, 0))
        self._rate[-1] = (minute, self._rate[-1][1] + len(events))


def _item_of(origin: str) -> tuple[str, int]:
    item, _, generation = origin.split(":")[1].partition("-")
    return item, int(generation)


def _minute() -> int:
    return int(monotonic_s() // 60)
