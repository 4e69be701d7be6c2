"""Connections are refused, or cut again and again: no storm, no leak, nothing lost."""

import time

import psutil
import pytest

from blueplane.clock import wall_ms
from blueplane.errors import QueueUnusableError
from blueplane.paths import Home
from blueplane.pipeline.stream import Stream
from helpers.issued import Issued
from helpers.nursery import Nursery
from helpers.redis_server import RedisServer
from helpers.resetting import ResettingProxy
from helpers.server import Server
from helpers.waiting import wait_until

PATIENCE_S = 30.0
TROUBLED_S = 2.5
#: Above a healthy server: a connection of each role that is being made.
SPARE = 6


class Footprint:
    """What a server holds of the system, at rest and at most: sockets, threads, descriptors.

    Of descriptors only that they are few: SQLite keeps one for the next that opens the database.
    """

    def __init__(self, server: Server) -> None:
        self._process = psutil.Process(server.pid)
        self.at_rest = self._now()
        self.most = self.at_rest

    def look(self) -> None:
        """Note what it holds now."""
        self.most = tuple(map(max, self.most, self._now()))

    def is_small(self) -> bool:
        """Whether it holds no more sockets and threads than at rest."""
        return all(now <= rest for now, rest in zip(self._now()[:2], self.at_rest, strict=False))

    def stayed_small(self) -> bool:
        """Whether it never held much more than at rest."""
        room = (SPARE, 0, SPARE)
        return all(
            most <= rest + spare
            for most, rest, spare in zip(self.most, self.at_rest, room, strict=True)
        )

    def _now(self) -> tuple[int, ...]:
        process = self._process
        return len(process.net_connections("all")), process.num_threads(), process.num_fds()


def attach_again(server: Server, issued: Issued, redis: RedisServer) -> Footprint:
    """Cut every connection once: what is opened only then counts as being at rest."""
    issued.issue(20)
    issued.settle(server, redis)
    redis.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    issued.issue(20)
    issued.settle(server, redis)
    settled_ms = wall_ms()

    def looks_again() -> bool:
        """Whether the health thread, too, has its connection again."""
        health = server.ask("health")
        return health["as_of_ms"] > settled_ms and health["queue"]["redis"]["connected"] is True

    wait_until(looks_again, PATIENCE_S, "health looks at redis again")
    return Footprint(server)


def suffer(issued: Issued, footprint: Footprint) -> None:
    """Let events come for a while, and look at what the server holds."""
    began_s = time.monotonic()

    def over() -> bool:
        if len(issued.ids) < 300:
            issued.issue(2)
        footprint.look()
        return time.monotonic() - began_s > TROUBLED_S

    wait_until(over, PATIENCE_S, "time is up")


@pytest.mark.fault("B21")
def test_nothing_leaks_when_redis_takes_too_few_clients(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """With too few connections to be had files wait, and it heals with nothing left open."""
    # Given a running server that has attached twice, and what it holds
    server.start_ready()
    footprint = attach_again(server, issued, redis_server)
    # When its connections are cut and Redis takes three clients, one of which is the test
    redis_server.config_set("maxclients", 3)
    redis_server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    suffer(issued, footprint)
    # Then it holds hardly more than before
    assert footprint.stayed_small(), footprint.most
    # and few lines say that it is not served
    assert "does not answer" in server.log()
    assert len(server.log().splitlines()) < 25
    # When there is room / Then everything is written once, and nothing is left open
    redis_server.config_set("maxclients", 100)
    balance = issued.settle(server, redis_server)
    assert (balance["duplicate"], balance["lost"]) == (0, 0)
    wait_until(footprint.is_small, PATIENCE_S, "it holds as much as before")


@pytest.mark.fault("B21", "B16")
def test_nothing_leaks_when_connections_are_reset_again_and_again(
    home: Home, issued: Issued, redis_server: RedisServer, nursery: Nursery,
) -> None:  # fmt: skip
    """Every few commands the connection is reset: attaches stay rare, and nothing is lost."""
    with (
        ResettingProxy(redis_server) as proxy,
        Server(home, nursery=nursery, BLUEPLANE_REDIS_URL=proxy.url) as server,
    ):
        # Given a running server that has attached twice, and what it holds
        server.start_ready()
        footprint = attach_again(server, issued, redis_server)
        # When every seventh command costs its connection, for a while
        before = proxy.accepted
        proxy.every = 7
        suffer(issued, footprint)
        proxy.every = 0
        # Then connections were cut, few were made again, and few lines were written
        assert proxy.cut > 1
        assert proxy.accepted - before <= 40
        assert len(server.log().splitlines()) < 60
        assert footprint.stayed_small(), footprint.most
        # and everything is written once, with nothing left open
        balance = issued.settle(server, redis_server)
        assert (balance["duplicate"], balance["recovered"], balance["lost"]) == (0, 0, 0)
        assert balance["enqueued"] == len(issued.ids)
        wait_until(footprint.is_small, PATIENCE_S, "it holds as much as before")


@pytest.mark.fault("B21")
@pytest.mark.parametrize("command", ["client|id", "info", "type", "xack"])
def test_no_connection_stays_open_when_it_is_refused_half_way(
    redis_server: RedisServer, command: str
) -> None:
    """What is refused after its connection was made is closed by the next try, not by chance."""
    # Given a user who may not do what is done first, or next
    redis_server.command("ACL", "SETUSER", "poor", "on", ">pw", "~*", "+@all", f"-{command}")
    stream = Stream(lambda: f"unix://poor:pw@{redis_server.socket_path}")
    kept: list[BaseException] = []
    before = descriptors()
    # When it is tried again and again, and every error is remembered with its frames
    for _ in range(10):
        with pytest.raises(QueueUnusableError) as caught:
            stream.inspect()
        kept.append(caught.value)
    # Then one connection at most is open, and none when the stream is closed
    assert descriptors() - before <= 1
    stream.close()
    assert descriptors() == before
    assert len(kept) == 10


def descriptors() -> int:
    """Return how many files and sockets this process has open."""
    return psutil.Process().num_fds()
