"""The monitor of the workers, on a real store, for workers that only it knows."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from blueplane.clock import NS_PER_MS
from blueplane.errors import StoreError
from blueplane.health.check import Colour, Moment, Report
from blueplane.health.probes import Probes, WorkerState
from blueplane.health.workers import WorkersMonitor
from blueplane.pipeline.commits import Commits
from blueplane.store.letters import Letter
from helpers.road import CAPTURED_NS, database_file, make_event, make_row

NOW_MS = CAPTURED_NS // NS_PER_MS
FIELDS = [
    "running", "watermark", "backlog", "processed_per_sec", "failures", "last_error", "lag_ms",
]  # fmt: skip


class Stand:
    """A store, the workers that were started, and a monitor that looks at both."""

    def __init__(self, path: Path) -> None:
        self.commits = Commits(path)
        self.states: dict[str, WorkerState] = {}
        self.now_s = 1_000.0
        self.now_ms = NOW_MS
        probes = SimpleNamespace(database=path, workers=lambda: self.states)
        self.monitor = WorkersMonitor(cast("Probes", probes))

    def look(self, later_s: float = 0.0) -> Report:
        """Look, so many seconds after the look before."""
        self.now_s += later_s
        return self.monitor.look(Moment(self.now_ms, self.now_s))

    def write(self, count: int) -> None:
        """Write rows."""
        self.commits.write([make_row(self.commits, make_event(each)) for each in range(count)])

    def mark(self, worker: str, sequence: int) -> None:
        """Let a worker be done up to a sequence."""
        self.commits._connection.execute(
            "INSERT OR REPLACE INTO watermarks VALUES (?, ?)", (worker, sequence)
        )


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    """Give a new store without workers."""
    stand = Stand(database_file(tmp_path))
    yield stand
    stand.commits.close()


def test_workers_are_not_installed_when_there_are_none(stand: Stand) -> None:
    """Rows that nobody derives anything from are no backlog."""
    # Given
    stand.write(5)
    # When
    report = stand.look()
    # Then
    assert (report.state, report.colour, dict(report.figures)) == (
        "not installed", Colour.GREEN, {},
    )  # fmt: skip


def test_a_worker_is_judged_when_it_has_a_watermark(stand: Stand) -> None:
    """A new name in the table is enough; what only the worker knows is None until it says so."""
    # Given rows, and two workers that nobody announced
    stand.write(5)
    stand.mark("usage", 3)
    stand.mark("sessions", 5)
    written_ms = stand.commits._connection.execute(
        "SELECT ingested_ms FROM raw_traces WHERE sequence = 4"
    ).fetchone()[0]
    stand.now_ms = written_ms + 7_000
    # When
    report = stand.look()
    # Then the backlog is by sequence, and the lag that of the first row to go
    usage, sessions = report.figures["usage"], report.figures["sessions"]
    assert (list(usage), report.state, report.colour) == (FIELDS, "ok", Colour.GREEN)
    assert (usage["watermark"], usage["backlog"], usage["lag_ms"]) == (3, 2, 7_000)
    assert (sessions["backlog"], sessions["lag_ms"]) == (0, 0)
    assert [usage[name] for name in ("running", "failures", "last_error")] == [None, None, None]


def test_a_worker_is_told_as_it_says_when_it_was_started(stand: Stand) -> None:
    """What runs is known also before its first watermark; what does not run is orange."""
    # Given
    stand.states["usage"] = WorkerState(running=True, failures=2, last_error="ValueError")
    stand.states["metrics"] = WorkerState(running=False, failures=0, last_error=None)
    stand.mark("metrics", 0)
    # When
    report = stand.look()
    # Then
    usage = report.figures["usage"]
    assert (usage["running"], usage["failures"], usage["last_error"]) == (True, 2, "ValueError")
    assert (usage["watermark"], usage["backlog"], usage["lag_ms"]) == (None, None, None)
    (finding,) = report.findings
    assert (finding.metric, finding.colour) == ("metrics.running", Colour.ORANGE)
    assert finding.sentence == "the worker metrics does not run"


@pytest.mark.parametrize(
    ("backlog", "colour"),
    [
        (10_000, Colour.GREEN), (10_001, Colour.YELLOW), (50_001, Colour.ORANGE),
        (100_000, Colour.ORANGE), (100_001, Colour.RED),
    ],
)  # fmt: skip
def test_a_worker_has_its_colour_when_it_is_behind(
    stand: Stand, backlog: int, colour: Colour
) -> None:
    """More than 10,000, 50,000 and 100,000 rows; green again when it has caught up."""
    # Given
    stand.commits.ledger.skip_to(backlog)
    stand.mark("usage", 0)
    # When
    report = stand.look()
    # Then
    assert report.figures["usage"]["backlog"] == backlog
    assert report.colour is colour
    for finding in report.findings:
        assert finding.sentence == f"the worker usage is {backlog:,} rows behind"
    stand.mark("usage", backlog)
    assert stand.look().colour is Colour.GREEN


def test_the_rate_of_a_worker_is_unknown_when_it_begins_again(stand: Stand) -> None:
    """Rows a second over ten seconds; None before that, and after a rebuild from zero."""
    # Given a worker that takes ten rows a second
    stand.write(1)
    for second in range(11):
        stand.mark("usage", 100 + 10 * second)
        report = stand.look(1)
        rate = report.figures["usage"]["processed_per_sec"]
        assert rate == (None if second < 10 else 10.0)
    # When it stops / Then it is idle
    for _ in range(10):
        report = stand.look(1)
    assert (report.figures["usage"]["processed_per_sec"], report.state) == (0.0, "idle")
    # When it begins from zero
    stand.mark("usage", 0)
    # Then
    assert stand.look(1).figures["usage"]["processed_per_sec"] is None


def test_workers_are_yellow_when_nothing_could_be_derived_from_some_rows(stand: Stand) -> None:
    """The rows are stored, so the chain has nothing to do with it; letters say which they are."""
    # Given two letters of workers, one of which was given up
    stand.mark("usage", 0)
    letters = stand.commits.letters
    for number in (1, 2):
        letters.open(make_letter_of_worker(number), 0)
    letters.drop(["1-1:usage"], 0)
    # When
    report = stand.look()
    # Then
    (finding,) = report.findings
    assert (finding.metric, finding.colour, finding.command) == (
        "underived", Colour.YELLOW, "blueplane dlq list"
    )  # fmt: skip
    assert finding.sentence == "nothing could be derived from 1 of the stored events"


def make_letter_of_worker(number: int) -> Letter:
    """Make the letter of a row that a worker failed at."""
    return Letter(
        message_id=f"1-{number}:usage", event_id=b"", captured_ns=0, origin="", platform="cursor",
        source="hook", hook_type="stop", raw=b"[]", reason="", error_class="KeyError", failures=1,
        hop="derived",
    )  # fmt: skip


def test_workers_are_not_looked_at_when_there_is_no_database(stand: Stand, tmp_path: Path) -> None:
    """Without a database nothing is claimed: the caller says that there was no look."""
    # Given
    database_file(tmp_path).unlink()
    # When / Then
    with pytest.raises(StoreError):
        stand.look()
