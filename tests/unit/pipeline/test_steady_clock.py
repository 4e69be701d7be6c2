import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueplane.pipeline.steady_clock import (
    JUMP_MS,
    STEADY_MS,
    STOP_MS,
    Belief,
    begin,
    follow,
)

NOW_MS = 1_795_150_000_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
YEAR_MS = 365 * DAY_MS


def hours(belief: Belief, count: int) -> Belief:
    """Let hours pass in which the wall clock does as it should."""
    for _ in range(count):
        belief = follow(belief, belief.wall_ms + HOUR_MS, HOUR_MS, HOUR_MS)
    return belief


@given(st.lists(st.tuples(st.integers(0, 10 * DAY_MS), st.integers(-JUMP_MS, JUMP_MS))))
def test_time_is_the_wall_clock_while_that_does_as_it_should(looks: list[tuple[int, int]]) -> None:
    """A clock that is set by a little, or a machine that sleeps for days, changes nothing."""
    # Given / When
    belief = Belief(NOW_MS, NOW_MS)
    for elapsed_ms, drift_ms in looks:
        belief = follow(belief, belief.wall_ms + elapsed_ms + drift_ms, elapsed_ms, 0)
    # Then
    assert (belief.time_ms, belief.sure) == (belief.wall_ms, True)


@pytest.mark.fault("C18", "E1", "E2")
@pytest.mark.parametrize("jump_ms", [10 * YEAR_MS, -HOUR_MS, JUMP_MS + 1])
def test_time_goes_on_when_the_wall_clock_jumps(jump_ms: int) -> None:
    """A jump within a run is believed after a day of a steady clock, and not before."""
    # Given / When the clock jumps
    before = Belief(NOW_MS, NOW_MS)
    belief = follow(before, NOW_MS + HOUR_MS + jump_ms, HOUR_MS, HOUR_MS)
    # Then our time goes on, and both are minded
    assert belief.time_ms == NOW_MS + HOUR_MS
    assert (belief.sure, belief.oldest_ms) == (False, NOW_MS + HOUR_MS + min(0, jump_ms))
    belief = hours(belief, 23)
    assert (belief.sure, belief.wall_ms - belief.time_ms) == (False, jump_ms)
    # and after a day it is right
    belief = hours(belief, 1)
    assert (belief.sure, belief.wall_ms - belief.time_ms) == (True, 0)


@pytest.mark.fault("E2")
def test_time_is_as_it_was_when_the_clock_jumps_and_comes_back() -> None:
    """Ten years ahead and back again: our time has not moved by more than passed."""
    # Given
    belief = Belief(NOW_MS, NOW_MS)
    # When
    belief = follow(belief, NOW_MS + 10 * YEAR_MS, 0, 0)
    belief = hours(belief, 5)
    belief = follow(belief, NOW_MS + 6 * HOUR_MS, HOUR_MS, HOUR_MS)
    # Then
    assert belief.time_ms == belief.wall_ms == NOW_MS + 6 * HOUR_MS
    assert not belief.sure


def test_time_is_not_sure_when_the_clock_was_steady_only_while_the_machine_slept() -> None:
    """What counts is that the machine ran: asleep, nobody sees a wrong clock."""
    # Given a clock that jumped
    belief = follow(Belief(NOW_MS, NOW_MS), NOW_MS + YEAR_MS, 0, 0)
    # When the machine sleeps for two days
    belief = follow(belief, belief.wall_ms + 2 * DAY_MS, 2 * DAY_MS, HOUR_MS)
    # Then
    assert not belief.sure
    assert belief.steady_ms == HOUR_MS


@pytest.mark.fault("C18")
@pytest.mark.parametrize(
    ("gone_ms", "sure"),
    [(0, True), (STOP_MS, True), (-JUMP_MS, True), (STOP_MS + 1, False), (-JUMP_MS - 1, False)],
)
def test_time_after_a_stop_is_believed_when_it_was_not_too_long(gone_ms: int, sure: bool) -> None:
    """Up to 31 days without a server are nothing special; more may be a wrong clock."""
    # Given / When
    belief = begin(Belief(NOW_MS, NOW_MS), NOW_MS + gone_ms)
    # Then
    assert belief.sure is sure
    assert belief.time_ms == (NOW_MS + gone_ms if sure else NOW_MS)
    assert hours(belief, 24).time_ms == NOW_MS + gone_ms + DAY_MS


def test_time_is_doubted_further_when_the_server_starts_again() -> None:
    """A new server goes on where the last one was: with the doubt, and with how long it lasts."""
    # Given a clock that jumped, and was steady for 20 hours
    belief = hours(follow(Belief(NOW_MS, NOW_MS), NOW_MS + YEAR_MS, 0, 0), 20)
    # When the server starts again / Then
    belief = begin(belief, belief.wall_ms + DAY_MS)
    assert (belief.sure, belief.wall_ms - belief.time_ms) == (False, YEAR_MS)
    assert hours(belief, 4).sure
    assert STEADY_MS == DAY_MS
