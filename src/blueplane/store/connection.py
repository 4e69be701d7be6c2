"""Connections to our database, and transactions on them.

Owns opening, pragmas, file modes and the translation of SQLite's errors into ours.
Promises that every write begins IMMEDIATE, is durable when it returns, and is undone when it fails.
Leaves the statements to the other modules of this package.
"""

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from blueplane.days import local_day
from blueplane.errors import (
    RowRefusedError,
    StoreBrokenError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)
from blueplane.paths import free_bytes, is_link, private_file

#: Milliseconds to wait for another process's lock before the store counts as busy.
BUSY_TIMEOUT_MS = 5_000
#: Of the library that is linked here.
SQLITE_VERSION = sqlite3.sqlite_version_info
#: Pages of WAL (4 KiB each) after which a commit also moves them into the database. Each batch
#: changes most pages of the index of event ids, which are random: the more batches a checkpoint
#: covers, the fewer times each page is written.
CHECKPOINT_PAGES = 4_000
#: Kibibytes of page cache of the one write connection; readers are short and take less.
WRITER_CACHE_KB = 4_096
READER_CACHE_KB = 1_024

#: Primary result codes that speak of a row (sqlite.org/rescode.html); all others of the store.
_ROW_CODES = frozenset(
    {
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_RANGE,
        sqlite3.SQLITE_TOOBIG,
    },
)
#: Those after which the file must be looked at.
_BROKEN_CODES = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
#: How SQLite begins to speak of a damaged schema; it goes on with bytes that may be no text.
_MALFORMED = b"malformed database schema"
#: What Python says, without a code, of a connection that was closed.
_CLOSED = "closed database"
#: What is beside a database while it is used.
ENDINGS = ("", "-wal", "-shm")

Connection = sqlite3.Connection
Identity = tuple[int, int]


class _Writer(Connection):
    """A connection that notices when its files are not those of their names any more.

    SQLite does not: it goes on committing to a file that was removed, or replaced by another one.
    """

    def remember(self, path: Path) -> None:
        """Take the files that are open now as the right ones; they exist after the first read."""
        self.execute("SELECT 1 FROM sqlite_master").fetchone()
        self.path = path
        self._names = [path.with_name(path.name + ending) for ending in ENDINGS]
        self._files = self._look()

    def verify(self) -> None:
        """Raise StoreBrokenError when a file was removed or replaced."""
        if self._look() != self._files:
            message = (
                f"{self._names[0]}: it, or its -wal or -shm, was removed or replaced while it was "
                "in use"
            )
            raise StoreBrokenError(message)

    def rescue(self) -> None:
        """Move what is in the -wal into the database, where only the -wal has lost its name."""
        if identity(self._names[0]) == self._files[0]:
            with suppress(sqlite3.Error):
                self.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def _look(self) -> list[Identity | None]:
        return [identity(name) for name in self._names]


def identity(name: Path) -> Identity | None:
    """Return what tells a file from another one of the same name, None where there is none."""
    try:
        found = name.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def open_writer(path: Path) -> Connection:
    """Open the one write connection: WAL, a sync at every commit, files 0600.

    Raises StoreError when the file is not a database or cannot be opened.
    """
    try:
        # SQLite would make the file 0644, and gives its -wal and -shm the mode of the file. It
        # would write through links, too.
        private_file(path, os.O_RDWR | os.O_CREAT).close()
        for ending in ENDINGS:
            _refuse_link(path.with_name(path.name + ending))
    except OSError as error:
        message = (
            f"{error.filename}: {error.strerror}; the database must be a plain file that you can "
            "write to"
        )
        raise StoreError(message) from error
    with translated(path):
        connection = _connect(f"file:{quote(str(path))}?mode=rw", _Writer)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA fullfsync = ON")
            connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            connection.execute(f"PRAGMA cache_size = -{WRITER_CACHE_KB}")
            connection.create_function("local_day", 1, local_day, deterministic=True)
            connection.remember(path)
        except BaseException:
            connection.close()
            raise
    return connection


def _refuse_link(path: Path) -> None:
    if is_link(path):
        raise OSError(errno.EMLINK, os.strerror(errno.EMLINK), str(path))


def verify(connection: Connection) -> None:
    """Raise StoreBrokenError when the files of a write connection were removed or replaced."""
    if isinstance(connection, _Writer):
        connection.verify()


def close_broken(connection: Connection) -> None:
    """Close a write connection to open another; what only a -wal without a name has, is saved."""
    if isinstance(connection, _Writer):
        connection.rescue()
    connection.close()


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

    Raises StoreUnavailableError when the store failed, StoreBrokenError when it is damaged or what
    was committed is in a file that is not the database any more, RowRefusedError when a row did.
    """
    with translated(disk=connection.path if isinstance(connection, _Writer) else None):
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
        verify(connection)


@contextmanager
def one_state(reader: Connection) -> Iterator[None]:
    """Have all reads of the block see the same rows; only for who cannot write."""
    reader.execute("BEGIN")
    try:
        yield
    finally:
        if reader.in_transaction:
            reader.execute("ROLLBACK")


@contextmanager
def translated(path: Path | None = None, disk: Path | None = None) -> Iterator[None]:
    """Turn SQLite's errors, and Python's on the way to it, into ours.

    The message begins with ``path``; of a full disk it says how much is free where ``disk`` is.
    """
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        where = f"{path}: " if path else ""
        kind = _kind(error)
        room = _room(disk) if kind is StoreFullError else ""
        message = f"{where}{error} ({name}){room}"
        raise kind(message) from error
    except UnicodeDecodeError as error:
        if not error.object.startswith(_MALFORMED):
            raise
        text = error.object.decode("utf-8", "backslashreplace")
        message = f"{path}: {text}" if path else text
        raise StoreBrokenError(message) from error
    except (OverflowError, UnicodeEncodeError) as error:
        message = f"{type(error).__name__}: {error}"
        raise RowRefusedError(message) from error


def _room(path: Path | None) -> str:
    free = None if path is None else free_bytes(path.parent)
    return "" if free is None else f"; {free:,} bytes free on the disk of {path}"


def _kind(error: sqlite3.Error) -> type[StoreError]:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # Python's own, of the parameters
        return StoreBrokenError if _CLOSED in str(error) else RowRefusedError
    if code & 0xFF == sqlite3.SQLITE_FULL:
        return StoreFullError
    if code & 0xFF in _BROKEN_CODES:
        return StoreBrokenError
    return RowRefusedError if code & 0xFF in _ROW_CODES else StoreUnavailableError
