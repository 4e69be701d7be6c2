"""What has been kept for long enough: finding it, and removing it.

Owns the statements of retention: rows of raw traces, dead letters, settlements and counts of
minutes.
Promises to look at rows in the order in which they came, a page at a time, and to remove only what
is older than it is told by both of its times: that of its capture, or opening, and that of its end.
Leaves names that no row uses any more to ``names.py``, transactions to ``pipeline/commits.py``, and
what time it is to ``pipeline/retention.py``.
"""

from dataclasses import dataclass
from typing import Final

from blueplane.clock import NS_PER_MS
from blueplane.store.connection import Connection, translated
from blueplane.store.traces import INGESTED_MS

#: Letters that have their end: dropped, or sent again and settled.
_ENDED: Final = (
    "opened_ms < ?1 AND ((state = 'dropped' AND dropped_ms < ?1)"
    " OR (state = 'retried' AND settled_ms < ?1))"
)


@dataclass(frozen=True, slots=True)
class Page:
    """Rows next to each other: ``first`` and ``last`` sequence, and how many of them are old.

    ``odd`` ones are in between and stay, for one of their times lies ahead of where they stand.
    ``ended`` says that what comes after is younger.
    """

    first: int
    last: int
    old: int
    odd: int
    ended: bool


def next_page(connection: Connection, after: int, limit: int, before_ms: int, now_ms: int) -> Page:
    """Look at up to ``limit`` rows after a sequence: which came before ``before_ms``.

    Rows are in the order of their writing, so the first one that was written between ``before_ms``
    and ``now_ms`` ends the look. One that claims a later time was written while the clock was wrong
    and is passed over.
    """
    with translated():
        rows = connection.execute(
            f"SELECT sequence, captured_ns / {NS_PER_MS}, {INGESTED_MS} FROM traces"
            " WHERE sequence > ? ORDER BY sequence LIMIT ?",
            (after, limit),
        ).fetchall()
    last, old, odd = after, 0, 0
    for sequence, captured_ms, ingested_ms in rows:
        if before_ms <= ingested_ms <= now_ms:
            return Page(after + 1, last, old, odd, ended=True)
        last = sequence
        if max(captured_ms, ingested_ms) < before_ms:
            old += 1
        else:
            odd += 1
    return Page(after + 1, last, old, odd, ended=len(rows) < limit)


def remove_rows(connection: Connection, page: Page, before_ms: int) -> int:
    """Remove the old rows of a page, inside the caller's transaction; return how many went."""
    return connection.execute(
        "DELETE FROM traces WHERE sequence BETWEEN ?1 AND ?2"
        f" AND captured_ns < ?3 * {NS_PER_MS} AND {INGESTED_MS} < ?3",
        (page.first, page.last, before_ms),
    ).rowcount


def newest_ms(connection: Connection) -> int:
    """Return when the newest row was written; 0 when there is none."""
    with translated():
        found = connection.execute(
            f"SELECT {INGESTED_MS} FROM traces ORDER BY sequence DESC LIMIT 1"
        ).fetchone()
    return int(found[0]) if found else 0


def count_letters(connection: Connection) -> int:
    """Return how many dead letters there are."""
    with translated():
        return int(connection.execute("SELECT count(*) FROM dead_letters").fetchone()[0])


def remove_letters(connection: Connection, before_ms: int, most: int) -> tuple[int, int]:
    """Remove letters that ended before a time, oldest first, inside the caller's transaction.

    Returns how many went, and for how many of them an event of ours stays dead-lettered.
    """
    chosen = (
        f"SELECT message_id FROM dead_letters WHERE {_ENDED} ORDER BY opened_ms, message_id"
        " LIMIT ?2"
    )
    gone = connection.execute(
        f"SELECT count(*) FROM dead_letters WHERE message_id IN ({chosen})"
        " AND state = 'dropped' AND origin != ''",
        (before_ms, most),
    ).fetchone()[0]
    removed = connection.execute(
        f"DELETE FROM dead_letters WHERE message_id IN ({chosen})", (before_ms, most)
    ).rowcount
    return removed, int(gone)


def count_settlements(connection: Connection) -> int:
    """Return how many settlements are recorded."""
    with translated():
        return int(connection.execute("SELECT count(*) FROM settlements").fetchone()[0])


def any_settlement(connection: Connection, before_ms: int) -> bool:
    """Whether a settlement is from before a time."""
    with translated():
        found = connection.execute(
            "SELECT EXISTS (SELECT 1 FROM settlements WHERE settled_ms < ?)", (before_ms,)
        ).fetchone()
    return bool(found[0])


def remove_settlements(connection: Connection, before_ms: int, most: int) -> int:
    """Remove records of items that were filtered or quarantined; their counts are in ``rules``."""
    return connection.execute(
        "DELETE FROM settlements WHERE rowid IN (SELECT rowid FROM settlements"
        " WHERE settled_ms < ? ORDER BY settled_ms LIMIT ?)",
        (before_ms, most),
    ).rowcount


def remove_minutes(connection: Connection, before_ms: int, most: int) -> int:
    """Remove counts of minutes before a time; what they sum up to is kept elsewhere."""
    return connection.execute(
        "DELETE FROM custody_minutes WHERE (minute, platform, source, outcome) IN"
        " (SELECT minute, platform, source, outcome FROM custody_minutes"
        " WHERE minute < ? / 60000 ORDER BY minute LIMIT ?)",
        (before_ms, most),
    ).rowcount
