"""What a person has removed, and an editor still has: it must not come back when that is read anew.

Owns what is remembered of it: half of each event id, which says nothing of the event.
Promises that as long as the database is there, such an event is not stored again.
Leaves removing to ``erasure.py``; what a hook handed over comes once, so nothing is kept of that.
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from blueplane.store.connection import Connection

#: Where the second half of an event id begins, in a text as SQLite counts it.
_HALF: Final = 9
_AT_ONCE: Final = 800


def remember(connection: Connection, sequences: Sequence[int]) -> None:
    """Remember rows that are about to be removed, inside the caller's transaction."""
    connection.execute(
        f"INSERT OR IGNORE INTO forgotten SELECT substr(t.event_id, {_HALF})"
        " FROM traces t JOIN kinds k ON k.id = t.kind"
        f" WHERE t.sequence IN ({', '.join('?' * len(sequences))})"
        " AND k.source IN ('transcript', 'database')",
        sequences,
    )


def any_forgotten(connection: Connection) -> bool:
    """Whether anything is remembered."""
    return bool(connection.execute("SELECT EXISTS (SELECT 1 FROM forgotten)").fetchone()[0])


def forgotten(connection: Connection, event_ids: Iterable[bytes]) -> set[bytes]:
    """Return those of these event ids that were forgotten."""
    found: set[bytes] = set()
    rest = iter(event_ids)
    while chunk := {event_id[_HALF - 1 :]: event_id for event_id in islice(rest, _AT_ONCE)}:
        rows = connection.execute(
            f"SELECT key FROM forgotten WHERE key IN ({', '.join('?' * len(chunk))})", [*chunk]
        )
        found.update(chunk[row[0]] for row in rows)
    return found
