"""The lid is closed for a while: nobody takes over, nothing comes twice, no timer catches up."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from blueplane.paths import Home
from helpers.issued import EVENTS, Issued
from helpers.nursery import Nursery
from helpers.redis_server import RedisServer
from helpers.road import Road, ids, make_event, turn_clock
from helpers.server import Server, environment
from helpers.waiting import wait_until

PATIENCE_S = 30.0
#: Longer than any command of ours waits for Redis.
FROZEN_S = 3.5
HOURS_S = 9 * 3_600.0
ALREADY_RUNNING = 3
#: The first read is held for a moment, so that there is something in flight to freeze.
HELD = "after_read:sleep=3"


@pytest.fixture
def whole(home: Home, nursery: Nursery) -> Iterator[Server]:
    """Give a server with its own private Redis, as it is on a laptop."""
    with Server(home, nursery=nursery) as server:
        yield server


@pytest.mark.fault("A14")
def test_nothing_comes_twice_when_server_and_redis_were_frozen(
    whole: Server, home: Home, issued: Issued,
) -> None:  # fmt: skip
    """Frozen with events in flight and woken, it goes on by itself; a second server is refused."""
    # Given a server with events in flight
    whole.start_ready(HELD)
    issued.issue(200)
    wait_until(lambda: whole.status() and whole.balance()["in_flight"], PATIENCE_S, "in flight")
    redis = psutil.Process(int((home.redis / "pid").read_text()))
    # When everything stops, hooks leave events, and somebody starts another server
    frozen_s = time.monotonic()
    whole.send(signal.SIGSTOP)
    redis.send_signal(signal.SIGSTOP)
    issued.hook(2)
    ended = start_second(home)
    # Then that one is refused and names the first
    assert ended.returncode == ALREADY_RUNNING
    assert f"pid {whole.pid} " in ended.stderr
    wait_until(lambda: time.monotonic() - frozen_s > FROZEN_S, PATIENCE_S, "time has passed")
    # When everything goes on / Then each event is written once, by the same threads
    redis.send_signal(signal.SIGCONT)
    whole.send(signal.SIGCONT)
    balance = issued.settle(whole, None)
    assert (balance["duplicate"], balance["recovered"], balance["lost"]) == (0, 0, 0)
    assert balance["enqueued"] == len(issued.ids)
    assert whole.status()["deaths"] == 0
    assert redis.is_running()


@pytest.mark.fault("A14")
def test_nothing_comes_twice_when_the_server_alone_was_frozen(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """Entries that were in its hand for long are nobody else's: they are written once."""
    # Given a server with entries in hand
    server.start_ready(HELD)
    issued.put_in_flight(redis_server, 200)
    # When it is frozen for longer than it would wait for anything
    frozen_s = time.monotonic()
    server.send(signal.SIGSTOP)
    wait_until(lambda: time.monotonic() - frozen_s > FROZEN_S, PATIENCE_S, "time has passed")
    server.send(signal.SIGCONT)
    # Then each is written once, and was in the stream once
    balance = issued.settle(server, redis_server)
    assert (balance["duplicate"], balance["recovered"], balance["lost"]) == (0, 0, 0)
    assert redis_server.client.xinfo_stream(EVENTS)["entries-added"] == len(issued.ids)


def start_second(home: Home) -> subprocess.CompletedProcess[str]:
    """Start another server of the home and return how it ended."""
    command = [sys.executable, "-m", "blueplane", "serve", "--home", str(home.root)]
    return subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


@pytest.mark.fault("A14", "E2")
@pytest.mark.parametrize("wall_s", [HOURS_S, -HOURS_S], ids=["forward", "back"])
def test_nothing_is_claimed_or_sent_again_when_hours_have_passed(
    home: Home, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, wall_s: float,
) -> None:  # fmt: skip
    """After hours of sleep what is pending stays its consumer's, and is written once."""
    # Given events of which a half is in the consumer's hand
    turned = turn_clock(monkeypatch)
    road = Road(home, redis_server)
    road.settle()
    events = [make_event(number) for number in range(40)]
    road.append(*events)
    in_hand = road.read(20)
    road.writer.balance()
    claims = calls(redis_server, "xautoclaim")
    # When hours pass, and the balance is taken before anything else moves
    turned.shift_s += HOURS_S
    turned.wall_shift_ns += int(wall_s * 1e9)
    road.writer.balance()
    # Then what was in hand is written once, the rest is read as if nothing had been
    road.hand_over(in_hand)
    balance = road.settle()
    assert sorted(road.rows()) == sorted(ids(*events))
    assert (balance["duplicate"], balance["recovered"], balance["lost"]) == (0, 0, 0)
    assert balance["enqueued"] == 40
    # and at most one attach has looked at what is pending
    assert calls(redis_server, "xautoclaim") - claims <= 1
    road.close()


def calls(redis: RedisServer, command: str) -> int:
    """Return how often a command was called."""
    stats = redis.client.info("commandstats")
    return int(stats.get(f"cmdstat_{command}", {}).get("calls", 0))
