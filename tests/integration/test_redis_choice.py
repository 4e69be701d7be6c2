"""Moving a home from its private server to one of the user's."""

import threading
import time
from collections.abc import Iterator

import pytest

from blueplane.config import load
from blueplane.daemon import Daemon
from blueplane.event import Event, encode
from blueplane.paths import Home
from blueplane.store.queries import reading
from helpers.redis_server import RedisServer
from helpers.waiting import wait_until

ENTRIES = 5


@pytest.fixture
def left_over(home: Home) -> Home:
    """A home whose private server was stopped with foreign entries in the stream."""
    daemon = Daemon(home, load(home, {}))
    daemon.start()
    wait_until(lambda: daemon.stream.attached, 20, "attached")
    daemon.consumer.stop()
    assert daemon.consumer.join(10)
    link = daemon.stream._link()
    for number in range(ENTRIES):
        event = Event(
            bytes([number]) * 16, "cursor", "hook", "stop", "turn_end", "s", 1, time.time_ns(),
            "", "", "", "", b"{}", b"{}", "",
        )  # fmt: skip
        link.call("XADD", daemon.stream.events, "*", *encode(event))
    daemon.stop()
    return home


@pytest.fixture
def moved(left_over: Home, redis_server: RedisServer) -> Iterator[Daemon]:
    """A server of that home, watched over, whose configuration names another Redis."""
    daemon = Daemon(left_over, load(left_over, {"BLUEPLANE_REDIS_URL": redis_server.url}))
    daemon.start()
    watching = threading.Thread(target=daemon.watch)
    watching.start()
    yield daemon
    daemon.stopping.set()
    watching.join()
    daemon.stop()


def test_the_private_server_is_drained_first_when_another_one_is_chosen(moved: Daemon) -> None:
    """What is in the private stream is written before the server moves to another Redis."""
    # Given a private server with entries in its stream, and another Redis in the configuration
    # When the server has moved
    wait_until(lambda: moved.redis.mode == "external" and moved.stream.attached, 30, "moved")

    # Then every entry is a row, both laws close, and the private server is gone
    moved.writer.ask(moved.writer.balance_now)
    with reading(moved.home.database) as reader:
        snapshot = reader.balance()
    assert snapshot is not None
    assert snapshot.body["written"] == snapshot.body["foreign"] == ENTRIES
    assert snapshot.body["balanced"]
    assert not (moved.home.redis / "appendonlydir").exists()
    assert moved.intake.open


def test_the_server_moves_on_when_the_empty_data_cannot_be_removed(
    left_over: Home, redis_server: RedisServer
) -> None:
    """A private server whose data lies behind a link is drained, left, and its data stays."""
    # Given
    data = left_over.redis / "appendonlydir"
    data.rename(left_over.root / "elsewhere")
    data.symlink_to(left_over.root / "elsewhere")
    daemon = Daemon(left_over, load(left_over, {"BLUEPLANE_REDIS_URL": redis_server.url}))
    daemon.start()
    watching = threading.Thread(target=daemon.watch)
    watching.start()
    # When / Then
    try:
        wait_until(lambda: daemon.redis.mode == "external" and daemon.stream.attached, 30, "moved")
        assert watching.is_alive()
        assert data.exists()
    finally:
        daemon.stopping.set()
        watching.join()
        daemon.stop()
