"""Connections to our database, and transactions on them.

Owns opening, pragmas, file modes and the translation of SQLite's errors into ours.
Promises that every write begins IMMEDIATE, is durable when it returns, and is undone when it fails.
Leaves the statements to the other modules of this package.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from blueplane.errors import RowRefusedError, StoreError, StoreUnavailableError

#: Milliseconds to wait for another process's lock before the store counts as busy.
BUSY_TIMEOUT_MS = 5_000
#: Pages of WAL (4 KiB each) after which a commit also moves them into the database. Each batch
#: changes most pages of the index of event ids, which are random: the more batches a checkpoint
#: covers, the fewer times each page is written.
CHECKPOINT_PAGES = 4_000
#: Kibibytes of page cache of the one write connection; readers are short and take less.
WRITER_CACHE_KB = 4_096
READER_CACHE_KB = 1_024

#: Primary result codes that speak of the store and not of a row (sqlite.org/rescode.html).
_STORE_CODES = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_SCHEMA,
        sqlite3.SQLITE_NOTADB,
    },
)

Connection = sqlite3.Connection


class _Writer(Connection):
    """A connection that notices when its files are not those of their names any more.

    SQLite does not: it goes on committing to a file that was removed, or replaced by another one.
    """

    def remember(self, path: Path) -> None:
        """Take the files that are open now as the right ones; they exist after the first read."""
        self.execute("SELECT 1 FROM sqlite_master").fetchone()
        self._names = [path.with_name(path.name + ending) for ending in ("", "-wal", "-shm")]
        self._files = self._look()

    def verify(self) -> None:
        """Raise StoreUnavailableError when a file was removed or replaced."""
        if self._look() != self._files:
            message = (
                f"{self._names[0]}: it, or its -wal or -shm, was removed or replaced while it was "
                "in use; put it back, or restart the server"
            )
            raise StoreUnavailableError(message)

    def _look(self) -> list[tuple[int, int] | None]:
        return [_identity(name) for name in self._names]


def _identity(name: Path) -> tuple[int, int] | None:
    try:
        found = name.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def open_writer(path: Path) -> Connection:
    """Open the one write connection: WAL, a sync at every commit, files 0600.

    Raises StoreError when the file is not a database or cannot be opened.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        # SQLite would make the file 0644, and gives its -wal and -shm the mode of the file.
        os.close(os.open(path, flags, 0o600))
    except OSError as error:
        message = f"{path}: {error.strerror}; the database must be a file that you can write to"
        raise StoreError(message) from error
    with translated(path):
        connection = _connect(f"file:{quote(str(path))}?mode=rw", _Writer)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA cache_size = -{WRITER_CACHE_KB}")
        connection.remember(path)
    return connection


def open_reader(path: Path) -> Connection:
    """Open a read-only connection; raise StoreError when there is no database at ``path``."""
    with translated(path):
        connection = _connect(f"file:{quote(str(path))}?mode=ro", Connection)
        connection.execute("PRAGMA query_only = ON")
        connection.execute(f"PRAGMA cache_size = -{READER_CACHE_KB}")
    return connection


_Kind = TypeVar("_Kind", bound=Connection)


def _connect(uri: str, kind: type[_Kind]) -> _Kind:
    connection = sqlite3.connect(
        uri,
        factory=kind,
        uri=True,
        timeout=BUSY_TIMEOUT_MS / 1000,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def shrink(connection: Connection) -> None:
    """Give the memory of the page cache back."""
    with translated():
        connection.execute("PRAGMA shrink_memory")


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Begin IMMEDIATE, commit at the end, roll back on any error.

    Raises StoreUnavailableError when the store failed, or what was committed is in a file that is
    not the database any more, and RowRefusedError when a row did.
    """
    with translated():
        # A plain BEGIN that turns into a write fails at once with BUSY_SNAPSHOT, whatever the
        # timeout: only IMMEDIATE waits.
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            # A full disk has rolled back by itself, and there is no transaction to end any more.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        if isinstance(connection, _Writer):
            connection.verify()


@contextmanager
def translated(path: Path | None = None) -> Iterator[None]:
    """Turn SQLite's errors, and Python's on the way to it, into ours."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        where = f"{path}: " if path else ""
        message = f"{where}{error} ({name})"
        if code is not None and code & 0xFF in _STORE_CODES:
            raise StoreUnavailableError(message) from error
        raise RowRefusedError(message) from error
    except (OverflowError, UnicodeEncodeError) as error:
        message = f"{type(error).__name__}: {error}"
        raise RowRefusedError(message) from error
