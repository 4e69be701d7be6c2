"""The table of dead letters.

Owns what is told of a letter while it is alive, and how a row of it is read.
Promises that a message has at most one letter, and that a letter is never deleted here.
Leaves what a failure is, and the sending, to ``pipeline/``; the end of a letter to ``erasure.py``
and ``retention.py``.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from blueplane.errors import OversizedEntryError
from blueplane.store.connection import Connection

#: Open letters that the mirror in Redis shows; the table has them all.
MAX_MIRRORED = 10_000
#: The class of the error with which only the beginning of an entry is kept.
_TRUNCATED = OversizedEntryError.__name__


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that could not be written, with its raw fields.

    ``raw`` is what ``pack_fields`` of ``pipeline/dead_letters.py`` makes of the entry's fields.
    ``event_id`` and ``captured_ns`` are None when the entry was not readable as an event;
    ``origin`` is empty when no source of ours sent it.
    """

    message_id: str
    event_id: bytes | None
    captured_ns: int | None
    origin: str
    platform: str
    source: str
    hook_type: str
    raw: bytes
    reason: str
    error_class: str
    failures: int
    hop: str
    state: str = "open"
    opened_ms: int = 0
    retried_ms: int | None = None
    settled_ms: int | None = None
    dropped_ms: int | None = None

    @property
    def truncated(self) -> bool:
        """Whether only the beginning of the entry is kept: it can never be sent again."""
        return self.error_class == _TRUNCATED


_COLUMNS = (
    "message_id, event_id, captured_ns, origin, platform, source, hook_type, raw, reason,"
    " error_class, failures, hop, state, opened_ms, retried_ms, settled_ms, dropped_ms"
)


class Letters:
    """Reads and writes dead letters through any connection that may."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def open(self, letter: Letter, now_ms: int) -> bool:
        """Add a letter in state ``open``; False when the message already has one.

        That of a worker which was tried again is open again.
        """
        added = self._connection.execute(
            "INSERT INTO dead_letters (message_id, event_id, captured_ns, origin, platform, source,"
            " hook_type, raw, reason, error_class, failures, hop, state, opened_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'open', ?) ON CONFLICT (message_id)"
            " DO UPDATE SET state = 'open', failures = failures + 1, retried_ms = NULL,"
            " settled_ms = NULL WHERE hop = 'derived' AND state = 'retried'",
            (
                letter.message_id,
                letter.event_id,
                letter.captured_ns,
                letter.origin,
                letter.platform,
                letter.source,
                letter.hook_type,
                letter.raw,
                letter.reason,
                letter.error_class,
                letter.failures,
                letter.hop,
                now_ms,
            ),
        )
        return bool(added.rowcount)

    def retry(self, message_ids: Iterable[str], now_ms: int) -> list[str]:
        """Set open letters to ``retried``; return the ids of those that were open and are whole."""
        return self._change("retried", "retried_ms", message_ids, now_ms, but=_TRUNCATED)

    def drop(self, message_ids: Iterable[str], now_ms: int) -> list[str]:
        """Set open letters to ``dropped``; return the ids of those that were open."""
        return self._change("dropped", "dropped_ms", message_ids, now_ms)

    def _change(
        self, state: str, column: str, ids: Iterable[str], now_ms: int, *, but: str = ""
    ) -> list[str]:
        return [
            message_id
            for message_id in ids
            if self._connection.execute(
                f"UPDATE dead_letters SET state = ?, {column} = ?"
                " WHERE message_id = ? AND state = 'open' AND error_class != ?",
                (state, now_ms, message_id, but),
            ).rowcount
        ]

    def settle(self, message_id: str, now_ms: int) -> Letter | None:
        """Note that the new message of a retried letter has its outcome; None if it had before."""
        changed = self._connection.execute(
            "UPDATE dead_letters SET settled_ms = ?"
            " WHERE message_id = ? AND state = 'retried' AND settled_ms IS NULL",
            (now_ms, message_id),
        )
        return self.get(message_id) if changed.rowcount else None

    def settle_derived(self, worker: str, now_ms: int) -> None:
        """Note that a worker has its rows tried again, all that have no outcome yet."""
        self._connection.execute(
            "UPDATE dead_letters SET state = 'retried', retried_ms = coalesce(retried_ms, ?1),"
            " settled_ms = ?1 WHERE hop = 'derived' AND message_id GLOB '*:' || ?2"
            " AND (state = 'open' OR (state = 'retried' AND settled_ms IS NULL))",
            (now_ms, worker),
        )

    def get(self, message_id: str) -> Letter | None:
        """Return the letter of a message."""
        found = self._connection.execute(
            f"SELECT {_COLUMNS} FROM dead_letters WHERE message_id = ?",
            (message_id,),
        ).fetchone()
        return Letter(*found) if found else None

    def all(self) -> Iterator[Letter]:
        """Yield every letter, oldest first; the connection may change them meanwhile."""
        ids = self._connection.execute("SELECT message_id FROM dead_letters ORDER BY opened_ms")
        for (message_id,) in ids.fetchall():
            letter = self.get(message_id)
            if letter is not None:
                yield letter

    def waiting(self, limit: int) -> list[str]:
        """Return the ids of retried letters whose new message has no outcome yet, oldest first.

        Those of workers have no message: ``to_derive`` has them.
        """
        rows = self._connection.execute(
            "SELECT message_id FROM dead_letters WHERE state = 'retried' AND settled_ms IS NULL"
            " AND hop != 'derived' ORDER BY retried_ms LIMIT ?",
            (limit,),
        )
        return [row[0] for row in rows]

    def to_derive(self, limit: int) -> list[Letter]:
        """Return retried letters of workers that have no outcome yet, oldest first."""
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM dead_letters WHERE state = 'retried' AND settled_ms IS NULL"
            " AND hop = 'derived' ORDER BY retried_ms LIMIT ?",
            (limit,),
        )
        return [Letter(*row) for row in rows]

    def reopen(self, message_id: str) -> None:
        """Open a retried letter again: it failed once more."""
        self._connection.execute(
            "UPDATE dead_letters SET state = 'open', failures = failures + 1, retried_ms = NULL"
            " WHERE message_id = ? AND state = 'retried'",
            (message_id,),
        )

    def open_reasons(self, limit: int = MAX_MIRRORED) -> dict[str, str]:
        """Return the newest open letters: message id -> reason."""
        return dict(
            self._connection.execute(
                "SELECT message_id, reason FROM dead_letters WHERE state = 'open'"
                " ORDER BY opened_ms DESC LIMIT ?",
                (limit,),
            ),
        )

    def counts(self) -> dict[str, int]:
        """Return ``open``, and of our own events ``dead_lettered`` and ``waiting``.

        An event is dead-lettered while its letter is open or dropped, and waiting while it is
        retried and has no outcome yet.
        """
        row = self._connection.execute(
            "SELECT coalesce(sum(state = 'open'), 0),"
            " coalesce(sum(state IN ('open', 'dropped') AND origin != ''), 0),"
            " coalesce(sum(state = 'retried' AND settled_ms IS NULL AND origin != ''), 0)"
            " FROM dead_letters",
        ).fetchone()
        return {"open": row[0], "dead_lettered": row[1], "waiting": row[2]}
