"""Cursor's databases, as far as we read them.

Owns how a foreign SQLite file is opened, and which of its tables and keys are read: no others.
Promises never to write, checkpoint or copy one, short statements, and EditorDatabaseError for
whatever is wrong with a file.
Leaves what the values mean to the readers beside it, and when to look to the monitor.

A database with a -wal is opened with ``mode=ro``, for only that sees the -wal; SQLite then makes
the -shm beside it anew, should that be gone, for without one it reads no -wal. One without is
opened as immutable, which leaves no file behind in a folder that is not ours, and works where it
is read-only; what was read counts only if the file was not changed meanwhile.
"""

import os
import sqlite3
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias
from urllib.parse import quote

from blueplane.clock import monotonic_s, wall_ns
from blueplane.errors import EditorDatabaseError

#: Seconds for which a lock is waited for, and for which a statement may run.
BUSY_S: Final = 0.2
STATEMENT_S: Final = 2.0
#: Instructions of SQLite between two looks at the time.
_STEPS: Final = 20_000
#: Bytes of the largest value that is read: real ones have a few MB.
MAX_VALUE_BYTES: Final = 64 * 1024 * 1024
#: The cause of what is not wrong: somebody wrote while we read.
CHANGED: Final = "changed while it was read"
#: What stands for a larger one: nobody can read it.
TOO_LARGE: Final = b"too large"
#: Keys of one statement.
PAGE: Final = 100
#: A file that changed so shortly before it was looked at may change again within the same tick of
#: the clock of its file system.
RACY_NS: Final = 50_000_000

#: The keys of ``ItemTable`` that are read. What is beside them (``cursorAuth/...``) never is.
ITEMS: Final = frozenset(
    {
        "composer.composerHeaders",
        "composer.composerData",
        "aiService.prompts",
        "aiService.generations",
        "workbench.panel.aichat.view.aichat.chatdata",
    }
)
COMPOSER: Final = "composerData:"
BUBBLE: Final = "bubbleId:"
#: Columns of other tables that are read; a version may lack any of them.
COLUMNS: Final = {
    "composerHeaders": (
        "composerId", "workspaceId", "createdAt", "lastUpdatedAt", "isArchived", "isSubagent",
        "subagentTypeName", "value",
    ),
    "scored_commits": (
        "commitHash", "branchName", "scoredAt", "linesAdded", "linesDeleted", "tabLinesAdded",
        "tabLinesDeleted", "composerLinesAdded", "composerLinesDeleted", "humanLinesAdded",
        "humanLinesDeleted", "blankLinesAdded", "blankLinesDeleted", "commitMessage",
        "commitDate", "v1AiPercentage", "v2AiPercentage",
    ),
}  # fmt: skip
#: What tells groups of the lines that AI wrote apart.
GROUP: Final = ("conversationId", "requestId", "source", "model", "fileExtension")
_HASHES: Final = "ai_code_hashes"
_KV: Final = "cursorDiskKV"


class Fingerprint(NamedTuple):
    """What changes when a database does: inode, size and mtime of the file and of its -wal."""

    inode: int
    size: int
    mtime_ns: int
    wal_size: int = 0
    wal_mtime_ns: int = 0

    @property
    def changed_ns(self) -> int:
        """When the file, or its -wal, was last changed."""
        return max(self.mtime_ns, self.wal_mtime_ns)

    @property
    def racy(self) -> bool:
        """Whether the file may change again without looking any different."""
        now_ns = wall_ns()
        return any(abs(now_ns - at) < RACY_NS for at in (self.mtime_ns, self.wal_mtime_ns))


class Row(NamedTuple):
    """A row of a table of keys and values; a value may be NULL, which is no bytes."""

    rowid: int
    key: str
    value: bytes


#: A row of any other table: its columns by name.
Record: TypeAlias = dict[str, Any]


def fingerprint(path: Path) -> Fingerprint | None:
    """Look at a database; None when there is none. Raises EditorDatabaseError for no plain file."""
    found = _stat(path)
    if found is None:
        return None
    if not stat.S_ISREG(found.st_mode):
        raise EditorDatabaseError(path, "no plain file")
    wal = _stat(Path(f"{path}-wal"))
    beside = (wal.st_size, wal.st_mtime_ns) if wal is not None else ()
    return Fingerprint(found.st_ino, found.st_size, found.st_mtime_ns, *beside)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise EditorDatabaseError(path, error.strerror or "unreadable") from error


@contextmanager
def reading(path: Path) -> Iterator["Database"]:
    """Open a database for a moment.

    Raises EditorDatabaseError, also at the end, when what was read does not count.
    """
    before = fingerprint(path)
    if before is None:
        raise EditorDatabaseError(path, "gone")
    journal = _stat(Path(f"{path}-journal"))
    immutable = not before.wal_size and (journal is None or not journal.st_size)
    uri = f"file:{quote(os.fsencode(path))}?mode=ro" + ("&immutable=1" if immutable else "")
    try:
        with closing(_connect(uri)) as connection:
            yield Database(connection)
    except sqlite3.Error as error:
        raise EditorDatabaseError(path, _cause(error)) from error
    if immutable and fingerprint(path) != before:
        raise EditorDatabaseError(path, CHANGED)


def _connect(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)
    connection.text_factory = bytes
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def _cause(error: sqlite3.Error) -> str:
    """Name what is wrong, in a few words and without anything of the file."""
    name = getattr(error, "sqlite_errorname", "") or type(error).__name__
    return {
        "SQLITE_BUSY": "locked",
        "SQLITE_LOCKED": "locked",
        "SQLITE_INTERRUPT": "it takes too long",
        "SQLITE_NOTADB": "no database",
        "SQLITE_CORRUPT": "damaged",
        "SQLITE_TOOBIG": "a value is too large",
        "SQLITE_ERROR": "of an unknown schema",
    }.get(name, name)


class Database:
    """One open database; every call is a short transaction of its own."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._columns = cache(self._find_columns)

    def _all(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        deadline_s = monotonic_s() + STATEMENT_S
        self._connection.set_progress_handler(lambda: monotonic_s() > deadline_s, _STEPS)
        return self._connection.execute(sql, values).fetchall()

    def _find_columns(self, table: str) -> tuple[str, ...]:
        """Return the columns of a table, none when there is no such table; a view is none."""
        found = self._all(
            "SELECT i.name FROM sqlite_schema s, pragma_table_info(s.name) i"
            " WHERE s.name = ? AND s.type = 'table'",
            (table,),
        )
        return tuple(_text(row[0]) for row in found)

    def _has(self, table: str, columns: Iterable[str]) -> bool:
        return set(columns) <= set(self._columns(table))

    # --- keys and values -------------------------------------------------------------------------

    def items(self) -> list[Row]:
        """Return what ``ItemTable`` has of ``ITEMS``."""
        return self._values("ItemTable", sorted(ITEMS), 0)

    def schema(self) -> int:
        """Return a number that changes with the schema, and when all rows are written anew."""
        return int(self._all("PRAGMA schema_version")[0][0])

    def top(self) -> int:
        """Return the highest rowid of the composers' table, 0 when it has none."""
        if not self._has(_KV, ("key", "value")):
            return 0
        return int(self._all(f"SELECT coalesce(max(rowid), 0) FROM {_KV}")[0][0])

    def changed(self, after: int, limit: int) -> list[tuple[int, str]]:
        """Return (rowid, key) of the oldest rows above ``after``; no value is touched."""
        if not self._has(_KV, ("key", "value")):
            return []
        rows = self._all(
            f"SELECT rowid, key FROM {_KV} WHERE rowid > ? ORDER BY rowid LIMIT ?", (after, limit)
        )
        return [(row[0], _text(row[1])) for row in rows]

    def composers(self, after: str, limit: int) -> list[str]:
        """Return the first keys of composers that come after ``after``."""
        return self._keys(max(after, COMPOSER), COMPOSER, limit)

    def keys(self, after: str, limit: int) -> list[str]:
        """Return the first keys of bubbles, and then of composers, that come after ``after``."""
        bubbles = self._keys(max(after, BUBBLE), BUBBLE, limit)
        return bubbles or self._keys(max(after, COMPOSER), COMPOSER, limit)

    def bubbles(self, composer_id: str, limit: int) -> list[str]:
        """Return keys of the bubbles that are stored for a composer, in use or not."""
        prefix = f"{BUBBLE}{composer_id}:"
        return self._keys(prefix, prefix, limit)

    def _keys(self, after: str, prefix: str, limit: int) -> list[str]:
        if not self._has(_KV, ("key", "value")):
            return []
        # A prefix ends with ":", and the character behind that ends its range.
        keys = self._all(
            f"SELECT key FROM {_KV} WHERE key > ? AND key < ? ORDER BY key LIMIT ?",
            (after, f"{prefix[:-1]};", limit),
        )
        return [_text(key) for (key,) in keys]

    def values(self, keys: Sequence[str], after: int = 0) -> list[Row]:
        """Return composers and bubbles by their keys, of those only rows above ``after``."""
        for key in keys:
            if not key.startswith((COMPOSER, BUBBLE)):
                message = "a key that is not on the list"
                raise ValueError(message)
        return self._values(_KV, keys, after)

    def _values(self, table: str, keys: Sequence[str], after: int) -> list[Row]:
        if not keys or not self._has(table, ("key", "value")):
            return []
        rows: list[Row] = []
        for start in range(0, len(keys), PAGE):
            page = keys[start : start + PAGE]
            marks = ",".join("?" * len(page))
            sql = f"SELECT rowid, key, value FROM {table} WHERE key IN ({marks}) AND +rowid > ?"
            try:
                found = self._all(sql, (*page, after))
            except sqlite3.DataError:
                if len(page) > 1:
                    rows += (row for key in page for row in self._values(table, [key], after))
                    continue
                found = [(0, page[0].encode(), TOO_LARGE)]
            rows += (Row(rowid, _text(key), _bytes(value)) for rowid, key, value in found)
        return rows

    # --- other tables ----------------------------------------------------------------------------

    def headers(self, since_ms: int) -> list[Record]:
        """Return composers of the list that is a table of its own, changed since then."""
        return self._rows("composerHeaders", "lastUpdatedAt", since_ms)

    def commits(self, since_ms: int) -> list[Record]:
        """Return the commits that were scored since then."""
        return self._rows("scored_commits", "scoredAt", since_ms)

    def _rows(self, table: str, clock: str, since_ms: int) -> list[Record]:
        present = self._columns(table)
        names = [name for name in COLUMNS[table] if name in present]
        if clock not in names:
            return []
        rows = self._all(
            f"SELECT {', '.join(names)} FROM {table} WHERE coalesce({clock}, ?) >= ?"
            f" ORDER BY {clock}",
            (since_ms, since_ms),
        )
        return [dict(zip(names, map(_plain, row), strict=True)) for row in rows]

    def line_groups(self, after: int) -> tuple[int, list[Record]]:
        """Return the highest rowid, and all of every group that has a line above ``after``.

        A group counts the lines that one request wrote in files of one kind.
        """
        needed = {"requestId", "timestamp"}
        present = self._columns(_HASHES)
        if not needed <= set(present):
            return 0, []
        names = [name for name in GROUP if name in present]
        ((top,),) = self._all(f"SELECT coalesce(max(rowid), 0) FROM {_HASHES}")
        if top <= after:
            return top, []
        rows = self._all(
            f"SELECT count(*), min(timestamp), max(timestamp), {', '.join(names)} FROM {_HASHES}"
            f" WHERE rowid <= ? AND requestId IN"
            f" (SELECT requestId FROM {_HASHES} WHERE rowid > ?)"
            f" GROUP BY {', '.join(names)} ORDER BY min(rowid)",
            (top, after),
        )
        keys = ("items", "firstMs", "lastMs", *names)
        return top, [dict(zip(keys, map(_plain, row), strict=True)) for row in rows]

    def meta(self) -> list[bytes]:
        """Return the values of the table ``meta`` of a command line chat: hex of JSON."""
        if not self._has("meta", ("key", "value")):
            return []
        return [_bytes(row[0]) for row in self._all("SELECT value FROM meta LIMIT 8")]


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b"" if value is None else str(value).encode()


def _plain(value: object) -> object:
    return _text(value) if isinstance(value, bytes) else value
