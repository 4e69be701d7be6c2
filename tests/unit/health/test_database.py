"""The monitor of the database, on a real store; time is what the test says it is."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from blueplane.clock import MS_PER_DAY, monotonic_s, wall_ms
from blueplane.errors import RowRefusedError, StoreBrokenError, StoreFullError
from blueplane.health import database as module
from blueplane.health.check import Colour, Moment, Report
from blueplane.health.database import DatabaseMonitor
from blueplane.health.probes import Probes
from blueplane.pipeline.commits import Commits
from blueplane.pipeline.measures import BatchTime, Measures
from blueplane.store.migrations import STEPS
from blueplane.store.queries import Footprint
from helpers.road import database_file, make_event, make_row

FIELDS = [
    "connected", "write_success_count", "write_failure_count", "write_success_rate",
    "write_latency_p50_ms", "write_latency_p95_ms", "write_latency_p99_ms",
    "write_throughput_events_per_sec", "last_successful_write_timestamp",
    "last_failed_write_timestamp", "last_error", "db_size_mb", "wal_size_mb", "disk_free_mb",
    "schema_version", "health_status",
]  # fmt: skip
MINUTE_S, HOUR_S = 60.0, 3600.0
MB = 1024 * 1024
GREEN, YELLOW, ORANGE, RED = Colour


class Stand:
    """A store, what the writer has measured, and a monitor that looks at both."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.commits = Commits(path)
        self.measures = Measures()
        self.waiting = 0
        self.redis = True
        self.error: str | None = None
        self.shift_s = 0.0
        self.monitor = DatabaseMonitor(
            cast(
                "Probes",
                SimpleNamespace(
                    database=path,
                    measures=self.measures,
                    backlog=lambda: self.waiting,
                    redis=lambda: {"connected": self.redis},
                    store_error=lambda: self.error,
                ),
            )
        )

    def look(self, later_s: float = 0.0) -> Report:
        """Look, so many seconds after the look before."""
        self.shift_s += later_s
        wall = wall_ms() + round(self.shift_s * 1000)
        return self.monitor.look(Moment(wall, monotonic_s() + self.shift_s))

    def renew(self) -> None:
        """Open the store again, as a server does that starts."""
        self.commits.close()
        self.commits = Commits(self.path, replace=True)

    def write(self, *numbers: int) -> None:
        """Write events, and what the mark remembers of them."""
        self.commits.write([make_row(self.commits, make_event(number)) for number in numbers])
        self.commits._put_mark()


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    """Give a new store on a disk with room."""
    real = module.footprint
    room = 10_000 * MB
    monkeypatch.setattr(
        module, "footprint", lambda path: Footprint(real(path).database, real(path).wal, room)
    )
    stand = Stand(database_file(tmp_path))
    yield stand
    stand.commits.close()


def findings(report: Report) -> dict[str, Colour]:
    """Return the colour of each finding, and prove that it says what is wrong and what helps."""
    for finding in report.findings:
        assert finding.sentence
        assert finding.command
        assert "/" not in finding.sentence, "a path"
    return {finding.metric: finding.colour for finding in report.findings}


def sentence(report: Report) -> str:
    """Return the sentence of the only finding."""
    (finding,) = report.findings
    return finding.sentence


# --- figures --------------------------------------------------------------------------------------


def test_database_is_green_and_idle_when_nothing_happened_yet(stand: Stand) -> None:
    """Every figure is there by its name; what nothing is known of is None, and nothing is wrong."""
    # Given a new store / When
    report = stand.look()
    # Then
    body = report.body()
    assert [name for name in body if name not in {"state", "findings"}] == FIELDS
    assert (body["health_status"], body["state"], body["findings"]) == ("green", "idle", [])
    assert (body["connected"], body["schema_version"]) == (True, len(STEPS))
    assert (body["write_success_count"], body["write_failure_count"]) == (0, 0)
    unknown = {name for name in FIELDS if body[name] is None}
    assert unknown == {
        "write_success_rate", "write_latency_p50_ms", "write_latency_p95_ms",
        "write_latency_p99_ms", "write_throughput_events_per_sec",
        "last_successful_write_timestamp", "last_failed_write_timestamp", "last_error",
    }  # fmt: skip
    assert body["db_size_mb"] == round(stand.path.stat().st_size / MB, 2)


def test_database_tells_how_it_writes_when_events_come(stand: Stand) -> None:
    """Counts since the start, percentiles by batch, the rate of ten seconds, and the last write."""
    # Given a hundred batches of 1 to 100 ms, ten rows each
    stand.look()
    for ms in range(1, 101):
        stand.measures.batch(ms / 1000, [5] * 10)
    # When
    figures = stand.look(10).figures
    # Then
    assert figures["write_success_count"] == 1_000
    assert figures["write_success_rate"] == 1.0
    latency = [figures[f"write_latency_p{percent}_ms"] for percent in (50, 95, 99)]
    assert latency == [50.0, 95.0, 99.0]
    assert figures["write_throughput_events_per_sec"] == pytest.approx(100, abs=2)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", figures["last_successful_write_timestamp"]
    )


def test_database_knows_its_last_write_when_the_server_has_just_started(stand: Stand) -> None:
    """The time of the last write is of the store, not of this server."""
    # Given rows of the server before
    stand.write(1)
    # When / Then
    assert stand.look().figures["last_successful_write_timestamp"] is not None
    assert stand.look().figures["write_success_count"] == 0


def test_database_is_idle_when_nothing_came_for_a_minute(stand: Stand) -> None:
    """An idle machine is green and says so, however slow the last events came."""
    # Given a last event
    stand.measures.batch(0.001, [1])
    assert stand.look().state == "ok"
    # When a minute passes, with and without something that waits
    stand.waiting = 1
    assert stand.look(MINUTE_S).state == "ok"
    stand.waiting = 0
    report = stand.look(10 * MINUTE_S)
    # Then
    assert (report.state, report.colour) == ("idle", GREEN)
    assert report.figures["write_throughput_events_per_sec"] == 0.0


# --- thresholds -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failed", "colour"),
    [(0, GREEN), (9, GREEN), (10, YELLOW), (50, YELLOW), (51, ORANGE), (100, ORANGE), (101, RED)],
)
def test_success_rate_has_its_colour_when_writes_failed(
    stand: Stand, failed: int, colour: Colour
) -> None:
    """Green above 99 %, then yellow to 95, orange to 90, red; green again after an hour."""
    # Given so many failures of a thousand
    stand.measures.batch(0.001, [1] * (1_000 - failed))
    if failed:
        stand.measures.failure(failed, RowRefusedError("poison"))
    # When
    report = stand.look()
    # Then
    assert report.figures["write_success_rate"] == (1_000 - failed) / 1_000
    assert findings(report) == ({"write_success_rate": colour} if colour else {})
    if colour:
        assert sentence(report).startswith(f"{failed} of 1,000 writes of the last hour failed")
    # and an hour later
    report = stand.look(HOUR_S)
    assert (report.colour, report.figures["write_success_rate"]) == (GREEN, None)
    assert report.figures["write_failure_count"] == failed


@pytest.mark.fault("F8")
@pytest.mark.parametrize(
    ("ms", "rows", "colour"),
    [
        (9.9, 1, GREEN), (10, 1, YELLOW), (50, 100, ORANGE), (101, 100, RED),
        (99, 1_000, GREEN), (120, 1_000, YELLOW), (600, 1_000, ORANGE), (2_000, 1_000, RED),
    ],
)  # fmt: skip
def test_latency_has_its_colour_when_the_disk_is_slow(
    stand: Stand, ms: float, rows: int, colour: Colour
) -> None:
    """Judged is the 95th percentile per 100 events; five minutes later it is green again."""
    # Given batches that took so long, a twentieth of them a second
    for _ in range(18):
        stand.measures.batch(ms / 1000, [1] * rows)
    stand.measures.batch(1.0, [1] * rows)
    # When / Then the one that took a second does not count
    report = stand.look()
    assert report.colour is (RED if rows == 1 else report.colour)
    stand.measures.batch(ms / 1000, [1] * rows)
    report = stand.look()
    assert report.figures["write_latency_p95_ms"] == pytest.approx(ms)
    assert findings(report) == ({"write_latency_p95_ms": colour} if colour else {})
    # and five minutes later
    report = stand.look(5 * MINUTE_S)
    assert (report.colour, report.figures["write_latency_p95_ms"]) == (GREEN, None)


@pytest.mark.fault("F8")
@pytest.mark.parametrize(
    ("per_s", "colour"), [(5, RED), (30, ORANGE), (70, YELLOW), (120, GREEN), (0, RED)]
)
def test_throughput_is_judged_only_when_a_backlog_waits(
    stand: Stand, per_s: int, colour: Colour
) -> None:
    """The same rate is fine while nothing waits, or what waits is only on its way."""

    def run(waiting: int) -> Report:
        stand.waiting = waiting
        for _ in range(11):
            if per_s:
                stand.measures.batch(0.001, [1] * per_s)
            report = stand.look(1)
        assert report.figures["write_throughput_events_per_sec"] == pytest.approx(per_s, rel=0.05)
        return report

    # Given a rate / When nothing waits, or as much as is written in less than a second
    assert run(0).colour is GREEN
    assert run(per_s // 2).colour is GREEN
    # Then that is fine, and a backlog is not
    report = run(1_200)
    assert findings(report) == ({"write_throughput_events_per_sec": colour} if colour else {})
    if colour:
        assert sentence(report).endswith("events a second are written while 1,200 wait")
    # and it is over as soon as nothing waits, and not the database's fault when Redis is away
    stand.waiting = 0
    assert stand.look(1).colour is GREEN
    stand.redis = False
    assert run(1_200).colour is GREEN


def test_throughput_is_unknown_when_the_server_has_just_started(stand: Stand) -> None:
    """Nothing is judged before ten seconds were seen."""
    # Given a backlog at the start
    stand.waiting = 5_000
    # When / Then
    for _ in range(9):
        report = stand.look(1)
        assert report.figures["write_throughput_events_per_sec"] is None
        assert report.colour is GREEN


# --- the file -------------------------------------------------------------------------------------


@pytest.mark.fault("C1")
def test_database_is_red_when_its_disk_stays_full(stand: Stand) -> None:
    """Orange at once and red after five seconds, with the free bytes; green when it answers."""
    # Given a store that refuses
    stand.measures.batch(0.001, [1] * 1_000)
    stand.error = f"{stand.path}: FULL"
    stand.measures.outage(5, StoreFullError(stand.error))
    # When / Then
    report = stand.look()
    assert findings(report) == {"connected": ORANGE}
    report = stand.look(7)
    assert findings(report) == {"connected": RED}
    assert report.figures["connected"] is False
    assert re.search(r"for 7 s .* its disk is full; 10,485,760,000 bytes", sentence(report))
    assert report.figures["write_failure_count"] == 5
    assert report.figures["last_error"] == "StoreFullError"
    # and when it answers again
    stand.error = None
    assert stand.look(1).colour is GREEN
    # and the next time begins anew
    stand.error = "again"
    assert stand.look(60).colour is ORANGE


def test_throughput_says_nothing_when_the_store_is_away(stand: Stand) -> None:
    """What is not written because the store refuses is one finding, not two."""
    # Given a backlog, and a store that refuses
    stand.waiting, stand.error = 700, "locked"
    # When
    for _ in range(12):
        report = stand.look(1)
    # Then
    assert findings(report) == {"connected": RED}


@pytest.mark.parametrize(
    ("free_mb", "colour"), [(501, GREEN), (499, YELLOW), (99, ORANGE), (19, RED), (None, GREEN)]
)
def test_disk_has_its_colour_when_it_fills_up(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, free_mb: int | None, colour: Colour
) -> None:
    """Little room is said before there is none."""
    # Given
    free = None if free_mb is None else free_mb * MB
    monkeypatch.setattr(module, "footprint", lambda _path: Footprint(1, 1, free))
    # When
    report = stand.look()
    # Then
    assert report.figures["disk_free_mb"] == free_mb
    assert findings(report) == ({"disk_free_mb": colour} if colour else {})


@pytest.mark.fault("C5")
def test_wal_is_yellow_when_it_is_large(stand: Stand) -> None:
    """A -wal of more than 64 MB is said with its size; cut again, it is fine."""
    # Given rows, and a file that has grown
    stand.write(1)
    wal = stand.path.with_name(f"{stand.path.name}-wal")
    size = wal.stat().st_size
    with wal.open("ab") as file:
        file.truncate(65 * MB)
    # When
    report = stand.look()
    # Then
    assert report.figures["wal_size_mb"] == 65.0
    assert findings(report) == {"wal_size_mb": YELLOW}
    assert "(65.0 MB): another program has it open" in sentence(report)
    with wal.open("r+b") as file:
        file.truncate(size)
    assert stand.look().colour is GREEN


@pytest.mark.fault("C11")
@pytest.mark.parametrize("left", [b"", None])
def test_database_is_orange_for_a_day_when_it_was_empty_or_missing(
    stand: Stand, left: bytes | None
) -> None:
    """What is missing is said with its number for a day, and then no more."""
    # Given rows, and a server that starts on an empty file, or on none
    stand.write(1, 2, 3)
    stand.commits.close()
    for file in stand.path.parent.glob("telemetry.db*"):
        file.unlink()
    if left is not None:
        stand.path.write_bytes(left)
    stand.renew()
    # When
    report = stand.look()
    # Then
    assert findings(report) == {"store_missing": ORANGE}
    assert sentence(report) == "in the last day the database was gone or empty: 3 messages lost"
    assert stand.look(MS_PER_DAY / 1000 - 60).colour is ORANGE
    assert stand.look(120).colour is GREEN


@pytest.mark.fault("C12")
def test_database_says_what_it_cost_when_it_was_removed_under_the_server(stand: Stand) -> None:
    """Orange while there is none, and for a day afterwards with the number that is lost."""
    # Given a database that is removed under the open connection
    stand.write(1)
    for file in stand.path.parent.glob("telemetry.db*"):
        file.unlink()
    with pytest.raises(StoreBrokenError):
        stand.commits.verify()
    # When it is looked at, and opened anew / Then
    assert findings(stand.look()) == {"schema_version": ORANGE}
    stand.commits.reopen()
    report = stand.look()
    assert findings(report) == {"store_missing": ORANGE}
    assert sentence(report).endswith("gone or empty: 1 message lost")
    assert stand.look(MS_PER_DAY / 1000 + 1).colour is GREEN


@pytest.mark.fault("C12")
def test_database_names_each_kind_when_it_was_replaced(stand: Stand, tmp_path: Path) -> None:
    """Another database, and an older one, in the place of ours are told apart."""
    # Given another database, and later our own of before, in the place of ours
    stand.write(1, 2)
    ours = tmp_path / "ours"
    stand.commits._connection.execute("VACUUM INTO ?", [str(ours)])
    stand.write(3)
    stand.commits.close()
    ours.replace(stand.path)
    stand.commits = Commits(stand.path)
    assert findings(stand.look()) == {"store_rolled_back": ORANGE}
    Commits(tmp_path / "other.db").close()
    stand.commits.close()
    (tmp_path / "other.db").replace(stand.path)
    stand.commits = Commits(stand.path)
    # When
    report = stand.look()
    # Then
    assert findings(report) == {"store_replaced": ORANGE}
    assert sentence(report).endswith("replaced by another one: 3 messages lost")


@pytest.mark.fault("C12")
def test_database_is_red_for_a_day_when_it_was_damaged(stand: Stand) -> None:
    """What a check of the pages found weighs more than what is missing."""
    # Given two checks that found the same
    for _ in range(2):
        stand.commits.note_damage(f"{stand.path}: row 7 missing from index")
    # When
    report = stand.look()
    # Then
    assert findings(report) == {"store_damaged": RED}
    assert sentence(report) == "in the last day the database was found damaged 2 times"
    assert stand.look(MS_PER_DAY / 1000 + 1).colour is GREEN


def test_database_says_so_when_it_cannot_be_read(stand: Stand) -> None:
    """A store that is written and cannot be read is orange; its figures are None, not 0."""
    # Given something else under the name of the database
    stand.path.rename(stand.path.with_name("elsewhere"))
    # When
    report = stand.look()
    # Then
    assert findings(report) == {"schema_version": ORANGE}
    assert report.figures["schema_version"] is None
    assert report.figures["db_size_mb"] is None
    # and while it cannot be written either, that is what is said
    stand.error = "gone"
    assert findings(stand.look()) == {"connected": ORANGE}


def test_percentiles_are_of_whole_batches_when_there_are_few() -> None:
    """The 95th percentile of one batch is that batch."""
    # Given / When
    found = module._latency([BatchTime(0.0, 200, 30.0)])
    # Then
    assert (found.p50, found.p95, found.p99, found.judged) == (30.0, 30.0, 30.0, 15.0)
