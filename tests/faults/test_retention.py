"""The disk of the store is full, and rows are old enough to go: the server makes room by itself."""

import sqlite3

import pytest

from blueplane.paths import Home
from helpers.issued import Issued
from helpers.nursery import Nursery
from helpers.redis_server import RedisServer
from helpers.server import Server
from helpers.smallfs import SmallFs
from helpers.waiting import wait_until

PATIENCE_S = 30.0
OLD = 1_500
DAY_NS = 86_400 * 10**9


def make_old(issued: Issued, days: int) -> int:
    """Make all rows but the newest so old; return how many these are."""
    connection = sqlite3.connect(issued.home.database)
    with connection:
        changed = connection.execute(
            "UPDATE traces SET captured_ns = captured_ns - ?"
            " WHERE sequence < (SELECT max(sequence) FROM traces)",
            (days * DAY_NS,),
        ).rowcount
    connection.close()
    return changed


@pytest.mark.fault("C1", "C18")
def test_the_server_makes_room_when_the_disk_is_full_and_rows_are_old(
    home: Home, issued: Issued, redis_server: RedisServer, nursery: Nursery,
) -> None:  # fmt: skip
    """The reserve is given back, a share of the old rows goes, and new ones take their place."""
    settings = {"BLUEPLANE_RETENTION_RAW_DAYS": "30"}
    with SmallFs(home.root, size_mb=8) as disk:
        home.prepare()
        with (
            SmallFs(home.spool, size_mb=64),
            Server(home, redis_server, nursery, **settings) as server,
        ):
            # Given a server with old rows, which keeps a reserve
            server.start_ready()
            issued.issue(OLD)
            issued.settle(server, redis_server)
            assert server.stop() == 0
            assert make_old(issued, 400) == OLD
            server.start_ready()
            reserve = home.reserve.stat()
            assert 0 < reserve.st_size <= 8 * 1024 * 1024 // 10
            assert reserve.st_blocks * 512 >= reserve.st_size
            # When the disk is full and events come
            disk.fill()
            fresh = set(issued.issue(600))
            wait_until(lambda: fresh <= set(issued.rows()), PATIENCE_S, "they are written")
            # Then old rows went, no more than one run may take; the disk is as full as it was
            assert not home.reserve.exists()
            (expired,) = issued.select(
                "SELECT value FROM custody_totals WHERE name = 'rows.expired'"
            )[0]
            assert expired == 1_000
            # and both laws close
            balance = server.balance()
            assert balance["balanced"]
            assert (balance["lost"], balance["dead_lettered"]) == (0, 0)


@pytest.mark.fault("C1")
def test_the_server_says_how_much_is_free_when_the_disk_is_full(
    home: Home, issued: Issued, redis_server: RedisServer, nursery: Nursery,
) -> None:  # fmt: skip
    """With nothing to remove it waits, keeps its reserve, and status names the free bytes."""
    with SmallFs(home.root, size_mb=4) as disk:
        home.prepare()
        with SmallFs(home.spool, size_mb=64), Server(home, redis_server, nursery) as server:
            # Given
            server.start_ready()
            issued.issue(10)
            issued.settle(server, redis_server)
            # When the disk is full
            disk.fill()
            issued.issue(3_000)
            wait_until(lambda: server.status()["store_error"], PATIENCE_S, "the store has failed")
            # Then
            said = server.status()["store_error"]
            assert "SQLITE_FULL" in said
            assert f"bytes free on the disk of {home.database}" in said
            assert home.reserve.exists()
            # and with room it goes on by itself
            disk.grow(64)
            assert issued.settle(server, redis_server)["lost"] == 0
