"""What a running server says of its database while something is wrong with it."""

from typing import Any

import pytest

from blueplane.errors import BlueplaneError
from blueplane.paths import Home
from helpers.issued import Issued
from helpers.nursery import Nursery
from helpers.redis_server import RedisServer
from helpers.server import Server
from helpers.smallfs import SmallFs
from helpers.waiting import wait_until

PATIENCE_S = 30.0
#: More than the unused pages of a small database and its -wal can take in.
MANY = 3_000


def database(server: Server) -> dict[str, Any]:
    """Return what the server says of its database; {} before its first look."""
    try:
        found: dict[str, Any] = server.ask("health").get("database", {})
    except BlueplaneError:
        return {}
    return found


def finding(server: Server, metric: str) -> dict[str, str]:
    """Return what is wrong with one figure; {} when nothing is."""
    found = database(server).get("findings", [])
    return next((each for each in found if each["metric"] == metric), {})


@pytest.mark.fault("F8")
def test_the_database_is_red_when_its_disk_is_slow(
    home: Home, issued: Issued, redis_server: RedisServer, nursery: Nursery
) -> None:
    """A disk that takes 120 ms for a few events is red, with the time in the sentence."""
    with Server(home, redis_server, nursery) as server:
        # Given a slow disk
        server.start_ready("before_commit:sleep=0.12@1+")
        # When events come
        issued.issue(5)
        wait_until(lambda: finding(server, "write_latency_p95_ms"), PATIENCE_S, "it is slow")
        # Then
        found = finding(server, "write_latency_p95_ms")
        assert found["colour"] == "red"
        assert "ms or more per 100 events" in found["sentence"]
        said = database(server)
        assert said["health_status"] == "red"
        assert said["write_latency_p50_ms"] > 100
        assert (said["connected"], said["write_success_rate"]) == (True, 1.0)
        # and with a quick one, it is green
        issued.settle(server, redis_server)
        server.stop()
        server.start_ready()
        issued.issue(5)
        wait_until(lambda: database(server).get("write_success_count"), PATIENCE_S, "it writes")
        assert finding(server, "write_latency_p95_ms").get("colour") != "red"


@pytest.mark.fault("C12")
def test_the_database_is_orange_when_it_was_removed_under_the_server(
    home: Home, issued: Issued, redis_server: RedisServer, nursery: Nursery
) -> None:
    """What was removed is said with its number; the new one is connected and written."""
    with Server(home, redis_server, nursery) as server:
        # Given a running server with rows
        server.start_ready()
        issued.issue(20)
        issued.settle(server, redis_server)
        rows = len(issued.ids)
        # When the files are removed
        for file in home.root.glob("telemetry.db*"):
            file.unlink()
        # Then the incident is seen
        wait_until(lambda: finding(server, "store_missing"), PATIENCE_S, "it is missed")
        found = finding(server, "store_missing")
        assert found["colour"] == "orange"
        assert found["sentence"].endswith(f"gone or empty: {rows} messages lost")
        # and what comes is written into the new one, which is well
        issued.ids.clear()
        issued.issue(3)
        issued.settle(server, redis_server)
        wait_until(lambda: database(server)["connected"], PATIENCE_S, "it is connected")
        assert [each["metric"] for each in database(server)["findings"]
                if each["metric"] in {"connected", "schema_version"}] == []  # fmt: skip


@pytest.mark.fault("C1")
def test_the_database_is_red_when_its_disk_is_full(
    home: Home, issued: Issued, redis_server: RedisServer, nursery: Nursery
) -> None:
    """A full disk is red with the free bytes, and over when there is room; the failures stay."""
    with SmallFs(home.root, size_mb=4) as disk:
        home.prepare()
        with SmallFs(home.spool, size_mb=64), Server(home, redis_server, nursery) as server:
            # Given a server whose disk is full
            server.start_ready()
            issued.issue(10)
            issued.settle(server, redis_server)
            disk.fill()
            # When more events come than there is room for
            issued.issue(MANY)

            def red() -> bool:
                return finding(server, "connected").get("colour") == "red"

            wait_until(red, PATIENCE_S, "it is red")
            # Then
            assert "its disk is full" in finding(server, "connected")["sentence"]
            assert "bytes are free" in finding(server, "connected")["sentence"]
            assert str(home.root) not in str(database(server))
            said = database(server)
            assert (said["connected"], said["last_error"]) == (False, "StoreFullError")
            assert 0 < said["write_failure_count"] <= MANY
            assert finding(server, "disk_free_mb")["colour"] == "red"
            # and with room
            disk.grow(64)
            issued.settle(server, redis_server)
            wait_until(lambda: database(server)["connected"], PATIENCE_S, "it is connected")
            assert finding(server, "connected") == {}
            wait_until(
                lambda: database(server)["write_success_count"] >= MANY, PATIENCE_S, "it is counted"
            )
