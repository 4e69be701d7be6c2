"""Redis answers and takes no writes: sources wait, and nothing is let go of wrongly."""

import pytest

from helpers.issued import EVENTS, GROUP, Issued
from helpers.redis_server import RedisServer
from helpers.server import Server
from helpers.waiting import wait_until

PATIENCE_S = 30.0
IN_FLIGHT = 200
#: The first read is held for a moment: what follows happens with entries in hand and in the stream.
HELD = "after_read:sleep=1"


@pytest.mark.fault("B7")
def test_files_wait_and_the_stream_drains_when_redis_is_out_of_memory(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """Without memory nothing is added, everything in the stream is written, and it heals alone."""
    # Given events in flight
    server.start_ready(HELD)
    issued.put_in_flight(redis_server, IN_FLIGHT)
    # When Redis has no memory left, and events go on
    redis_server.config_set("maxmemory", 1)
    issued.issue(50)
    issued.hook(2)
    # Then what is in the stream is written and leaves it, and the files stay where they are
    wait_until(lambda: redis_server.command("XLEN", EVENTS) == 0, PATIENCE_S, "it is drained")
    wait_until(lambda: len(issued.spool()) == 52, PATIENCE_S, "only the new files are left")
    assert len(issued.rows()) == IN_FLIGHT
    # and the reason is said once
    wait_until(lambda: "files wait" in server.log(), PATIENCE_S, "the reason is logged")
    waits = [line for line in server.log().splitlines() if "files wait" in line]
    assert len(waits) == 1
    assert "maxmemory" in waits[0]
    # When there is memory again / Then the files follow by themselves
    redis_server.config_set("maxmemory", 0)
    balance = issued.settle(server, redis_server)
    assert (balance["duplicate"], balance["recovered"], balance["lost"]) == (0, 0, 0)
    assert balance["enqueued"] == len(issued.ids)


@pytest.mark.fault("B8")
def test_nothing_is_let_go_of_when_redis_is_read_only(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """A Redis that became a replica takes no acknowledgement: entries stay and count once."""
    # Given events in flight, some of them in hand
    server.start_ready(HELD)
    issued.put_in_flight(redis_server, IN_FLIGHT)
    wait_until(lambda: pending(redis_server), PATIENCE_S, "some are in hand")
    in_hand = pending(redis_server)
    # When Redis becomes a replica of something that is not there
    redis_server.command("REPLICAOF", "127.0.0.1", "1")
    issued.issue(50)
    issued.hook(2)
    # Then what was in hand is written, and all of it stays in the stream, pending as it was
    wait_until(lambda: "read only" in trouble(server), PATIENCE_S, "the trouble is said")
    wait_until(lambda: len(issued.rows()) == in_hand, PATIENCE_S, "what was in hand is written")
    assert redis_server.command("XLEN", EVENTS) == IN_FLIGHT
    assert pending(redis_server) == in_hand
    assert len(issued.spool()) >= IN_FLIGHT - in_hand + 52
    # When it is its own master again / Then everything is written once
    redis_server.command("REPLICAOF", "NO", "ONE")
    balance = issued.settle(server, redis_server)
    assert (balance["duplicate"], balance["recovered"], balance["lost"]) == (0, 0, 0)
    assert balance["enqueued"] == len(issued.ids)
    assert server.log().count("not reading") == 1


def pending(redis: RedisServer) -> int:
    """Return how many entries are delivered and not acknowledged."""
    return int(redis.command("XPENDING", EVENTS, GROUP)[0])


def trouble(server: Server) -> str:
    """Return why the server does not read, in its own words."""
    return str(server.status()["redis"]["trouble"])
