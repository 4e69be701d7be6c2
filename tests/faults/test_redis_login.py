"""Redis asks who we are: what is wrong is said in one line, seldom, and it heals alone."""

import re
import time

import pytest

from blueplane.errors import QueueUnusableError
from blueplane.paths import Home
from blueplane.pipeline.stream import Stream
from helpers.issued import EVENTS, Issued
from helpers.nursery import Nursery
from helpers.redis_server import RedisServer
from helpers.server import Server
from helpers.waiting import wait_until

PATIENCE_S = 30.0
PASSWORD = "plum-lantern-49"
#: Seconds for which connections are counted, and how many there may be: the pauses grow to 2 s.
COUNTED_S = 2.0
FEW_CONNECTIONS = 10
FEW_LINES = 12


def url(redis: RedisServer, login: str) -> str:
    """Return the address of ``redis`` with a login."""
    return f"unix://{login}@{redis.socket_path}"


def wait_for_trouble(server: Server, *words: str) -> None:
    """Wait until the server says why it is not served, in these words."""

    def said() -> str:
        return str(server.status()["redis"]["trouble"])

    wait_until(lambda: all(word in said() for word in words), PATIENCE_S, f"{words} are said")


def watch_connections(redis: RedisServer, issued: Issued) -> int:
    """Return how many connections were made in a while, with events all along."""
    before, began_s = connections(redis), time.monotonic()

    def over() -> bool:
        if len(issued.ids) < 200:
            issued.issue()
        return time.monotonic() - began_s > COUNTED_S

    wait_until(over, PATIENCE_S, "time is up")
    return connections(redis) - before


def connections(redis: RedisServer) -> int:
    """Return how many connections this Redis ever had."""
    return int(redis.client.info("stats")["total_connections_received"])


@pytest.mark.fault("B19")
@pytest.mark.parametrize("login", ["", "nobody:wrong-one"])
def test_login_is_tried_seldom_when_it_is_refused(
    home: Home, issued: Issued, redis_server: RedisServer, login: str, nursery: Nursery,
) -> None:  # fmt: skip
    """Without a right password files wait, one line says why, and no storm of tries begins."""
    # Given a Redis with a password, and a server with another one, or none
    redis_server.config_set("requirepass", PASSWORD)
    redis_server.command("AUTH", PASSWORD)
    address = url(redis_server, login) if login else redis_server.url
    with Server(home, nursery=nursery, BLUEPLANE_REDIS_URL=address) as server:
        server.start()
        server.wait_running()
        # When it tries while events come / Then it says what to do, and tries seldom
        wait_for_trouble(server, "redis refuses the login", "user and password in redis.url")
        assert watch_connections(redis_server, issued) <= FEW_CONNECTIONS
        assert server.log().count("not reading") == 1
        assert len(server.log().splitlines()) <= FEW_LINES
        assert PASSWORD not in server.log()
        # When it becomes right / Then everything is written
        redis_server.config_set("requirepass", "wrong-one" if login else "")
        redis_server.command("ACL", "SETUSER", "nobody", "on", ">wrong-one", "~*", "+@all")
        issued.settle(server, redis_server)


@pytest.mark.fault("B19")
def test_events_wait_when_the_password_is_changed_while_the_server_runs(
    home: Home, issued: Issued, redis_server: RedisServer, nursery: Nursery,
) -> None:  # fmt: skip
    """With another password, and its connections cut, it waits, says so, and loses nothing."""
    # Given a running server with the right password
    redis_server.config_set("requirepass", PASSWORD)
    redis_server.command("AUTH", PASSWORD)
    with Server(
        home, nursery=nursery, BLUEPLANE_REDIS_URL=url(redis_server, f":{PASSWORD}")
    ) as server:
        server.start_ready("after_read:sleep=1")
        issued.put_in_flight(redis_server, 150)
        # When the password becomes another one and every client is cut off
        redis_server.config_set("requirepass", "another-one-12")
        redis_server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        # Then it says so, and tries seldom
        wait_for_trouble(server, "redis refuses the login", "redis.url")
        assert watch_connections(redis_server, issued) <= FEW_CONNECTIONS
        assert len(server.log().splitlines()) <= FEW_LINES
        assert PASSWORD not in server.log()
        # When it is the old one again / Then everything is written, once
        redis_server.config_set("requirepass", PASSWORD)
        balance = issued.settle(server, redis_server)
        assert (balance["duplicate"], balance["recovered"], balance["lost"]) == (0, 0, 0)


@pytest.mark.fault("B19")
def test_events_wait_when_the_user_may_not_read_the_stream(
    home: Home, issued: Issued, redis_server: RedisServer, nursery: Nursery,
) -> None:  # fmt: skip
    """A user who lacks one command gets nothing to do: it is named, and how to allow it."""
    # Given a user who may do everything but read as a group
    allowed = ("on", f">{PASSWORD}", "~*", "+@all")
    redis_server.command("ACL", "SETUSER", "poor", *allowed, "-xreadgroup")
    with Server(
        home, nursery=nursery, BLUEPLANE_REDIS_URL=url(redis_server, f"poor:{PASSWORD}")
    ) as server:
        server.start()
        server.wait_running()
        # When events come / Then they wait, nothing is added, and what is missing is said
        wait_for_trouble(server, "lacks a permission", "'xreadgroup'", "ACL SETUSER")
        assert watch_connections(redis_server, issued) <= FEW_CONNECTIONS
        assert len(issued.spool()) == len(issued.ids)
        assert redis_server.command("DBSIZE") == 0
        assert server.log().count("not reading") == 1
        # When it is allowed / Then everything is written
        redis_server.command("ACL", "SETUSER", "poor", "+@all")
        issued.settle(server, redis_server)


@pytest.mark.fault("B19")
@pytest.mark.parametrize(
    "command",
    [
        "multi", "xadd", "xreadgroup", "xautoclaim", "xack", "xdel", "xlen", "xrange",
        "xinfo|stream", "xgroup|create", "hincrby", "hgetall", "hset", "hdel", "del", "set", "get",
        "client|unblock", "discard",
    ],
)  # fmt: skip
def test_missing_permission_is_found_before_anything_is_done(
    redis_server: RedisServer, command: str
) -> None:
    """Whatever a user may not do is named before the stream is touched, and nothing is left."""
    # Given a user who may do everything but one thing
    redis_server.command("ACL", "SETUSER", "poor", "on", ">pw", "~*", "+@all", f"-{command}")
    stream = Stream(lambda: url(redis_server, "poor:pw"))
    # When it is looked at / Then the command is named, and Redis is as empty as it was
    with pytest.raises(QueueUnusableError, match=rf"'{re.escape(command)}'.*allow it with ACL"):
        stream.inspect()
    stream.close()
    assert redis_server.command("DBSIZE") == 0


@pytest.mark.fault("B19")
def test_probe_of_the_permissions_changes_nothing_when_all_are_there(
    redis_server: RedisServer,
) -> None:
    """A server that was inspected is as it was, and may be used at once."""
    # Given a stream with an entry and a counter
    redis_server.command("XADD", EVENTS, "7-0", "a", "b")
    redis_server.command("HSET", "telemetry:enqueued", "hook", "1")
    stream = Stream(lambda: redis_server.url)
    # When it is inspected / Then nothing has changed
    stream.inspect()
    assert redis_server.command("XRANGE", EVENTS, "-", "+") == [[b"7-0", [b"a", b"b"]]]
    assert redis_server.client.hgetall("telemetry:enqueued") == {b"hook": b"1"}
    assert redis_server.command("DBSIZE") == 2
    stream.close()
