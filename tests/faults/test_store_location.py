"""The home lies where a database should not: it is said, and everything works."""

from pathlib import Path

import pytest

from blueplane.config import load
from blueplane.interfaces.cli.survey import survey
from blueplane.paths import Home
from helpers.issued import Issued
from helpers.nursery import Nursery
from helpers.redis_server import RedisServer
from helpers.server import Server


@pytest.mark.usefixtures("home")
@pytest.mark.fault("C17")
def test_a_synced_folder_is_a_note_and_a_warning_when_the_home_is_in_it(
    tmp_path: Path, redis_server: RedisServer, nursery: Nursery
) -> None:
    """``status`` has a note and stays healthy; the log has a warning; events are written."""
    # Given a home in a folder that a program copies elsewhere
    home = Home(tmp_path / "Dropbox" / "home")
    home.root.parent.mkdir()
    home.prepare()
    issued = Issued(home)
    with Server(home, redis_server, nursery) as server:
        # When
        server.start_ready()
        issued.issue(3)
        issued.settle(server, redis_server)
        # Then
        found = survey(home, load(home, {}))
        assert (len(found["notes"]), found["problems"]) == (1, [])
        assert "Dropbox" in found["notes"][0]
        assert server.log().count("WARN  main bad place") == 1


@pytest.mark.fault("C17")
def test_nothing_is_said_when_the_home_is_on_a_disk(home: Home) -> None:
    """A usual home has no note."""
    # Given / When / Then
    assert survey(home, load(home, {}))["notes"] == []
