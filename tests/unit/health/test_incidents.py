"""Incidents: when one begins and ends, on a real store; time is what the test says it is."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from blueplane.clock import wall_ms
from blueplane.errors import StoreUnavailableError
from blueplane.health.check import Colour, Finding, Moment, Report, Snapshot
from blueplane.health.incidents import MAX_UNSTORED, NOTIFY_S, STEADY_S, Incidents
from blueplane.pipeline.commits import Commits
from blueplane.pipeline.jobs import Job
from blueplane.store.ledger import MAX_INCIDENTS, HealthIncident, Incident
from blueplane.store.queries import reading
from helpers.road import database_file

GREEN, YELLOW, ORANGE, RED = Colour
START_MS = wall_ms()


class Server:
    """A store, a writer that has time when the test says so, and incidents that follow looks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.commits = Commits(path)
        self.jobs: list[Job[object]] = []
        self.busy = False
        self.error: Exception | None = None
        self.notices: list[tuple[str, str]] = []
        self.wanted = True
        self.now_s = 0.0
        self.restart()

    def restart(self) -> None:
        """Begin with what is stored."""
        self.incidents = Incidents(
            self.path, self._tell, self._store, lambda: self._notify if self.wanted else None
        )

    def _notify(self, title: str, text: str) -> None:
        self.notices.append((title, text))

    def _tell(self, work: Callable[[], object]) -> bool:
        if not self.busy:
            self.jobs.append(Job(work))
        return not self.busy

    def _store(self, given: Sequence[HealthIncident]) -> None:
        if self.error is not None:
            raise self.error
        self.commits.put_changes(given)

    def write(self) -> None:
        """Have the writer do what it was told."""
        while self.jobs:
            self.jobs.pop(0).run()

    def see(self, colour: Colour, later_s: float = 1.0, says: str = "", of: str = "queue") -> None:
        """Look at a component of this colour, so many seconds later, and write."""
        self.now_s += later_s
        findings = (Finding("m", colour, says or f"it is {colour.word}", "c"),) if colour else ()
        at_ms = START_MS + int(self.now_s * 1000)
        snapshot = Snapshot(at_ms, {of: Report(of, {}, findings)})
        self.incidents.follow(snapshot, Moment(at_ms, self.now_s))
        self.write()

    def stored(self) -> list[tuple[str, float, float | None, str, str]]:
        """Return the incidents, oldest first, with their times in seconds since the start."""
        with reading(self.path) as reader:
            found = reversed(reader.all_incidents(0))
        return [
            (
                each["kind"],
                (each["started_ms"] - START_MS) / 1000,
                None if each["ended_ms"] is None else (each["ended_ms"] - START_MS) / 1000,
                each["colour"],
                each["cause"],
            )
            for each in found
        ]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Give incidents with a store of their own."""
    server = Server(database_file(tmp_path))
    yield server
    server.commits.close()


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Return the changes of colour that were logged: before and now."""
    fields = [vars(record).get("fields", {}) for record in caplog.records]
    return [(each["before"], each["now"]) for each in fields if "before" in each]


def test_nothing_is_stored_or_logged_when_everything_stays_green(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """An idle server writes nothing."""
    # Given / When
    for _ in range(3):
        server.see(GREEN)
    # Then
    assert (server.stored(), lines(caplog), server.notices) == ([], [], [])


def test_one_incident_has_the_worst_cause_when_a_colour_rises_and_falls(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Yellow, orange, yellow and green are one incident with start, end and one line a change."""
    # Given a component that was green
    caplog.set_level("INFO")
    server.see(GREEN)
    # When it becomes worse and better again
    server.see(YELLOW)
    server.see(ORANGE, says="12,000 wait")
    assert server.stored() == [("health:queue", 2, None, "orange", "12,000 wait")]
    server.see(YELLOW)
    server.see(YELLOW, STEADY_S)
    server.see(GREEN)
    server.see(GREEN, STEADY_S)
    # Then
    assert server.stored() == [("health:queue", 2, 15, "orange", "12,000 wait")]
    assert lines(caplog) == [
        ("green", "yellow"), ("yellow", "orange"), ("orange", "yellow"), ("yellow", "green"),
    ]  # fmt: skip


def test_a_flapping_colour_is_one_incident_when_it_is_never_green_for_long(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Green for less than ten seconds ends nothing and is not logged."""
    # Given / When
    caplog.set_level("INFO")
    for _ in range(20):
        server.see(YELLOW)
        server.see(GREEN)
        server.see(GREEN, STEADY_S - 1)
    assert [each[2] for each in server.stored()] == [None]
    server.see(GREEN)
    # Then it ended when it became green for good
    assert server.stored() == [("health:queue", 1, 20 * 11 - 9, "yellow", "it is yellow")]
    assert lines(caplog) == [("green", "yellow"), ("yellow", "green")]


def test_a_new_incident_begins_when_it_was_green_for_long(server: Server) -> None:
    """Two times of trouble are two incidents."""
    # Given / When
    for _ in range(2):
        server.see(RED)
        server.see(GREEN)
        server.see(GREEN, STEADY_S)
    # Then
    assert [each[1:3] for each in server.stored()] == [(1, 2), (13, 14)]


def test_an_open_incident_goes_on_when_the_server_is_started_again(server: Server) -> None:
    """What was open is found again: it goes on, or ends, and no second one begins."""
    # Given two open incidents of a server that is gone
    server.see(YELLOW)
    server.see(RED, of="chain")
    # When another one sees one of them still yellow, and nothing of the other
    server.restart()
    server.see(YELLOW, 60)
    server.see(YELLOW, STEADY_S)
    # Then
    assert server.stored() == [
        ("health:queue", 1, None, "yellow", "it is yellow"),
        ("health:chain", 2, 62, "red", "it is red"),
    ]
    # And the other ends when it is green
    server.see(GREEN)
    server.see(GREEN, STEADY_S)
    assert server.stored()[0][2] == 73


def test_incidents_are_kept_and_stored_later_when_the_store_is_away(server: Server) -> None:
    """Nothing waits for a store that fails or a writer that is busy, and nothing is given up."""
    # Given a writer that has no time, and then a store that refuses
    server.busy = True
    server.see(YELLOW)
    server.busy, server.error = False, StoreUnavailableError("away")
    server.see(ORANGE)
    server.see(ORANGE)
    assert server.stored() == []
    # When the store is back
    server.error = None
    server.see(ORANGE)
    server.see(ORANGE)
    # Then
    assert server.stored() == [("health:queue", 1, None, "orange", "it is orange")]
    # And nothing is stored again
    server.see(ORANGE)
    server.see(ORANGE)
    assert server.jobs == []


def test_a_change_is_not_missed_when_it_comes_while_the_writer_stores(server: Server) -> None:
    """What changes between giving and storing is stored by the next turn."""
    # Given an incident that the writer was given and has not stored
    write, server.write = server.write, lambda: None  # type: ignore[method-assign]
    server.see(YELLOW)
    assert len(server.jobs) == 1
    server.see(RED)
    assert len(server.jobs) == 1
    # When it stores
    server.write = write  # type: ignore[method-assign]
    server.see(RED)
    server.see(RED)
    # Then
    assert [each[3] for each in server.stored()] == ["red"]


def test_what_waits_is_bounded_when_the_store_stays_away(server: Server) -> None:
    """The oldest are given up when more than a hundred wait."""
    # Given / When
    server.busy = True
    for number in range(MAX_UNSTORED + 5):
        server.see(YELLOW, of=f"part{number}")
    server.busy = False
    server.see(YELLOW, of="last")
    # Then
    assert len(server.incidents._unstored) == MAX_UNSTORED
    assert ("health:part0", START_MS + 1000) not in server.incidents._unstored


def test_incidents_are_found_later_when_the_database_cannot_be_read_at_first(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is followed before it is known what is open."""
    # Given an open incident, and a database that cannot be read
    server.see(YELLOW)
    server.restart()
    away = monkeypatch.context()
    with away as patch:
        patch.setattr(server.incidents, "_database", server.path / "none")
        server.see(YELLOW)
    # When it can
    server.see(YELLOW)
    # Then
    assert [each[1:3] for each in server.stored()] == [(1, None)]


def test_old_incidents_of_health_go_and_breaks_stay_when_there_are_very_many(
    server: Server,
) -> None:
    """Ten thousand are kept; what vanished is kept for ever."""
    # Given a break, and more incidents than are kept
    with server.commits._bookkeeping():
        server.commits.ledger.add_incident(Incident("chain_break", START_MS, 1, 1, "x", ()))
    many = [
        HealthIncident("health:queue", START_MS + number, START_MS + number, "yellow", "y")
        for number in range(30)
    ]
    server.commits.put_changes(many)
    connection = server.commits._connection
    connection.execute("UPDATE incidents SET id = id + ? WHERE id > 20", (MAX_INCIDENTS,))
    # When one more is stored
    server.see(YELLOW)
    # Then
    kinds = dict(connection.execute("SELECT kind, count(*) FROM incidents GROUP BY kind"))
    assert kinds == {"chain_break": 1, "health:queue": 31 - 19}


# --- notifications ------------------------------------------------------------------------------


def test_a_person_is_told_once_when_it_becomes_worse(server: Server) -> None:
    """One notification for a colour, at most one a minute, and none for getting better."""
    # Given / When
    server.see(YELLOW)
    server.see(YELLOW)
    server.see(RED, says="redis is away")
    assert server.notices == [("Blueplane: yellow", "queue: it is yellow")]
    server.see(RED, NOTIFY_S, says="redis is away")
    server.see(GREEN, NOTIFY_S)
    server.see(GREEN, NOTIFY_S)
    # Then
    assert server.notices[1:] == [("Blueplane: red", "queue: redis is away")]
    server.see(YELLOW)
    assert len(server.notices) == 3


def test_nobody_is_told_when_it_flaps_or_is_not_wanted(server: Server) -> None:
    """A flapping colour is told of once a minute at most, and nothing without the setting."""
    # Given / When
    for _ in range(20):
        server.see(YELLOW)
        server.see(GREEN)
    assert len(server.notices) == 1
    server.wanted = False
    server.see(RED, 2 * NOTIFY_S)
    # Then
    assert len(server.notices) == 1


def test_breaks_and_health_are_told_apart_when_they_are_asked_for(server: Server) -> None:
    """What counts as a break of custody has no incident of health in it."""
    # Given both
    with server.commits._bookkeeping():
        server.commits.ledger.add_incident(Incident("chain_break", START_MS, 2, 1, "x", ("1-0",)))
    server.see(RED)
    # When
    with reading(server.path) as reader:
        breaks: list[dict[str, Any]] = reader.incidents(0)
        vanished = reader.vanished(0, START_MS)
    # Then
    assert [each["kind"] for each in breaks] == ["chain_break"]
    assert (vanished.count, vanished.recovered, vanished.last_ms) == (2, 1, START_MS)
