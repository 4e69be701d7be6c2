"""Another program reads the database for a long time: the -wal grows, which is said, and is cut."""

import logging
from collections.abc import Iterator

import pytest

from blueplane.config import load
from blueplane.interfaces.cli import survey as survey_module
from blueplane.interfaces.cli.survey import survey
from blueplane.paths import Home
from blueplane.store import wal as module
from blueplane.store.connection import open_reader
from helpers.redis_server import RedisServer
from helpers.road import Road, make_event
from helpers.waiting import wait_until

PATIENCE_S = 20.0
LARGE = 64 * 1024


@pytest.fixture
def road(home: Home, redis_server: RedisServer) -> Iterator[Road]:
    """Give the road of a server that is attached, and whose writer runs."""
    road = Road(home, redis_server)
    road.writer.attach()
    road.writer.start()
    yield road
    road.writer.stop()
    road.writer.join(PATIENCE_S)
    road.close()


def problems(home: Home) -> str:
    """Return what the status finds wrong."""
    return "\n".join(survey(home, load(home, {}))["problems"])


@pytest.mark.fault("C5")
def test_the_writer_cuts_the_wal_when_a_long_reader_has_ended(
    road: Road, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The writer goes on beside the reader; status says what is wrong until the -wal is cut."""
    # Given a -wal that counts as large soon, and a reader
    for where in (module, survey_module):
        monkeypatch.setattr(where, "LARGE_BYTES", LARGE)
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    monkeypatch.setattr(module, "TRY_S", 0.01)
    caplog.set_level(logging.INFO)
    wal = road.home.database.with_name("telemetry.db-wal")
    reader = open_reader(road.home.database)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM traces").fetchone()

    def says(message: str) -> bool:
        road.writer.ask(lambda: None)  # the file is looked at between two pieces of work
        return message in caplog.messages

    # When events are written
    written = 0
    while wal.stat().st_size <= LARGE:
        road.append(*[make_event(written + number) for number in range(20)])
        road.writer.ask(road.drain)
        written += 20
    wait_until(lambda: says("wal large"), PATIENCE_S, "it is said")
    # Then all of them are, and status says why the file is large
    assert len(road.writer.ask(road.rows)) == written
    assert "the -wal of the database is large" in problems(road.home)
    # When the reader ends
    reader.close()
    assert says("wal large")
    # Then it is small again
    wait_until(lambda: says("wal is small again"), PATIENCE_S, "it is said")
    assert wal.stat().st_size <= LARGE
    assert "-wal" not in problems(road.home)
