"""Strangers with a redis-cli: what they do to our keys costs nothing, or says what to mend."""

import pytest

from helpers.issued import EVENTS, GROUP, Issued
from helpers.redis_server import RedisServer
from helpers.server import Server
from helpers.waiting import wait_until

HELD = "after_read:sleep=3"
PATIENCE_S = 30.0


@pytest.mark.parametrize(
    "move",
    [
        ("XGROUP", "SETID", EVENTS, GROUP, "$"),
        ("XREADGROUP", "GROUP", GROUP, "me", "NOACK", "COUNT", "100", "STREAMS", EVENTS, ">"),
    ],
    ids=["moved on", "read without acknowledgement"],
)
@pytest.mark.fault("B18")
def test_entries_are_delivered_again_when_the_group_has_passed_them(
    server: Server, issued: Issued, redis_server: RedisServer, move: tuple[str, ...],
) -> None:  # fmt: skip
    """Entries that the group has read for nobody are found by the next attach and written once."""
    # Given entries that nobody has read, which a stranger makes the group pass
    server.start_ready(HELD)
    issued.put_in_flight(redis_server, 50)
    redis_server.command(*move)
    # When the server is killed and started again
    server.kill()
    server.start_ready()
    # Then everything is written once, and the laws close
    balance = issued.settle(server, redis_server)
    assert (balance["lost"], balance["dead_lettered"]) == (0, 0)


@pytest.mark.parametrize(
    "spoil",
    [
        ("HSET", "telemetry:enqueued", "foo", "bar"),
        ("HSET", "telemetry:enqueued", b"\xff", "1"),
    ],
    ids=["no number", "no text"],
)
@pytest.mark.fault("B20")
def test_server_says_what_is_wrong_when_a_counter_is_not_ours(
    server: Server, issued: Issued, redis_server: RedisServer, spoil: tuple[str | bytes, ...],
) -> None:  # fmt: skip
    """A stranger's field in our hash stops nothing for good, and is named until it is gone."""
    # Given a running server
    server.start_ready()
    # When a stranger writes into the hash of our counters
    redis_server.command(*spoil)
    issued.issue(5)
    # Then the server lives and says which key to mend
    wait_until(
        lambda: "telemetry:enqueued" in str(server.status()["redis"]["trouble"]),
        PATIENCE_S,
        "the key is named",
    )
    # And when it is mended everything is written
    redis_server.command("HDEL", "telemetry:enqueued", spoil[2])
    issued.settle(server, redis_server)


@pytest.mark.fault("B20")
def test_epoch_turns_when_its_key_is_not_text(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """Bytes that are no text in our epoch's key are a stranger's: refused, and named."""
    # Given a running server
    server.start_ready()
    issued.issue(3)
    issued.settle(server, redis_server)
    # When the key is overwritten
    redis_server.command("SET", "telemetry:epoch", b"\xff")
    # Then the server lives and says so
    wait_until(lambda: server.status()["redis"]["trouble"], PATIENCE_S, "trouble is named")
    # And goes on when the key is gone
    redis_server.command("DEL", "telemetry:epoch")
    issued.issue(3)
    issued.settle(server, redis_server)


@pytest.mark.parametrize(
    "message_id",
    ["18446744073709551615-1", "18446744073709551615-18446744073709551615", "9999999999999999-0"],
)
@pytest.mark.fault("B11")
def test_stream_is_set_aside_when_its_ids_have_run_away(
    server: Server, issued: Issued, redis_server: RedisServer, message_id: str,
) -> None:  # fmt: skip
    """One entry with an absurd id does not spoil what comes after it."""
    # Given a server that has written some events
    server.start_ready()
    issued.issue(3)
    issued.settle(server, redis_server)
    # When a stranger appends an entry from the far future, and the server is started again
    redis_server.command("XADD", EVENTS, message_id, "a", "b")
    server.stop()
    issued.issue(5)
    server.start_ready()
    # Then our events are written, and the old stream is set aside, not deleted
    issued.settle(server, redis_server)
    assert redis_server.client.keys(f"{EVENTS}:set-aside-*")
