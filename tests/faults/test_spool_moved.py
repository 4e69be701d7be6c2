"""The spool directory is taken away under a running server."""

import shutil

import pytest

from blueplane.paths import Home
from helpers.issued import Issued
from helpers.redis_server import RedisServer
from helpers.server import Server
from helpers.waiting import wait_until

PATIENCE_S = 30.0


@pytest.mark.parametrize("replaced", [False, True], ids=["removed", "replaced"])
@pytest.mark.fault("F5")
def test_spool_is_made_again_when_it_was_taken_away(
    server: Server, issued: Issued, redis_server: RedisServer, home: Home, replaced: bool,
) -> None:  # fmt: skip
    """A spool that is gone, or another directory by now, is followed; no thread dies of it."""
    # Given a running server
    server.start_ready()
    issued.issue(3)
    issued.settle(server, redis_server)
    # When the spool is moved away
    shutil.move(home.spool, home.root / "elsewhere")
    if replaced:
        home.spool.mkdir(0o700)
    wait_until(home.spool.is_dir, PATIENCE_S, "made again")
    # Then the hooks' next events are written
    issued.issue(3)
    issued.settle(server, redis_server)
    assert server.status()["deaths"] == 0
