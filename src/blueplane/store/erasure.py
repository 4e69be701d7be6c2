"""What a person has removed, or brought down to another privacy level.

Owns finding what belongs to a session, a project or the time before a moment, the statements that
remove it, and making the file hold nothing of what was removed.
Promises that a row removed is a row counted (``rows.forgotten``), and that a dead letter stays as
one without content, so that both laws go on to close.
Leaves transactions to ``pipeline/commits.py``, and everything outside the file to
``pipeline/eraser.py``.
"""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from blueplane.store.connection import Connection, translated
from blueplane.store.derived_erasure import NO_TEXT, DerivedRows, Removal, renaming
from blueplane.store.forgotten import remember
from blueplane.store.metric_rollups import begin_measuring_anew
from blueplane.store.names import remove_unused_names
from blueplane.store.rebuilding import CLEARING, begin_anew

#: Rows that are read, or changed, at once; fewer than a statement takes parameters.
AT_ONCE: Final = 800
#: What stands in place of the content of a dead letter that was removed.
FORGOTTEN: Final = "forgotten"
#: The content of a row that had to lose all of it.
EMPTY: Final = b'{"metadata":{},"payload":{}}'
#: The cursor that says that something was removed, and that files may still hold it.
ERASING: Final = "erasing"


#: Items with a text in their names, but for those that ``remove_origins`` gave.
_NAMES: Final = f"instr(origin, ?) > 0 AND origin NOT GLOB 'forgotten:{'[0-9a-f]' * 16}'"


@dataclass(frozen=True, slots=True)
class Selection:
    """What is meant: a session, a project by all names that it may have, or a time before."""

    session_id: str = ""
    projects: tuple[str, ...] = ()
    before_ms: int = 0


class StoredRow(NamedTuple):
    """A row as it is stored, as far as its content goes."""

    sequence: int
    platform: str
    source: str
    codec: int
    data: bytes


class CapturedRow(NamedTuple):
    """The content of a row that is known by its event and when that was captured."""

    event_id: bytes
    captured_ns: int
    codec: int
    data: bytes


class Erasure:
    """Finds and removes through any connection that may; nothing here begins or commits."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    # -- finding -----------------------------------------------------------------------------------

    def rows(self, selection: Selection) -> "array[int]":
        """Return the sequences of the rows that are meant, in order; there may be millions."""
        with translated():
            where, parameters = self._where(selection)
            found = self._connection.execute(
                f"SELECT sequence FROM traces WHERE {where} ORDER BY sequence", parameters
            )
            return array("q", (row[0] for row in found))

    def _where(self, selection: Selection) -> tuple[str, Sequence[object]]:
        if selection.before_ms:
            return "captured_ns < ?", [selection.before_ms * 1_000_000]
        if selection.session_id:
            return "session = (SELECT id FROM names WHERE text = ?)", [selection.session_id]
        marks = ", ".join("?" * len(selection.projects))
        ids = f"(SELECT id FROM names WHERE text IN ({marks}))"
        # A session whose every project is this one: its events that name none belong to it, too.
        sessions = (
            f"(SELECT session FROM traces WHERE project IN {ids}"
            " EXCEPT SELECT session FROM traces"
            f" WHERE session IN (SELECT session FROM traces WHERE project IN {ids})"
            f" AND project IS NOT NULL AND project NOT IN {ids})"
        )
        where = f"project IN {ids} OR (project IS NULL AND session IN {sessions})"
        return where, [*selection.projects] * 4

    def contents(self, after: int = 0) -> Iterator[list[StoredRow]]:
        """Yield all rows after a sequence in pieces; the connection may change them meanwhile."""
        while True:
            with translated():  # a wrong bit makes a text of a blob, or a kind that is not there
                found = self._connection.execute(
                    "SELECT t.sequence, coalesce(k.platform, ''), coalesce(k.source, ''), t.codec,"
                    " coalesce(CAST(t.event_data AS BLOB), x'')"
                    " FROM traces t LEFT JOIN kinds k ON k.id = t.kind"
                    " WHERE t.sequence > ? ORDER BY t.sequence LIMIT ?",
                    (after, AT_ONCE),
                ).fetchall()
            if not found:
                return
            yield [StoredRow(*row) for row in found]
            after = found[-1][0]

    def captured(self, event_ids: Sequence[bytes]) -> Iterator[CapturedRow]:
        """Yield the rows of events."""
        for start in range(0, len(event_ids), AT_ONCE):
            chunk = event_ids[start : start + AT_ONCE]
            with translated():
                found = self._connection.execute(
                    "SELECT event_id, captured_ns, codec, CAST(event_data AS BLOB) FROM traces"
                    f" WHERE event_id IN ({', '.join('?' * len(chunk))})",
                    chunk,
                ).fetchall()
            yield from (CapturedRow(*row) for row in found)

    def count_rows(self) -> int:
        """Return how many rows there are, by counting them."""
        with translated():
            return int(self._connection.execute("SELECT count(*) FROM traces").fetchone()[0])

    def count_origins(self, text: str) -> int:
        """Return how many items that never reached the stream have ``text`` in their name."""
        with translated():
            found = self._connection.execute(
                f"SELECT count(*) FROM settlements WHERE {_NAMES}", (text,)
            )
            return int(found.fetchone()[0])

    def derived(self, selection: Selection) -> DerivedRows:
        """Return what is derived from what is meant."""
        wanted = (selection.session_id, selection.projects, selection.before_ms)
        return DerivedRows(self._connection, *wanted)

    def labels(self, kind: str) -> list[str]:
        """Return the labels of derived rows of a kind: ``project``, ``branch`` and others."""
        with translated():
            found = self._connection.execute("SELECT text FROM labels WHERE kind = ?", (kind,))
            return [row[0] for row in found]

    def texts(self, table: str, column: str) -> list[str]:
        """Return the texts of a column of derived rows."""
        with translated():
            found = self._connection.execute(
                f"SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL"
            )
            return [row[0] for row in found]

    def is_unfinished(self) -> bool:
        """Return whether something was removed of which files may still hold a trace."""
        with translated():
            found = self._connection.execute(
                "SELECT value FROM cursors WHERE name = ?", (ERASING,)
            ).fetchone()
            return bool(found and found[0])

    def projects(self) -> list[str]:
        """Return the names of all projects."""
        with translated():
            found = self._connection.execute(
                "SELECT text FROM names WHERE id IN (SELECT DISTINCT project FROM traces)"
            )
            return [row[0] for row in found]

    # -- removing, inside the caller's transaction -------------------------------------------------

    def remove_rows(self, sequences: Sequence[int]) -> Mapping[str, int]:
        """Remove rows, ``AT_ONCE`` at most, with their duplicates; return what that counts."""
        remember(self._connection, sequences)
        marks = ", ".join("?" * len(sequences))
        self._connection.execute(
            "DELETE FROM duplicates WHERE event_id IN"
            f" (SELECT event_id FROM traces WHERE sequence IN ({marks}))",
            sequences,
        )
        self._connection.execute(  # of a worker, and in neither law
            "DELETE FROM dead_letters WHERE hop = 'derived' AND event_id IN"
            f" (SELECT event_id FROM traces WHERE sequence IN ({marks}))",
            sequences,
        )
        removed = self._connection.execute(
            f"DELETE FROM traces WHERE sequence IN ({marks})", sequences
        )
        return {"rows.forgotten": removed.rowcount}

    def replace_contents(self, rows: Sequence[StoredRow]) -> Mapping[str, int]:
        """Store other content for rows."""
        self._connection.executemany(
            "UPDATE traces SET codec = ?, event_data = ? WHERE sequence = ?",
            [(row.codec, row.data, row.sequence) for row in rows],
        )
        return {}

    def refresh_contents(self, rows: Sequence[CapturedRow]) -> None:
        """Store other content for rows, as far as they are still there."""
        self._connection.executemany(
            "UPDATE traces SET codec = ?, event_data = ? WHERE event_id = ? AND captured_ns = ?",
            [(row.codec, row.data, row.event_id, row.captured_ns) for row in rows],
        )

    def rename_project(self, old: str, new: str) -> Mapping[str, int]:
        """Give the rows of a project another name."""
        self._connection.execute(
            "INSERT INTO names (text) VALUES (?) ON CONFLICT DO NOTHING", (new,)
        )
        self._connection.execute(
            "UPDATE traces SET project = (SELECT id FROM names WHERE text = ?)"
            " WHERE project = (SELECT id FROM names WHERE text = ?)",
            (new, old),
        )
        return {}

    def empty_letters(self, message_ids: Sequence[str], now_ms: int) -> Mapping[str, int]:
        """Take the content out of dead letters; an open one is dropped by that."""
        self._connection.executemany(
            "UPDATE dead_letters SET event_id = NULL, captured_ns = NULL, hook_type = '',"
            " raw = x'5b5d', reason = ?, error_class = '',"
            " dropped_ms = CASE state WHEN 'open' THEN ? ELSE dropped_ms END,"
            " state = CASE state WHEN 'open' THEN 'dropped' ELSE state END"
            " WHERE message_id = ?",
            [(FORGOTTEN, now_ms, message_id) for message_id in message_ids],
        )
        return {}

    def remove_derived(self, removal: Removal) -> Mapping[str, int]:
        """Remove derived rows: one of ``DerivedRows.removals``."""
        removal(self._connection)
        return {}

    def rename_label(self, kind: str, old: str, new: str) -> Mapping[str, int]:
        """Give what has a label of derived rows another one."""
        for statement in renaming(kind, old, new):
            self._connection.execute(*statement)
        begin_measuring_anew(self._connection)
        return {}

    def rename_text(self, table: str, column: str, old: str, new: str) -> Mapping[str, int]:
        """Give derived rows another text in a column, or, for "", none."""
        self._connection.execute(
            f"UPDATE OR REPLACE {table} SET {column} = nullif(?, '') WHERE {column} = ?", (new, old)
        )
        return {}

    def derive_anew(self, now_ms: int) -> Mapping[str, int]:
        """Have workers derive anew from the rows that are left, as those are now."""
        begin_anew(self._connection, CLEARING, now_ms)
        return {}

    def remove_prompts(self) -> Mapping[str, int]:
        """Take the texts of prompts out of derived rows."""
        self._connection.execute(NO_TEXT)
        return {}

    def count_prompts(self) -> int:
        """Return how many derived rows hold the text of a prompt."""
        with translated():
            found = self._connection.execute(
                "SELECT count(*) FROM conversation_turns WHERE prompt IS NOT NULL"
            )
            return int(found.fetchone()[0])

    def replace_letter(self, message_id: str, raw: bytes) -> Mapping[str, int]:
        """Store other content for a dead letter."""
        self._connection.execute(
            "UPDATE dead_letters SET raw = ? WHERE message_id = ?", (raw, message_id)
        )
        return {}

    def remove_origins(self, text: str) -> Mapping[str, int]:
        """Give those items names that say nothing."""
        self._connection.execute(
            "UPDATE settlements SET origin = 'forgotten:' || lower(hex(randomblob(8)))"
            f" WHERE {_NAMES}",
            (text,),
        )
        return {}

    def remove_unused_names(self) -> Mapping[str, int]:
        """Remove interned texts that no row has any more."""
        remove_unused_names(self._connection)
        return {}


def overwrite_removed(connection: Connection) -> None:
    """Have SQLite write zeros over what it removes, as some builds of it always do."""
    with translated():
        connection.execute("PRAGMA secure_delete = ON")


def rewrite(connection: Connection) -> None:
    """Write the whole file anew, without a trace of what was removed; no transaction may be open.

    Needs the size of the database twice, for a while, in the directory of ``SQLITE_TMPDIR`` and in
    the -wal.
    """
    with translated():
        connection.execute("PRAGMA temp_store = FILE")  # else all of it would be in memory
        try:
            connection.execute("VACUUM")
        finally:
            connection.execute("PRAGMA temp_store = MEMORY")
