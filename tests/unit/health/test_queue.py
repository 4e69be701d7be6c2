from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from blueplane.clock import NS_PER_MS
from blueplane.errors import QueueUnavailableError
from blueplane.health.check import Colour, Moment, Report
from blueplane.health.queue import QueueMonitor
from blueplane.pipeline.commits import Commits
from blueplane.pipeline.measures import Measures
from blueplane.pipeline.stream import CONSUMER, Sight
from blueplane.store.letters import Letter

#: When the first look is taken: 20 November 2026.
START_MS = 1_795_150_000_000
HOUR_S = 3600
WELL: Mapping[str, Any] = {"state": "none", "reason": None, "since_s": None}
REDIS: Mapping[str, Any] = {"mode": "private", "connected": True, "trouble": None,
                            "persistence": "aof", "policy": "noeviction"}  # fmt: skip
EMPTY = Sight(0, {}, None, None, 1, 0, 1_000_000, "noeviction")


class Stand:
    """Everything that the monitor looks at, as the test wants it, and a clock."""

    def __init__(self, commits: Commits, path: Path) -> None:
        self.commits = commits
        self.now_s = 1_000.0
        self.spooler_beat_s: float | None = None
        self._letters = 0
        self.sight: Sight | None = EMPTY
        self.redis = dict(REDIS)
        self.pressure = dict(WELL)
        self.spool: tuple[int, int, int | None] = (0, 0, None)
        self.measures = Measures(settled_s=self.now_s)
        probes = SimpleNamespace(
            database=path,
            measures=self.measures,
            redis=lambda: self.redis,
            queue=self._observe,
            spool=lambda: self.spool,
            pressure=lambda: self.pressure,
            beats=lambda: {"writer": self.now_s, "spooler": self.spooler_beat_s or self.now_s},
        )
        self.monitor = QueueMonitor(cast("Any", probes))

    def _observe(self) -> Sight:
        if self.sight is None:
            message = "redis does not answer: no file /home/ada byron/redis.sock"
            raise QueueUnavailableError(message)
        return self.sight

    @property
    def wall_ms(self) -> int:
        """What the wall clock shows."""
        return START_MS + int(self.now_s * 1000)

    def id_of_age(self, seconds: float) -> bytes:
        """Return the id of a message that was added so long ago."""
        return b"%d-0" % (self.wall_ms - seconds * 1000)

    def look(self, after_s: float = 1.0) -> Report:
        """Let time pass, and look."""
        self.now_s += after_s
        return self.monitor.look(Moment(self.wall_ms, self.now_s))

    def hold(self, count: int, consumer: str = CONSUMER) -> None:
        """Have a consumer hold messages."""
        self.sight = replace(EMPTY, length=count, pending={consumer: count} if count else {})

    def open_letters(self, count: int, age_s: float = 0) -> None:
        """Open so many dead letters so long ago."""
        first, self._letters = self._letters, self._letters + count
        for number in range(first, first + count):
            self.commits.dead_letter(make_letter(number))
        self.commits._connection.execute(
            "UPDATE dead_letters SET opened_ms = ? WHERE CAST(message_id AS INTEGER) >= ?",
            (self.wall_ms - int(age_s * 1000), first),
        )


def make_letter(number: int) -> Letter:
    """Make a dead letter of nobody's."""
    return Letter(f"{number}-0", None, None, "", "", "", "", b"", "bad", "E", 1, "written")


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    """Give a queue that is well, and was never used."""
    commits = Commits(tmp_path / "telemetry.db")
    yield Stand(commits, tmp_path / "telemetry.db")
    commits.close()


def found(report: Report) -> dict[str, Colour]:
    """Return the colour of each figure that is not green."""
    return {finding.metric: finding.colour for finding in report.findings}


def test_every_figure_of_the_documentation_is_there_when_all_is_well(stand: Stand) -> None:
    """The figures have their documented names, and an empty queue is green."""
    # Given an empty queue

    # When
    report = stand.look()

    # Then
    assert set(report.figures) == {
        "queue_depth", "pending_messages", "oldest_pending_age_ms", "consumer_count",
        "processing_rate_events_per_sec", "enqueue_rate_events_per_sec", "consumer_lag_ms",
        "dlq_size", "dlq_recent_entries", "spool_files", "spool_bytes", "oldest_spool_age_ms",
        "stuck_consumers", "sources_wait_s", "redis",
    }  # fmt: skip
    assert report.figures["redis"] == {
        "connected": True, "mode": "private", "persistence": "aof", "policy": "noeviction",
        "used_memory_bytes": 1_000_000,
    }  # fmt: skip
    assert (report.colour, found(report)) == (Colour.GREEN, {})
    assert report.figures["consumer_lag_ms"] == report.figures["oldest_pending_age_ms"] == 0


def test_figures_are_unknown_when_redis_is_away(stand: Stand) -> None:
    """What cannot be seen is None, never 0; what is not in Redis is seen all the same."""
    # Given
    stand.look()
    stand.sight = None
    stand.spool = (3, 12_288, stand.wall_ms * NS_PER_MS)

    # When
    figures = stand.look().figures

    # Then
    for name in (
        "queue_depth", "pending_messages", "oldest_pending_age_ms", "consumer_count",
        "enqueue_rate_events_per_sec", "consumer_lag_ms", "stuck_consumers",
    ):  # fmt: skip
        assert figures[name] is None, name
    assert (figures["dlq_size"], figures["spool_files"], figures["spool_bytes"]) == (0, 3, 12_288)
    assert figures["redis"]["connected"] is False
    assert figures["redis"]["used_memory_bytes"] is None


def test_letters_are_unknown_when_the_database_cannot_be_read(stand: Stand) -> None:
    """A database that is gone makes the dead letters unknown, and nothing else."""
    # Given
    stand.commits.path.unlink()

    # When
    figures = stand.look().figures

    # Then
    assert (figures["dlq_size"], figures["dlq_recent_entries"]) == (None, None)
    assert figures["queue_depth"] == 0


@pytest.mark.parametrize(
    ("depth", "colour"),
    [(999, 0), (1_000, 1), (9_999, 1), (10_000, 2), (50_000, 2), (50_001, 3)],
)
def test_depth_has_its_colour_when_it_crosses_a_threshold(
    stand: Stand, depth: int, colour: int,
) -> None:  # fmt: skip
    """The length of the stream is judged by the documented thresholds."""
    # Given
    stand.sight = replace(EMPTY, length=depth)

    # When
    report = stand.look()

    # Then
    assert report.figures["queue_depth"] == depth
    assert found(report).get("queue_depth", 0) == colour


@pytest.mark.parametrize(
    ("pending", "colour"),
    [(99, 0), (100, 1), (999, 1), (1_000, 2), (5_000, 2), (5_001, 3)],
)
def test_pending_has_its_colour_when_it_crosses_a_threshold(
    stand: Stand, pending: int, colour: int,
) -> None:  # fmt: skip
    """What all consumers hold together is judged by the documented thresholds."""
    # Given
    stand.sight = replace(EMPTY, pending={CONSUMER: pending - 1, "stranger": 1})

    # When
    report = stand.look()

    # Then
    assert report.figures["pending_messages"] == pending
    assert found(report).get("pending_messages", 0) == colour


@pytest.mark.parametrize(
    ("age_s", "colour"), [(4.9, 0), (5, 1), (29.9, 1), (30, 2), (60, 2), (60.1, 3)]
)
def test_ages_have_their_colour_when_they_cross_a_threshold(
    stand: Stand, age_s: float, colour: int,
) -> None:  # fmt: skip
    """The oldest message and the oldest file are judged by the same ages."""
    # Given
    oldest = stand.id_of_age(age_s)
    stand.sight = replace(EMPTY, length=1, oldest=oldest, pending={CONSUMER: 1},
                          oldest_pending=oldest)  # fmt: skip
    stand.spool = (1, 4096, int(oldest[:-2]) * NS_PER_MS)

    # When
    report = stand.look(0)

    # Then
    names = ("consumer_lag_ms", "oldest_spool_age_ms", "oldest_pending_age_ms")
    assert {report.figures[name] for name in names} == {int(age_s * 1000)}
    assert {found(report).get(name, 0) for name in names[:2]} == {colour}


def test_lag_is_what_was_seen_when_ids_are_ahead_of_the_clock(stand: Stand) -> None:
    """An id of the future hides nothing: the message is at least as old as it was looked at."""
    # Given a message with an absurd id
    stand.sight = replace(EMPTY, length=1, oldest=stand.id_of_age(-90_000))

    # When
    stand.look()
    report = stand.look(31)

    # Then
    assert report.figures["consumer_lag_ms"] == 31_000
    assert found(report) == {"consumer_lag_ms": Colour.ORANGE}

    # When it is gone / Then so is its age
    stand.sight = replace(EMPTY, length=1, oldest=stand.id_of_age(-91_000))
    assert stand.look().figures["consumer_lag_ms"] == 0


@pytest.mark.parametrize(("letters", "colour"), [(0, 0), (1, 1), (9, 1), (10, 2), (100, 2),
                                                 (101, 3)])  # fmt: skip
def test_letters_have_their_colour_when_they_are_open(
    stand: Stand, letters: int, colour: int,
) -> None:  # fmt: skip
    """Open dead letters are judged by the documented thresholds; dropped ones are none."""
    # Given
    stand.open_letters(letters + 1)
    stand.commits.drop(["0-0"])

    # When
    report = stand.look()

    # Then
    assert report.figures["dlq_size"] == letters
    assert found(report).get("dlq_size", 0) == colour


def test_recent_letters_are_counted_when_they_are_of_the_last_hour(stand: Stand) -> None:
    """Those of the last hour are told apart from older ones, and grow old."""
    # Given
    stand.open_letters(2, age_s=HOUR_S + 10)
    stand.open_letters(3)

    # When
    now, later = stand.look().figures, stand.look(HOUR_S).figures

    # Then
    assert (now["dlq_size"], now["dlq_recent_entries"]) == (5, 3)
    assert (later["dlq_size"], later["dlq_recent_entries"]) == (5, 0)


def test_rates_are_of_ten_seconds_when_something_moves(stand: Stand) -> None:
    """Rates are per second over the last ten seconds, and unknown at the first look."""
    # Given
    first = stand.look().figures

    # When 50 are enqueued and 30 are acknowledged a second for a while, and then none
    for _ in range(20):
        assert stand.sight is not None
        stand.sight = replace(stand.sight, enqueued=stand.sight.enqueued + 50)
        stand.measures.settled += 30
        busy = stand.look().figures
    for _ in range(11):
        calm = stand.look().figures

    # Then
    names = ("enqueue_rate_events_per_sec", "processing_rate_events_per_sec")
    assert [first[name] for name in names] == [None, None]
    assert [busy[name] for name in names] == [50.0, 30.0]
    assert [calm[name] for name in names] == [0.0, 0.0]


def test_enqueue_rate_is_unknown_when_the_count_began_anew(stand: Stand) -> None:
    """A new epoch, or a Redis that was away, gives no negative rate and no invented one."""
    # Given
    stand.sight = replace(EMPTY, enqueued=500)
    stand.look()
    stand.look()

    # When the epoch is another one
    stand.sight = EMPTY
    rates = [stand.look().figures["enqueue_rate_events_per_sec"] for _ in range(2)]
    # and Redis is away for a moment
    stand.sight = None
    stand.look()
    stand.sight = EMPTY
    rates += [stand.look().figures["enqueue_rate_events_per_sec"] for _ in range(2)]

    # Then
    assert rates == [None, 0.0, None, 0.0]


def test_our_consumer_is_stuck_when_it_holds_messages_and_acknowledges_none(stand: Stand) -> None:
    """After 30 s with messages in hand and no acknowledgement it is orange; one ends that."""
    # Given a server that was idle for long, and then has something in hand
    stand.look(500)
    stand.hold(7)

    # When / Then
    assert stand.look().figures["stuck_consumers"] == 0
    assert stand.look(30).figures["stuck_consumers"] == 0
    report = stand.look(0.5)
    assert report.figures["stuck_consumers"] == 1
    assert found(report) == {"stuck_consumers": Colour.ORANGE}
    stand.measures.settled_s = stand.now_s  # as many come as go
    assert stand.look(29).figures["stuck_consumers"] == 0
    assert stand.look(2).figures["stuck_consumers"] == 1
    stand.hold(0)
    assert stand.look().colour == Colour.GREEN


def test_a_strangers_consumer_is_stuck_when_it_holds_the_same_for_long(stand: Stand) -> None:
    """Of a consumer that is not ours nothing is known but what it holds."""
    # Given
    stand.hold(7, "stranger")
    stand.look()

    # When our own acknowledges all the time / Then the other one is stuck all the same
    stand.measures.settled_s = stand.now_s + 31
    assert stand.look(31).figures["stuck_consumers"] == 1
    stand.hold(6, "stranger")
    assert stand.look(31).figures["stuck_consumers"] == 0


@pytest.mark.parametrize(("away_s", "colour"), [(5, 0), (5.1, 2), (60, 2), (60.1, 3)])
def test_redis_has_its_colour_when_it_is_away(stand: Stand, away_s: float, colour: int) -> None:
    """A Redis that is away is orange after 5 s, red after 60 s, and green when it is back."""
    # Given
    stand.look()
    stand.sight = None
    stand.redis["trouble"] = "redis refuses the login; check user and password in redis.url"

    # When
    stand.look()
    report = stand.look(away_s)

    # Then
    assert found(report).get("redis", 0) == colour
    assert all("redis.url" in finding.sentence for finding in report.findings)
    stand.sight = EMPTY
    assert stand.look().colour == Colour.GREEN
    # and the next time counts from its own beginning
    stand.sight = None
    assert stand.look(100).colour == Colour.GREEN


def test_redis_is_orange_when_it_may_evict(stand: Stand) -> None:
    """A policy that was changed under the running server is seen, with the command that helps."""
    # Given
    assert stand.sight is not None
    stand.sight = replace(stand.sight, policy="allkeys-lru")

    # When
    report = stand.look()

    # Then
    assert found(report) == {"redis": Colour.ORANGE}
    assert "allkeys-lru" in report.findings[0].sentence
    assert report.findings[0].command == "redis-cli CONFIG SET maxmemory-policy noeviction"


@pytest.mark.parametrize("policy", [None, "unknown"])
def test_redis_is_green_when_it_does_not_tell_its_policy(stand: Stand, policy: str | None) -> None:
    """A hosted server that hides its settings is not judged by them."""
    # Given
    stand.redis["policy"] = policy
    stand.sight = replace(EMPTY, policy=None, memory=None, pending=None, consumers=None)

    # When
    report = stand.look()

    # Then
    assert (report.colour, report.figures["redis"]["policy"]) == (Colour.GREEN, policy)
    assert report.figures["pending_messages"] is None
    assert report.figures["stuck_consumers"] is None
    assert report.figures["oldest_pending_age_ms"] is None


@pytest.mark.parametrize(("since_s", "colour"), [(2.0, 1), (60.0, 1), (60.1, 2)])
def test_waiting_sources_are_told_when_the_queue_takes_nothing(
    stand: Stand, since_s: float, colour: int,
) -> None:  # fmt: skip
    """Backpressure is yellow, after a minute orange; the reason is said without a path."""
    # Given
    reason = "the database cannot be written: /home/ada byron/telemetry.db: disk full (FULL)"
    stand.pressure = {"state": "sources wait", "reason": reason, "since_s": since_s}

    # When
    report = stand.look()

    # Then
    assert report.figures["sources_wait_s"] == since_s
    assert found(report) == {"sources_wait_s": colour}
    assert "disk full" in report.findings[0].sentence
    assert "ada" not in report.findings[0].sentence


def test_queue_is_idle_when_nothing_moves_and_nothing_waits(stand: Stand) -> None:
    """After a minute without anything enqueued or written the queue is green and idle."""
    # Given something that was written
    stand.look()
    stand.measures.settled += 1

    # When / Then
    assert stand.look().state == "ok"
    assert stand.look(59).state == "ok"
    report = stand.look(1)
    assert (report.state, report.colour) == ("idle", Colour.GREEN)
    # and what is enqueued, waits, or cannot be seen ends that
    stand.sight = replace(EMPTY, enqueued=1)
    assert stand.look().state == "ok"
    assert stand.look(60).state == "idle"
    stand.sight = replace(EMPTY, enqueued=1, length=1)
    assert stand.look(60).state == "ok"
    stand.sight = replace(EMPTY, enqueued=1)
    stand.spool = (1, 4096, stand.wall_ms * NS_PER_MS)
    assert stand.look().state == "ok"
    stand.spool = (0, 0, None)
    stand.sight = None
    assert stand.look(60).state == "ok"


def test_every_finding_says_what_helps_when_everything_is_wrong(stand: Stand) -> None:
    """Each figure that is not green has a sentence, without a path, and a command."""
    # Given
    oldest = stand.id_of_age(500)
    stand.sight = replace(EMPTY, length=60_000, pending={CONSUMER: 6_000}, oldest=oldest,
                          oldest_pending=oldest, policy="volatile-ttl")  # fmt: skip
    stand.spool = (9, 9, int(oldest[:-2]) * NS_PER_MS)
    stand.pressure = {"state": "sources wait", "reason": "the window is full", "since_s": 500.0}
    stand.open_letters(200)

    # When
    stand.look()
    report = stand.look(100)

    # Then
    assert len(report.findings) == 8
    assert all(len(finding.sentence) > 20 and finding.command for finding in report.findings)
    assert "60,000 messages" in report.findings[0].sentence
    assert report.body()["health_status"] == "red"


def test_thread_that_stands_still_is_named(stand: Stand) -> None:
    """A spooler that hangs in a call shows in no figure of its own, but everybody can see it."""
    # Given a spooler that goes round, and then hangs
    assert stand.look().colour is Colour.GREEN
    stand.spooler_beat_s = stand.now_s
    # When a minute passes, and some more
    at_once, later, much_later = stand.look(30), stand.look(40), stand.look(300)
    # Then it is named, until it moves again
    colours = [report.colour for report in (at_once, later, much_later)]
    assert colours == [Colour.GREEN, Colour.ORANGE, Colour.RED]
    assert later.findings[0].sentence == "the spooler has not moved for 70 s"
    stand.spooler_beat_s = None
    assert stand.look().colour is Colour.GREEN
