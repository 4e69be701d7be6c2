"""Redis dies, freezes, forgets, or loses the end of its log: events are late, and never lost."""

import os
import signal
import time
from pathlib import Path

import pytest

from blueplane.paths import Home
from helpers.issued import EVENTS, GROUP, Issued
from helpers.nursery import Nursery
from helpers.redis_server import RedisServer
from helpers.server import Server
from helpers.waiting import wait_until

#: The consumer has a first batch in hand and reads no other for so long, or until it is killed.
HELD = "after_read:sleep=3"
HELD_FOR_GOOD = "after_read:sleep=600"
PATIENCE_S = 30.0
#: Seconds within which a Redis that is back must be used again.
BACK_S = 5.0
IN_FLIGHT = 300
#: Entries of the first batch, which is in the consumer's hand while it is held.
IN_HAND = 100


@pytest.mark.fault("B1")
def test_redis_is_waited_for_when_not_running_at_start(
    home: Home, issued: Issued, nursery: Nursery
) -> None:
    """Without Redis the server runs, hooks spool, one line is logged, and it drains by itself."""
    redis = RedisServer()
    try:
        with Server(home, redis, nursery) as server:
            # Given a server without its Redis, and events
            server.start()
            server.wait_running()
            issued.issue(50)
            issued.hook(2)
            wait_until(lambda: "not reading" in server.log(), PATIENCE_S, "the trouble is logged")
            # When many attempts have failed and then Redis comes
            trouble = server.status()["redis"]
            assert len(issued.spool()) == 52
            assert not trouble["connected"]
            assert "redis does not answer" in trouble["trouble"]
            redis.start()
            # Then everything is written, and the trouble was logged once
            balance = issued.settle(server, redis)
            assert balance["written"] == 53
            assert server.log().count("not reading") == 1
    finally:
        redis.close()


@pytest.mark.fault("B2")
def test_nothing_is_lost_when_redis_is_killed_and_comes_back_with_its_log(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """After kill -9 and a restart the server is attached again by itself; nothing is lost."""
    # Given events in flight
    server.start_ready(HELD)
    issued.put_in_flight(redis_server, IN_FLIGHT)
    # When Redis is killed, events go on, and it comes back
    redis_server.kill()
    issued.issue(100)
    wait_until(lambda: "not reading" in server.log(), PATIENCE_S, "it is missed")
    redis_server.start()
    # Then the server is back within seconds, every event has one row and none was lost
    server.wait_ready(BACK_S)
    balance = issued.settle(server, redis_server)
    assert (balance["lost"], balance["dead_lettered"]) == (0, 0)
    assert balance["captured"] == IN_FLIGHT + 101


@pytest.mark.fault("B3")
def test_events_in_flight_are_recovered_when_redis_comes_back_empty(
    home: Home, issued: Issued, nursery: Nursery,
) -> None:  # fmt: skip
    """A Redis without persistence costs only time: what was in flight is sent again and counted."""
    with RedisServer(aof=False) as redis, Server(home, redis, nursery) as server:
        # Given 300 events in flight, some of them in hand
        server.start_ready(HELD)
        issued.put_in_flight(redis, IN_FLIGHT)
        # When Redis is killed and comes back empty
        redis.restart()
        # Then all are written once, those in the stream counted as recovered, none as lost
        balance = issued.settle(server, redis)
        assert balance["lost"] == 0
        assert IN_FLIGHT - IN_HAND <= balance["recovered"] < IN_FLIGHT
        assert incident(issued) == (balance["recovered"], balance["recovered"])


@pytest.mark.fault("B4")
def test_events_in_flight_are_recovered_when_redis_is_flushed(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """FLUSHALL with 300 in flight: each has one row, what vanished is recovered, lost is 0."""
    # Given 300 events in flight
    server.start_ready(HELD)
    issued.put_in_flight(redis_server, IN_FLIGHT)
    # When everything is flushed
    redis_server.flush()
    # Then all are written once
    balance = issued.settle(server, redis_server)
    assert balance["lost"] == 0
    assert IN_FLIGHT - IN_HAND <= balance["recovered"] < IN_FLIGHT
    # and the break names every message that vanished
    (ids,) = issued.select("SELECT json_array_length(ids) FROM incidents WHERE colour IS NULL")[0]
    assert ids == balance["recovered"]


@pytest.mark.fault("B4")
def test_events_in_flight_are_recovered_when_redis_is_flushed_while_the_server_is_dead(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """What the server had seen in flight is counted as recovered by the server that follows."""
    # Given 300 events in flight, seen by a balance, and a server killed there
    server.start_ready(HELD_FOR_GOOD)
    issued.put_in_flight(redis_server, IN_FLIGHT)
    assert server.balance()["in_flight"] == IN_FLIGHT
    server.kill()
    # When everything is flushed and the server starts again
    redis_server.flush()
    server.start_ready()
    # Then each of them is recovered and written once
    balance = issued.settle(server, redis_server)
    assert (balance["recovered"], balance["lost"]) == (IN_FLIGHT, 0)


@pytest.mark.fault("B4")
def test_a_new_epoch_begins_when_redis_is_flushed_while_idle(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """FLUSHALL while the reader waits: the group is there again, nothing was lost or recovered."""
    # Given a server that has written events and now waits for more
    server.start_ready()
    issued.issue(20)
    issued.settle(server, redis_server)
    for _ in range(2):
        # When Redis is flushed / Then the next event passes and both laws close
        redis_server.flush()
        balance = issued.settle(server, redis_server)
        assert (balance["recovered"], balance["lost"]) == (0, 0)


@pytest.mark.fault("B5")
def test_attaches_are_rare_when_the_group_is_destroyed_again_and_again(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """A group that somebody keeps destroying costs about an attach a second and few log lines."""
    # Given a running server
    server.start_ready()
    before, began = attaches(redis_server), time.monotonic()
    # When its group is destroyed in a loop while events arrive
    wait_until(lambda: destroy_group(redis_server, issued, began + 4), PATIENCE_S, "time is up")
    elapsed = time.monotonic() - began
    # Then it was made again about once a second, and that was said only now and then
    assert 2 <= attaches(redis_server) - before <= elapsed + 2
    assert "not reading" in server.log()
    assert len(server.log().splitlines()) < 20
    # and all events arrive, none of them lost or even recovered: entries outlive their group
    balance = issued.settle(server, redis_server)
    assert (balance["recovered"], balance["lost"]) == (0, 0)


def destroy_group(redis: RedisServer, issued: Issued, until_s: float) -> bool:
    """Destroy the group and issue an event; return whether the time is up."""
    redis.command("XGROUP", "DESTROY", EVENTS, GROUP)
    if len(issued.ids) < 200:
        issued.issue()
    return time.monotonic() > until_s


def attaches(redis: RedisServer) -> int:
    """Return how often the group was asked to be made."""
    stats = redis.client.info("commandstats")
    return int(stats.get("cmdstat_xgroup|create", {}).get("calls", 0))


@pytest.mark.fault("B14")
def test_hooks_and_stop_are_not_held_up_when_redis_is_frozen(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """With Redis frozen hooks return, SIGTERM ends the server in 10 s, nothing comes twice."""
    # Given events in flight in a frozen Redis
    server.start_ready()
    issued.issue(50)
    redis_server.freeze()
    issued.issue(50)
    # When hooks run / Then none of them waits for it
    began = time.monotonic()
    issued.hook(5)
    assert time.monotonic() - began < 5
    # When the server is told to stop / Then it does, in order
    began = time.monotonic()
    server.send(signal.SIGTERM)
    code = server.wait(30)
    assert time.monotonic() - began <= 10.5
    assert code == 0
    # When Redis goes on and carries out what had been sent to it / Then each event has one row
    redis_server.thaw()
    server.start_ready()
    balance = issued.settle(server, redis_server)
    assert (balance["lost"], balance["duplicate"]) == (0, 0)


@pytest.mark.fault("B14")
def test_an_idle_server_stops_soon_when_redis_is_frozen(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """A read that has only just begun to wait is cut off at a stop, long before its timeout."""
    # Given a server whose consumer begins to wait, and a frozen Redis
    server.start_ready()
    issued.issue(5)
    issued.settle(server, redis_server)
    redis_server.freeze()
    # When the server is told to stop / Then it does not wait for the read to time out
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 7


@pytest.mark.fault("B15")
def test_an_append_is_not_repeated_when_its_answer_did_not_come(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """What Redis took while it was frozen beyond our patience is stored once, and sent once."""
    # Given a running server and a frozen Redis
    server.start_ready()
    issued.issue(10)
    issued.settle(server, redis_server)
    redis_server.freeze()
    # When an append runs into its timeout and Redis carries it out afterwards
    issued.issue(20)
    wait_until(lambda: "files wait" in server.log(), PATIENCE_S, "the append has timed out")
    redis_server.thaw()
    # Then every event is in the store, and no message was a duplicate
    balance = issued.settle(server, redis_server)
    assert (balance["duplicate"], balance["recovered"], balance["lost"]) == (0, 0, 0)
    assert balance["enqueued"] == len(issued.ids)


@pytest.mark.fault("B15")
def test_an_event_has_one_row_when_its_entry_is_in_the_stream_twice(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """A raw copy of our own entry is a duplicate message and no second event."""
    # Given ten events in flight, the first read of them held
    server.start_ready(HELD)
    issued.put_in_flight(redis_server, 10)
    # When a stranger adds a copy of each
    entries = redis_server.client.xrange(EVENTS)
    for _, fields in entries:
        redis_server.client.xadd(EVENTS, fields)
    # Then there is one row each, and the copies are counted in the first law only
    balance = issued.settle(server, redis_server)
    assert (balance["duplicate"], balance["foreign"]) == (10, 10)
    assert (balance["captured"], balance["events"]["duplicate"]) == (11, 0)


@pytest.mark.parametrize("dead", [False, True], ids=["server alive", "server dead"])
@pytest.mark.fault("B2")
def test_nothing_is_lost_when_redis_loses_the_end_of_its_log(
    server: Server, issued: Issued, redis_server: RedisServer, dead: bool,
) -> None:  # fmt: skip
    """A log that is rolled back brings old entries again and forgets new ones: the laws close."""
    # Given events that were settled before and after a certain length of Redis' log
    server.start_ready()
    issued.issue(100)
    issued.settle(server, redis_server)
    log = next((redis_server.directory / "appendonlydir").glob("*.incr.aof"))
    length = settled_length(log)
    issued.issue(150)
    issued.settle(server, redis_server)
    # When Redis is killed and comes back with its log cut there
    if dead:
        server.kill()
    redis_server.kill()
    os.truncate(log, length)
    redis_server.start()
    if dead:
        server.start()
    # Then nothing is lost or twice, and both laws close
    server.wait_ready()
    balance = issued.settle(server, redis_server)
    assert (balance["recovered"], balance["lost"], balance["duplicate"]) == (0, 0, 0)


def settled_length(log: Path) -> int:
    """Return the length of a log that does not grow for a while."""
    seen, since_s = -1, 0.0

    def settled() -> bool:
        nonlocal seen, since_s
        if log.stat().st_size != seen:
            seen, since_s = log.stat().st_size, time.monotonic()
        return time.monotonic() > since_s + 0.3

    wait_until(settled, PATIENCE_S, "the log does not grow")
    return seen


@pytest.mark.fault("B2")
def test_events_in_flight_are_recovered_when_redis_forgets_them_with_the_end_of_its_log(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """Entries that a log without its end does not know any more are sent again and counted."""
    # Given a length of Redis' log, and 300 events in flight after it
    server.start_ready(HELD_FOR_GOOD)
    log = next((redis_server.directory / "appendonlydir").glob("*.incr.aof"))
    length = settled_length(log)
    issued.put_in_flight(redis_server, IN_FLIGHT)
    assert server.balance()["in_flight"] == IN_FLIGHT
    server.kill()
    # When Redis comes back with its log cut there
    redis_server.kill()
    os.truncate(log, length)
    redis_server.start()
    server.start_ready()
    # Then all of them are recovered
    balance = issued.settle(server, redis_server)
    assert (balance["recovered"], balance["lost"]) == (IN_FLIGHT, 0)


def incident(issued: Issued) -> tuple[int, int]:
    """Return (count, recovered) of the one break of custody."""
    ((count, recovered),) = issued.select(
        "SELECT count, recovered FROM incidents WHERE colour IS NULL"
    )
    return count, recovered
