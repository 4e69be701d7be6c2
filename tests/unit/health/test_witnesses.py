"""Two witnesses: coverage by day, silence, and its likely cause."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from blueplane.clock import MS_PER_DAY
from blueplane.event import Event
from blueplane.health.check import Colour, Finding, Moment
from blueplane.health.probes import MonitorState
from blueplane.health.witnesses import EVERY_S, WitnessMonitor
from blueplane.store.reports import alone
from helpers.desk import MINUTE_MS, T0_MS, Desk, answer, at, hook, read
from helpers.road import database_file

HOUR = 60


def monitor(*, active: bool = True, errors: int = 0, backlog: int = 0) -> MonitorState:
    """Make the state of a monitor."""
    return MonitorState(
        active=active,
        sessions_monitored=1,
        events_captured=1,
        last_activity_ms=None,
        errors_count=errors,
        events_per_min=0.0,
        backlog_bytes=backlog,
    )


class Stand:
    """A store with workers, a monitor, and what it asks besides."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.now_s = 0.0
        self.paused_until_ms: int | None = None
        self.installed = {"claude_code": frozenset({"Stop"})}
        self.changed = {"claude_code": T0_MS - MS_PER_DAY}
        self.monitors = {"transcript_monitor": monitor()}
        probes = SimpleNamespace(
            database=desk.database,
            paused_until_ms=lambda: self.paused_until_ms,
            installed_hooks=lambda: self.installed,
            settings_changed_ms=lambda: self.changed,
            monitors=lambda: self.monitors,
        )
        self.monitor = WitnessMonitor(cast("Any", probes))

    def look(self, minutes: float) -> tuple[list[dict[str, Any]], list[Finding]]:
        """Look so many minutes after the first event."""
        self.now_s += EVERY_S
        moment = Moment(T0_MS + round(minutes * MINUTE_MS), self.now_s)
        days, findings = self.monitor.look(moment)
        return [dict(day) for day in days], list(findings)

    def said(self, minutes: float) -> tuple[str, str]:
        """Return the only finding's sentence and command."""
        (finding,) = self.look(minutes)[1]
        assert finding.colour == Colour.ORANGE
        return finding.sentence, finding.command

    def sentence(self, minutes: float) -> str:
        """Return the only finding's sentence."""
        return self.said(minutes)[0]


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    """Give a stand."""
    desk = Desk(database_file(tmp_path))
    yield Stand(desk)
    desk.close()


def tools(
    witness: str, first: int, count: int, minute: float, session: str = "session-1"
) -> list[Event]:
    """Make rows of so many tool calls, one a minute, as one witness saw them."""
    found = []
    for number in range(first, first + count):
        common: dict[str, Any] = {"tool_use_id": f"t-{number}", "session_id": session}
        common |= at(minute + number - first)
        if witness == "hooks":
            found.append(hook(1_000 + number, "PreToolUse", "tool_start", **common))
        else:
            found.append(answer(number, **common))
    return found


def test_coverage_is_a_share_of_what_either_saw_when_both_are_there(stand: Stand) -> None:
    """By day and kind, since the first hook: what was before it had one witness only."""
    # Given a call from before the hooks, three that both saw, and two that one of them saw
    stand.desk.tell(
        *tools("stored", 1, 1, -600), *tools("hooks", 2, 4, 0), *tools("stored", 3, 4, 1)
    )
    # When
    days, findings = stand.look(20)
    # Then
    assert days == [
        {
            "day": "2026-11-20", "platform": "claude_code", "kind": "tool", "both": 3,
            "hooks_only": 1, "stored_only": 1, "hooks_rate": 0.8, "stored_rate": 0.8,
        }
    ]  # fmt: skip
    assert findings == []
    seen = read(stand.desk, lambda reader: alone(reader, 0, T0_MS + HOUR * MINUTE_MS, 10))
    assert [(each.kind, each.seen_by, each.at_ms - T0_MS) for each in seen] == [
        ("tool", "stored", 4 * MINUTE_MS), ("tool", "hooks", 0)
    ]  # fmt: skip


def test_nothing_is_said_when_there_were_never_hooks(stand: Stand) -> None:
    """Who installed no hooks, or whose history is older, misses nothing."""
    # Given / When
    stand.desk.tell(*tools("stored", 1, 50, 0))
    # Then
    assert stand.look(100) == ([], [])
    assert read(stand.desk, lambda reader: alone(reader, 0, T0_MS + MS_PER_DAY, 10)) == []


def test_hooks_are_silent_when_only_transcripts_go_on(stand: Stand) -> None:
    """The time, the likely cause and how much: settings that were changed in between."""
    # Given hooks until 04:46:40, and settings changed a minute later
    stand.desk.tell(*tools("hooks", 1, 3, 0), *tools("stored", 1, 13, 0))
    stand.changed["claude_code"] = T0_MS + 3 * MINUTE_MS
    # When / Then
    assert stand.sentence(30) == (
        "claude_code: hooks silent since 2026-11-20 04:48 UTC: settings.json was changed at"
        " 2026-11-20 04:49 UTC; 10 turns and tool calls were seen by transcripts only"
    )
    # When hooks are heard again
    stand.desk.tell(*tools("hooks", 13, 1, 12))
    # Then
    assert stand.look(31)[1] == []


def test_the_cause_is_another_when_settings_are_not_it(stand: Stand) -> None:
    """In the order of how sure each is: a pause, no hooks, refusals, and what the editor does."""
    # Given
    stand.desk.tell(*tools("hooks", 1, 3, 0), *tools("stored", 1, 13, 0))
    assert "not trusted" in stand.sentence(30)
    # When / Then
    stand.desk.commits.ledger.add_minute(T0_MS + 5 * MINUTE_MS, {("", "hook", "refused"): 3})
    assert "refused events" in stand.sentence(30)
    stand.installed = {}
    sentence, command = stand.said(30)
    assert "our hooks are not in settings.json, which was changed at" in sentence
    assert command == "blueplane install"
    stand.changed = {}
    assert "settings.json is gone" in stand.sentence(30)
    stand.paused_until_ms = 0
    sentence, command = stand.said(30)
    assert "capture is paused" in sentence
    assert command == "blueplane resume"


@pytest.mark.parametrize(("missed", "minutes", "silent"), [(2, 30, 0), (3, 30, 1), (3, 3, 0)])
def test_hooks_are_not_silent_when_there_is_little_to_go_by(
    stand: Stand, missed: int, minutes: float, silent: int
) -> None:
    """Three in a row, and two minutes for whoever is slower."""
    # Given / When
    stand.desk.tell(*tools("hooks", 1, 2, 0), *tools("stored", 1, 2 + missed, 0))
    # Then
    assert len(stand.look(minutes)[1]) == silent


def test_transcripts_are_silent_when_only_hooks_go_on(stand: Stand) -> None:
    """The cause is what their monitor says; without a monitor nobody expects any."""
    # Given
    stand.desk.tell(*tools("hooks", 1, 8, 0), *tools("stored", 1, 2, 0))
    # When / Then
    assert "transcripts silent since 2026-11-20 04:47 UTC: the editor writes none" in (
        stand.sentence(30)
    )
    for state, cause in (
        (monitor(errors=2), "some of them cannot be read"),
        (monitor(errors=2, backlog=7_000), "7,000 bytes of them are not read yet"),
        (monitor(errors=2, backlog=7_000, active=False), "their monitor does not run"),
    ):
        stand.monitors = {"transcript_monitor": state}
        assert cause in stand.sentence(30)
    stand.monitors = {}
    assert stand.look(30)[1] == []


def test_a_kind_is_not_judged_when_a_witness_never_names_it(stand: Stand) -> None:
    """Older versions have no prompt ids in their hooks: their turns are not missed."""
    # Given hooks that name tool calls only, and transcripts that name turns too
    stand.desk.tell(*tools("hooks", 1, 5, 0), *tools("stored", 1, 5, 0))
    stand.desk.tell(*(answer(50 + n, turn_id=f"p-{n}", **at(n)) for n in range(10)))
    # When
    days, findings = stand.look(30)
    # Then
    assert [day["kind"] for day in days] == ["tool"]
    assert findings == []


def test_a_session_without_any_hook_is_missed_when_others_have_them(stand: Stand) -> None:
    """A folder that is not trusted: of its session hooks saw nothing at all."""
    # Given
    stand.desk.tell(*tools("hooks", 1, 9, 0), *tools("stored", 1, 9, 0))
    stand.desk.tell(*tools("stored", 20, 4, 2, session="untrusted"))
    # When
    days, _ = stand.look(30)
    seen = read(stand.desk, lambda reader: alone(reader, 0, T0_MS + HOUR * MINUTE_MS, 10))
    # Then
    assert (days[0]["both"], days[0]["stored_only"]) == (9, 4)
    assert {each.session_id for each in seen} == {"untrusted"}


def test_the_database_is_asked_now_and_then_only(stand: Stand) -> None:
    """A look within the interval is the one before."""
    # Given
    stand.desk.tell(*tools("hooks", 1, 3, 0))
    first = stand.look(30)
    assert first[0][0]["hooks_only"] == 3
    stand.desk.tell(*tools("hooks", 9, 3, 0))
    # When / Then
    stand.now_s -= EVERY_S / 2
    assert stand.look(30) == first
    assert stand.look(30)[0][0]["hooks_only"] == 6
