"""A stranger's key under one of our names: named, never written over, and no loss when it goes."""

import pytest

from helpers.issued import EVENTS, Issued
from helpers.redis_server import RedisServer
from helpers.server import Server
from helpers.waiting import wait_until

PATIENCE_S = 30.0
#: Each key of ours, with a command that makes it something else.
STRANGERS = {
    EVENTS: ("SET", EVENTS, "theirs"),
    "cdc:events": ("HSET", "cdc:events", "theirs", "1"),
    "telemetry:enqueued": ("SET", "telemetry:enqueued", "theirs"),
    "telemetry:dlq": ("RPUSH", "telemetry:dlq", "theirs"),
    "telemetry:epoch": ("HSET", "telemetry:epoch", "theirs", "1"),
}


def named(server: Server, key: str) -> bool:
    """Whether the server says that this key is in its way, and what to do."""
    said = str(server.status()["redis"]["trouble"])
    return f"redis key {key} is a " in said and "redis.key_prefix" in said


@pytest.mark.fault("B13")
@pytest.mark.parametrize("key", STRANGERS)
def test_key_of_a_stranger_is_named_and_kept_when_it_is_there_at_start(
    server: Server, issued: Issued, redis_server: RedisServer, key: str,
) -> None:  # fmt: skip
    """The server starts, says which key is in its way, writes nothing, and waits for it to go."""
    # Given a key of a stranger and events
    redis_server.command(*STRANGERS[key])
    theirs = redis_server.command("DUMP", key)
    issued.issue(20)
    # When the server starts / Then it says so, and leaves everything as it is
    server.start()
    server.wait_running()
    wait_until(lambda: named(server, key), PATIENCE_S, f"{key} is named")
    assert (redis_server.command("DUMP", key), redis_server.command("DBSIZE")) == (theirs, 1)
    assert len(issued.spool()) == 20
    # When the key is gone / Then everything is written
    redis_server.command("DEL", key)
    balance = issued.settle(server, redis_server)
    assert (balance["recovered"], balance["lost"]) == (0, 0)


@pytest.mark.fault("B13")
@pytest.mark.parametrize("key", STRANGERS)
def test_key_of_a_stranger_is_named_and_kept_when_it_comes_while_the_server_runs(
    server: Server, issued: Issued, redis_server: RedisServer, key: str,
) -> None:  # fmt: skip
    """A key that becomes something else is named as soon as it is needed, and not written over."""
    # Given a server that has written events
    server.start_ready()
    issued.issue(20)
    issued.settle(server, redis_server)
    # When one of its keys becomes something else, and events go on, one of them a bad one
    change = redis_server.client.pipeline()
    change.delete(key)
    change.execute_command(*STRANGERS[key])
    change.execute()
    theirs = redis_server.command("DUMP", key)
    issued.issue(20)
    if key != EVENTS:
        redis_server.command("XADD", EVENTS, "*", "no", "event")
    # Then it is named, and stays as it is
    wait_until(lambda: named(server, key), PATIENCE_S, f"{key} is named")
    assert redis_server.command("DUMP", key) == theirs
    # When it is gone / Then everything is written once
    redis_server.command("DEL", key)
    balance = issued.settle(server, redis_server)
    assert (balance["duplicate"], balance["lost"]) == (0, 0)
    assert len(server.log().splitlines()) < 40
