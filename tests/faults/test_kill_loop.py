"""Hundreds of lives of a server, each killed: nothing lost, nothing twice, both sums closed."""

import os
from pathlib import Path
from random import Random

import pytest

from blueplane import faults
from blueplane.paths import Home
from helpers.killing import ARRANGEMENTS, KillLoop
from helpers.nursery import Nursery
from helpers.oracle import STREAM, Oracle, open_letters
from helpers.redis_server import RedisServer
from helpers.server import Server
from helpers.waiting import wait_until

#: Rounds of the long loop; its seed is printed when it fails.
ROUNDS = int(os.environ.get("BLUEPLANE_KILL_ROUNDS", "300"))
SEED = int(os.environ.get("BLUEPLANE_KILL_SEED", "7"))
#: Points that no event passes on its road, and the tests that kill at them.
ELSEWHERE = {
    "migration_statement": "faults/test_store_killed.py",
    "erased_piece": "integration/test_forget.py",
    "refreshed_piece": "integration/test_backfill.py",
    "mid_derive": "faults/test_derived_killed.py",
    "after_derive": "faults/test_derived_killed.py",
    **dict.fromkeys(
        ("install_step", "version_staged", "link_staged"), "faults/test_install_broken_off.py"
    ),
    **dict.fromkeys(
        (
            "change_backup_staged",
            "change_backed_up",
            "change_opened",
            "change_staged",
            "change_made",
        ),
        "faults/test_settings_killed.py",
    ),
}
TESTS = Path(__file__).parents[1]


def rounds(loop: KillLoop, count: int) -> None:
    """Live through ``count`` deaths: every point in turn, any moment, Redis now and then."""
    points = sorted(ARRANGEMENTS)
    for number in range(count):
        if number % 12 == 11:
            loop.lose_redis()
        elif number % 6 == 5:
            loop.die_anywhere()
        elif loop.redis is not None and number in (count // 3, 2 * count // 3):
            loop.flush_redis()
        else:
            loop.die_at(points.pop(loop.random.randrange(len(points))))
            points = points or sorted(ARRANGEMENTS)


def test_kill_loop_reaches_every_point_when_points_are_listed() -> None:
    """Every fault point of the program has a way of being killed at, here or in another test."""
    # Given the points of the program / When they are compared with those of the loop
    # Then they are the same, but for those that other tests reach
    assert ARRANGEMENTS.keys() ^ ELSEWHERE.keys() == faults.POINTS
    assert all(f"{point}:kill@" in (TESTS / test).read_text() for point, test in ELSEWHERE.items())


@pytest.mark.timeout(60 + ROUNDS)
@pytest.mark.fault("A2", "A3", "A4", "A5", "A6", "A8", "A11", "B2", "B4")
def test_nothing_is_lost_or_doubled_when_everything_is_killed_and_flushed(
    home: Home, redis_server: RedisServer, nursery: Nursery
) -> None:
    """Whatever is killed at whatever point, each event is written once and both sums close."""
    # Given a server, events of which some are sent twice, and Redis with an append-only file
    with Server(home, redis_server, nursery) as server:
        loop = KillLoop(server, Oracle(home, SEED), Random(SEED), redis_server)

        # When it dies at every point again and again, Redis dies too, and is flushed twice
        rounds(loop, ROUNDS)

        # Then every event has its one place
        server.start_ready()
        loop.oracle.judge(server, redis_server)
        # And each point was really killed at, and written entries really came again
        assert loop.killed.keys() > ARRANGEMENTS.keys()
        assert loop.redelivered > 0


@pytest.mark.fault("A2", "A6", "B2")
def test_nothing_is_lost_or_doubled_when_the_private_redis_dies_too(
    home: Home, nursery: Nursery
) -> None:
    """A server adopts or restarts its own Redis after any death, and loses nothing by it."""
    # Given a server with its private Redis
    with Server(home, nursery=nursery) as server:
        loop = KillLoop(server, Oracle(home, SEED), Random(SEED))
        points = ["after_xadd", "before_commit", "after_commit", "mid_release", "in_dlq"]

        # When both die, together and apart
        for point in points * 2:
            loop.die_at(point)
            loop.die_anywhere()
            if point == "after_commit":
                loop.kill_redis()
            elif point == "after_xadd":
                loop.lose_redis()

        # Then every event has its one place
        server.start_ready()
        loop.oracle.judge(server)


@pytest.mark.fault("A3", "A6")
def test_foreign_entries_are_written_once_when_the_server_is_killed(
    home: Home, redis_server: RedisServer, nursery: Nursery
) -> None:
    """Entries that no source of ours can send again survive every kill, and count as foreign."""
    # Given a server, and somebody else who adds entries to its stream
    with Server(home, redis_server, nursery) as server:
        loop = KillLoop(server, Oracle(home, SEED), Random(SEED), redis_server)
        points = sorted(ARRANGEMENTS.keys() - {"after_epoch_commit", "after_epoch_set"})
        foreign = 0

        # When it is killed at every point that does not lose the stream
        for point in points * 2:
            if redis_server.command("EXISTS", "telemetry:events"):
                loop.oracle.issue_foreign(redis_server)
                foreign += 1
            loop.die_at(point)

        # Then they have their rows, and none is taken for lost or recovered
        server.start_ready()
        loop.oracle.judge(server, redis_server)
        balance = server.balance()
        assert (balance["foreign"], balance["recovered"]) == (foreign, 0)
        assert balance["duplicate"] == loop.oracle.doubles


@pytest.mark.fault("A3", "A6", "B15")
def test_copies_of_entries_are_duplicates_when_somebody_adds_them(
    home: Home, redis_server: RedisServer, nursery: Nursery
) -> None:
    """A copy of an entry of ours is a message without an event: no row, no capture, no loss."""
    # Given a server that is killed with entries in hand, of which somebody adds copies
    with Server(home, redis_server, nursery) as server:
        loop = KillLoop(server, Oracle(home, SEED), Random(SEED), redis_server)
        copies = 0
        for point in ("in_batch", "after_begin", "before_commit", "after_commit") * 2:
            loop.oracle.issue(5)
            loop.die_at(point, passes=1)
            copies += loop.oracle.copy_entries(redis_server, 3)

        # When it comes back / Then each event has one row, and each copy counts as a duplicate
        server.start_ready()
        loop.oracle.judge(server, redis_server)
        balance = server.balance()
        assert copies
        assert (balance["foreign"], balance["recovered"]) == (copies, 0)
        assert balance["duplicate"] == loop.oracle.doubles + copies


@pytest.mark.fault("B3", "B4", "B15")
def test_flushed_entries_are_recovered_when_copies_were_settled_before(
    home: Home, redis_server: RedisServer, nursery: Nursery
) -> None:
    """Copies that somebody added do not make entries of ours count as lost when the stream is."""
    # Given a server that has settled copies of its entries
    with Server(home, redis_server, nursery) as server:
        loop = KillLoop(server, Oracle(home, SEED), Random(SEED), redis_server)
        loop.oracle.issue(5)
        loop.die_at("in_batch", passes=1)
        assert loop.oracle.copy_entries(redis_server, 3) == 3
        server.start_ready()
        loop.oracle.drain(server)
        server.kill()

        # When it is killed with events in flight, that its balance has seen, and the stream is lost
        server.start_ready("in_batch:sleep=60")
        loop.oracle.issue(5)
        wait_until(lambda: server.balance()["in_flight"] == 5, 30, "the balance has seen them")
        server.kill()
        redis_server.flush()

        # Then they are sent again: recovered, not lost
        server.start_ready()
        loop.oracle.judge(server, redis_server)
        assert server.balance()["recovered"] == 5


@pytest.mark.fault("D10")
def test_doubles_are_counted_when_they_were_captured_in_one_tick(
    home: Home, redis_server: RedisServer, nursery: Nursery
) -> None:
    """Two files of one event are two captures, also where the clock of files is coarse."""
    # Given double sends of Cursor's, each in one tick of the file system's clock
    with Server(home, redis_server, nursery) as server:
        oracle = Oracle(home, SEED)
        for _ in range(5):
            oracle.issue_double_at_once()

        # When they are taken, by a server that is killed and by the next one
        KillLoop(server, oracle, Random(SEED), redis_server).die_at("mid_release", passes=3)
        server.start_ready()

        # Then each double has its row and its duplicate
        oracle.judge(server, redis_server)


@pytest.mark.fault("A8", "B4", "B17")
def test_retried_letters_are_sent_again_when_the_stream_is_flushed(
    home: Home, redis_server: RedisServer, nursery: Nursery
) -> None:
    """A retried dead letter is its message's source: a lost stream costs it nothing."""
    # Given a server with dead letters, whose consumer stops for a moment with an event in hand
    with Server(home, redis_server, nursery) as server:
        loop = KillLoop(server, Oracle(home, SEED), Random(SEED), redis_server)
        loop.die_at("in_dlq", passes=2)
        server.start_ready("in_batch:sleep=2")
        loop.oracle.issue(1)
        wait_until(lambda: redis_server.command("XLEN", STREAM), 30, "the event is sent")

        # When they are retried, and the stream is lost before they are read
        assert server.ask("dlq.retry", ids=open_letters(home))
        wait_until(lambda: redis_server.command("XLEN", STREAM) > 1, 30, "the letters are sent")
        redis_server.flush()

        # Then they are written all the same
        loop.oracle.judge(server, redis_server)
        assert server.balance()["recovered"] > 0
