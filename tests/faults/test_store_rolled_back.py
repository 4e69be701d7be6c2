"""The database is gone, empty, or an older one: it is no silent new beginning."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from blueplane.config import load
from blueplane.interfaces.cli.survey import survey
from blueplane.paths import Home
from blueplane.pipeline.commits import Commits
from blueplane.pipeline.custody import Balance
from blueplane.store.ledger import Epoch
from blueplane.store.marker import mark_file, read_mark
from blueplane.store.queries import reading
from helpers.issued import Issued
from helpers.nursery import Nursery
from helpers.redis_server import RedisServer
from helpers.road import Road, database_file, make_event, make_row
from helpers.server import Server

BEFORE, LATER = 20, 5
NO_LETTERS = {"open": 0, "dead_lettered": 0, "waiting": 0}


@pytest.fixture
def cheap(home: Home, redis_server: RedisServer, nursery: Nursery) -> Iterator[Server]:
    """Give a running server of ``home`` that has written some events."""
    with Server(home, redis_server, nursery) as server:
        server.start_ready()
        yield server


def remove(database: Path) -> None:
    """Remove a database with what is beside it."""
    for file in database.parent.glob(f"{database.name}*"):
        file.unlink()


def empty(database: Path) -> None:
    """Leave nothing in a database."""
    remove(database)
    database.touch(0o600)


def remove_wal(database: Path) -> None:
    """Remove the -wal of a server that was killed, with all that was never moved out of it."""
    Path(f"{database}-wal").unlink()


def incidents(issued: Issued) -> list[tuple[Any, ...]]:
    """Return kind and count of each incident."""
    return issued.select("SELECT kind, count FROM incidents WHERE colour IS NULL ORDER BY id")


def problems(home: Home) -> list[str]:
    """Return what ``status`` says is wrong."""
    found: list[str] = survey(home, load(home, {}))["problems"]
    return found


@pytest.mark.fault("C10", "C11")
@pytest.mark.parametrize(
    ("lose", "kind"),
    [(remove, "store_missing"), (empty, "store_missing"), (remove_wal, "store_rolled_back")],
)
def test_rows_are_counted_as_lost_when_the_database_lost_them_between_two_servers(
    cheap: Server, issued: Issued, redis_server: RedisServer,
    lose: Callable[[Path], None], kind: str,
) -> None:  # fmt: skip
    """What the mark knew and the database has not is lost, named, shown, and counted once."""
    # Given a server that was killed, and a database without its rows
    issued.issue(BEFORE)
    issued.settle(cheap, redis_server)
    gone = len(issued.ids)
    cheap.kill()
    lose(issued.home.database)
    # Then status says so before any server runs
    assert problems(issued.home)
    # When a server starts / Then both laws close, with the loss in them
    issued.ids = []
    issued.issue(LATER)
    cheap.start_ready()
    balance = issued.settle(cheap, redis_server)
    assert (balance["lost"], balance["foreign"]) == (gone, 0)
    assert incidents(issued) == [(kind, gone)]
    assert any("row" in each for each in problems(issued.home))
    # and once
    cheap.kill()
    cheap.start_ready()
    assert issued.settle(cheap, redis_server)["lost"] == gone
    assert incidents(issued) == [(kind, gone)]


@pytest.mark.fault("C10")
@pytest.mark.parametrize("flushed", [False, True])
def test_an_older_copy_is_written_on_when_somebody_put_it_back(
    cheap: Server, issued: Issued, redis_server: RedisServer, tmp_path: Path, *, flushed: bool
) -> None:
    """What came after the copy is lost and not sent again, whatever became of Redis meanwhile."""
    # Given a copy of the database of yesterday
    issued.issue(BEFORE)
    issued.settle(cheap, redis_server)
    cheap.stop()
    shutil.copy(issued.home.database, tmp_path / "copy")
    kept = list(issued.ids)
    cheap.start_ready()
    issued.issue(LATER)
    issued.settle(cheap, redis_server)
    gone = len(issued.ids) - len(kept)
    cheap.stop()
    # When it takes the place of the database
    shutil.copy(tmp_path / "copy", issued.home.database)
    if flushed:
        redis_server.flush()
    issued.ids = kept
    cheap.start_ready()
    # Then
    balance = issued.settle(cheap, redis_server)
    assert (balance["lost"], balance["recovered"]) == (gone, 0)
    assert incidents(issued) == [("store_rolled_back", gone)]


@pytest.mark.fault("C10")
def test_rows_after_the_mark_are_missed_when_redis_knows_of_them(
    home: Home, redis_server: RedisServer
) -> None:
    """The announcements of commits tell what the mark, a second old, does not."""
    # Given rows that the mark knows, and later ones that only Redis was told of
    road = Road(home, redis_server)
    road.writer.attach()
    road.append(*[make_event(n) for n in range(10)])
    road.settle()
    shutil.copy(mark_file(home.database), home.root / "mark")
    road.append(*[make_event(n) for n in range(10, 17)])
    road.drain()
    road.close()
    # When the database is gone
    remove(home.database)
    shutil.copy(home.root / "mark", mark_file(home.database))
    road = Road(home, redis_server)
    balance = road.settle()
    # Then all of them are lost
    assert balance["lost"] == 17
    assert balance["balanced"]
    road.append(make_event(20))
    assert road.settle()["lost"] == 17
    road.close()


@pytest.mark.fault("C10", "C11")
def test_rows_are_missed_when_the_mark_is_gone_with_the_database(
    home: Home, redis_server: RedisServer
) -> None:
    """Without the mark Redis still tells of the rows that there were."""
    # Given
    road = Road(home, redis_server)
    road.writer.attach()
    road.append(*[make_event(n) for n in range(10)])
    road.settle()
    road.close()
    # When all of it is removed
    remove(home.database)
    mark_file(home.database).unlink()
    road = Road(home, redis_server)
    # Then
    balance = road.settle()
    assert (balance["lost"], balance["balanced"]) == (10, True)
    road.close()


@pytest.mark.fault("C10", "C11")
@pytest.mark.parametrize("kind", ["store_missing", "store_replaced"])
def test_a_loss_is_counted_once_when_killed_before_the_mark_is_replaced(
    tmp_path: Path, kind: str
) -> None:
    """The database itself knows that the loss is counted, whatever the mark says."""
    # Given a mark of ten rows, and a database without them: a new one, or somebody else's
    path, other = database_file(tmp_path), tmp_path / "other.db"
    for each, number in ((path, 10), (other, 3)):
        commits = Commits(each)
        commits.write([make_row(commits, make_event(n)) for n in range(number)])
        commits.put_balance(Balance({}, 0, 0, 0, NO_LETTERS, 0), Epoch("t", 0, 0, 0, 0, 0, 0))
        commits.close()
    remove(path)
    if kind == "store_replaced":
        shutil.copy(other, path)
    mark = mark_file(path).read_bytes()
    # When it is opened again and again, and each time killed before the mark is replaced
    for _ in range(3):
        mark_file(path).write_bytes(mark)
        commits = Commits(path)
        lost = commits.ledger.totals()["messages.lost"]
        commits.close()
        # Then
        assert lost == 10
        with reading(path) as reader:
            assert [each["kind"] for each in reader.incidents(0)] == [kind]


@pytest.mark.fault("C10")
@pytest.mark.parametrize("other", ["older", "strange"])
def test_the_database_opens_when_another_wal_is_beside_it(tmp_path: Path, other: str) -> None:
    """A -wal that was swapped is found out or has no effect; nothing crashes, and rows go in."""
    # Given a database, and a -wal of an older state or of another database
    path = database_file(tmp_path)
    commits = Commits(path)
    commits.write([make_row(commits, make_event(n)) for n in range(50)])
    wal = tmp_path / "wal"
    if other == "older":
        shutil.copy(f"{path}-wal", wal)
    else:
        strange = Commits(tmp_path / "strange.db")
        strange.write([make_row(strange, make_event(n)) for n in range(900, 950)])
        shutil.copy(f"{tmp_path / 'strange.db'}-wal", wal)
        strange.close()
    commits.write([make_row(commits, make_event(n)) for n in range(50, 90)])
    commits.close()
    # When it is beside the database
    shutil.copy(wal, f"{path}-wal")
    # Then the database opens, or a damaged one is set aside, and takes rows
    commits = Commits(path, replace=True)
    commits.write([make_row(commits, make_event(n)) for n in range(2_000, 2_010)])
    commits.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


@pytest.mark.fault("C11")
def test_nothing_is_said_when_the_home_is_new(home: Home, redis_server: RedisServer) -> None:
    """A new install is one: no incident, nothing lost, and a mark from the first balance on."""
    # Given / When
    assert problems(home) == []
    road = Road(home, redis_server)
    balance = road.settle()
    # Then
    assert (balance["lost"], balance["balanced"]) == (0, True)
    mark = read_mark(home.database)
    assert mark is not None
    assert (mark.rows, mark.settled) == (0, 0)
    road.close()
    assert problems(home) == []
