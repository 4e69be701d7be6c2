"""Losing the power at any moment: whatever was let go of is on the disk."""

import sys
from pathlib import Path

import pytest

from blueplane.paths import Home
from helpers.power import Life, cuts, exact_moments, live, missing_after
from helpers.redis_server import RedisServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="strace is of Linux")

#: Lengths between the edges of frames.
RANDOM_CUTS = 200


def lost(life: Life, lengths: list[int], directory: Path) -> list[str]:
    """Return what the copies that were cut to ``lengths`` lack."""
    return [
        each for n, length in enumerate(lengths)
        for each in missing_after(life, length, directory / f"cut-{n}")
    ]  # fmt: skip


@pytest.mark.fault("C6")
def test_nothing_let_go_of_is_lost_when_the_power_fails(
    home: Home, redis_server: RedisServer, tmp_path: Path
) -> None:
    """A row that was acknowledged, or whose file was removed, survives a cut anywhere after it."""
    # Given a server that wrote and let go of events, and what it synced when
    life = live(home, redis_server)
    assert life.trace.written == len(life.wal)
    assert len(life.trace.acknowledged) == len(life.trace.removed) == len(life.names)

    # When the disk keeps what was synced, and any part of the rest
    found = lost(life, cuts(life, RANDOM_CUTS), tmp_path)

    # Then every copy opens, is whole, and has what was let go of
    assert found == []


@pytest.mark.fault("C6")
def test_cuts_show_a_loss_when_a_commit_is_not_synced(
    home: Home, redis_server: RedisServer, tmp_path: Path
) -> None:
    """The same test fails with synchronous=NORMAL: that is why it is FULL."""
    # Given a server that does not sync at a commit
    life = live(home, redis_server, "sync_no_commit")

    # When the disk keeps no more than what was synced when things were let go of
    found = lost(life, exact_moments(life), tmp_path)

    # Then it shows
    assert found
