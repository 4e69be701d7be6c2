"""What is asked of the database by those who do not write to it.

Owns the reader, and its SELECTs.
Promises short reads, in plain records, that never hold the writer up.
Leaves showing them to the interfaces, and reading what is to be removed to ``erasure.py`` and
``retention.py``.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from blueplane.clock import monotonic_s
from blueplane.errors import StoreUnavailableError
from blueplane.event import Event
from blueplane.store.codec import Codec, load_codec
from blueplane.store.connection import Connection, identity, open_reader, translated
from blueplane.store.ledger import Ledger, stored_rows
from blueplane.store.letters import Letter, Letters
from blueplane.store.migrations import version
from blueplane.store.traces import MAX_PARAMETERS

#: Seconds after which a read is given up: a command may have to do with a slow disk.
READ_S: Final = 5.0
#: The same within the server, whose threads ask for little at once.
SERVER_READ_S: Final = 1.0
#: Instructions of SQLite between two looks at the time; some tenths of a millisecond.
STEPS: Final = 10_000

_TRACE_COLUMNS: Final = (
    "sequence",
    "event_id",
    "message_id",
    "platform",
    "source",
    "event_type",
    "hook_type",
    "session_id",
    "workspace_hash",
    "project",
    "turn_id",
    "tool_use_id",
    "timestamp_ms",
    "captured_ms",
    "enqueued_ms",
    "delivered_ms",
    "ingested_ms",
    "model",
    "tool_name",
    "duration_ms",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_creation_tokens",
    "lines_added",
    "lines_removed",
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The stored balance: both laws as ``custody.Balance.body`` gives them, and their time."""

    as_of_ms: int
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SourceSummary:
    """What was ever written of one platform and source, and when the last of it was."""

    platform: str
    source: str
    written: int
    last_captured_ms: int


@dataclass(frozen=True, slots=True)
class RuleCount:
    """How many items a rule left out for good, and when the last one: ``outcome`` says how."""

    outcome: str
    rule: str
    count: int
    last_ms: int


class Reader:
    """A read-only connection; use it in one thread and close it.

    A call that takes longer than ``limit_s`` is given up with StoreUnavailableError: the -wal grows
    for as long as a statement runs.
    """

    def __init__(self, path: Path, limit_s: float = READ_S) -> None:
        self._path = path
        self._identity = identity(path)
        self._connection: Connection = open_reader(path)
        self._limit_s = limit_s
        self._ends_s = monotonic_s() + limit_s
        self._connection.set_progress_handler(self._is_late, STEPS)

    def moved(self) -> bool:
        """Whether the database of this name is another file by now."""
        return identity(self._path) != self._identity

    def close(self) -> None:
        """Close the connection."""
        self._connection.set_progress_handler(None, 0)  # it refers to us
        self._connection.close()

    def _is_late(self) -> bool:
        return monotonic_s() > self._ends_s

    @contextmanager
    def _call(self) -> Iterator[None]:
        """Begin the time of a call, and translate its errors."""
        self._ends_s = monotonic_s() + self._limit_s
        try:
            with translated():
                yield
        except StoreUnavailableError as error:
            if not self._is_late():
                raise
            message = (
                f"a read of the database took longer than {self._limit_s:g} s and was given up; "
                "ask again, or for less"
            )
            raise StoreUnavailableError(message) from error

    def schema_version(self) -> int:
        """Return the version of the schema."""
        with self._call():
            return version(self._connection)

    def balance(self) -> Snapshot | None:
        """Return the stored snapshot of both laws; None before the first."""
        with self._call():
            found = self._connection.execute("SELECT as_of_ms, body FROM balance").fetchone()
        return Snapshot(found[0], orjson.loads(found[1])) if found else None

    def settled(self, events: Sequence[Event]) -> set[str]:
        """Return the origins of those events whose outcome is stored.

        An event is known by its id and the nanosecond of its capture; a dead letter, and what was
        filtered under other rules, by its origin. A file back from quarantine is tried anew.
        """
        done: set[str] = set()
        for start in range(0, len(events), MAX_PARAMETERS // 2):
            chunk = events[start : start + MAX_PARAMETERS // 2]
            captured = {(event.event_id, event.captured_ns): event.origin for event in chunk}
            marks = ",".join("?" * len(chunk))
            with self._call():
                for table in ("traces", "duplicates"):
                    rows = self._connection.execute(
                        f"SELECT event_id, captured_ns FROM {table} WHERE event_id IN ({marks})",
                        [event.event_id for event in chunk],
                    )
                    done.update(
                        captured[bytes(row[0]), row[1]]
                        for row in rows
                        if (bytes(row[0]), row[1]) in captured
                    )
                letters = self._connection.execute(
                    f"SELECT origin FROM dead_letters WHERE event_id IN ({marks})",
                    [event.event_id for event in chunk],
                )
                done.update(row[0] for row in letters)
                filtered = self._connection.execute(
                    "SELECT origin FROM settlements"
                    f" WHERE outcome = 'filtered' AND origin IN ({marks})",
                    [event.origin for event in chunk],
                )
                done.update(row[0] for row in filtered)
        return done & {event.origin for event in events}

    def traces(self, column: str, value: str, limit: int = 1000) -> list[dict[str, Any]]:
        """Return rows of ``raw_traces`` by ``event_id`` (hex) or ``session_id``, oldest first."""
        wheres = {
            "event_id": ("t.event_id = ?", bytes.fromhex(value) if column == "event_id" else b""),
            "session_id": ("t.session = (SELECT id FROM names WHERE text = ?)", value),
        }
        where, parameter = wheres[column]
        with self._call():
            rows = self._connection.execute(
                f"SELECT {', '.join(_TRACE_COLUMNS)} FROM raw_traces"
                f" WHERE sequence IN (SELECT t.sequence FROM traces t WHERE {where})"
                " ORDER BY captured_ms, sequence LIMIT ?",
                (parameter, limit),
            )
            return [dict(zip(_TRACE_COLUMNS, row, strict=True)) for row in rows]

    def newest(self, session_id: str, limit: int) -> list[dict[str, Any]]:
        """Return the newest rows of ``raw_traces`` of a session, oldest first."""
        with self._call():
            rows = self._connection.execute(
                f"SELECT {', '.join(_TRACE_COLUMNS)} FROM raw_traces"
                " WHERE sequence IN (SELECT t.sequence FROM traces t"
                " WHERE t.session = (SELECT id FROM names WHERE text = ?))"
                " ORDER BY captured_ms DESC, sequence DESC LIMIT ?",
                (session_id, limit),
            ).fetchall()
        return [dict(zip(_TRACE_COLUMNS, row, strict=True)) for row in reversed(rows)]

    def count_session(self, session_id: str) -> int:
        """Return how many rows a session has."""
        with self._call():
            found = self._connection.execute(
                "SELECT count(*) FROM traces WHERE session = (SELECT id FROM names WHERE text = ?)",
                (session_id,),
            ).fetchone()
        return int(found[0])

    def event_ids(self, first: bytes, last: bytes, limit: int) -> list[str]:
        """Return ids (hex) from ``first`` to ``last`` that have a row or a dead letter."""
        with self._call():
            rows = self._connection.execute(
                "SELECT event_id FROM traces WHERE event_id BETWEEN ?1 AND ?2"
                " UNION SELECT event_id FROM dead_letters WHERE event_id BETWEEN ?1 AND ?2"
                " LIMIT ?3",
                (first, last, limit),
            )
            return [bytes(row[0]).hex() for row in rows]

    def count_rows(self) -> int:
        """Return how many raw traces there are."""
        with self._call():
            return stored_rows(Ledger(self._connection).totals())

    def event_data(self, sequence: int) -> bytes:
        """Return the decoded JSON of a row: ``{"metadata": {...}, "payload": {...}}``."""
        with self._call():
            row = self._connection.execute(
                "SELECT codec, event_data FROM traces WHERE sequence = ?",
                (sequence,),
            ).fetchone()
        return self._codec().decode(row[0], row[1])

    def recent_data(self, source: str, limit: int) -> list[bytes]:
        """Return the decoded JSON of the newest rows of a source."""
        with self._call():
            rows = self._connection.execute(
                "SELECT codec, event_data FROM traces JOIN kinds ON kinds.id = traces.kind"
                " WHERE kinds.source = ? ORDER BY sequence DESC LIMIT ?",
                (source, limit),
            ).fetchall()
        codec = self._codec()
        return [codec.decode(number, data) for number, data in rows]

    def _codec(self) -> Codec:
        with self._call():
            return load_codec(self._connection)

    def untrained_sources(self, wanted: int) -> list[str]:
        """Return the sources with at least ``wanted`` rows and no dictionary of their own."""
        with self._call():
            rows = self._connection.execute(
                "SELECT source FROM ("
                " SELECT k.source, count(*) AS n FROM traces t JOIN kinds k ON k.id = t.kind"
                " WHERE t.sequence < (SELECT min(sequence) FROM traces) + ?1 * 4"
                " GROUP BY k.source)"
                " WHERE n >= ?1 AND source != 'canary' AND source NOT IN"
                " (SELECT source FROM dictionaries WHERE trained_ms > 0)",
                (wanted,),
            )
            return [row[0] for row in rows]

    def duplicates(self, event_id: bytes) -> list[dict[str, Any]]:
        """Return the duplicates of an event."""
        with self._call():
            rows = self._connection.execute(
                "SELECT message_id, same_origin, differs, noted_ms FROM duplicates"
                " WHERE event_id = ? ORDER BY noted_ms",
                (event_id,),
            )
            return [
                {"message_id": m, "same_origin": bool(s), "differs": bool(d), "noted_ms": n}
                for m, s, d, n in rows
            ]

    def letter(self, message_id: str) -> Letter | None:
        """Return the dead letter of a message."""
        with self._call():
            return Letters(self._connection).get(message_id)

    def letters(self, states: Sequence[str] = ("open",), reason: str = "") -> Iterator[Letter]:
        """Yield dead letters in one of ``states`` whose reason holds ``reason``, oldest first."""
        marks = ", ".join("?" * len(states))
        return self._letters(f"state IN ({marks}) AND instr(reason, ?) > 0", [*states, reason])

    def letters_of_event(self, event_id: bytes) -> Iterator[Letter]:
        """Yield the dead letters of an event, oldest first."""
        return self._letters("event_id = ?", [event_id])

    def _letters(self, where: str, parameters: Sequence[Any] = ()) -> Iterator[Letter]:
        with self._call():
            ids = self._connection.execute(
                f"SELECT message_id FROM dead_letters WHERE {where} ORDER BY opened_ms",
                parameters,
            ).fetchall()
        for (message_id,) in ids:
            letter = self.letter(message_id)  # a read of its own: the caller may take its time
            if letter is not None:
                yield letter

    def count_open_letters(self) -> int:
        """Return how many dead letters are open."""
        with self._call():
            return Letters(self._connection).counts()["open"]

    def sources(self) -> list[SourceSummary]:
        """Return what was written, by platform and source; canaries apart."""
        with self._call():
            rows = self._connection.execute(
                "SELECT platform, source, written, last_ms FROM sources WHERE source != 'canary'",
            )
            return [SourceSummary(*row) for row in rows]

    def rules(self) -> list[RuleCount]:
        """Return what never reached the stream, by rule; most first."""
        with self._call():
            rows = self._connection.execute(
                "SELECT outcome, rule, count, last_ms FROM rules ORDER BY count DESC, rule",
            )
            return [RuleCount(*row) for row in rows]

    def incidents(self, since_ms: int, limit: int = 20) -> list[dict[str, Any]]:
        """Return breaks of custody since ``since_ms``, newest first."""
        names = ("kind", "started_ms", "count", "recovered", "cause", "ids")
        with self._call():
            rows = self._connection.execute(
                "SELECT kind, started_ms, count, recovered, cause, ids FROM incidents"
                " WHERE started_ms >= ? ORDER BY started_ms DESC LIMIT ?",
                (since_ms, limit),
            )
            return [
                {**dict(zip(names, row, strict=True)), "ids": orjson.loads(row[5])} for row in rows
            ]


@contextmanager
def reading(path: Path, limit_s: float = READ_S) -> Iterator[Reader]:
    """Open a reader for the length of a block."""
    reader = Reader(path, limit_s)
    try:
        yield reader
    finally:
        reader.close()
