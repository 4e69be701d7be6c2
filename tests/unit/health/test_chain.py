"""The monitor of the chain of custody, on a real store and a real Redis."""

import shutil
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import cast

import pytest

from blueplane.clock import MS_PER_DAY, monotonic_s, wall_ms
from blueplane.event import Settlement
from blueplane.health.chain import ChainMonitor, ranges
from blueplane.health.check import Colour, Moment, Report
from blueplane.health.probes import Probes
from blueplane.paths import Home
from blueplane.pipeline.commits import Commits
from blueplane.pipeline.custody import Balance
from blueplane.store.ledger import Incident
from helpers.redis_server import RedisServer
from helpers.road import Road, heal, make_event
from helpers.waiting import wait_until

GREEN, YELLOW, _, RED = Colour
FIELDS = {
    "chain_status", "messages_captured_last_hour", "messages_enqueued_last_hour",
    "messages_written_last_hour", "duplicates_last_hour", "filtered_last_hour", "messages_in_dlq",
    "in_flight", "recovered_last_hour", "chain_break_count", "last_chain_break_timestamp",
    "success_rate", "balance", "breaks", "health_status",
}  # fmt: skip
BALANCE = {
    "enqueued", "written", "duplicate", "dead_lettered", "in_flight", "lost", "recovered",
    "foreign", "captured", "filtered", "quarantined", "refused", "waiting", "balanced", "as_of",
}  # fmt: skip
MINUTE_S, HOUR_S, HOUR_MS = 60, 3600, 3_600_000


class Look:
    """A monitor of the chain that looks when the test says so."""

    def __init__(self, home: Home) -> None:
        probes = SimpleNamespace(database=home.database)
        self._monitor = ChainMonitor(cast("Probes", probes))
        self._shift_s = 0.0

    def __call__(self, later_s: float = 0.0) -> Report:
        """Look, so many seconds later than the last time."""
        self._shift_s += later_s
        wall = wall_ms() + int(self._shift_s * 1000)
        return self._monitor.look(Moment(wall, monotonic_s() + self._shift_s))


@pytest.fixture
def road(home: Home, redis_server: RedisServer) -> Iterator[Road]:
    """Give an attached road."""
    road = Road(home, redis_server)
    road.settle()
    yield road
    road.close()


@pytest.fixture
def look(home: Home) -> Look:
    """Give a monitor of the road's store."""
    return Look(home)


def status(report: Report) -> tuple[str, Colour]:
    """Return what the report says in a word, and its colour."""
    return report.figures["chain_status"], report.colour


def by_source(report: Report, window: str) -> dict[tuple[str | None, str | None], dict[str, int]]:
    """Return the outcomes of a window by platform and source."""
    rows = [dict(row) for row in report.figures[window]]
    return {(row.pop("platform"), row.pop("source")): row for row in rows}


# --- healthy ------------------------------------------------------------------------------------


def test_chain_is_idle_and_unknown_is_no_number_when_nothing_ever_came(
    home: Home, look: Look
) -> None:
    """Before the first balance nothing is judged, and no rate is invented."""
    # Given a new database
    Commits(home.database).close()
    # When
    report = look()
    # Then
    assert (status(report), report.state) == (("healthy", GREEN), "idle")
    assert report.figures["success_rate"] is None
    assert report.figures["balance"] is None
    assert report.figures["in_flight"] is None
    assert report.figures["last_chain_break_timestamp"] is None


def test_chain_is_healthy_to_the_event_when_everything_is_written(road: Road, look: Look) -> None:
    """All figures are there, both laws close, and the hour knows who sent what."""
    # Given 100 events that are written, one of them twice
    events = [make_event(number) for number in range(100)]
    road.append(*events)
    road.append(events[0]._replace(origin="spool:1.1.0:1", captured_ns=1))
    road.settle()
    # When
    report = look()
    # Then
    body = report.body()
    assert body.keys() >= FIELDS
    assert body["balance"].keys() >= BALANCE
    assert (status(report), report.state) == (("healthy", GREEN), "ok")
    assert body["success_rate"] == 1.0
    assert body["balance"]["balanced"] is True
    assert body["messages_enqueued_last_hour"] == body["messages_captured_last_hour"] == 101
    assert (body["messages_written_last_hour"], body["duplicates_last_hour"]) == (100, 1)
    for window in ("last_hour", "since_start"):
        counts = by_source(report, window)
        assert counts["cursor", "hook"] == {"written": 100, "duplicate": 1}
        assert counts[None, "hook"] == {"enqueued": 101}
        assert counts[None, None]["captured"] == 101


def test_counts_of_the_hour_go_and_those_since_the_start_stay_when_it_has_passed(
    road: Road, look: Look
) -> None:
    """An hour later the window is empty, the rate unknown, and the chain idle."""
    # Given an event that is written
    road.append(make_event(0))
    road.settle()
    assert look().state == "ok"
    # When
    report = look(HOUR_S + MINUTE_S)
    # Then
    assert (status(report), report.state) == (("healthy", GREEN), "idle")
    assert report.figures["success_rate"] is None
    assert report.figures["messages_written_last_hour"] == 0
    assert report.figures["last_hour"] == []
    assert by_source(report, "since_start")["cursor", "hook"] == {"written": 1}


# --- breaks -------------------------------------------------------------------------------------


@pytest.mark.fault("B11")
def test_deleted_entries_are_named_and_green_again_when_the_hour_has_passed(
    road: Road, look: Look
) -> None:
    """Ten deleted entries are a mended break of ten ids: yellow, and an hour later gone."""
    # Given ten entries of ours that somebody deletes
    events = [make_event(number) for number in range(10)]
    road.append(*events)
    road.writer.balance()
    ids = [key.decode() for key in road.in_flight.ids()]
    road.redis.command("XDEL", road.stream.events, *ids)
    road.settle()
    road.append(*events)
    road.settle()
    # When
    report = look()
    # Then
    assert status(report) == ("degraded", YELLOW)
    (found,) = report.figures["breaks"]
    assert (found["count"], found["recovered"], found["lost"]) == (10, 10, 0)
    assert found["ids"] == ranges(ids)
    assert "deleted" in found["cause"]
    assert (report.figures["chain_break_count"], report.figures["recovered_last_hour"]) == (10, 10)
    assert report.figures["last_chain_break_timestamp"] == found["at"]
    assert "10 messages vanished" in report.findings[0].sentence
    assert report.figures["success_rate"] == 1.0
    # And it is yellow until the hour has passed
    assert look(HOUR_S - MINUTE_S).colour is YELLOW
    later = look(2 * MINUTE_S)
    assert status(later) == ("healthy", GREEN)
    assert (later.figures["breaks"], later.figures["chain_break_count"]) == ([], 0)
    assert later.figures["last_chain_break_timestamp"] == found["at"]


@pytest.mark.fault("B11")
def test_chain_is_broken_when_a_strangers_entry_vanished(road: Road, look: Look) -> None:
    """What nobody can send again is lost: red, counted against the rate, and an hour later gone."""
    # Given three written events, and an entry of a stranger that is deleted
    road.append(*[make_event(number) for number in range(3)])
    road.settle()
    road.redis.command("XDEL", road.stream.events, road.append_foreign(make_event(9)))
    road.settle()
    # When
    report = look()
    # Then
    assert status(report) == ("broken", RED)
    assert report.figures["success_rate"] == 3 / 4
    assert report.figures["breaks"][0]["lost"] == 1
    assert "1 message lost in the last hour" in report.findings[0].sentence
    assert report.findings[0].command == "blueplane logs --component custody"
    assert status(look(HOUR_S + MINUTE_S)) == ("healthy", GREEN)


def trim(road: Road) -> None:
    """Trim the stream to nothing."""
    road.redis.command("XTRIM", road.stream.events, "MAXLEN", "=", "0")


def flush(road: Road) -> None:
    """Remove everything."""
    road.redis.command("FLUSHALL")


def come_back_empty(road: Road) -> None:
    """Kill the server, remove its log and start it again."""
    road.stream.detach()
    road.redis.kill()
    shutil.rmtree(road.redis.directory / "appendonlydir")
    road.redis.restart()


def evict(road: Road) -> None:
    """Have the server's memory fill up under a policy that evicts, and mend the policy."""
    command = road.redis.command
    command("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
    command("CONFIG", "SET", "maxmemory", "1")
    wait_until(lambda: not command("DBSIZE"), 20, "everything is evicted")
    command("CONFIG", "SET", "maxmemory", "0")
    command("CONFIG", "SET", "maxmemory-policy", "noeviction")


@pytest.mark.parametrize(
    ("happens", "word"),
    [
        pytest.param(trim, "XTRIM", marks=pytest.mark.fault("B11")),
        pytest.param(flush, "flushed", marks=pytest.mark.fault("B4")),
        pytest.param(come_back_empty, "came back without", marks=pytest.mark.fault("B3")),
        pytest.param(evict, "evicted", marks=pytest.mark.fault("B12")),
    ],
)
def test_cause_is_named_when_redis_tells_what_happened(
    road: Road, look: Look, happens: Callable[[Road], None], word: str
) -> None:
    """What took the entries away is said, and that they came again."""
    # Given three entries in flight
    road.append(*[make_event(number) for number in range(3)])
    road.writer.balance()
    # When
    happens(road)
    road.settle()
    # Then
    report = look()
    assert status(report) == ("degraded", YELLOW)
    (found,) = report.figures["breaks"]
    assert (found["count"], found["recovered"]) == (3, 3)
    assert word in found["cause"]
    assert word in report.findings[0].sentence
    assert status(look(HOUR_S + MINUTE_S)) == ("healthy", GREEN)


@pytest.mark.fault("B4")
def test_an_old_flush_is_not_the_cause_when_entries_are_deleted_later(
    road: Road, look: Look
) -> None:
    """What the server did before the last attach explains nothing after it."""
    # Given a Redis that was flushed, and an attach since
    road.redis.command("FLUSHALL")
    road.settle()
    road.append(make_event(0))
    road.writer.balance()
    # When the stream is deleted
    road.redis.command("DEL", road.stream.events)
    road.settle()
    # Then
    assert [each["cause"] for each in look().figures["breaks"]] == [
        "the stream was deleted by something else"
    ]


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        pytest.param("store_missing", "gone", marks=pytest.mark.fault("C12")),
        pytest.param("store_replaced", "another database", marks=pytest.mark.fault("C12")),
        pytest.param("store_rolled_back", "older one", marks=pytest.mark.fault("C12")),
        pytest.param("store_damaged", "damaged", marks=pytest.mark.fault("C11")),
    ],
)
def test_chain_is_broken_without_a_files_name_when_the_database_lost_rows(
    road: Road, look: Look, kind: str, word: str
) -> None:
    """Rows that are gone with a database are lost, in words that name no file."""
    # Given
    cause = "the database was damaged, is now telemetry.db.damaged-1, and had 7 rows"
    with road.commits._bookkeeping():
        road.commits.ledger.add_incident(Incident(kind, wall_ms(), 7, 0, cause, ()))
    # When
    report = look()
    # Then
    assert status(report) == ("broken", RED)
    (found,) = report.figures["breaks"]
    assert (found["lost"], found["command"]) == (7, "blueplane status")
    assert word in report.findings[0].sentence
    assert "telemetry.db" not in str(report.body())


@pytest.mark.fault("C12")
def test_rows_are_missed_when_an_older_database_was_put_back(
    home: Home, redis_server: RedisServer, look: Look
) -> None:
    """A database that was rolled back is red with the exact count, and green an hour later."""
    # Given two written events, a copy of the database, and three more
    road = Road(home, redis_server)
    road.settle()
    road.append(make_event(0), make_event(1))
    road.settle()
    road.commits.empty_wal()
    copy = home.root / "copy"
    shutil.copy(home.database, copy)
    road.append(*[make_event(number) for number in range(2, 5)])
    road.settle()
    road.close()
    # When the copy is put back
    for suffix in ("-wal", "-shm"):
        home.database.with_name(f"{home.database.name}{suffix}").unlink(missing_ok=True)
    copy.rename(home.database)
    later = Road(home, redis_server)
    later.settle()
    # Then
    report = look()
    later.close()
    assert status(report) == ("broken", RED)
    assert report.figures["chain_break_count"] == report.figures["balance"]["lost"] == 3
    assert report.figures["messages_enqueued_last_hour"] == 5
    assert report.figures["success_rate"] == 2 / 5
    assert status(look(HOUR_S + MINUTE_S)) == ("healthy", GREEN)


def test_breaks_of_a_wrong_clock_are_not_shown_when_they_lie_far_ahead(
    road: Road, look: Look
) -> None:
    """A clock that was set back a little hides nothing; one that was a day ahead is over."""
    # Given a break of tomorrow, and one of in half an hour
    for at_ms in (wall_ms() + MS_PER_DAY, wall_ms() + HOUR_MS // 2):
        with road.commits._bookkeeping():
            road.commits.ledger.add_incident(Incident("chain_break", at_ms, 1, 0, "x", ("1-0",)))
    # When
    report = look()
    # Then
    assert report.figures["chain_break_count"] == len(report.figures["breaks"]) == 1
    assert look(2 * HOUR_S).colour is GREEN


# --- what is not written ------------------------------------------------------------------------


@pytest.mark.fault("B17")
def test_chain_is_degraded_until_dead_letters_are_written(road: Road, look: Look) -> None:
    """Five events that fail are five dead letters of one cause; retried, written once."""
    # Given five events that the store refuses, and one that it takes
    connection = road.commits._connection
    connection.execute(
        "CREATE TRIGGER poison BEFORE INSERT ON traces WHEN new.tool_use_id = 'bad'"
        " BEGIN SELECT RAISE(ABORT, 'poison'); END"
    )
    events = [make_event(number, tool_use_id="bad") for number in range(5)]
    road.append(*events, make_event(9))
    road.drain()
    for _ in range(3):
        for failure in road.writer._failures.values():
            failure.due_s = 0.0
        road.writer._retry_due()
    road.writer.balance()
    # When
    report = look()
    # Then
    assert status(report) == ("degraded", YELLOW)
    assert report.figures["messages_in_dlq"] == 5
    assert report.figures["success_rate"] == 1 / 6
    (group,) = report.figures["dead_letters"]
    assert (group["hop"], group["error_class"], group["count"]) == ("written", "IntegrityError", 5)
    assert "5 events could not be written" in report.findings[0].sentence
    assert report.findings[0].command == "blueplane dlq list"
    # And when the cause is gone and they are sent again
    heal(connection)
    opened = list(road.commits.letters.open_reasons())
    assert len(road.writer.letters.retry(opened)) == 5
    road.writer.letters.send_waiting()
    road.settle()
    report = look()
    assert status(report) == ("healthy", GREEN)
    assert (report.figures["messages_in_dlq"], report.figures["dead_letters"]) == (0, [])
    assert len(road.rows()) == len(set(road.rows())) == 6
    assert report.figures["balance"]["balanced"] is True


def test_a_rate_counts_entries_only_when_they_are_past_the_grace_age(
    road: Road, look: Look
) -> None:
    """What is in the stream for less than 30 s is not judged, and then it is."""
    # Given one written event and three that nobody reads
    road.append(make_event(0))
    road.settle()
    road.append(*[make_event(number) for number in range(1, 4)])
    road.writer.balance()
    assert look().figures["success_rate"] == 1.0
    # When
    young, old = look(29), look(2)
    # Then
    assert young.figures["success_rate"] == 1.0
    assert old.figures["success_rate"] == 1 / 4
    assert (old.figures["in_flight"], old.state) == (3, "ok")
    # And those that came meanwhile have their own 30 s
    road.append(make_event(4))
    road.writer.balance()
    assert look().figures["success_rate"] == 1 / 4


def test_chain_is_degraded_for_an_hour_when_something_is_in_quarantine(
    road: Road, look: Look
) -> None:
    """What could not be read is said, and what was filtered is not."""
    # Given
    road.commits.settle([Settlement("spool:1", "filtered", "mine", "cursor", "stop", 10)])
    assert status(look()) == ("healthy", GREEN)
    road.commits.settle([Settlement("spool:2", "quarantined", "no-json", "cursor", "stop", 10)])
    # When
    report = look()
    # Then
    assert status(report) == ("degraded", YELLOW)
    assert [finding.metric for finding in report.findings] == ["quarantined_last_hour"]
    assert report.figures["filtered_last_hour"] == 1
    assert by_source(report, "last_hour")["cursor", "hook"] == {"quarantined": 1, "filtered": 1}
    assert status(look(HOUR_S + MINUTE_S)) == ("healthy", GREEN)


def test_chain_is_healthy_when_lines_of_editors_are_malformed(road: Road, look: Look) -> None:
    """What stays where it is, in an editor's file, is said and is no fault of the road."""
    # Given
    for origin, source in (("t:00-0:1:9", "transcript"), ("d:11:bubbleId:22", "database")):
        outcome = Settlement(origin, "quarantined", "no-json", "claude_code", "", 10, source)
        road.commits.settle([outcome])
    # When
    report = look()
    # Then
    assert status(report) == ("healthy", GREEN)
    (found,) = report.findings
    assert found.sentence.startswith("2 entries of editors' own files could not be read")
    assert found.command == "blueplane backfill --malformed"


def test_chain_is_broken_when_a_law_does_not_close(road: Road, look: Look) -> None:
    """A stored balance with an event too many is red, and says which law and by how much."""
    # Given
    epoch = road.commits.ledger.epoch()
    assert epoch is not None
    letters = road.commits.letters.counts()
    road.commits.put_balance(Balance({"events.captured": 2}, 0, 0, 0, letters, 0), epoch)
    # When
    report = look()
    # Then
    assert status(report) == ("broken", RED)
    assert report.findings[0].sentence == (
        "the law of events does not close: +2 without an outcome"
    )


def test_why_hooks_refused_is_said_in_words(road: Road, look: Look) -> None:
    """The letters of the hooks are counted by what they mean."""
    # Given
    road.commits.refuse(4, {"f": 3, "p": 1})
    # When
    report = look()
    # Then
    assert report.figures["refused"] == {"spool_full": 3, "paused": 1}
    assert report.figures["refused_last_hour"] == 4


# --- counting -----------------------------------------------------------------------------------


def test_enqueued_is_counted_once_by_source_when_epochs_turn(road: Road, look: Look) -> None:
    """What is sent again counts as often as it came, and nothing counts twice."""
    # Given two events, a balance, one more, and a lost stream
    road.append(make_event(0), make_event(1))
    road.writer.balance()
    road.append(make_event(2))
    road.redis.flush()
    # When everything is sent again before the next balance, and one more after it
    road.stream.detach()
    road.writer.attach()
    road.append(*[make_event(number) for number in range(3)])
    road.settle()
    road.append(make_event(3))
    road.settle()
    # Then the sum is what the law says
    report = look()
    enqueued = report.figures["messages_enqueued_last_hour"]
    assert enqueued == report.figures["balance"]["enqueued"] == 7
    # and by source, but for the one that no balance had seen
    counts = by_source(report, "last_hour")
    assert (counts[None, "hook"]["enqueued"], counts[None, None]["enqueued"]) == (6, 1)


@pytest.mark.parametrize(
    ("ids", "found"),
    [
        ([], []),
        (["5-0"], ["5-0"]),
        (["5-1", "5-0", "5-2"], ["5-0..5-2"]),
        (["5-0", "5-2", "6-0", "6-1"], ["5-0", "5-2", "6-0..6-1"]),
        (["10-0", "9-0"], ["9-0", "10-0"]),
    ],
)
def test_ids_are_ranges_when_they_follow_on_each_other(ids: list[str], found: list[str]) -> None:
    """No id is in a range that did not vanish."""
    # Given / When / Then
    assert ranges(ids) == found
