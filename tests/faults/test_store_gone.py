"""The files of the database are taken away under a running server: nothing more is let go of."""

import pytest

from blueplane.paths import Home
from helpers.issued import Issued
from helpers.redis_server import RedisServer
from helpers.server import Server
from helpers.waiting import wait_until

PATIENCE_S = 30.0


@pytest.mark.fault("C12")
@pytest.mark.parametrize("pattern", ["telemetry.db*", "telemetry.db-*"])
def test_events_wait_when_the_database_was_removed(
    home: Home, issued: Issued, redis_server: RedisServer, pattern: str
) -> None:
    """What was captured after the loss is in the new database after a restart."""
    with Server(home, redis_server) as server:
        # Given a running server whose database somebody removed
        server.start_ready()
        issued.issue(3)
        wait_until(lambda: len(issued.rows()) == len(issued.ids), PATIENCE_S, "rows")
        for file in home.root.glob(pattern):
            file.unlink()
        # When
        later = issued.issue(5)
        # Then the server says so, and keeps the files
        wait_until(lambda: server.status()["store_error"], PATIENCE_S, "the store is missed")
        assert "removed or replaced" in server.status()["store_error"]
        assert len(issued.spool()) == len(later)
        # When it is started anew
        server.stop()
        server.start_ready()
        # Then
        wait_until(lambda: set(later) <= set(issued.rows()), PATIENCE_S, "rows of the later ones")
        wait_until(lambda: not issued.spool(), PATIENCE_S, "the spool is empty")
        assert server.balance()["balanced"]
