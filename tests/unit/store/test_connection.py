import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from blueplane.errors import (
    RowRefusedError,
    StoreBrokenError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)
from blueplane.store.connection import (
    Connection,
    close_broken,
    open_reader,
    open_writer,
    transaction,
    translated,
)
from helpers.road import database_file


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Connection]:
    """Give a write connection to a new database with one table."""
    writer = open_writer(database_file(tmp_path))
    writer.execute("CREATE TABLE things (name TEXT NOT NULL, amount INTEGER CHECK (amount < 100))")
    yield writer
    writer.close()


def things(path: Path) -> list[str]:
    """Return what another connection sees."""
    other = open_reader(path)
    found = [row[0] for row in other.execute("SELECT name FROM things")]
    other.close()
    return found


@pytest.mark.fault("G10")
@pytest.mark.parametrize("existing", [False, True])
def test_open_makes_private_files_when_the_umask_is_careless(
    tmp_path: Path, *, existing: bool
) -> None:
    """The database and the files beside it are 0600 from the start."""
    # Given a careless umask, and perhaps an empty file
    path = database_file(tmp_path)
    before = os.umask(0o022)
    try:
        if existing:
            path.touch(0o600)
        # When
        writer = open_writer(path)
        writer.execute("CREATE TABLE a (b)")
    finally:
        os.umask(before)
    # Then
    modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in tmp_path.iterdir()}
    assert modes == dict.fromkeys((path.name, f"{path.name}-wal", f"{path.name}-shm"), 0o600)
    writer.close()


@pytest.mark.fault("C6")
def test_open_asks_for_durable_commits_when_it_opens(writer: Connection) -> None:
    """WAL, a sync at every commit, and the real one where the system has two."""
    # Given / When
    found = {
        name: writer.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "fullfsync")
    }
    # Then
    assert found == {"journal_mode": "wal", "synchronous": 2, "fullfsync": 1}


@pytest.mark.parametrize("name", ["a b", "ü%41", "q?mode=memory", "h#ash"])
def test_open_finds_the_file_when_its_name_is_odd(tmp_path: Path, name: str) -> None:
    """A path is a path, whatever it would mean in a URI."""
    # Given
    path = tmp_path / name
    # When
    open_writer(path).close()
    # Then
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    open_reader(path).close()


def test_open_refuses_in_one_line_when_the_file_is_none(tmp_path: Path) -> None:
    """A link, a directory, a missing directory and a file of another kind are named."""
    # Given
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "text").write_bytes(b"not a database, whatever it is called" * 50)
    (tmp_path / "directory").mkdir()
    # When / Then
    for name in ("link", "text", "directory", "no/such"):
        with pytest.raises(StoreError, match=str(tmp_path / name)) as caught:
            open_writer(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "elsewhere").exists()


def test_reader_makes_nothing_when_there_is_no_database(tmp_path: Path) -> None:
    """Looking is not creating."""
    # Given / When
    with pytest.raises(StoreError):
        open_reader(database_file(tmp_path))
    # Then
    assert list(tmp_path.iterdir()) == []


def test_reader_cannot_write_when_it_tries(writer: Connection, tmp_path: Path) -> None:
    """A read connection changes nothing, whoever uses it."""
    # Given
    assert writer.in_transaction is False
    reader = open_reader(database_file(tmp_path))
    # When / Then
    with pytest.raises(sqlite3.OperationalError):
        reader.execute("INSERT INTO things VALUES ('a', 1)")
    reader.close()


def test_transaction_is_there_for_others_when_it_ends(writer: Connection, tmp_path: Path) -> None:
    """All of it is visible after it, and nothing before."""
    # Given / When
    with transaction(writer):
        writer.execute("INSERT INTO things VALUES ('a', 1)")
        assert things(database_file(tmp_path)) == []
    # Then
    assert things(database_file(tmp_path)) == ["a"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, MemoryError])
def test_transaction_leaves_nothing_when_anything_is_raised(
    writer: Connection, tmp_path: Path, error: type[BaseException]
) -> None:
    """Whatever ends it early, it never was, and the next one works."""

    # Given
    def fail() -> None:
        writer.execute("INSERT INTO things VALUES ('a', 1)")
        raise error

    # When
    with pytest.raises(error), transaction(writer):
        fail()
    # Then
    assert things(database_file(tmp_path)) == []
    with transaction(writer):
        writer.execute("INSERT INTO things VALUES ('b', 1)")
    assert things(database_file(tmp_path)) == ["b"]


@pytest.mark.parametrize("values", [(None, 1), ("a", 100), ("a", 2**63), ("\ud800", 1)])
def test_transaction_blames_the_row_when_the_store_is_well(
    writer: Connection, tmp_path: Path, values: tuple[object, ...]
) -> None:
    """A constraint, a number or a text that does not fit is the row's failure."""
    # Given / When
    marks = ", ".join("?" * len(values))
    with pytest.raises(RowRefusedError), transaction(writer):
        writer.execute(f"INSERT INTO things VALUES ({marks})", values)
    # Then
    assert things(database_file(tmp_path)) == []


@pytest.mark.fault("C3")
def test_transaction_blames_the_store_when_another_process_holds_it(
    writer: Connection, tmp_path: Path
) -> None:
    """A lock of somebody else is the store's failure, found at the beginning."""
    # Given another connection that writes
    writer.execute("PRAGMA busy_timeout = 10")
    other = open_writer(database_file(tmp_path))
    other.execute("BEGIN IMMEDIATE")
    # When / Then
    with pytest.raises(StoreUnavailableError, match="SQLITE_BUSY"), transaction(writer):
        pytest.fail("it began")
    other.execute("ROLLBACK")
    other.close()


@pytest.mark.fault("C1")
def test_transaction_blames_the_store_when_it_is_full(writer: Connection, tmp_path: Path) -> None:
    """A full store is the store's failure, leaves nothing, and is over when there is room."""
    # Given a database that may not grow
    pages = writer.execute("PRAGMA page_count").fetchone()[0]
    writer.execute(f"PRAGMA max_page_count = {pages}")
    # When
    with pytest.raises(StoreUnavailableError, match="SQLITE_FULL"), transaction(writer):
        writer.execute("INSERT INTO things VALUES (?, 1)", ("x" * 50_000,))
    # Then
    assert things(database_file(tmp_path)) == []
    writer.execute("PRAGMA max_page_count = 100000")
    with transaction(writer):
        writer.execute("INSERT INTO things VALUES ('a', 1)")
    assert things(database_file(tmp_path)) == ["a"]


@pytest.mark.fault("C12")
@pytest.mark.parametrize("ending", ["", "-wal", "-shm"])
def test_transaction_fails_when_a_file_of_the_database_was_removed(
    writer: Connection, tmp_path: Path, ending: str
) -> None:
    """A commit to a file without a name is none, and counts again once the file is back."""
    # Given a file of the open database that was moved away
    path = database_file(tmp_path)
    file, aside = path.with_name(path.name + ending), tmp_path / "aside"
    with transaction(writer):
        writer.execute("INSERT INTO things VALUES ('before', 1)")
    file.rename(aside)
    # When / Then
    with pytest.raises(StoreUnavailableError, match="removed or replaced"), transaction(writer):
        writer.execute("INSERT INTO things VALUES ('meanwhile', 2)")
    aside.rename(file)
    with transaction(writer):
        writer.execute("INSERT INTO things VALUES ('after', 3)")
    assert things(path) == ["before", "meanwhile", "after"]


@pytest.mark.fault("C12")
def test_transaction_fails_when_the_database_was_replaced(
    writer: Connection, tmp_path: Path
) -> None:
    """Another file under the name of the database is not the database."""
    # Given
    path, other = database_file(tmp_path), tmp_path / "other"
    other.write_bytes(path.read_bytes())
    other.rename(path)
    # When / Then
    with pytest.raises(StoreUnavailableError, match="removed or replaced"), transaction(writer):
        writer.execute("INSERT INTO things VALUES ('nowhere', 1)")


@pytest.mark.parametrize(
    "statement", ["INSERT INTO nowhere VALUES (1)", "INSERT INTO things VALUES (1)", "nonsense"]
)
def test_transaction_blames_the_store_when_the_statement_does_not_fit_it(
    writer: Connection, statement: str
) -> None:
    """A table that is not there, or is another one, is nothing that a row can be blamed for."""
    # Given / When / Then
    with pytest.raises(StoreUnavailableError) as caught, transaction(writer):
        writer.execute(statement)
    assert not isinstance(caught.value, StoreBrokenError)


@pytest.mark.fault("C8")
def test_transaction_calls_the_store_broken_when_a_page_is_damaged(tmp_path: Path) -> None:
    """What SQLite calls corrupt is neither a row's failure nor one that waiting mends."""
    # Given a table whose pages are overwritten
    path = database_file(tmp_path)
    writer = open_writer(path)
    writer.execute("CREATE TABLE things (name TEXT)")
    writer.execute("INSERT INTO things VALUES (?)", ("x" * 3_000,))
    writer.close()
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))
    writer = open_writer(path)
    # When / Then
    with pytest.raises(StoreBrokenError, match="CORRUPT"), transaction(writer):
        writer.execute("INSERT INTO things VALUES ('a')")
    writer.close()


def test_transaction_calls_the_store_broken_when_its_connection_is_closed(
    writer: Connection,
) -> None:
    """A connection that could not be opened anew is tried again, and no row pays for it."""
    # Given
    writer.close()
    # When / Then
    with pytest.raises(StoreBrokenError), transaction(writer):
        pytest.fail("it began")


@pytest.mark.fault("C12")
def test_rows_of_the_wal_are_saved_when_only_the_wal_was_removed(tmp_path: Path) -> None:
    """Before another connection is opened, what has no name any more goes into the database."""
    # Given a row that is only in a -wal without a name, and a reader that keeps it from closing
    path = database_file(tmp_path)
    writer = open_writer(path)
    writer.execute("CREATE TABLE things (name TEXT)")
    writer.execute("INSERT INTO things VALUES ('kept')")
    reader = open_reader(path)
    assert reader.execute("SELECT count(*) FROM things").fetchone() == (1,)
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink()
    # When
    close_broken(writer)
    # Then
    assert things(path) == ["kept"]
    reader.close()


ROW_CODES = ("CONSTRAINT", "MISMATCH", "RANGE", "TOOBIG")
BROKEN_CODES = ("CORRUPT", "NOTADB")
STORE_CODES = (
    "ABORT", "AUTH", "BUSY", "CANTOPEN", "EMPTY", "ERROR", "FORMAT", "FULL", "INTERNAL",
    "INTERRUPT", "IOERR", "LOCKED", "MISUSE", "NOLFS", "NOMEM", "NOTFOUND", "PERM", "PROTOCOL",
    "READONLY", "SCHEMA",
)  # fmt: skip


@pytest.mark.fault("C16")
@pytest.mark.parametrize("extended", [0, 1, 12])
@pytest.mark.parametrize(
    ("names", "kinds"),
    [
        (ROW_CODES, {RowRefusedError}),
        (BROKEN_CODES, {StoreBrokenError}),
        (STORE_CODES, {StoreUnavailableError, StoreFullError}),
    ],
)
def test_each_code_of_sqlite_blames_one_when_it_is_raised(
    names: tuple[str, ...], kinds: set[type[StoreError]], extended: int
) -> None:
    """The row, the file, or the store for now: for every code, with whatever detail it comes."""
    for name in names:
        # Given an error as SQLite raises it
        error = sqlite3.OperationalError("it says why")
        error.sqlite_errorcode = getattr(sqlite3, f"SQLITE_{name}") | extended << 8
        error.sqlite_errorname = f"SQLITE_{name}"
        # When / Then
        with (
            pytest.raises(StoreError, match=f"it says why .SQLITE_{name}.") as caught,
            translated(),
        ):
            raise error
        assert type(caught.value) in kinds


@pytest.mark.fault("C9")
def test_a_database_is_broken_when_its_schema_is_no_text(tmp_path: Path) -> None:
    """SQLite quotes bytes of a damaged schema that Python cannot read: that is damage, too."""
    # Given an index whose name is no text, and whose statement is wrong
    path = database_file(tmp_path)
    connection = open_writer(path)
    connection.execute("CREATE TABLE orchard (apple)")
    connection.execute("CREATE INDEX pears ON orchard (apple)")
    connection.close()
    data = path.read_bytes()
    named = data.replace(b"indexpearsorchard", b"indexp\xa9arsorchard")
    path.write_bytes(named.replace(b"INDEX pears", b"INDEX p(ars"))
    # When / Then
    with pytest.raises(StoreBrokenError, match="malformed"):
        open_writer(path)
