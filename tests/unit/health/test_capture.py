from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from blueplane.clock import iso_utc
from blueplane.errors import StoreError
from blueplane.health.capture import MAX_HOOKS, PACE_BANDS, CaptureMonitor
from blueplane.health.check import Colour, Finding, Moment, Report, falling_band
from blueplane.health.probes import MonitorState
from blueplane.pipeline.commits import Commits
from blueplane.store.connection import transaction
from helpers.road import database_file

#: When the first look is taken: 20 November 2026.
START_MS = 1_795_150_000_000
MINUTE_S = 60.0
HOUR_S = 3600.0
#: In five minutes, by which an unlucky moment may be wrong.
ONE_EVENT = 0.2


class Stand:
    """A store, what the monitor asks besides, and a clock."""

    def __init__(self, commits: Commits) -> None:
        self.commits = commits
        self.now_s = 0.0
        self.installed: dict[str, frozenset[str]] = {}
        self.paused_until_ms: int | None = None
        self.monitors: dict[str, MonitorState] = {}
        self.restart()

    def restart(self) -> None:
        """Take another monitor, which knows nothing but what is stored."""
        probes = SimpleNamespace(
            database=self.commits.path,
            installed_hooks=lambda: self.installed,
            paused_until_ms=lambda: self.paused_until_ms,
            monitors=lambda: self.monitors,
        )
        self.monitor = CaptureMonitor(cast("Any", probes))

    @property
    def now_ms(self) -> int:
        """What the wall clock shows."""
        return START_MS + int(self.now_s * 1000)

    def run(
        self, succeeded: int, failed: int = 0, platform: str = "cursor", hook: str = "stop"
    ) -> None:
        """Have a hook run so often, now."""
        key = (platform, hook)
        counts = {(*key, "succeeded"): succeeded, (*key, "failed"): failed}
        with transaction(self.commits._connection):
            self.commits.ledger.add_hooks(self.now_ms, counts, {key: self.now_ms})

    def look(self) -> Report:
        """Look now."""
        return self.monitor.look(Moment(self.now_ms, 500.0 + self.now_s))

    def wait(self, seconds: float) -> Report:
        """Let time pass, with a look every five seconds; return the last."""
        end_s = self.now_s + seconds
        report = self.look()
        while self.now_s < end_s:
            self.now_s = min(end_s, self.now_s + 5.0)
            report = self.look()
        return report

    def work(self, minutes: float, gap_s: float, **hook: str) -> Report:
        """Have a hook run every ``gap_s`` seconds; return what is seen at the end."""
        report = self.look()
        for _ in range(round(minutes * 60 / gap_s)):
            self.wait(gap_s - 1)
            self.now_s += 1
            self.run(1, **hook)
            report = self.look()
        return report


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    """Give a new store and its monitor."""
    commits = Commits(database_file(tmp_path))
    yield Stand(commits)
    commits.close()


def only(report: Report) -> Finding:
    """Return the one thing that was found."""
    (finding,) = report.findings
    assert finding.sentence
    assert finding.command.startswith("blueplane ")
    return finding


def transcripts(*, active: bool = True) -> dict[str, MonitorState]:
    """Return how the monitor of transcripts is that read a line when the clock began."""
    return {"transcript_monitor": MonitorState(active, 3, 40, START_MS, 0, 8.0, 0)}


# --- figures --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("installed", "told"), [(frozenset[str](), True), (frozenset({"Stop"}), False)]
)
def test_editor_is_captured_from_its_transcripts_alone_when_it_has_no_hooks(
    stand: Stand, installed: frozenset[str], *, told: bool
) -> None:
    """Transcripts that are read are capture: it works or rests, and what is missing is said."""
    # Given
    stand.installed, stand.monitors = {"claude_code": installed}, transcripts()
    # When
    working, resting = stand.look(), stand.wait(301)
    # Then
    assert (working.state, resting.state) == ("ok", "idle")
    assert working.figures["capture_rate_events_per_min"] == 8.0
    assert [
        (each.metric, each.colour, each.command) for each in (*working.findings, *resting.findings)
    ] == [("claude_code.hooks", Colour.GREEN, "blueplane install")] * 2 * told


def test_monitor_that_does_not_run_is_orange_when_there_is_something_to_watch_over(
    stand: Stand,
) -> None:
    """Transcripts that nobody reads are a fault; it is named, with where to look."""
    # Given
    stand.monitors = transcripts(active=False)
    # When
    found = only(stand.look())
    # Then
    assert (found.metric, found.colour) == ("transcript_monitor.active", Colour.ORANGE)
    assert "claude_code: the monitor of its transcripts does not run" in found.sentence


def test_file_that_cannot_be_read_is_yellow_when_it_is_named(stand: Stand) -> None:
    """What is not captured is said, by its name alone, with the command that knows its path."""
    # Given
    (state,) = transcripts().values()
    unread = ("state.vscdb: no database", "b.jsonl: Permission denied")
    stand.installed = {"cursor": frozenset({"stop"})}
    stand.monitors = {"database_monitor": replace(state, unread=unread)}
    # When
    found = only(stand.look())
    # Then
    assert (found.metric, found.colour) == ("database_monitor.unread", Colour.YELLOW)
    assert found.sentence.endswith(
        "2 files of its databases cannot be read (state.vscdb: no database)"
    )
    assert found.command == "blueplane backfill"


def test_nothing_is_judged_when_nothing_is_installed(stand: Stand) -> None:
    """Without hooks and events capture is green and not installed, and what is unknown is None."""
    # Given / When
    report = stand.look()
    # Then
    monitor = {
        "state": "not installed", "active": None, "sessions_monitored": None,
        "events_captured": None, "last_activity_timestamp": None, "errors_count": None,
        "ingest_rate_events_per_min": None, "backlog_bytes": None,
    }  # fmt: skip
    hooks = {
        "installed": None, "total_executions": 0, "success_count": 0, "failure_count": 0,
        "success_rate": None, "last_execution_timestamp": None, "hooks_active": {},
        "overhead_ms_p50": None, "overhead_ms_p99": None,
    }  # fmt: skip
    assert (report.state, report.colour, list(report.findings)) == (
        "not installed",
        Colour.GREEN,
        [],
    )
    assert report.figures == {
        "cursor_hooks": hooks,
        "claude_hooks": hooks,
        "database_monitor": monitor,
        "transcript_monitor": monitor,
        "capture_rate_events_per_min": 0.0,
        "unattributed_failure_count": 0,
        "coverage": [],
    }


def test_executions_are_counted_when_hooks_run(stand: Stand) -> None:
    """Each platform has its executions, its success and its last time."""
    # Given
    stand.installed = {"cursor": frozenset({"stop"}), "claude_code": frozenset()}
    stand.look()
    # When
    stand.run(7)
    stand.now_s = 2.0
    stand.run(2, hook="sessionStart")
    stand.run(5, platform="claude_code", hook="Stop")
    report = stand.look()
    # Then
    cursor, claude = report.figures["cursor_hooks"], report.figures["claude_hooks"]
    assert (cursor["installed"], claude["installed"]) == (True, False)
    assert (cursor["total_executions"], cursor["success_count"], cursor["failure_count"]) == (
        9,
        9,
        0,
    )
    assert (cursor["success_rate"], claude["total_executions"]) == (1.0, 5)
    assert cursor["last_execution_timestamp"] == iso_utc(START_MS + 2_000)
    assert cursor["hooks_active"] == {"sessionStart": True, "stop": True}
    assert (report.state, report.colour) == ("ok", Colour.GREEN)


def test_third_party_has_its_name_when_its_hooks_run(stand: Stand) -> None:
    """Another platform is shown under its own name; where it is installed nobody knows."""
    # Given / When
    stand.run(3, platform="zed", hook="edit")
    stand.run(1, platform="blueplane", hook="Canary")
    figures = stand.look().figures
    # Then
    assert figures["zed_hooks"]["total_executions"] == 3
    assert figures["zed_hooks"]["installed"] is None
    assert "blueplane_hooks" not in figures


def test_figures_stay_small_when_names_are_invented(stand: Stand) -> None:
    """However many hooks somebody runs, some are shown, all are counted, and no odd name leaks."""
    # Given / When
    for number in range(100):
        stand.run(1, hook=f"hook{number}")
        stand.run(1, platform=f"platform{number}", hook="/home/ada byron")
        stand.run(1, platform=f"/home/ada {number}")
    figures = stand.look().figures
    # Then
    assert len(figures["cursor_hooks"]["hooks_active"]) == MAX_HOOKS
    assert figures["cursor_hooks"]["total_executions"] == 100
    assert len([name for name in figures if name.startswith("platform")]) == 8
    assert "ada" not in repr(figures)


def test_counts_start_anew_when_the_database_is_another_one(stand: Stand) -> None:
    """A database that was replaced has its own counts, and no negative ones."""
    # Given
    stand.run(50, failed=50)
    stand.look()
    # When
    stand.commits._connection.execute("DELETE FROM hooks")
    stand.run(2)
    stand.look()
    stand.run(1)
    # Then
    figures = stand.look().figures["cursor_hooks"]
    assert (figures["total_executions"], figures["success_rate"]) == (3, 1.0)


def test_look_says_so_when_the_store_cannot_be_read(stand: Stand) -> None:
    """Nothing is invented while the store is away."""
    # Given
    stand.commits.path.unlink()
    # When / Then
    with pytest.raises(StoreError):
        stand.look()


# --- the success rate -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failed", "colour"),
    [
        (9, Colour.GREEN),
        (10, Colour.YELLOW),
        (50, Colour.YELLOW),
        (51, Colour.ORANGE),
        (100, Colour.ORANGE),
        (101, Colour.RED),
    ],
)
def test_success_rate_has_its_colour_when_hooks_fail(
    stand: Stand, failed: int, colour: Colour
) -> None:
    """Green is above 99 %, yellow from 95 %, orange from 90 %, and below it is red."""
    # Given
    stand.look()
    # When
    stand.run(1000 - failed, failed=failed)
    report = stand.look()
    # Then
    assert report.figures["cursor_hooks"]["success_rate"] == 1 - failed / 1000
    assert report.colour == colour
    if colour is not Colour.GREEN:
        finding = only(report)
        assert finding.metric == "cursor_hooks.success_rate"
        assert f"{failed} of 1,000 executions" in finding.sentence


def test_success_rate_is_green_again_when_the_hour_has_passed(stand: Stand) -> None:
    """What failed counts for an hour, also when the hooks run well in between."""
    # Given
    stand.look()
    stand.run(5, failed=5)
    assert stand.wait(HOUR_S - 30).colour is Colour.RED
    # When
    report = stand.wait(60)
    # Then
    assert (report.colour, report.state) == (Colour.GREEN, "idle")
    figures = report.figures["cursor_hooks"]
    assert (figures["success_rate"], figures["failure_count"]) == (None, 5)


def test_failures_are_of_the_platform_when_there_is_one(stand: Stand) -> None:
    """What the hooks of the only platform refused over the cap is its failure."""
    # Given
    stand.installed = {"cursor": frozenset({"stop"}), "claude_code": frozenset()}
    stand.look()
    # When
    stand.run(0, failed=3, platform="", hook="")
    report = stand.look()
    # Then
    figures = report.figures
    assert (figures["cursor_hooks"]["failure_count"], figures["unattributed_failure_count"]) == (
        3,
        0,
    )
    assert (only(report).metric, report.colour) == ("cursor_hooks.success_rate", Colour.RED)


def test_failures_are_of_nobody_when_there_are_several_platforms(stand: Stand) -> None:
    """What may be of either platform is shown apart, and judged against all executions."""
    # Given
    stand.look()
    stand.run(50)
    stand.run(47, platform="claude_code", hook="Stop")
    # When
    stand.run(0, failed=3, platform="", hook="")
    report = stand.look()
    # Then
    figures = report.figures
    assert [figures[name]["failure_count"] for name in ("cursor_hooks", "claude_hooks")] == [0, 0]
    assert figures["unattributed_failure_count"] == 3
    finding = only(report)
    assert (finding.metric, finding.colour) == ("unattributed_failure_count", Colour.YELLOW)
    assert "3 of 100 executions" in finding.sentence


# --- hooks that are silent ------------------------------------------------------------------------


def test_hook_is_silent_when_its_editor_works_without_it(stand: Stand) -> None:
    """A hook that did not run for over five minutes of its editor's work is not active."""
    # Given
    stand.installed = {"cursor": frozenset({"stop", "sessionStart"})}
    stand.run(1, hook="preToolUse")
    # When
    report = stand.work(4.9, gap_s=2.0)
    # Then
    expected = {"preToolUse": True, "sessionStart": True, "stop": True}
    assert report.figures["cursor_hooks"]["hooks_active"] == expected
    report = stand.work(0.3, gap_s=2.0)
    expected = {"preToolUse": False, "sessionStart": False, "stop": True}
    assert report.figures["cursor_hooks"]["hooks_active"] == expected
    # And that is no fault: some hooks run once in a session
    assert report.colour is Colour.GREEN


def test_no_hook_is_silent_when_its_editor_rests(stand: Stand) -> None:
    """Time in which the editor did nothing counts against no hook; nor does another's work."""
    # Given
    stand.run(1, hook="stop")
    stand.wait(30 * MINUTE_S)
    # When it comes back, and a minute later
    stand.run(1, hook="sessionStart")
    report = stand.work(1.0, gap_s=2.0, hook="sessionStart")
    # Then
    active = {"stop": True, "sessionStart": True}
    assert report.figures["cursor_hooks"]["hooks_active"] == active
    report = stand.work(6.0, gap_s=2.0, platform="claude_code", hook="Stop")
    assert report.figures["cursor_hooks"]["hooks_active"] == active


def test_no_hook_is_silent_when_the_machine_slept(stand: Stand) -> None:
    """An hour without a look is no work, even when there was an event before the next look."""
    # Given
    stand.run(1, hook="stop")
    stand.look()
    # When
    stand.now_s += HOUR_S
    stand.run(1, hook="sessionStart")
    # Then
    assert stand.look().figures["cursor_hooks"]["hooks_active"]["stop"] is True


# --- events a minute ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gap_s", "rate", "colour"),
    [
        (5.0, 12.0, Colour.GREEN),
        (6.5, 9.2, Colour.YELLOW),
        (11.0, 5.5, Colour.YELLOW),
        (13.0, 4.6, Colour.ORANGE),
        (50.0, 1.2, Colour.ORANGE),
        (100.0, 0.6, Colour.RED),
    ],
)
def test_few_events_have_their_colour_when_an_editor_is_at_work(
    stand: Stand, gap_s: float, rate: float, colour: Colour
) -> None:
    """Above 10 events a minute is green, from 5 yellow, from 1 orange, and fewer are red."""
    # Given / When
    report = stand.work(10.0, gap_s)
    # Then
    assert report.figures["capture_rate_events_per_min"] == pytest.approx(rate, abs=ONE_EVENT)
    assert (report.state, report.colour) == ("ok", colour)
    if colour is not Colour.GREEN:
        assert only(report).metric == "capture_rate_events_per_min"


def test_bands_are_those_of_the_documentation_when_a_rate_is_on_an_edge() -> None:
    """Green ends at 10 events a minute; 5 are yellow still, and 1 is orange."""
    # Given / When / Then
    found = [falling_band(rate, *PACE_BANDS).word for rate in (10.1, 10.0, 5.0, 4.9, 1.0, 0.9)]
    assert found == ["green", "yellow", "yellow", "orange", "orange", "red"]


def test_few_events_are_not_judged_when_the_editor_only_began(stand: Stand) -> None:
    """Less than five minutes of work say nothing; the rate is of what passed, a minute at least."""
    # Given / When
    stand.look()
    stand.run(3)
    # Then
    report = stand.wait(2 * MINUTE_S)
    assert (report.figures["capture_rate_events_per_min"], report.colour) == (3.0, Colour.GREEN)


def test_rest_is_green_when_work_has_ended(stand: Stand) -> None:
    """From the last event to idle, and after it, nothing changes its colour."""
    # Given
    assert stand.work(10.0, gap_s=4.0).colour is Colour.GREEN
    # When
    while stand.look().state == "ok":
        # Then
        assert stand.look().colour is Colour.GREEN
        stand.now_s += 5
    report = stand.wait(10 * MINUTE_S)
    assert (report.state, report.colour) == ("idle", Colour.GREEN)
    assert report.figures["capture_rate_events_per_min"] == 0.0


def test_few_events_are_judged_anew_when_the_server_was_started_again(stand: Stand) -> None:
    """A new server knows nothing of the work before it, and invents nothing."""
    # Given
    stand.work(10.0, gap_s=4.0)
    # When
    stand.restart()
    # Then
    report = stand.look()
    assert (report.state, report.colour) == ("ok", Colour.GREEN)
    assert report.figures["cursor_hooks"]["success_rate"] is None
    assert report.figures["cursor_hooks"]["total_executions"] == 150


# --- pausing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("until_ms", "words"), [(0, "until it is resumed"), (START_MS + 1_261_000, "for 12 more min")]
)
def test_pause_is_said_and_is_green_when_capture_is_paused(
    stand: Stand, until_ms: int, words: str
) -> None:
    """A pause is no failure: it is said in words, and nothing is judged meanwhile."""
    # Given slow work
    assert stand.work(10.0, gap_s=20.0).colour is Colour.ORANGE
    # When
    stand.paused_until_ms = until_ms
    report = stand.look()
    # Then
    assert (report.colour, report.state) == (Colour.GREEN, "idle")
    finding = only(report)
    assert words in finding.sentence
    assert finding.command == "blueplane resume"


def test_no_hook_is_silent_when_capture_was_paused(stand: Stand) -> None:
    """A pause counts against no hook, and what was before it is not at work after it."""
    # Given
    stand.work(4.0, gap_s=2.0)
    stand.run(1, hook="sessionStart")
    stand.paused_until_ms = 0
    stand.wait(2 * MINUTE_S)
    # When
    stand.paused_until_ms = None
    assert stand.look().state == "idle"
    report = stand.work(4.0, gap_s=2.0, hook="sessionStart")
    # Then
    assert report.figures["cursor_hooks"]["hooks_active"] == {"sessionStart": True, "stop": True}
