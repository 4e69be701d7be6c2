import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from blueplane.errors import StoreError, StoreUnavailableError
from blueplane.store.connection import Connection, open_writer
from blueplane.store.damage import find_damage, set_aside
from helpers.road import database_file

PATIENCE_S = 20.0


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Connection]:
    """Give a write connection to a database of some pages."""
    writer = open_writer(database_file(tmp_path))
    writer.execute("CREATE TABLE things (name TEXT PRIMARY KEY, text TEXT)")
    writer.executemany("INSERT INTO things VALUES (?, ?)", [(n, "x" * 500) for n in range(200)])
    writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    yield writer
    writer.close()


def spoil(path: Path, at: int, data: bytes) -> None:
    """Write ``data`` into a file."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


@pytest.mark.fault("C9")
def test_damage_is_none_when_the_database_is_sound(writer: Connection, tmp_path: Path) -> None:
    """A database in use is checked without a word, quickly or as a whole."""
    # Given
    assert not writer.in_transaction
    # When / Then
    assert find_damage(database_file(tmp_path), PATIENCE_S) is None
    assert find_damage(database_file(tmp_path), PATIENCE_S, whole=True) is None


@pytest.mark.fault("C8", "C9")
@pytest.mark.parametrize("at", [0, 4096 * 3])
def test_damage_is_named_when_a_page_is_overwritten(
    writer: Connection, tmp_path: Path, at: int
) -> None:
    """A header or a page of rubbish is found, in one line that names the file."""
    # Given
    writer.close()
    spoil(database_file(tmp_path), at, b"rubbish!" * 512)
    # When
    found = find_damage(database_file(tmp_path), PATIENCE_S)
    # Then
    assert found is not None
    assert found.startswith(str(database_file(tmp_path)))
    assert "\n" not in found


@pytest.mark.fault("C9")
def test_damage_of_an_index_is_found_when_the_whole_is_checked(
    writer: Connection, tmp_path: Path
) -> None:
    """An index that lacks a row is seen by the whole check, which the daily one is not."""
    # Given a table whose index is said to be another, empty one
    writer.execute("PRAGMA writable_schema = ON")
    writer.execute("CREATE TABLE other (name TEXT PRIMARY KEY)")
    writer.execute(
        "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master"
        " WHERE name = 'sqlite_autoindex_other_1') WHERE name = 'sqlite_autoindex_things_1'",
    )
    writer.execute("DELETE FROM sqlite_master WHERE tbl_name = 'other'")
    writer.close()
    # When / Then
    assert find_damage(database_file(tmp_path), PATIENCE_S, whole=True) is not None


@pytest.mark.fault("C9")
def test_check_is_given_up_when_it_takes_too_long(writer: Connection, tmp_path: Path) -> None:
    """A check that has no time left has found nothing."""
    # Given
    rows = [(n, "x" * 50) for n in range(1_000, 30_000)]
    writer.execute("BEGIN")
    writer.executemany("INSERT INTO things VALUES (?, ?)", rows)
    writer.execute("COMMIT")
    # When / Then
    assert find_damage(database_file(tmp_path), -1.0, whole=True) is None
    # and so has one that is asked to stop, at once
    asked: list[bool] = []

    def stopping() -> bool:
        asked.append(True)
        return True

    assert find_damage(database_file(tmp_path), PATIENCE_S, whole=True, stopping=stopping) is None
    assert len(asked) == 2


def test_check_raises_when_there_is_nothing_to_check(tmp_path: Path) -> None:
    """A missing file is not a damaged one."""
    # Given / When / Then
    with pytest.raises(StoreUnavailableError):
        find_damage(database_file(tmp_path), PATIENCE_S)


@pytest.mark.fault("C8")
def test_set_aside_keeps_every_file_when_it_renames(writer: Connection, tmp_path: Path) -> None:
    """The -wal goes with the database: opened at its new place it has every row."""
    # Given a database with a row that is in its -wal only
    path = database_file(tmp_path)
    writer.execute("INSERT INTO things VALUES ('last', '')")
    # When
    aside = set_aside(path)
    # Then nothing is left under the old name, also when the old connection is closed
    writer.close()
    assert not list(tmp_path.glob("telemetry.db"))
    assert not list(tmp_path.glob("telemetry.db-*"))
    with closing(sqlite3.connect(aside)) as found:
        assert found.execute("SELECT count(*) FROM things").fetchone() == (201,)


@pytest.mark.fault("C8")
def test_set_aside_refuses_in_one_line_when_the_name_is_taken(
    writer: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory that lets nothing be renamed is named, and the file stays."""
    # Given
    path = database_file(tmp_path)
    assert not writer.in_transaction

    def refuse(_old: Path, _new: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    # When / Then
    with pytest.raises(StoreError, match=str(path)):
        set_aside(path)
    assert path.exists()
