"""The order of letting go: sent, committed and synced, acknowledged, removed."""

import sys
from pathlib import Path

import pytest

from blueplane.paths import Home
from helpers.power import Life, exact_moments, live, missing_after
from helpers.redis_server import RedisServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="strace is of Linux")


def too_early(life: Life, directory: Path) -> list[str]:
    """Return what was let go of before the row was durable."""
    return [
        each for length in exact_moments(life)
        for each in missing_after(life, length, directory / f"cut-{length}")
    ]  # fmt: skip


@pytest.mark.fault("C7", "A5", "A6")
def test_nothing_is_let_go_of_when_its_row_is_not_durable(
    home: Home, redis_server: RedisServer, tmp_path: Path
) -> None:
    """The kernel is asked to acknowledge and to unlink only when the row in the WAL is synced."""
    # Given the trace of a server at work
    life = live(home, redis_server)

    # When each moment of letting go is compared with what was durable then
    found = too_early(life, tmp_path)

    # Then the row was there each time
    assert found == []
    # And each file was sent before it was removed, with a sync between the two
    for name in life.names:
        steps = life.trace.order[life.trace.order.index(f"append {name}") :]
        steps = steps[: steps.index(f"remove {name}")]
        assert any(step.startswith("sync ") for step in steps), name
        assert any(step.startswith("acknowledge ") for step in steps), name


@pytest.mark.fault("C7")
@pytest.mark.parametrize("mutant", ["acknowledge_before_commit", "release_before_commit"])
def test_trace_shows_it_when_something_is_let_go_of_too_early(
    home: Home, redis_server: RedisServer, tmp_path: Path, mutant: str
) -> None:
    """The comparison bites: a server that lets go before the commit is found out."""
    # Given a server that lets go too early
    life = live(home, redis_server, mutant)

    # When each moment of letting go is compared with what was durable then
    found = too_early(life, tmp_path)

    # Then it shows
    assert found
