"""The custody tables: counters, epoch, duplicates, settlements, incidents and the balance.

Owns every statement that adds to those tables, and what the writer reads of them.
Promises only what its caller's transaction promises: nothing here begins or commits.
Leaves the laws, and when something counts, to ``pipeline/custody.py``; what is taken out of them to
``erasure.py`` and ``retention.py``.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from blueplane.clock import MS_PER_MINUTE
from blueplane.event import Settlement
from blueplane.store.connection import Connection
from blueplane.store.traces import Duplicate

#: Incidents of health that are kept; breaks of custody stay for ever.
MAX_INCIDENTS = 10_000

#: A platform and one of its hooks; both are "" for a failure that is of no known one.
Hook = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Epoch:
    """The life of one stream: from its creation, or adoption, to its loss.

    ``base`` is the stream's entries-added at the start less what was in it; ``settled_at_start``
    and ``own_at_start`` the cumulative counters then; ``high`` and ``own_high`` the most
    entries-added, and the most of them by our own sources, that were ever seen.
    """

    token: str
    base: int
    settled_at_start: int
    own_at_start: int
    high: int
    own_high: int
    started_ms: int


@dataclass(frozen=True, slots=True)
class Incident:
    """A break of custody: messages that vanished, and how many of them were sent again."""

    kind: str
    at_ms: int
    count: int
    recovered: int
    cause: str
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HealthIncident:
    """A time in which a component was not green.

    ``kind`` is ``health:<component>``, ``colour`` the worst it had, ``cause`` what was said of it
    then; ``ended_ms`` is None while it lasts.
    """

    kind: str
    started_ms: int
    ended_ms: int | None
    colour: str
    cause: str


class Ledger:
    """Reads and writes the custody tables through the write connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def totals(self) -> dict[str, int]:
        """Return every cumulative counter by name."""
        return dict(self._connection.execute("SELECT name, value FROM custody_totals"))

    def add(self, amounts: Mapping[str, int]) -> None:
        """Add to cumulative counters."""
        self._connection.executemany(
            "INSERT INTO custody_totals VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            [(name, amount) for name, amount in amounts.items() if amount],
        )

    def add_minute(self, now_ms: int, amounts: Mapping[tuple[str, str, str], int]) -> None:
        """Add to the counters of this minute, and for ever, by (platform, source, outcome)."""
        minute = now_ms // MS_PER_MINUTE
        self._connection.executemany(
            "INSERT INTO custody_minutes VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (minute, platform, source, outcome)"
            " DO UPDATE SET count = count + excluded.count",
            [(minute, *key, amount) for key, amount in amounts.items() if amount],
        )
        self._connection.executemany(
            "INSERT INTO outcomes VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (platform, source, outcome) DO UPDATE SET"
            " count = count + excluded.count, last_ms = max(last_ms, excluded.last_ms)",
            [(*key, amount, now_ms) for key, amount in amounts.items() if amount],
        )

    def add_hooks(
        self, now_ms: int, counts: Mapping[tuple[str, str, str], int], last: Mapping[Hook, int]
    ) -> None:
        """Add to the executions of hooks, by (platform, hook, ``succeeded`` or ``failed``).

        ``last`` has the time of each hook's last one; a time ahead of ``now_ms`` is not believed.
        """
        self._connection.executemany(
            "INSERT INTO hooks VALUES (?1, ?2, ?3, ?4, min(?5, ?6))"
            " ON CONFLICT (platform, hook_type) DO UPDATE"
            " SET succeeded = succeeded + excluded.succeeded, failed = failed + excluded.failed,"
            " last_ms = min(max(last_ms, excluded.last_ms), ?6)",
            [
                (*hook, counts.get((*hook, "succeeded"), 0), counts.get((*hook, "failed"), 0),
                 at_ms, now_ms)
                for hook, at_ms in last.items()
            ],
        )  # fmt: skip

    def add_duplicates(self, duplicates: Iterable[Duplicate], now_ms: int) -> list[Duplicate]:
        """Record duplicates; return those whose message was not recorded before.

        A captured item that is recorded as a duplicate, and comes once more, has the same origin.
        """
        told = (self._tell_origin(duplicate) for duplicate in duplicates)
        return [duplicate for duplicate in told if self._add_duplicate(duplicate, now_ms)]

    def _tell_origin(self, duplicate: Duplicate) -> Duplicate:
        known = self._connection.execute(
            "SELECT 1 FROM duplicates WHERE event_id = ? AND captured_ns = ?",
            (duplicate.row.event_id, duplicate.row.captured_ns),
        ).fetchone()
        return replace(duplicate, same_origin=duplicate.same_origin or known is not None)

    def _add_duplicate(self, duplicate: Duplicate, now_ms: int) -> bool:
        row = duplicate.row
        added = self._connection.execute(
            "INSERT INTO duplicates VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (
                row.message_id, row.event_id, row.captured_ns, duplicate.same_origin,
                duplicate.differs, now_ms,
            ),
        )  # fmt: skip
        return bool(added.rowcount)

    def add_settlements(self, settlements: Iterable[Settlement], now_ms: int) -> list[Settlement]:
        """Record settlements; count by rule, and return, those whose origin was not recorded."""
        added = [item for item in settlements if self._add_settlement(item, now_ms)]
        self._connection.executemany(
            "INSERT INTO rules VALUES (?, ?, ?, ?) ON CONFLICT (outcome, rule) DO UPDATE"
            " SET count = count + excluded.count, last_ms = max(last_ms, excluded.last_ms)",
            [
                (*rule, count, now_ms)
                for rule, count in Counter((item.outcome, item.rule) for item in added).items()
            ],
        )
        return added

    def _add_settlement(self, item: Settlement, now_ms: int) -> bool:
        added = self._connection.execute(
            "INSERT INTO settlements VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (
                item.origin, item.outcome, item.rule, item.platform, item.hook_type, item.size,
                now_ms,
            ),
        )  # fmt: skip
        return bool(added.rowcount)

    def settled_messages(self, messages: Sequence[tuple[str, str]]) -> set[str]:
        """Return the ids of those messages, given as (message id, event id in hex), that are done.

        Done is what has a row, a duplicate or a dead letter under this very message id.
        """
        return {
            message_id
            for message_id, event_id in messages
            if self._connection.execute(
                "SELECT 1 FROM duplicates WHERE message_id = ?1"
                " UNION ALL SELECT 1 FROM dead_letters WHERE message_id = ?1"
                " UNION ALL SELECT 1 FROM traces WHERE event_id = ?2"
                " AND (captured_ns / 1000000 + message_lag) || '-' || message_number = ?1",
                (message_id, _bytes_of(event_id)),
            ).fetchone()
        }

    def epoch(self) -> Epoch | None:
        """Return the present epoch; None before the first."""
        found = self._connection.execute(
            "SELECT token, base, settled_at_start, own_at_start, high, own_high, started_ms"
            " FROM epoch",
        ).fetchone()
        return Epoch(*found) if found else None

    def put_epoch(self, epoch: Epoch) -> None:
        """Replace the epoch."""
        self._connection.execute(
            "INSERT OR REPLACE INTO epoch VALUES (1, ?, ?, ?, ?, ?, ?, ?)",
            (
                epoch.token,
                epoch.base,
                epoch.settled_at_start,
                epoch.own_at_start,
                epoch.high,
                epoch.own_high,
                epoch.started_ms,
            ),
        )

    def balance(self) -> dict[str, Any] | None:
        """Return the body of the stored balance, empty before the first; None of a spoilt one."""
        found = self._connection.execute("SELECT body FROM balance").fetchone()
        try:
            return dict(orjson.loads(found[0])) if found else {}
        except (orjson.JSONDecodeError, TypeError, ValueError):
            return None

    def seen(self) -> dict[str, int]:
        """Return up to where the stream's counter of each source is counted."""
        return dict(self._connection.execute("SELECT source, seen FROM enqueued"))

    def put_seen(self, counters: Mapping[str, int]) -> None:
        """Note that the stream's counters are counted up to here."""
        self._connection.execute("DELETE FROM enqueued")
        self._connection.executemany("INSERT INTO enqueued VALUES (?, ?)", counters.items())

    def put_balance(self, as_of_ms: int, body: Mapping[str, object]) -> None:
        """Store the snapshot that everyone shows."""
        self._connection.execute(
            "INSERT OR REPLACE INTO balance VALUES (1, ?, ?)",
            (as_of_ms, orjson.dumps(body).decode()),
        )

    def put_health(self, as_of_ms: int, body: Mapping[str, object]) -> None:
        """Store how everything was, for whoever asks while no server runs."""
        self._connection.execute(
            "INSERT OR REPLACE INTO health VALUES (1, ?, ?)",
            (as_of_ms, orjson.dumps(body).decode()),
        )

    def add_incident(self, incident: Incident) -> None:
        """Record a break of custody."""
        self._connection.execute(
            "INSERT INTO incidents (kind, started_ms, ended_ms, count, recovered, cause, ids)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                incident.kind,
                incident.at_ms,
                incident.at_ms,
                incident.count,
                incident.recovered,
                incident.cause,
                orjson.dumps(incident.ids).decode(),
            ),
        )

    def put_change(self, change: HealthIncident) -> None:
        """Record how an incident of health is by now: a new one, or one that is known."""
        told = (change.ended_ms, change.colour, change.cause, change.kind, change.started_ms)
        known = self._connection.execute(
            "UPDATE incidents SET ended_ms = ?, colour = ?, cause = ?"
            " WHERE kind = ? AND started_ms = ?",
            told,
        )
        if not known.rowcount:
            self._connection.execute(
                "INSERT INTO incidents"
                " (ended_ms, colour, cause, kind, started_ms, count, recovered, ids)"
                " VALUES (?, ?, ?, ?, ?, 0, 0, '[]')",
                told,
            )
            self._connection.execute(
                "DELETE FROM incidents WHERE colour IS NOT NULL AND id <= last_insert_rowid() - ?",
                (MAX_INCIDENTS,),
            )

    def cursor(self, name: str) -> int:
        """Return a source's offset, 0 when it has none."""
        found = self._connection.execute(
            "SELECT value FROM cursors WHERE name = ?",
            (name,),
        ).fetchone()
        return int(found[0]) if found else 0

    def put_cursor(self, name: str, value: int) -> None:
        """Set a source's offset."""
        self._connection.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?)", (name, value))

    def last_sequence(self) -> int:
        """Return the highest sequence that a row ever had, or will not have again."""
        found = self._connection.execute(
            "SELECT seq FROM sqlite_sequence WHERE name = 'traces'",
        ).fetchone()
        return int(found[0]) if found else 0

    def skip_to(self, sequence: int) -> None:
        """Have the next row come after ``sequence``."""
        if sequence > self.last_sequence():
            self._connection.execute("DELETE FROM sqlite_sequence WHERE name = 'traces'")
            self._connection.execute(
                "INSERT INTO sqlite_sequence VALUES ('traces', ?)", (sequence,)
            )


def stored_rows(totals: Mapping[str, int]) -> int:
    """Return how many raw traces there are, from the counters: counting them takes long."""
    gone = totals.get("rows.forgotten", 0) + totals.get("rows.expired", 0)
    return totals.get("messages.written", 0) - gone


def _bytes_of(event_id: str) -> bytes:
    try:
        return bytes.fromhex(event_id)
    except ValueError:
        return b""  # no event of ours: no row has it
