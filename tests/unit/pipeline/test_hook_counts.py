from collections.abc import Iterator
from pathlib import Path

import pytest

from blueplane.clock import NS_PER_MS, NS_PER_S
from blueplane.errors import RowRefusedError, StoreError
from blueplane.event import Event, Settlement
from blueplane.pipeline.batch import prepare
from blueplane.pipeline.commits import Commits
from blueplane.pipeline.custody import letter_origin
from blueplane.pipeline.dead_letters import make_letter
from blueplane.store.queries import HookCount, reading
from helpers.road import (
    CAPTURED_NS,
    database_file,
    heal,
    make_entry,
    make_event,
    make_row,
    poison,
    turn_clock,
)


@pytest.fixture
def commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Commits]:
    """Give the writer of a new store, a while after all events were captured."""
    clock = turn_clock(monkeypatch)
    clock.wall_shift_ns = CAPTURED_NS + 3600 * NS_PER_S - clock.time_ns()
    commits = Commits(database_file(tmp_path))
    yield commits
    commits.close()


def write(commits: Commits, *messages: tuple[Event, bytes]) -> None:
    """Write messages in one batch."""
    commits.write([make_row(commits, event, message_id) for event, message_id in messages])


def bury(commits: Commits, event: Event, message_id: bytes) -> None:
    """Make one message a dead letter."""
    (delivery,) = prepare([make_entry(event, message_id)], commits.codec)
    assert commits.dead_letter(make_letter(delivery, 3, RowRefusedError("poison")))


def hooks(commits: Commits) -> list[HookCount]:
    """Return what is counted of hooks."""
    with reading(commits.path) as reader:
        return reader.hooks()


def at_ms(number: int) -> int:
    """Return when the event with this number was captured."""
    return make_event(number).captured_ns // NS_PER_MS


def test_rows_count_by_hook_when_a_batch_has_several(commits: Commits) -> None:
    """Each hook has its rows and the time of its last capture; the last to run comes first."""
    # Given / When
    other = make_event(1, platform="claude_code", hook_type="PostToolUse")
    write(commits, (make_event(0), b"1-0"), (other, b"2-0"), (make_event(2), b"3-0"))
    # Then
    assert hooks(commits) == [
        HookCount("cursor", "postToolUse", 2, 0, at_ms(2)),
        HookCount("claude_code", "PostToolUse", 1, 0, at_ms(1)),
    ]


def test_nothing_counts_when_no_hook_of_ours_ran(commits: Commits) -> None:
    """A stranger's entry, a canary and a redelivery are no executions."""
    # Given
    write(commits, (make_event(0), b"1-0"))
    # When
    canary = make_event(2, source="canary")
    write(commits, (make_event(0), b"1-0"), (make_event(1, origin=""), b"2-0"), (canary, b"3-0"))
    # Then
    assert hooks(commits) == [HookCount("cursor", "postToolUse", 1, 0, at_ms(0))]


def test_second_capture_counts_when_it_is_a_duplicate(commits: Commits) -> None:
    """A hook that ran twice for one event ran twice; a file that was sent twice did not."""
    # Given
    write(commits, (make_event(0), b"1-0"))
    # When
    write(commits, (make_event(5, event_id=make_event(0).event_id), b"2-0"))
    write(commits, (make_event(0), b"3-0"))
    # Then
    assert hooks(commits) == [HookCount("cursor", "postToolUse", 2, 0, at_ms(5))]


def test_event_counts_once_when_it_is_dead_lettered_and_retried(commits: Commits) -> None:
    """The hook did its part when its event failed to be written; a retry is no execution."""
    # Given
    bury(commits, make_event(0), b"1-0")
    assert hooks(commits) == [HookCount("cursor", "postToolUse", 1, 0, at_ms(0))]
    # When it fails again, and is then written
    commits.retry(["1-0"])
    bury(commits, make_event(0, origin=letter_origin("1-0")), b"2-0")
    commits.retry(["2-0"])
    write(commits, (make_event(0, origin=letter_origin("2-0")), b"3-0"))
    # Then
    assert hooks(commits) == [HookCount("cursor", "postToolUse", 1, 0, at_ms(0))]


def test_settlements_count_by_outcome_when_they_are_new(commits: Commits) -> None:
    """What a filter left out succeeded, what was quarantined failed; each once."""
    # Given / When
    items = [
        Settlement(f"spool:{number}:1", outcome, "rule", "cursor", "stop", 1)
        for number, outcome in enumerate(("filtered", "quarantined", "quarantined"))
    ]
    commits.settle(items)
    commits.settle(items)
    # Then
    (hook,) = hooks(commits)
    assert (hook.hook_type, hook.succeeded, hook.failed) == ("stop", 1, 2)


def test_refusals_fail_when_the_spool_was_full_and_not_when_capture_was_paused(
    commits: Commits,
) -> None:
    """Refused over the cap is a failure of no known hook; a pause is none."""
    # Given / When
    commits.refuse(7, {"f": 3, "p": 4})
    # Then
    (hook,) = hooks(commits)
    assert (hook.platform, hook.hook_type, hook.succeeded, hook.failed) == ("", "", 0, 3)


@pytest.mark.fault("A6")
def test_no_hook_counts_when_its_batch_is_rolled_back(commits: Commits) -> None:
    """The counts of hooks belong to the transaction of their rows."""
    # Given
    poison(commits._connection, make_event(1))
    # When
    with pytest.raises(StoreError):
        write(commits, (make_event(0), b"1-0"), (make_event(1), b"2-0"))
    # Then
    assert hooks(commits) == []
    heal(commits._connection)
    write(commits, (make_event(0), b"1-0"), (make_event(1), b"2-0"))
    assert hooks(commits) == [HookCount("cursor", "postToolUse", 2, 0, at_ms(1))]
