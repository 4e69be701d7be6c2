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
from typing import Any, Final, NamedTuple

import orjson

from blueplane.clock import MS_PER_MINUTE, iso_utc
from blueplane.errors import StoreBrokenError
from blueplane.event import COLUMNS_ONLY, Event, Mark
from blueplane.paths import free_bytes
from blueplane.store.codec import Codec, load_codec
from blueplane.store.derived import Content, Trace
from blueplane.store.forgotten import forgotten
from blueplane.store.ledger import HealthIncident, Ledger, stored_rows
from blueplane.store.letters import Letter, Letters
from blueplane.store.offsets import Offsets
from blueplane.store.reading import READ_S, Reads
from blueplane.store.traces import INGESTED_MS, MAX_PARAMETERS, whole_text

#: Seconds after which a read is given up within the server, whose threads ask for little at once.
SERVER_READ_S: Final = 1.0

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
    """What was stored last, with its time: the balance, or all of health."""

    as_of_ms: int
    body: dict[str, Any]

    def shown(self, now_ms: int) -> dict[str, Any]:
        """Return the body with its time, and its age at ``now_ms``, as everyone shows it."""
        as_of_ms = self.as_of_ms
        age_ms = max(0, now_ms - as_of_ms)
        as_of = {"as_of": iso_utc(as_of_ms), "as_of_ms": as_of_ms, "as_of_age_ms": age_ms}
        return {**self.body, **as_of}


class MalformedEntry(NamedTuple):
    """Something in a file of an editor that could not be read: where, why, and when it was seen."""

    origin: str
    rule: str
    bytes: int
    seen_ms: int


@dataclass(frozen=True, slots=True)
class OutcomeCount:
    """How much of a platform and source had an outcome, and when (milliseconds) the last.

    Both are "" where they are not known; ``enqueued`` and ``captured`` are outcomes here, too.
    """

    platform: str
    source: str
    outcome: str
    count: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class Vanished:
    """Messages without an outcome of their own, how many of them came again, and the last time."""

    count: int
    recovered: int
    last_ms: int | None


@dataclass(frozen=True, slots=True)
class LetterGroup:
    """Open dead letters of the same hop and error, and when the first and the last was opened."""

    hop: str
    error_class: str
    count: int
    first_ms: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class SourceSummary:
    """What was ever written of one platform and source, and when the last of it was."""

    platform: str
    source: str
    written: int
    last_captured_ms: int


@dataclass(frozen=True, slots=True)
class Alarm:
    """What happened to the database itself: how often, when last, and how many messages it cost."""

    kind: str
    times: int
    last_ms: int
    lost: int


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of the database, of its -wal, and that are free beside them; None where unknown."""

    database: int | None
    wal: int | None
    free: int | None


@dataclass(frozen=True, slots=True)
class RuleCount:
    """How many items a rule left out for good, and when the last one: ``outcome`` says how."""

    outcome: str
    rule: str
    count: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class HookCount:
    """What was ever counted of a hook; platform and hook are "" where they are not known."""

    platform: str
    hook_type: str
    succeeded: int
    failed: int
    last_ms: int


class Reader(Reads):
    """A read-only connection; use it in one thread and close it."""

    def balance(self) -> Snapshot | None:
        """Return the stored snapshot of both laws; None before the first."""
        with self._call():
            found = self._connection.execute("SELECT as_of_ms, body FROM balance").fetchone()
        return Snapshot(found[0], _parsed(found[1])) if found else None

    def health(self) -> Snapshot | None:
        """Return the last stored snapshot of health; None before the first."""
        with self._call():
            found = self._connection.execute("SELECT as_of_ms, body FROM health").fetchone()
        return Snapshot(found[0], _parsed(found[1])) if found else None

    def settled(self, events: Sequence[Event]) -> set[str]:
        """Return the origins of those events whose outcome is stored.

        An event is known by its id and the nanosecond of its capture; a dead letter, and what was
        filtered under other rules, by its origin. A file back from quarantine is tried anew; what
        was forgotten has had its outcome.
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
                gone = forgotten(self._connection, [event.event_id for event in chunk])
                done.update(event.origin for event in chunk if event.event_id in gone)
        return done & {event.origin for event in events}

    def marks(self, source: str) -> dict[str, Mark]:
        """Return how far the items of a source are settled, by item."""
        with self._call():
            return Offsets(self._connection).all(source)

    def mark(self, source: str, item: str) -> Mark | None:
        """Return how far an item of a source is settled; None for one that is not known."""
        with self._call():
            return Offsets(self._connection).get(source, item)

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
        """Return the JSON of a row's event: ``{"metadata": {...}, "payload": {...}}``."""
        with self._call():
            codec, data, *columns = self._connection.execute(
                f"SELECT codec, event_data, {', '.join(COLUMNS_ONLY)} FROM raw_traces"
                " WHERE sequence = ?",
                (sequence,),
            ).fetchone()
        return whole_text(self._codec().decode(codec, data), columns)

    def recent_data(self, source: str, limit: int) -> list[bytes]:
        """Return the decoded ``event_data`` of the newest rows of a source."""
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

    def count_open_letters(self, since_ms: int = 0) -> int:
        """Return how many events could not be written, and wait as open letters since a time."""
        with self._call():
            found = self._connection.execute(
                "SELECT count(*) FROM dead_letters"
                " WHERE state = 'open' AND opened_ms >= ? AND hop != 'derived'",
                (since_ms,),
            ).fetchone()
        return int(found[0])

    def sources(self) -> list[SourceSummary]:
        """Return what was written, by platform and source; canaries apart."""
        with self._call():
            rows = self._connection.execute(
                "SELECT platform, source, count, last_ms FROM outcomes"
                " WHERE outcome = 'written' AND source != 'canary'",
            )
            return [SourceSummary(*row) for row in rows]

    def rules(self) -> list[RuleCount]:
        """Return what never reached the stream, by rule; most first."""
        with self._call():
            rows = self._connection.execute(
                "SELECT outcome, rule, count, last_ms FROM rules ORDER BY count DESC, rule",
            )
            return [RuleCount(*row) for row in rows]

    def malformed(self, limit: int) -> list[MalformedEntry]:
        """Return what could not be read of editors' own files, the newest first."""
        with self._call():
            rows = self._connection.execute(
                "SELECT origin, rule, bytes, settled_ms FROM settlements"
                " WHERE outcome = 'quarantined' AND (origin GLOB 't:*' OR origin GLOB 'd:*')"
                " ORDER BY settled_ms DESC, rowid LIMIT ?",
                (limit,),
            )
            return [MalformedEntry(*row) for row in rows]

    def hooks(self) -> list[HookCount]:
        """Return the executions of every hook, those of the last one first."""
        with self._call():
            rows = self._connection.execute(
                "SELECT platform, hook_type, succeeded, failed, last_ms FROM hooks"
                " ORDER BY last_ms DESC, platform, hook_type",
            )
            return [HookCount(*row) for row in rows]

    def outcomes(self) -> list[OutcomeCount]:
        """Return what became of everything since the beginning, by platform and source."""
        with self._call():
            rows = self._connection.execute(
                "SELECT platform, source, outcome, count, last_ms FROM outcomes",
            )
            return [OutcomeCount(*row) for row in rows]

    def outcomes_between(self, since_ms: int, until_ms: int) -> list[OutcomeCount]:
        """Return what became of what, by whole minutes: those that begin between the two times."""
        with self._call():
            rows = self._connection.execute(
                f"SELECT platform, source, outcome, sum(count), max(minute) * {MS_PER_MINUTE}"
                " FROM custody_minutes WHERE minute > ? AND minute <= ?"
                " GROUP BY platform, source, outcome",
                (since_ms // MS_PER_MINUTE, until_ms // MS_PER_MINUTE),
            )
            return [OutcomeCount(*row) for row in rows]

    def vanished(self, since_ms: int, until_ms: int) -> Vanished:
        """Return how many messages vanished between two times, and when any last did."""
        with self._call():
            count, recovered = self._connection.execute(
                "SELECT coalesce(sum(count), 0), coalesce(sum(recovered), 0) FROM incidents"
                " WHERE colour IS NULL AND started_ms BETWEEN ? AND ?",
                (since_ms, until_ms),
            ).fetchone()
            last = self._connection.execute(
                "SELECT started_ms FROM incidents WHERE colour IS NULL AND count > 0"
                " ORDER BY started_ms DESC LIMIT 1",
            ).fetchone()
        return Vanished(count, recovered, last[0] if last else None)

    def refused(self) -> dict[str, int]:
        """Return how many events hooks refused, by the letter of the reason."""
        with self._call():
            rows = self._connection.execute(
                "SELECT substr(name, 9), value FROM custody_totals WHERE name GLOB 'refused.?'",
            )
            return dict(rows.fetchall())

    def letter_groups(self) -> list[LetterGroup]:
        """Return the open dead letters by the writes that failed, most first."""
        with self._call():
            rows = self._connection.execute(
                "SELECT hop, error_class, count(*) AS n, min(opened_ms), max(opened_ms)"
                " FROM dead_letters WHERE state = 'open' AND hop != 'derived'"
                " GROUP BY hop, error_class ORDER BY n DESC",
            )
            return [LetterGroup(*row) for row in rows]

    def all_incidents(self, since_ms: int, limit: int = 100) -> list[dict[str, Any]]:
        """Return breaks, and times in which a component was not green, newest first.

        Those that last, or ended since ``since_ms``. ``colour`` is None for a break.
        """
        names = ("kind", "started_ms", "ended_ms", "colour", "count", "recovered", "cause")
        with self._call():
            rows = self._connection.execute(
                f"SELECT {', '.join(names)} FROM incidents"
                " WHERE ended_ms IS NULL OR ended_ms >= ?"
                " ORDER BY started_ms DESC, id DESC LIMIT ?",
                (since_ms, limit),
            )
            return [dict(zip(names, row, strict=True)) for row in rows]

    def open_incidents(self) -> list[HealthIncident]:
        """Return the times of not being green that have not ended, oldest first."""
        with self._call():
            rows = self._connection.execute(
                "SELECT kind, started_ms, ended_ms, colour, cause FROM incidents"
                " WHERE colour IS NOT NULL AND ended_ms IS NULL ORDER BY started_ms",
            )
            return [HealthIncident(*row) for row in rows]

    def incidents(self, since_ms: int, limit: int = 20) -> list[dict[str, Any]]:
        """Return breaks of custody since ``since_ms``, newest first."""
        names = ("kind", "started_ms", "count", "recovered", "cause", "ids")
        with self._call():
            rows = self._connection.execute(
                "SELECT kind, started_ms, count, recovered, cause, ids FROM incidents"
                " WHERE colour IS NULL AND started_ms >= ? ORDER BY started_ms DESC LIMIT ?",
                (since_ms, limit),
            )
            return [{**dict(zip(names, row, strict=True)), "ids": _parsed(row[5])} for row in rows]

    def alarms(self, since_ms: int) -> list[Alarm]:
        """Return what happened to the database since ``since_ms``, by kind."""
        with self._call():
            rows = self._connection.execute(
                "SELECT kind, count(*), max(started_ms), sum(count) FROM incidents"
                " WHERE colour IS NULL AND started_ms >= ? AND kind LIKE 'store!_%' ESCAPE '!'"
                " GROUP BY kind ORDER BY kind",
                (since_ms,),
            )
            return [Alarm(*row) for row in rows]

    def last_write_ms(self) -> int | None:
        """Return when the last row was written; None before the first."""
        with self._call():
            found = self._connection.execute(
                "SELECT max(last_ms) FROM outcomes WHERE outcome = 'written'"
            ).fetchone()
        return None if found[0] is None else int(found[0])

    def last_sequence(self) -> int:
        """Return the highest sequence that was ever given; 0 before the first."""
        with self._call():
            return Ledger(self._connection).last_sequence()

    def first_sequence(self) -> int | None:
        """Return the sequence of the oldest row; None without one."""
        found = self.rows("SELECT min(sequence) FROM traces")
        return None if found[0][0] is None else int(found[0][0])

    def watermarks(self) -> dict[str, int]:
        """Return up to which sequence each worker is done."""
        with self._call():
            rows = self._connection.execute("SELECT worker, sequence FROM watermarks")
            return {str(worker): int(sequence) for worker, sequence in rows}

    def after(self, sequence: int, limit: int, codec: Codec) -> list[Trace]:
        """Return the rows after a sequence, in order; ``codec`` decodes them when it is asked."""
        return self._traces("sequence > ? ORDER BY sequence LIMIT ?", (sequence, limit), codec)

    def trace(self, event_id: bytes, codec: Codec) -> Trace | None:
        """Return the row of an event; None without one."""
        where = "sequence = (SELECT sequence FROM traces WHERE event_id = ?)"
        return next(iter(self._traces(where, (event_id,), codec)), None)

    def of_session(self, session_id: str, after: int, limit: int) -> list[Trace]:
        """Return the rows of a session after a sequence, in order."""
        where = (
            "sequence IN (SELECT sequence FROM traces"
            " WHERE session = (SELECT id FROM names WHERE text = ?) AND sequence > ?"
            " ORDER BY sequence LIMIT ?) ORDER BY sequence"
        )
        return self._traces(where, (session_id, after, limit), self._codec())

    def _traces(self, where: str, parameters: Sequence[Any], codec: Codec) -> list[Trace]:
        found = self.rows(
            f"SELECT {', '.join(Trace._fields[:-1])}, codec, event_data FROM raw_traces"
            f" WHERE {where}",
            parameters,
        )
        decode = codec.decode
        return [
            Trace._make((sequence, bytes.fromhex(event_id), *fields, Content(decode, number, data)))
            for sequence, event_id, *fields, number, data in found
        ]

    def letters_to_derive(self, limit: int) -> list[Letter]:
        """Return letters of workers that are to be tried again, oldest first."""
        with self._call():
            return Letters(self._connection).to_derive(limit)

    def count_underived(self) -> int:
        """Return how many rows a worker could derive nothing from: its open letters."""
        found = self.rows(
            "SELECT count(*) FROM dead_letters WHERE state = 'open' AND hop = 'derived'"
        )
        return int(found[0][0])

    def written_after(self, sequence: int) -> int | None:
        """Return when (ms) the first row after ``sequence`` was written; None without one."""
        with self._call():
            found = self._connection.execute(
                f"SELECT {INGESTED_MS} FROM traces WHERE sequence > ? ORDER BY sequence LIMIT 1",
                (sequence,),
            ).fetchone()
        return int(found[0]) if found else None


def footprint(path: Path) -> Footprint:
    """Return how much room the database at ``path`` takes, and is left to it."""
    wal = path.with_name(f"{path.name}-wal")
    return Footprint(_size(path), _size(wal), free_bytes(path.parent))


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _parsed(text: str) -> Any:  # noqa: ANN401 - whatever was stored
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        message = f"the database is damaged: what should be JSON is none ({error})"
        raise StoreBrokenError(message) from error


@contextmanager
def reading(path: Path, limit_s: float = READ_S) -> Iterator[Reader]:
    """Open a reader for the length of a block."""
    reader = Reader(path, limit_s)
    try:
        yield reader
    finally:
        reader.close()
