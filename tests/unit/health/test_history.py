"""The history of health: what a sample is, how it is kept, and what is answered of it."""

import time
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

import orjson
import pytest
import zstandard

from blueplane.clock import NS_PER_MS
from blueplane.errors import NotFoundError, QueueUnavailableError, UsageError
from blueplane.health.check import Colour, Finding, Moment, Report, Snapshot
from blueplane.health.history import MAX_KEPT, History, Span, figures, points
from blueplane.pipeline.health_log import (
    HOUR_MS,
    KEPT_MS,
    MAX_ENTRIES,
    MAX_EXPIRED,
    MINUTE_MS,
    HealthLog,
    Sample,
    Series,
)
from helpers.redis_server import RedisServer
from helpers.road import turn_clock
from helpers.series_server import SeriesServer

NOON_MS = 1_795_150_800_000 // HOUR_MS * HOUR_MS
DAY_MS = 24 * HOUR_MS
YEARS_MS = 3_650 * DAY_MS
#: Entries of one node of a stream, which go together.
NODE = 100
MEGA = 1_000_000


class Kept:
    """A log in memory, which can be away."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.away = False

    def write(self, samples: Sequence[Sample]) -> None:
        if self.away:
            message = "redis does not answer"
            raise QueueUnavailableError(message)
        self.samples += samples

    def names(self) -> list[str]:
        return sorted({name for sample in self.samples for name in sample.values})

    def read(self, wanted: Sequence[str], since_ms: int, now_ms: int) -> dict[str, Series]:
        assert since_ms <= now_ms
        return {
            name: {s.at_ms: s.values[name] for s in self.samples if name in s.values}
            for name in wanted
        }


def look(history: History, at_ms: int, **found: object) -> None:
    """Have the history take up a look at the queue."""
    snapshot = Snapshot(at_ms, {"queue": Report("queue", found)})
    history.keep(snapshot, Moment(at_ms, at_ms / 1000))


def minutes(first_ms: int, count: int, figure_count: int = 1) -> list[Sample]:
    """Make samples of consecutive minutes; each value is the number of its minute."""
    names = [f"queue.figure_{number}" for number in range(figure_count)]
    return [
        Sample(first_ms + n * MINUTE_MS, dict.fromkeys(names, first_ms // MINUTE_MS + n))
        for n in range(count)
    ]


@pytest.fixture
def log(redis_server: RedisServer) -> HealthLog:
    """Give the log of a home on a real, empty server."""
    return HealthLog(lambda: redis_server.url, "ours:")


@pytest.fixture
def series_server(tmp_path: Path) -> Iterator[SeriesServer]:
    """Give a server with the module TimeSeries."""
    with SeriesServer(tmp_path) as server:
        yield server


# --- samples -------------------------------------------------------------------------------------


def test_figures_are_numbers_and_colours_only_when_a_snapshot_has_words() -> None:
    """A sample has every number and colour by its dotted name, and nothing that is a word."""
    # Given
    late = Finding("queue_depth", Colour.ORANGE, "too much", "blueplane status")
    inner = {"connected": True, "mode": "private", "last_write_timestamp": 17}
    found = {"queue_depth": 12, "rate": 0.5, "unknown": None, "bad": float("nan"), "redis": inner}
    snapshot = Snapshot(NOON_MS, {"queue": Report("queue", found, [late])})

    # When
    sample = figures(snapshot)

    # Then
    assert sample == {
        "health_status": 2,
        "queue.health_status": 2,
        "queue.queue_depth": 12,
        "queue.rate": 0.5,
        "queue.redis.connected": 1,
    }


def test_sample_has_the_worst_of_its_minute_when_figures_change() -> None:
    """A peak of a second is in the history, and so is a dip of what is good when it is large."""
    # Given
    kept = Kept()
    history = History(kept)

    # When
    for second, depth, rate, connected in (
        (1, 5, 1.0, True),
        (2, 123_456, 0.2, False),
        (3, 7, 0.9, 1),
    ):
        look(history, NOON_MS + second * 1000, depth=depth, success_rate=rate, up=bool(connected))
    look(history, NOON_MS + 4_000, lag=1.23456789)
    look(history, NOON_MS + MINUTE_MS, depth=0, success_rate=1.0, up=True)

    # Then
    (sample,) = kept.samples
    assert sample.at_ms == NOON_MS
    assert {k: v for k, v in sample.values.items() if "health" not in k} == {
        "queue.depth": 123_456, "queue.success_rate": 0.2, "queue.up": 0,
        "queue.lag": 1.2346,
    }  # fmt: skip


def test_history_has_a_gap_when_the_server_was_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Minutes in which no server ran have no value, neither 0 nor the one before."""
    # Given a server that ran for three minutes, and another one ten minutes later
    turned = turn_clock(monkeypatch)
    turned.wall_shift_ns = (NOON_MS + 12 * MINUTE_MS) * NS_PER_MS - time.time_ns()
    kept = Kept()
    for first in (0, 10):
        history = History(kept)
        for minute in range(first, first + 3):
            look(history, NOON_MS + minute * MINUTE_MS, depth=minute)

    # When
    found = history.query("queue.depth", NOON_MS)

    # Then
    assert [value for _, value in found] == [0, 1, *[None] * 8, 10, 11]
    assert [at_ms for at_ms, _ in found] == [NOON_MS + n * MINUTE_MS for n in range(12)]


def test_samples_are_kept_and_written_later_when_redis_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two hours of samples outlive a Redis that is away, are answered meanwhile, and no more."""
    # Given
    turned = turn_clock(monkeypatch)
    turned.wall_shift_ns = (NOON_MS + 180 * MINUTE_MS) * NS_PER_MS - time.time_ns()
    kept = Kept()
    kept.away = True
    history = History(kept)

    # When
    for minute in range(MAX_KEPT + 31):
        look(history, NOON_MS + minute * MINUTE_MS, depth=minute)
    kept.away = False
    meanwhile = history.query("queue.depth", NOON_MS + 140 * MINUTE_MS)
    look(history, NOON_MS + (MAX_KEPT + 31) * MINUTE_MS, depth=0)

    # Then
    assert [value for _, value in meanwhile][:10] == list(range(140, 150))
    assert [s.values["queue.depth"] for s in kept.samples] == list(range(31, MAX_KEPT + 31))
    look(history, NOON_MS + (MAX_KEPT + 32) * MINUTE_MS, depth=0)
    assert len(kept.samples) == MAX_KEPT + 1


def test_answer_names_what_there_is_when_a_figure_is_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What has a value is listed from its first look on; what is no figure is said to be none.

    Whether samples are of this minute, wait for Redis or are kept, makes no difference.
    """
    # Given a server that has looked for less than a minute
    turned = turn_clock(monkeypatch)
    turned.wall_shift_ns = (NOON_MS + 3 * MINUTE_MS) * NS_PER_MS - time.time_ns()
    kept = Kept()
    history = History(kept)
    look(history, NOON_MS, depth=1)

    # When it goes on with other figures, and Redis is away for a minute
    now = history.answer("*", NOON_MS)
    look(history, NOON_MS + MINUTE_MS, lag=2)
    kept.away = True
    look(
        history, NOON_MS + 2 * MINUTE_MS, rate=3, age=None, inner={"size": None}, at_timestamp=None
    )
    kept.away = False

    # Then each name is known at any time, and no other
    colours = ["health_status", "queue.health_status"]
    assert now == {"metrics": sorted(["queue.depth", *colours])}
    names = sorted(["queue.depth", "queue.lag", "queue.rate", *colours])
    assert history.answer("*", NOON_MS) == {"metrics": names}
    for name in (*names, "queue.age", "queue.inner.size"):
        assert history.answer(name, NOON_MS + 2 * MINUTE_MS)["metric"] == name
    for name in ("queue.nothing", "queue.at_timestamp"):
        with pytest.raises(NotFoundError, match=r"metric=\* lists"):
            history.answer(name, NOON_MS)


# --- points --------------------------------------------------------------------------------------


def test_points_are_averages_or_the_largest_when_a_step_has_several_samples() -> None:
    """A step shows the average of its samples, or the largest if asked; of a colour the worst."""
    # Given
    series = {NOON_MS: 1.0, NOON_MS + MINUTE_MS: 3.0, NOON_MS + 4 * MINUTE_MS: 8.0}
    span = Span(NOON_MS, NOON_MS + 6 * MINUTE_MS, 2 * MINUTE_MS)

    # When
    average = points("queue.depth", series, span)
    largest = points("queue.depth", series, span, "max")
    colour = points("queue.health_status", series, span)

    # Then
    assert [value for _, value in average] == [2.0, None, 8.0]
    assert [value for _, value in largest] == [3.0, None, 8.0] == [value for _, value in colour]


@pytest.mark.parametrize(
    ("since_ms", "step_ms"),
    [
        (NOON_MS, 0), (NOON_MS, -60_000), (NOON_MS, 90_000), (NOON_MS, 8 * DAY_MS),
        (NOON_MS + DAY_MS, 60_000),
    ],
)  # fmt: skip
def test_query_is_refused_when_the_span_makes_no_sense(since_ms: int, step_ms: int) -> None:
    """A step that is no whole minute, and a beginning in the future, are errors of one line."""
    # Given
    now_ms = NOON_MS + HOUR_MS

    # When, Then
    with pytest.raises(UsageError):
        Span.until(now_ms, since_ms, step_ms)


def test_span_is_cut_when_it_begins_before_what_is_kept() -> None:
    """Nobody can ask for more points than seven days have."""
    # Given, When
    span = Span.until(NOON_MS, 0, MINUTE_MS)

    # Then
    assert span == Span(NOON_MS - KEPT_MS, NOON_MS, MINUTE_MS)


# --- a stream ------------------------------------------------------------------------------------


def test_week_fits_in_eight_megabytes_when_every_minute_has_a_sample(
    redis_server: RedisServer, log: HealthLog
) -> None:
    """Eight days of samples leave seven in one key of its own, in at most 8 MB."""
    # Given
    written = minutes(NOON_MS - 8 * DAY_MS, 8 * 1_440, 100)

    # When
    for first in range(0, len(written), MAX_EXPIRED):
        log.write(written[first : first + MAX_EXPIRED])

    # Then
    assert redis_server.command("KEYS", "*") == [b"ours:blueplane:health"]
    used = redis_server.command("MEMORY", "USAGE", "ours:blueplane:health", "SAMPLES", 0)
    assert used < 8 * MEGA
    assert redis_server.command("XLEN", "ours:blueplane:health") < MAX_ENTRIES + NODE
    found = log.read(["queue.figure_7"], 0, NOON_MS)["queue.figure_7"]
    wanted = {s.at_ms: s.values["queue.figure_7"] for s in written if s.at_ms >= NOON_MS - KEPT_MS}
    assert found.items() >= wanted.items()
    assert min(found) > NOON_MS - 8 * DAY_MS + HOUR_MS


def test_samples_go_for_their_age_when_most_minutes_have_none(
    redis_server: RedisServer, log: HealthLog
) -> None:
    """What is older than seven days goes, although there is room for more."""
    # Given samples of two weeks ago
    log.write(minutes(NOON_MS - 14 * DAY_MS, 300))

    # When
    for sample in minutes(NOON_MS, 10):
        log.write([sample])

    # Then
    assert redis_server.command("XLEN", "ours:blueplane:health") < 10 + NODE


def test_little_is_lost_when_the_clock_is_years_ahead_for_a_minute(log: HealthLog) -> None:
    """A clock that is years ahead takes at most the oldest samples; one set back goes on."""
    # Given
    log.write(minutes(NOON_MS, 1_000))

    # When
    log.write(minutes(NOON_MS + YEARS_MS, 1))
    log.write(minutes(NOON_MS + 1_000 * MINUTE_MS, 5))

    # Then
    now_ms = NOON_MS + 1_005 * MINUTE_MS
    found = log.read(["queue.figure_0"], NOON_MS, now_ms)["queue.figure_0"]
    assert 1_005 - MAX_EXPIRED <= len(found) <= 1_005
    assert max(found) == NOON_MS + 1_004 * MINUTE_MS


def test_history_is_bounded_when_the_clock_was_years_ahead(
    redis_server: RedisServer, log: HealthLog
) -> None:
    """Ids of a time that never was, which no age can end, leave no more entries than a week has."""
    # Given
    log.write(minutes(NOON_MS + YEARS_MS, 1))

    # When
    log.write(minutes(NOON_MS, 9 * 1_440))

    # Then
    assert redis_server.command("XLEN", "ours:blueplane:health") < MAX_ENTRIES + NODE
    found = log.read(["queue.figure_0"], 0, NOON_MS + 9 * DAY_MS)["queue.figure_0"]
    assert len(found) >= KEPT_MS // MINUTE_MS


def test_each_sample_keeps_its_names_when_figures_come_and_go(log: HealthLog) -> None:
    """A value stays with its figure, whichever figures the samples before and after have."""
    # Given
    found = [{"a": 1, "b": 2.5}, {"b": 3}, {"a": 4, "b": 5, "c": 6}, {"a": 7, "b": 8.25}]

    # When
    log.write([Sample(NOON_MS + n * MINUTE_MS, values) for n, values in enumerate(found)])
    again = log.read(["a", "b", "c"], NOON_MS, NOON_MS + HOUR_MS)

    # Then
    for name, series in again.items():
        wanted = {NOON_MS + n * MINUTE_MS: v[name] for n, v in enumerate(found) if name in v}
        assert series == wanted
    assert log.names() == ["a", "b", "c"]


def test_names_are_not_written_again_when_figures_come_and_go(
    redis_server: RedisServer, log: HealthLog
) -> None:
    """Figures that are unknown every other minute cost no entry of names each time."""
    # Given
    found = [{"a": 1, "b": 2}, {"b": 3, "c": 4}, {"a": 5}, {"c": 6}] * 12

    # When
    for number, values in enumerate(found):
        log.write([Sample(NOON_MS + number * MINUTE_MS, values)])

    # Then
    assert redis_server.command("XLEN", "ours:blueplane:health") == len(found) + 2
    series = log.read(["c"], NOON_MS, NOON_MS + HOUR_MS)["c"]
    assert sorted(series.values()) == [4] * 12 + [6] * 12


def test_history_goes_on_when_redis_came_back_empty(
    redis_server: RedisServer, log: HealthLog
) -> None:
    """Samples after a FLUSHALL can be read at once, although their names are the same as before."""
    # Given
    log.write(minutes(NOON_MS, 3))

    # When
    redis_server.flush()
    log.write(minutes(NOON_MS + 3 * MINUTE_MS, 2))

    # Then
    found = log.read(["queue.figure_0"], NOON_MS, NOON_MS + HOUR_MS)["queue.figure_0"]
    assert sorted(found) == [NOON_MS + 3 * MINUTE_MS, NOON_MS + 4 * MINUTE_MS]


def test_entries_of_strangers_are_passed_over_when_they_are_in_the_stream(
    redis_server: RedisServer, log: HealthLog
) -> None:
    """What somebody else put into our key is neither a value nor an error."""
    # Given
    log.write(minutes(NOON_MS, 1))
    minute = NOON_MS // MINUTE_MS
    label = blake2b(b'["queue.figure_0"]', digest_size=6).hexdigest()
    contents = (("n", [["a"], 1]), ("s", [minute + 2, label, "text"]), ("s", [minute + 2, label]),
                ("s", [[], {}]), ("s", {}))  # fmt: skip
    packed = [(field, zstandard.compress(orjson.dumps(each))) for field, each in contents]
    for fields in (*packed, ("s", "nonsense"), ("n", b"\x28\xb5\x2f\xfd"), ("x", "1"), ("s", "")):
        redis_server.command("XADD", "ours:blueplane:health", "*", *fields)

    # When
    log.write(minutes(NOON_MS + MINUTE_MS, 1))

    # Then
    found = log.read(["queue.figure_0"], NOON_MS, NOON_MS + HOUR_MS)["queue.figure_0"]
    assert len(found) == 2
    assert log.names() == ["queue.figure_0"]


def test_samples_wait_when_the_key_is_somebody_elses(
    redis_server: RedisServer, log: HealthLog
) -> None:
    """A key of another kind is left as it is, and the health thread goes on."""
    # Given
    redis_server.command("SET", "ours:blueplane:health", "theirs")
    history = History(log)

    # When
    for minute in range(3):
        look(history, NOON_MS + minute * MINUTE_MS, depth=1)

    # Then
    assert redis_server.command("GET", "ours:blueplane:health") == b"theirs"


# --- TimeSeries ----------------------------------------------------------------------------------


def test_samples_are_series_when_the_server_has_the_module(series_server: SeriesServer) -> None:
    """With TimeSeries each figure is a series with labels, which the server keeps for a week."""
    # Given
    log = HealthLog(lambda: series_server.url, "ours:")

    # When
    log.write(minutes(NOON_MS, 3, 2))

    # Then
    added = [words for words in series_server.commands if words[0] == "TS.ADD"]
    assert len(added) == 6
    assert added[0][1] == "ours:blueplane:health:queue.figure_0"
    assert added[0][added[0].index("RETENTION") + 1] == str(KEPT_MS)
    assert not any(words[0].startswith("X") for words in series_server.commands)
    assert log.names() == ["queue.figure_0", "queue.figure_1"]
    found = log.read(["queue.figure_1", "none"], NOON_MS + MINUTE_MS, NOON_MS + HOUR_MS)
    number = NOON_MS // MINUTE_MS
    assert found == {
        "queue.figure_1": {NOON_MS + n * MINUTE_MS: number + n for n in (1, 2)},
        "none": {},
    }


def test_server_has_no_module_when_it_may_not_be_asked(
    redis_server: RedisServer, log: HealthLog
) -> None:
    """A user who may not run COMMAND gets a stream."""
    # Given
    redis_server.command("ACL", "SETUSER", "default", "-command")

    # When
    log.write(minutes(NOON_MS, 1))

    # Then
    assert redis_server.command("TYPE", "ours:blueplane:health") == b"stream"
