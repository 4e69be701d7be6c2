"""The disk of the store is full, or somebody holds the database: time is lost, and nothing else."""

import sqlite3
import time

import pytest

from blueplane.paths import Home
from helpers.issued import EVENTS, Issued
from helpers.nursery import Nursery
from helpers.redis_server import RedisServer
from helpers.server import Server
from helpers.smallfs import SmallFs
from helpers.waiting import wait_until

PATIENCE_S = 30.0
#: More than the unused pages of a database and its WAL can take in.
MANY = 3_000


def small_home(home: Home) -> SmallFs:
    """Give a file system for ``home`` alone; what is in it must be made again."""
    return SmallFs(home.root, size_mb=4)


def other_spool(home: Home) -> SmallFs:
    """Give the spool a file system of its own, so that hooks can go on when the home is full."""
    return SmallFs(home.spool, size_mb=64)


@pytest.mark.fault("C1")
def test_events_wait_when_the_disk_of_the_store_is_full(
    home: Home, issued: Issued, redis_server: RedisServer, nursery: Nursery,
) -> None:  # fmt: skip
    """A full disk pauses the writer; batch and files wait; with room it goes on by itself."""
    with small_home(home) as disk:
        home.prepare()
        with other_spool(home), Server(home, redis_server, nursery) as server:
            # Given a running server and a full disk
            server.start_ready()
            issued.issue(10)
            issued.settle(server, redis_server)
            disk.fill()
            # When many events arrive
            issued.issue(MANY)
            wait_until(lambda: store_error(server), PATIENCE_S, "the store has failed")
            # Then the server runs and says why; what has no row is in the stream and in the spool
            assert "FULL" in store_error(server)
            assert server.alive()
            written = sum(issued.rows().values())
            assert written < MANY
            assert redis_server.command("XLEN", EVENTS) + written >= 11
            assert len(issued.spool()) >= len(issued.ids) - written
            assert server.log().count("store failed") <= 2
            # When the disk grows / Then all is written by itself, once, and both laws close
            disk.grow(64)
            balance = issued.settle(server, redis_server)
            assert (balance["lost"], balance["dead_lettered"]) == (0, 0)
            assert store_error(server) == ""


@pytest.mark.fault("C1")
def test_the_server_stops_in_order_when_the_disk_of_the_store_is_full(
    home: Home, issued: Issued, redis_server: RedisServer, nursery: Nursery,
) -> None:  # fmt: skip
    """SIGTERM ends a server whose store is full within 10 s; the next one writes all of it."""
    with small_home(home) as disk:
        home.prepare()
        with other_spool(home), Server(home, redis_server, nursery) as server:
            # Given a full disk, events that wait for it, and files that cannot be settled for it
            server.start_ready()
            issued.issue(10)
            issued.settle(server, redis_server)
            disk.fill()
            issued.issue(MANY)
            wait_until(lambda: store_error(server), PATIENCE_S, "the store has failed")
            (home.spool / "a stranger").write_bytes(b"no hand-off file")
            # When it is told to stop / Then it does, in order
            began = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - began <= 10.5
            # and with room the next one writes everything
            disk.grow(64)
            server.start_ready()
            (home.spool / "a stranger").unlink(missing_ok=True)
            balance = issued.settle(server, redis_server)
            assert (balance["lost"], balance["dead_lettered"]) == (0, 0)


@pytest.mark.fault("C1")
def test_the_server_starts_when_the_disk_has_room_again(
    home: Home, issued: Issued, redis_server: RedisServer, nursery: Nursery,
) -> None:  # fmt: skip
    """On a full disk a start fails with one line or waits; it never damages, and later it works."""
    with small_home(home) as disk:
        home.prepare()
        with other_spool(home), Server(home, redis_server, nursery) as server:
            # Given a server that was killed, with events that it has not seen
            server.start_ready()
            issued.issue(10)
            issued.settle(server, redis_server)
            server.kill()
            issued.issue(100)
            disk.fill()
            # When it starts on the full disk
            server.start()
            wait_until(
                lambda: not server.alive() or stuck(server) or written(issued, 100),
                PATIENCE_S,
                "it ends or says what is wrong",
            )
            # Then it ended as documented, if it did, and without a traceback
            if not server.alive():
                assert server.wait() == 4
            assert "Traceback" not in server.output.read_text()
            # and with room everything is written
            disk.grow(64)
            if not server.alive():
                server.start()
            server.wait_ready()
            issued.settle(server, redis_server)


@pytest.mark.fault("C1")
def test_the_server_goes_on_when_its_whole_home_was_full(
    home: Home, issued: Issued, redis_server: RedisServer, nursery: Nursery,
) -> None:  # fmt: skip
    """With the whole home full, flags and logs included, no thread dies and no event is lost."""
    with small_home(home) as disk:
        home.prepare()
        # Given a server whose whole home is full
        with Server(home, redis_server, nursery) as server:
            server.start_ready()
            issued.issue(10)
            issued.settle(server, redis_server)
            disk.fill()
            # When hooks cannot store events
            refused = issued.hook(3)
            # Then they were silent; what they left is not whole, and the server lives
            disk.grow(64)
            issued.ids = [chosen for chosen in issued.ids if chosen not in refused]
            issued.issue(20)
            wait_until(lambda: written(issued, len(issued.ids)), PATIENCE_S, "all is written")
            assert server.status()["deaths"] == 0


def stuck(server: Server) -> bool:
    """Return whether the server has said that its store failed."""
    return "store failed" in server.log()


def written(issued: Issued, count: int) -> bool:
    """Return whether so many events have a row."""
    return sum(issued.rows().values()) >= count


def store_error(server: Server) -> str:
    """Return what the server says of its store, '' when all is well."""
    return str(server.status()["store_error"] or "")


@pytest.mark.fault("C3")
def test_the_batch_is_kept_when_another_process_holds_the_database(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """A lock held longer than the busy timeout is the store's failure and never an event's."""
    # Given a running server and a stranger that holds the write lock
    server.start_ready()
    issued.issue(10)
    issued.settle(server, redis_server)
    stranger = sqlite3.connect(issued.home.database, isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")
    # When an event arrives and the server's patience ends
    issued.issue()
    # without asking the server, whose balance would be in the event's way
    wait_until(lambda: "BUSY" in server.log(), PATIENCE_S, "the store has failed")
    assert "BUSY" in store_error(server)
    # Then it is written when the lock is free, and was never called a failure
    stranger.execute("ROLLBACK")
    stranger.close()
    balance = issued.settle(server, redis_server)
    assert (balance["dead_lettered"], balance["duplicate"]) == (0, 0)
    assert "writer retry" not in server.log()
