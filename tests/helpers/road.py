"""The road of an event in one process and without threads: each step when the test says so.

Owns invented events, their entries, and ``Road``: store, stream, attacher and writer put together.
Promises the program's own parts; only the source is a stand-in, which notes what it is told.
Leaves threads to the tests of the daemon.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from blueplane import clock
from blueplane.clock import NS_PER_MS, NS_PER_S
from blueplane.errors import QueueDetachedError
from blueplane.event import Event, derive_id, encode
from blueplane.paths import Home
from blueplane.pipeline.attach import Attacher
from blueplane.pipeline.batch import Batch, prepare
from blueplane.pipeline.commits import Commits
from blueplane.pipeline.custody import InFlight
from blueplane.pipeline.stream import Entry, Stream
from blueplane.pipeline.writer import Writer
from blueplane.store.queries import reading
from blueplane.store.traces import Row
from helpers.redis_server import RedisServer

#: When the first invented event was captured: 20 November 2026.
CAPTURED_NS = 1_795_150_000 * NS_PER_S
HOME_ID = "0123456789abcdef"
MANY = 1_000
#: Attaches that one trouble may take: one that finds it, one that mends it, and one to spare.
ATTACHES = 3


def make_event(number: int = 0, **changes: Any) -> Event:
    """Make the event with this number; a millisecond lies between two numbers."""
    captured_ns = CAPTURED_NS + number * NS_PER_MS
    event = Event(
        event_id=derive_id("road", str(number)),
        platform="cursor",
        source="hook",
        hook_type="postToolUse",
        event_type="tool_use",
        session_id="session-1",
        timestamp_ms=captured_ns // NS_PER_MS,
        captured_ns=captured_ns,
        workspace_hash="fedcba9876543210",
        project="",
        turn_id="",
        tool_use_id="",
        payload=b'{"number":%d}' % number,
        metadata=b"{}",
        origin=f"spool:1.1.{number}:{captured_ns}",
    )
    return event._replace(**changes)


def make_entry(event: Event, message_id: bytes = b"") -> tuple[bytes, list[bytes]]:
    """Make the entry of an event, two milliseconds after its capture unless the id says else."""
    return message_id or b"%d-0" % (event.captured_ns // NS_PER_MS + 2), encode(event)


def make_row(commits: Commits, event: Event, message_id: bytes = b"") -> Row:
    """Make the row of an event."""
    row = prepare([make_entry(event, message_id)], commits.codec)[0].row
    assert isinstance(row, Row)
    return row


class Notes:
    """A source that captures nothing: it notes what the writer tells it."""

    def __init__(self) -> None:
        self.released: list[str] = []
        self.retold: list[dict[str, bytes]] = []
        self.wakes = 0
        self.held = 0

    def release(self, origins: Sequence[str]) -> None:
        self.released += origins

    def reconcile(self, origins: Mapping[str, bytes]) -> None:
        self.retold.append(dict(origins))

    def wake(self) -> None:
        self.wakes += 1

    def waiting(self) -> int:
        return self.held


class Road:
    """Store, stream and writer of one home; ``close`` it, or make a second one: a new server."""

    def __init__(self, home: Home, redis: RedisServer, max_retries: int = 3) -> None:
        self.home = home
        self.redis = redis
        self.commits = Commits(home.database)
        self.stream = Stream(lambda: redis.url)
        self.in_flight = InFlight()
        attacher = Attacher(self.stream, self.commits, self.in_flight, HOME_ID)
        self.writer = Writer(self.commits, self.stream, attacher, max_retries)
        self.source = Notes()
        self.writer.sources.append(self.source)

    def close(self) -> None:
        """Give up everything, as a killed server does: without a word to anybody."""
        self.stream.close()
        self.commits.close()

    def append(self, *events: Event) -> None:
        """Append events of one source, as it does."""
        self.stream.append(
            events[0].source,
            [encode(event) for event in events],
            [event.origin for event in events],
            self.in_flight.register,
        )

    def append_foreign(self, event: Event, *, origin: bool = False) -> bytes:
        """Append an entry as a stranger does."""
        event = event if origin else event._replace(origin="")
        message_id = self.redis.command("XADD", self.stream.events, "*", *encode(event))
        assert isinstance(message_id, bytes)
        return message_id

    def read(self, count: int = MANY) -> list[Entry]:
        """Have entries delivered, and no more."""
        return self.stream.read_new(count, 0)

    def hand_over(self, entries: Sequence[Entry]) -> None:
        """Have the writer take what was delivered."""
        whole = [(message_id, fields) for message_id, fields in entries if fields]
        empty = [message_id for message_id, fields in entries if not fields]
        self.writer._take_batch(Batch(prepare(whole, self.writer.commits.codec), empty))

    def drain(self) -> None:
        """Read and write everything that was not delivered yet, until the writer is idle."""
        while entries := self.read():
            self.hand_over(entries)
        self.writer._finish()

    def settle(self) -> dict[str, Any]:
        """Attach as often as it takes, drain, and return the balance."""
        for _ in range(ATTACHES):
            try:
                if not self.stream.attached:
                    self.writer.attach()
                self.hand_over(self.stream.read_history(b"0", MANY))
                self.drain()
            except QueueDetachedError:
                self.stream.detach()
            self.writer.balance()
            if self.stream.attached:
                return self.balance()
        message = f"still not attached after {ATTACHES} times"
        raise AssertionError(message)

    def balance(self) -> dict[str, Any]:
        """Return the stored balance."""
        with reading(self.home.database) as reader:
            snapshot = reader.balance()
        assert snapshot is not None
        return snapshot.body

    def totals(self) -> dict[str, int]:
        """Return the cumulative counters that are not 0."""
        return {name: value for name, value in self.commits.ledger.totals().items() if value}

    def rows(self) -> list[str]:
        """Return the event ids of all rows, in hex, oldest first."""
        found = self.commits._connection.execute("SELECT event_id FROM traces ORDER BY sequence")
        return [row[0].hex() for row in found]


def ids(*events: Event) -> list[str]:
    """Return the ids of events in hex."""
    return [event.event_id.hex() for event in events]


def poison(database_connection: Any, event: Event) -> None:
    """Make the store refuse the row of ``event``, and no other."""
    database_connection.execute(
        "CREATE TRIGGER poison BEFORE INSERT ON traces"
        f" WHEN new.event_id = x'{event.event_id.hex()}'"
        " BEGIN SELECT RAISE(ABORT, 'poison'); END",
    )


def heal(database_connection: Any) -> None:
    """Undo ``poison``."""
    database_connection.execute("DROP TRIGGER poison")


class TurnedClock:
    """The program's two clocks, turned by the test; nobody else's."""

    def __init__(self) -> None:
        self.shift_s = 0.0
        self.wall_shift_ns = 0

    def monotonic(self) -> float:
        return time.monotonic() + self.shift_s

    def time_ns(self) -> int:
        return time.time_ns() + self.wall_shift_ns

    def clock_gettime(self, which: int) -> float:
        return time.clock_gettime(which) + self.shift_s

    def sleepless(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self.shift_s += seconds
        self.wall_shift_ns += int(seconds * NS_PER_S)


def turn_clock(monkeypatch: pytest.MonkeyPatch) -> TurnedClock:
    """Put a clock that the test turns in place of the program's."""
    turned = TurnedClock()
    monkeypatch.setattr(clock, "time", turned)
    return turned


def database_file(directory: Path) -> Path:
    """Return where a test without a home has its database."""
    return directory / "telemetry.db"
