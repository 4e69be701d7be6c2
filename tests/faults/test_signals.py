"""Signals and dying threads: a server stops in time or heals itself, and loses nothing by it."""

import signal
import time
from random import Random

import pytest

from blueplane.paths import Home
from helpers.killing import ARRANGEMENTS, KillLoop
from helpers.nursery import Nursery
from helpers.oracle import Oracle, stored
from helpers.redis_server import RedisServer
from helpers.server import Server
from helpers.waiting import wait_until

#: Seconds that a stop may take (P12), and what a loaded machine may add to it.
STOP_S = 10.0
SLACK_S = 5.0
#: Seconds for anything else; only a failure takes that long.
PATIENCE_S = 30.0
#: Exit codes that the help of ``serve`` names, and that of a second signal.
STOPPED, GAVE_UP, AT_ONCE = 0, 70, 130


def stop_time(server: Server) -> float:
    """Return the seconds until a server that was signalled has ended."""
    started = time.monotonic()
    server.wait(STOP_S + SLACK_S)
    return time.monotonic() - started


@pytest.mark.fault("A13")
def test_server_stops_in_order_when_terminated_at_any_point(
    home: Home, redis_server: RedisServer, nursery: Nursery
) -> None:
    """SIGTERM at each fault point ends the server with code 0 within 10 s, and nothing is lost."""
    # Given a server and events
    with Server(home, redis_server, nursery) as server:
        loop = KillLoop(
            server, Oracle(home, 1), Random(1), redis_server, action="term", code=STOPPED
        )

        # When it is terminated at every point of the program
        for point in sorted(ARRANGEMENTS):
            started = time.monotonic()
            loop.die_at(point)
            assert time.monotonic() - started < STOP_S + SLACK_S, point

        # Then the next life writes what was left, once
        server.start_ready()
        loop.oracle.judge(server, redis_server)


@pytest.mark.fault("A13")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_server_stops_with_code_0_when_signalled_at_work(
    home: Home, redis_server: RedisServer, number: signal.Signals
) -> None:
    """A server as people start it ends on SIGTERM and SIGINT with 0, in the middle of its work."""
    # Given a server at work
    with Server(home, redis_server) as server:
        oracle = Oracle(home)
        server.start_ready()
        oracle.issue_some(300)

        # When it is signalled
        server.send(number)
        seconds = stop_time(server)

        # Then it ends in time and in order
        assert server.wait() == STOPPED
        assert seconds < STOP_S + SLACK_S
        # And the next one finds everything
        server.start_ready()
        oracle.judge(server, redis_server)


@pytest.mark.fault("A13")
def test_server_goes_on_when_its_terminal_is_gone(home: Home, redis_server: RedisServer) -> None:
    """SIGHUP is ignored."""
    # Given a running server
    with Server(home, redis_server) as server:
        server.start_ready()

        # When its terminal goes away, more than once
        for _ in range(3):
            server.send(signal.SIGHUP)

        # Then events still pass
        Oracle(home).judge(server, redis_server)


@pytest.mark.fault("A13")
def test_server_leaves_at_once_when_terminated_twice(home: Home, redis_server: RedisServer) -> None:
    """A second SIGTERM does not wait for a commit that hangs, and loses nothing."""
    # Given a server whose writer hangs before a commit
    with Server(home, redis_server) as server:
        oracle = Oracle(home)
        server.start_ready("before_commit:sleep=60")
        oracle.issue(3)
        wait_until(lambda: redis_server.command("XLEN", "telemetry:events"), PATIENCE_S, "sent")

        # When it is terminated, has begun to stop, and is terminated again
        server.send(signal.SIGTERM)
        control = home.socket("control.sock")
        wait_until(lambda: not control.exists(), PATIENCE_S, "the server has begun to stop")
        server.send(signal.SIGTERM)

        # Then it is gone before the first stop would have ended
        assert stop_time(server) < SLACK_S
        assert server.wait() == AT_ONCE
        # And the next one writes what it had in hand
        server.start_ready()
        oracle.judge(server, redis_server)


@pytest.mark.fault("A13")
def test_server_stops_in_order_when_asked_and_then_terminated(
    home: Home, redis_server: RedisServer
) -> None:
    """Two that stop it at once, one over the socket and one by a signal, are no second signal."""
    # Given a server that takes a while to stop
    with Server(home, redis_server) as server:
        oracle = Oracle(home)
        server.start_ready("before_commit:sleep=2")
        oracle.issue(1)
        wait_until(lambda: redis_server.command("XLEN", "telemetry:events"), PATIENCE_S, "sent")

        # When it is asked to stop, and terminated meanwhile
        server.ask("stop")
        server.send(signal.SIGTERM)

        # Then it stops in order
        assert server.wait() == STOPPED


@pytest.mark.fault("A13")
def test_server_stops_in_time_when_a_commit_hangs(home: Home, redis_server: RedisServer) -> None:
    """A stop is bounded whatever a thread waits for, and its code says that it was not in order."""
    # Given a server whose writer hangs before a commit
    with Server(home, redis_server) as server:
        oracle = Oracle(home)
        server.start_ready("before_commit:sleep=60")
        oracle.issue(3)
        wait_until(lambda: redis_server.command("XLEN", "telemetry:events"), PATIENCE_S, "sent")

        # When it is terminated
        server.send(signal.SIGTERM)

        # Then it ends in time, and says so
        assert stop_time(server) < STOP_S + SLACK_S
        assert server.wait() == GAVE_UP
        # And nothing is lost
        server.start_ready()
        oracle.judge(server, redis_server)


# --- threads that die ---------------------------------------------------------------------------


def deaths(server: Server, thread: str) -> int:
    """Return how many deaths of a thread are in the log."""
    return server.log().count(f"died thread={thread} ")


@pytest.mark.fault("A15")
@pytest.mark.parametrize("thread", ["spooler", "consumer", "writer"])
def test_thread_is_started_again_when_it_dies(
    home: Home, redis_server: RedisServer, nursery: Nursery, thread: str
) -> None:
    """A thread that dies of anything is logged once, started again, and events flow."""
    # Given a server with a thread that dies in its loop
    with Server(home, redis_server, nursery) as server:
        oracle = Oracle(home)
        server.start(f"{thread}_loop:raise=RuntimeError")
        oracle.issue(20)

        # When it has died
        wait_until(lambda: deaths(server, thread), PATIENCE_S, f"the {thread} died")

        # Then everything is written all the same
        oracle.judge(server, redis_server)
        # And it was logged once, and health can tell
        assert deaths(server, thread) == 1
        status = server.status()
        assert status["deaths"] == 1
        assert all(status["threads"].values())


@pytest.mark.fault("A15")
@pytest.mark.parametrize(
    "points",
    [
        ("after_read_file", "before_append", "after_xadd", "after_read"),
        ("in_batch", "after_begin", "before_commit", "after_commit"),
        ("after_ack", "before_release", "mid_release", "after_settlement"),
    ],
    ids=["spooler", "writer", "release"],
)
def test_nothing_is_lost_when_threads_die_at_work(
    home: Home, redis_server: RedisServer, nursery: Nursery, points: tuple[str, ...]
) -> None:
    """What a thread had in hand when it died is written by the next one, once."""
    # Given a server whose threads die once at each of some points
    with Server(home, redis_server, nursery) as server:
        oracle = Oracle(home, 3)
        server.start_ready(",".join(f"{point}:raise=RuntimeError" for point in points))

        # When events come until each has died
        def died() -> bool:
            oracle.issue_some(2)
            oracle.issue_bad()
            return sum(deaths(server, name) for name in ("spooler", "consumer", "writer")) == 4

        wait_until(died, PATIENCE_S, f"threads died at {points}; log {server.log()[-2000:]}")

        # Then every event has its one place, and nobody took what was settled for vanished
        oracle.judge(server, redis_server)
        messages = server.balance()["messages"]
        assert (messages["recovered"], messages["lost"]) == (0, 0)


@pytest.mark.fault("A15")
def test_server_gives_up_when_threads_die_too_often(
    home: Home, redis_server: RedisServer, nursery: Nursery
) -> None:
    """After five deaths the service manager takes over: exit code 70, and nothing is lost."""
    # Given a server whose consumer always dies
    with Server(home, redis_server, nursery) as server:
        oracle = Oracle(home)
        server.start("consumer_loop:raise=RuntimeError@1+")
        oracle.issue(5)

        # When it is left alone
        code = server.wait(PATIENCE_S)

        # Then it gives up after the fifth death
        assert (code, deaths(server, "consumer")) == (GAVE_UP, 5)
        assert sum(stored(home).values()) == 0
        # And a better one finds everything
        server.start_ready()
        oracle.judge(server, redis_server)
