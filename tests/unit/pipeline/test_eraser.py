"""Forgetting and scrubbing in this process: what goes, what stays, and what still counts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from blueplane.capture.renewal import Renewal
from blueplane.clock import NS_PER_MS
from blueplane.config import PrivacySettings
from blueplane.errors import StoreUnavailableError, UsageError
from blueplane.event import Event, Settlement, encode
from blueplane.paths import Home
from blueplane.pipeline import eraser as module
from blueplane.pipeline.consumer import Consumer
from blueplane.pipeline.eraser import Eraser
from blueplane.pipeline.intake import Intake
from blueplane.store.ledger import stored_rows
from helpers.redis_server import RedisServer
from helpers.road import CAPTURED_NS, Road, make_event
from helpers.waiting import wait_until

SECRET = b"k" * 32
WAIT_S = 20.0
STRICT = PrivacySettings("strict", hash_project_names=True)


class Running:
    """A road whose writer and consumer run, and an eraser for it."""

    def __init__(self, road: Road, privacy: PrivacySettings = STRICT) -> None:
        self.road = road
        self.home = road.home
        self.said: list[str] = []
        self._consumer = Consumer(road.stream, road.writer)
        intake = Intake(road.stream, road.writer, 1_000, 1_000_000)
        words = Renewal(privacy, SECRET)
        self.eraser = Eraser(road.home, road.writer, intake, lambda: words)

    def start(self) -> None:
        self.road.writer.start()
        self._consumer.start()
        wait_until(lambda: self.road.stream.attached, WAIT_S, "attached")

    def stop(self) -> None:
        for service in (self._consumer, self.road.writer):
            service.stop()
            assert service.join(WAIT_S)

    def write(self, *events: Event) -> None:
        """Have events written."""
        before = self.road.writer.written
        self.road.append(*events)
        wait_until(lambda: self.road.writer.written == before + len(events), WAIT_S, "written")

    def forget(self, **wanted: Any) -> dict[tuple[str, str], tuple[int, int]]:  # noqa: ANN401
        """Forget; return what was removed and what is left, by place."""
        answer = self.eraser.forget(lambda said: self.said.append(said["step"]), **wanted)
        assert answer["notes"] == []
        return {
            (row["place"], row["what"]): (row["count"], row["left"])
            for row in answer["rows"]
            if row["count"] or row["left"]
        }

    def texts(self) -> list[str]:
        """Return the content of all rows."""
        codec = self.road.commits.codec
        rows = self.road.commits._connection.execute("SELECT codec, event_data FROM traces")
        return [codec.decode(*row).decode() for row in rows]


@pytest.fixture
def running(home: Home, redis_server: RedisServer) -> Iterator[Running]:
    """Give a road that runs."""
    road = Road(home, redis_server)
    running = Running(road)
    running.start()
    yield running
    running.stop()
    road.close()


def event(number: int, project: str = "", payload: object = None, **changes: Any) -> Event:  # noqa: ANN401
    """Make an event of a project."""
    body = orjson.dumps({"number": number} if payload is None else payload)
    return make_event(number, project=project, payload=body, **changes)


def test_forget_takes_a_project_and_its_sessions_events_without_one(running: Running) -> None:
    """An event that names no workspace belongs to the project of its session, if there is one."""
    # Given a session of one project, and one of two
    running.write(
        event(1, "orchard", session_id="s-1"), event(2, session_id="s-1"),
        event(3, "orchard", session_id="s-2"), event(4, "meadow", session_id="s-2"),
        event(5, session_id="s-2"),
    )  # fmt: skip
    # When
    removed = running.forget(project="orchard")
    # Then
    assert removed == {("database", "events"): (3, 0)}
    assert sorted(orjson.loads(text)["payload"]["number"] for text in running.texts()) == [4, 5]
    totals = running.road.totals()
    assert (totals["rows.forgotten"], stored_rows(totals)) == (3, 2)
    assert "removing events" in running.said


def test_forget_brings_what_others_say_of_a_project_down_to_strict(running: Running) -> None:
    """A path within the project goes, and a word that only looks like it stays."""
    # Given rows of another project
    running.write(
        event(1, "meadow", {"prompt": "open /home/ann/orchard/plan.md", "status": "completed"}),
        event(2, "meadow", {"prompt": "in the orchard"}),
    )
    # When
    removed = running.forget(project="orchard")
    # Then
    assert removed == {("database", "mentions by other events"): (1, 0)}
    texts = running.texts()
    assert not [text for text in texts if "plan.md" in text]
    assert [text for text in texts if "in the orchard" in text]


def test_forget_empties_dead_letters_and_leaves_them_counted(running: Running) -> None:
    """A letter stays as one without content, for the second law counts it."""
    # Given a letter of the project
    running.road.redis.command(
        "XADD", running.road.stream.events, "*",
        *encode(event(1, "orchard", origin="")._replace(payload=b"no json")),
    )  # fmt: skip
    wait_until(lambda: running.road.writer.letters.counts()["open"] == 1, WAIT_S, "a letter")
    # When
    removed = running.forget(project="orchard")
    # Then
    assert removed == {("database", "dead letters"): (1, 0)}
    (letter,) = running.road.commits.letters.all()
    assert (letter.raw, letter.reason, letter.state) == (b"[]", "forgotten", "dropped")
    running.road.writer.ask(running.road.writer.balance_now)
    assert running.road.balance()["balanced"]


def test_forget_before_a_moment_goes_by_the_capture(running: Running) -> None:
    """What was captured in the very moment stays."""
    # Given three events, a millisecond apart, and an old file in quarantine
    running.write(*[event(number) for number in (1, 2, 3)])
    (running.home.quarantine / "old").write_bytes(b"x")
    moment_ms = CAPTURED_NS // NS_PER_MS + 3
    # When
    removed = running.forget(before_ms=moment_ms)
    # Then (the file was made today, years after that)
    assert removed[("database", "events")] == (2, 0)
    assert len(running.texts()) == 1


def test_forget_clears_names_of_files_that_never_reached_the_stream(running: Running) -> None:
    """A foreign file's name is in no table afterwards."""
    # Given
    item = Settlement("spool:orchard.txt:1", "quarantined", "foreign-file", "", "", 1)
    running.road.writer.ask(lambda: running.road.commits.settle([item]))
    # When
    removed = running.forget(project="orchard")
    # Then
    assert removed == {("database", "names of files"): (1, 0)}


def test_scrub_renews_rows_letters_and_names_of_projects(running: Running) -> None:
    """What the present level does not let pass goes, and a second time nothing is left to do."""
    # Given what was captured in full
    running.write(event(1, "orchard", {"prompt": "a long secret"}))
    # When
    first = running.eraser.scrub(lambda _: None)
    second = running.eraser.scrub(lambda _: None)
    # Then
    assert [row["changed"] for row in first["rows"]] == [1, 1, 0]
    assert [row["changed"] for row in second["rows"]] == [0, 0, 0]
    assert not [text for text in running.texts() if "secret" in text]
    names = running.road.commits._connection.execute("SELECT text FROM names").fetchall()
    assert ("orchard",) not in names


def test_forget_is_refused_when_what_is_meant_is_not_one_thing(running: Running) -> None:
    """Nothing, or two things, is no wish."""
    # Given / When / Then
    for wanted in ({}, {"session": "s", "project": "p"}):
        with pytest.raises(UsageError, match="say what to forget"):
            running.eraser.plan(lambda _: None, **wanted)


def test_forget_gives_up_when_something_stays_on_the_way(
    running: Running, monkeypatch: pytest.MonkeyPatch, home: Home
) -> None:
    """What waits in the spool for ever is said, and nothing is claimed."""
    # Given a file that nobody takes
    monkeypatch.setattr(module, "QUIET_S", 0.2)
    Path(home.spool / "1.1.1").write_bytes(b"{}")
    # When / Then
    with pytest.raises(StoreUnavailableError, match="on the way"):
        running.eraser.forget(lambda _: None, project="orchard")
    # And the next one is not in its way
    Path(home.spool / "1.1.1").unlink()
    assert running.forget(project="orchard") == {}
