"""The fault tests can fail: a server with one promise broken is caught by the same harness."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from blueplane.paths import Home
from helpers.killing import KillLoop
from helpers.mutants import MUTANTS
from helpers.nursery import Nursery
from helpers.oracle import DRAIN_S, Oracle
from helpers.redis_server import RedisServer
from helpers.server import Server

#: Caught by cut copies of the database instead: only the disk can tell (test_power_loss.py).
OF_THE_DISK = {"sync_no_commit"}
#: Seconds that a mutant gets to bring everything home; a sound server has DRAIN_S.
MUTANT_DRAIN_S = 5.0

Trial = Callable[[KillLoop], None]


def with_foreign_entries(loop: KillLoop) -> None:
    """Kill at points around the commit, with entries that nobody sends again."""
    assert loop.redis is not None
    loop.die_at("writer_loop")
    for point in ("before_commit", "after_begin", "in_batch", "after_commit"):
        for _ in range(3):
            loop.oracle.issue_foreign(loop.redis)
        loop.oracle.issue(2)
        loop.oracle.issue_double()
        loop.die_at(point, passes=1)


def with_a_flush(loop: KillLoop) -> None:
    """Kill at points around the commit, and lose the stream before the next life."""
    assert loop.redis is not None
    for point in ("before_commit", "mid_batch", "after_begin"):
        loop.oracle.issue(4)
        loop.die_at(point, passes=1)
        loop.redis.flush()


def complaints(loop: KillLoop, trial: Trial, patience_s: float) -> list[str]:
    """Return what the oracle finds wrong after a trial."""
    trial(loop)
    loop.server.start_ready()
    try:
        loop.oracle.drain(loop.server, patience_s)
    except AssertionError as error:
        return [str(error)]
    return loop.oracle.verdict(loop.server, loop.redis)


def run(home: Home, nursery: Nursery, trial: Trial, mutant: str = "") -> list[str]:
    """Run a trial on a server of its own and return the complaints."""
    home.prepare()
    patience_s = MUTANT_DRAIN_S if mutant else DRAIN_S
    with RedisServer() as redis, Server(home, redis, nursery, MUTANT=mutant) as server:
        loop = KillLoop(server, Oracle(home, 5), Random(5), redis)
        return complaints(loop, trial, patience_s)


TRIALS = (with_foreign_entries, with_a_flush)


@pytest.mark.fault("A2", "A3", "A5", "A6")
@pytest.mark.parametrize("mutant", sorted(MUTANTS.keys() - OF_THE_DISK))
def test_harness_complains_when_a_promise_is_broken(
    home: Home, nursery: Nursery, tmp_path: Path, mutant: str
) -> None:
    """Each mutant is caught by at least one of the trials."""
    # Given a server with one promise broken
    assert home

    # When it goes through the trials
    homes = [Home(tmp_path / trial.__name__ / "home") for trial in TRIALS]
    found = (run(each, nursery, trial, mutant) for each, trial in zip(homes, TRIALS, strict=True))

    # Then the oracle complains
    assert any(found)


@pytest.mark.parametrize("trial", TRIALS)
def test_harness_has_no_complaint_when_no_promise_is_broken(
    home: Home, nursery: Nursery, trial: Trial
) -> None:
    """The same trials pass with the program as it is: what they catch is the mutant."""
    # Given the program as it is / When it goes through a trial
    found = run(home, nursery, trial)

    # Then there is nothing to complain about
    assert found == []
