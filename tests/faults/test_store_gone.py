"""The files of the database are taken away under a running server: nothing more is let go of."""

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from blueplane.paths import Home
from helpers.issued import Issued
from helpers.nursery import Nursery
from helpers.redis_server import RedisServer
from helpers.server import Server
from helpers.waiting import wait_until

PATIENCE_S = 30.0
BEFORE, LATER = 20, 5


@pytest.fixture
def cheap(home: Home, redis_server: RedisServer, nursery: Nursery) -> Iterator[Server]:
    """Give a running server of ``home`` that has written some events."""
    with Server(home, redis_server, nursery) as server:
        server.start_ready()
        yield server


def kinds(issued: Issued) -> list[tuple[str, int]]:
    """Return kind and count of each incident."""
    return issued.select("SELECT kind, count FROM incidents WHERE colour IS NULL ORDER BY id")


def issue_later(issued: Issued, kept: list[str]) -> None:
    """Issue some more events and wait for their rows; of those before only ``kept`` must be there.

    For a moment there may be no database at all.
    """
    issued.ids = kept
    later = set(issued.issue(LATER))

    def there() -> bool:
        with contextlib.suppress(sqlite3.OperationalError):
            return later <= set(issued.rows())
        return False

    wait_until(there, PATIENCE_S, "rows of the later events")


@pytest.mark.fault("C12")
def test_events_go_into_a_new_database_when_the_old_one_was_removed(
    cheap: Server, issued: Issued, redis_server: RedisServer
) -> None:
    """The server begins a new database by itself, counts the rows that are gone, and closes."""
    # Given a running server whose database somebody removed
    issued.issue(BEFORE)
    issued.settle(cheap, redis_server)
    for file in issued.home.root.glob("telemetry.db*"):
        file.unlink()
    # When events come / Then they are in a new one, and what is gone is lost and named
    issue_later(issued, [])
    balance = issued.settle(cheap, redis_server)
    assert balance["lost"] == BEFORE + 1
    assert kinds(issued) == [("store_missing", BEFORE + 1)]
    assert cheap.status()["store_error"] is None
    # and the next server has nothing to add to that
    cheap.stop()
    cheap.start_ready()
    assert issued.settle(cheap, redis_server)["lost"] == BEFORE + 1
    assert len(kinds(issued)) == 1


@pytest.mark.fault("C12")
@pytest.mark.parametrize("pattern", ["telemetry.db-wal", "telemetry.db-*"])
def test_nothing_is_lost_when_only_the_files_beside_the_database_were_removed(
    cheap: Server, issued: Issued, redis_server: RedisServer, pattern: str
) -> None:
    """What is in a -wal that has lost its name is saved before the database is opened anew."""
    # Given a running server
    issued.issue(BEFORE)
    issued.settle(cheap, redis_server)
    # When the -wal is removed, and events come
    for file in issued.home.root.glob(pattern):
        file.unlink()
    issue_later(issued, issued.ids)
    # Then all rows are there
    balance = issued.settle(cheap, redis_server)
    assert balance["lost"] == 0
    assert issued.home.database.with_name("telemetry.db-wal").exists()
    assert kinds(issued) == []


@pytest.mark.fault("C12")
def test_the_database_that_is_there_is_used_when_the_old_one_was_replaced(
    cheap: Server, issued: Issued, redis_server: RedisServer, tmp_path: Path
) -> None:
    """An older copy in the place of the database is written on, and what it lacks is lost."""
    # Given a copy of the database, and more events after it
    issued.issue(BEFORE)
    issued.settle(cheap, redis_server)
    copy = tmp_path / "copy"
    with closing(sqlite3.connect(issued.home.database)) as source:
        source.execute("VACUUM INTO ?", [str(copy)])
    kept = list(issued.ids)
    issued.issue(LATER)
    issued.settle(cheap, redis_server)
    gone = len(issued.ids) - len(kept)
    # When the copy takes its place
    shutil.copy(copy, f"{copy}.new")
    Path(f"{copy}.new").rename(issued.home.database)
    for ending in ("-wal", "-shm"):
        Path(f"{issued.home.database}{ending}").unlink()
    # Then later events are in it, and what it lacks is lost and named
    issue_later(issued, kept)
    balance = issued.settle(cheap, redis_server)
    assert balance["lost"] == gone
    assert kinds(issued) == [("store_rolled_back", gone)]


@pytest.mark.fault("C12")
def test_the_loss_is_noticed_when_no_event_comes(
    cheap: Server, issued: Issued, redis_server: RedisServer
) -> None:
    """A database that was removed while nothing happens is missed within seconds."""
    # Given an idle server
    issued.issue(1)
    issued.settle(cheap, redis_server)
    # When the database is removed
    for file in issued.home.root.glob("telemetry.db*"):
        file.unlink()
    # Then there is a new one before long
    wait_until(lambda: "store opened anew" in cheap.log(), PATIENCE_S, "the loss is noticed")
    wait_until(issued.home.database.exists, PATIENCE_S, "a new database")
