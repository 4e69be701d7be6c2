"""Sessions: from any evidence, ended by an event or by 30 idle minutes, and what went before."""

from typing import Any

import pytest

from blueplane.event import Event
from blueplane.store.reports import Session, session
from helpers.desk import MINUTE_MS, T0_MS, Desk, answer, at, hook, line, read


def asked(desk: Desk, session_id: str = "session-1", minutes: float = 0) -> Session:
    """Return what is known of a session so many minutes after the first event."""
    now_ms = T0_MS + round(minutes * MINUTE_MS)
    found = read(desk, lambda reader: session(reader, session_id, now_ms))
    assert isinstance(found, Session)
    return found


def start(number: int, source: str, **changes: Any) -> Event:
    """Make the hook of a session's start."""
    payload = {"source": source}
    return hook(number, "SessionStart", "session_start", payload=payload, **changes)


def end(number: int, reason: str, **changes: Any) -> Event:
    """Make the hook of a session's end."""
    return hook(number, "SessionEnd", "session_end", payload={"reason": reason}, **changes)


def test_a_session_is_known_when_there_is_any_evidence(desk: Desk) -> None:
    """Hooks, transcripts and databases are one session, with all who saw it."""
    # Given / When
    desk.tell(hook(1, "Stop", "turn_end"), answer(2))
    desk.tell(
        hook(
            3, "bubbleId", "database_trace", "cursor", source="database", session_id="c-1",
            payload={"type": 1},
        )
    )  # fmt: skip
    # Then
    both, database = asked(desk), asked(desk, "c-1")
    assert (both.platform, both.seen_by, both.calls) == ("claude_code", ("hook", "transcript"), 1)
    assert (both.started_ms, both.last_ms) == (T0_MS + 1, T0_MS + 2)
    assert (database.platform, database.seen_by) == ("cursor", ("database",))
    assert database.started_ms == T0_MS + 3


def test_a_session_ends_by_its_event_when_there_is_one(desk: Desk) -> None:
    """The reason is the editor's; a line that is written just after it is no life."""
    # Given / When
    desk.tell(
        start(0, "startup"), answer(1, **at(10)), end(2, "logout", **at(20)), answer(3, **at(20.05))
    )
    # Then
    found = asked(desk, minutes=21)
    assert (found.ended_ms, found.ended_by) == (T0_MS + 20 * MINUTE_MS, "logout")


@pytest.mark.parametrize(("minutes", "ended"), [(39, False), (40, False), (40.01, True)])
def test_a_session_ends_by_itself_when_it_was_idle_for_30_minutes(
    desk: Desk, minutes: float, ended: bool
) -> None:
    """It lasts until 30 minutes after its last event, and then ended with that one."""
    # Given / When
    desk.tell(answer(1, **at(0)), answer(2, **at(10)))
    # Then
    found = asked(desk, minutes=minutes)
    expected = (T0_MS + 10 * MINUTE_MS, "idle") if ended else (None, None)
    assert (found.ended_ms, found.ended_by) == expected


def test_a_session_ended_idle_when_its_event_comes_hours_later(desk: Desk) -> None:
    """Who closes a terminal in the evening was not at work all day."""
    # Given / When
    desk.tell(answer(1, **at(0)), end(2, "prompt_input_exit", **at(300)))
    # Then
    found = asked(desk, minutes=301)
    assert (found.ended_ms, found.ended_by) == (T0_MS, "idle")


def test_a_session_is_taken_up_again_when_it_is_resumed(desk: Desk) -> None:
    """The night in between is no part of it, whichever order its rows come in."""
    # Given a day, and another one
    first = [answer(1, **at(0)), answer(2, **at(20)), end(3, "other", **at(25))]
    second = [start(4, "resume", **at(1000)), answer(5, **at(1020))]
    # When
    desk.tell(*second)
    desk.tell(*first)
    # Then
    found = asked(desk, minutes=1021)
    assert (found.stretches, found.ended_ms) == (2, None)
    assert desk.derived()["stretches"] == [
        ("claude_code", "session-1", T0_MS, T0_MS + 20 * MINUTE_MS),
        ("claude_code", "session-1", T0_MS + 1000 * MINUTE_MS, T0_MS + 1020 * MINUTE_MS),
    ]
    assert desk.execute("SELECT begun_by, resumed_ms FROM sessions") == [
        ("resume", T0_MS + 1000 * MINUTE_MS)
    ]


def test_stretches_are_joined_when_what_lies_between_comes_last(desk: Desk) -> None:
    """Two stretches become one by an event between them, of another batch."""
    # Given
    desk.tell(answer(1, **at(0)), answer(2, **at(50)))
    assert asked(desk).stretches == 2
    # When
    desk.tell(answer(3, **at(25)))
    # Then
    assert [row[2:] for row in desk.derived()["stretches"]] == [(T0_MS, T0_MS + 50 * MINUTE_MS)]


def test_a_compaction_is_no_new_start_when_it_begins_again(desk: Desk) -> None:
    """SessionStart with the source compact is the same session going on."""
    # Given / When
    desk.tell(start(1, "compact"), start(2, "startup", **at(1)))
    # Then
    assert desk.execute("SELECT begun_ms, begun_by FROM sessions") == [
        (T0_MS + MINUTE_MS, "startup")
    ]


@pytest.mark.parametrize("reverse", [False, True])
def test_a_session_goes_on_from_the_cleared_one_when_its_place_is_the_same(
    desk: Desk, reverse: bool
) -> None:
    """/clear ends one session and begins one with another id, of the same workspace."""
    # Given two workspaces in which somebody clears at the same time
    events = [
        end(1, "clear", session_id="a", workspace_hash="w1"),
        end(2, "clear", session_id="b", workspace_hash="w2"),
        start(3, "clear", session_id="a2", workspace_hash="w1"),
        start(4, "clear", session_id="b2", workspace_hash="w2"),
        start(5, "startup", session_id="c", workspace_hash="w1"),
        end(6, "clear", session_id="a2", workspace_hash="w1", timestamp_ms=T0_MS + 4),
    ]
    # When
    for event in reversed(events) if reverse else events:
        desk.tell(event)
    # Then
    assert [asked(desk, name).continues for name in ("a2", "b2", "c")] == ["a", "b", None]


@pytest.mark.parametrize("batches", [1, 2])
def test_a_fork_goes_on_from_the_session_whose_line_it_follows(desk: Desk, batches: int) -> None:
    """The first new line of a forked file follows on a line of the old session."""
    # Given an old session and its fork, with a sub-agent in it
    old = [line(1, "user", uuid="old-1"), answer(2, uuid="old-2", payload={"parentUuid": "old-1"})]
    fork = [
        line(3, "user", uuid="new-1", session_id="fork", payload={"parentUuid": "old-2"}),
        answer(4, session_id="fork", payload={"parentUuid": "new-1"}),
        line(5, "user", session_id="third", payload={"parentUuid": "old-2", "isSidechain": True}),
    ]
    # When
    if batches == 1:
        desk.tell(*old, *fork)
    else:
        desk.tell(*old)
        desk.tell(*fork)
    # Then
    assert [asked(desk, name).continues for name in ("session-1", "fork", "third")] == [
        None, "session-1", None
    ]  # fmt: skip


def test_a_line_that_comes_later_links_nothing_when_it_is_followed(desk: Desk) -> None:
    """What a replay would find and the first pass did not is no link."""
    # Given / When
    desk.tell(line(3, "user", session_id="fork", payload={"parentUuid": "old-1"}))
    desk.tell(line(1, "user", uuid="old-1"))
    before = desk.derived()
    desk.begin_again(emptied=True)
    desk.derive()
    # Then
    assert asked(desk, "fork").continues is None
    assert desk.derived() == before


@pytest.mark.parametrize("batches", [1, 3])
def test_a_fork_is_linked_by_the_second_line_when_what_both_follow_came_between(
    desk: Desk, batches: int
) -> None:
    """One batch links what three of them do."""
    # Given
    events = [
        line(1, "user", session_id="fork", payload={"parentUuid": "old-1"}),
        line(2, "user", uuid="old-1"),
        line(3, "user", session_id="fork", payload={"parentUuid": "old-1"}),
    ]
    # When
    for first in range(0, 3, 3 // batches):
        desk.tell(*events[first : first + 3 // batches])
    # Then
    assert asked(desk, "fork").continues == "session-1"


@pytest.mark.parametrize("batches", [1, 2])
def test_a_session_begins_with_its_first_end_when_nothing_was_before(
    desk: Desk, batches: int
) -> None:
    """One batch says what two of them do; the last end is how it ended."""
    # Given
    events = [end(1, "clear"), end(2, "logout", **at(1))]
    # When
    for first in range(0, 2, 2 // batches):
        desk.tell(*events[first : first + 2 // batches])
    # Then
    found = desk.execute("SELECT started_ms, ended_ms, end_reason FROM sessions")
    assert found == [(T0_MS + 1, T0_MS + MINUTE_MS, "logout")]


def test_a_sub_agent_of_cursor_is_linked_when_it_stops(desk: Desk) -> None:
    """Its own conversation is in the name of its transcript; the parent is who it stopped for."""
    # Given
    payload = {"agent_transcript_path": "0a1b2c3d-0000-4000-8000-000000000001.jsonl"}
    child = "0a1b2c3d-0000-4000-8000-000000000001"
    # When
    desk.tell(
        hook(1, "preToolUse", "tool_start", "cursor", session_id=child),
        hook(2, "subagentStop", "subagent_stop", "cursor", session_id="parent", payload=payload),
        hook(3, "stop", "turn_end", "cursor", session_id=child, turn_id="g"),
        hook(
            4, "subagentStart", "subagent_start", "cursor", session_id="x",
            payload={"parent_conversation_id": "parent"},
        ),
    )  # fmt: skip
    # Then
    assert (asked(desk, child).parent_id, asked(desk, "x").parent_id) == ("parent", "parent")
    assert desk.usage("session_id, parent_session_id") == [(child, "parent")]


def test_a_session_has_its_place_when_any_row_names_one(desk: Desk) -> None:
    """The first project and branch that a row names."""
    # Given / When
    desk.tell(start(1, "startup"), answer(2, project="orchard", payload={"gitBranch": "b:1"}))
    desk.tell(answer(3, project="meadow", payload={"gitBranch": "b:2"}))
    # Then
    assert (asked(desk).project, asked(desk).branch) == ("orchard", "b:1")


def test_lines_without_a_time_say_only_that_a_session_was(desk: Desk) -> None:
    """Titles and sums of cost have no time of their own; the sum is kept, the highest of it."""
    # Given / When
    desk.tell(
        line(1, "cost-state", payload={"totalCostUSD": 1.5}, **at(-5000)),
        line(2, "cost-state", payload={"totalCostUSD": 0.5}, **at(9000)),
        line(3, "ai-title", **at(7000)),
        answer(4, **at(1)),
    )
    # Then
    found = asked(desk)
    assert (found.started_ms, found.last_ms, found.reported_cost_usd) == (
        T0_MS + MINUTE_MS, T0_MS + MINUTE_MS, 1.5,
    )  # fmt: skip


def test_windows_and_canaries_are_no_sessions(desk: Desk) -> None:
    """A window of the editor, our own canary, and rows without a session are none."""
    # Given / When
    desk.tell(
        hook(1, "windowOpen", "session_start", "cursor", source="extension", session_id="w"),
        hook(2, "canary", "canary", "blueplane", source="canary"),
        hook(3, "workspaceOpen", "other", "cursor", session_id=""),
    )
    # Then
    assert desk.execute("SELECT session_id FROM sessions") == []
    assert read(desk, lambda reader: session(reader, "w", T0_MS)) is None


@pytest.mark.fault("E2", "E3")
def test_a_session_has_no_negative_time_when_a_clock_jumps(desk: Desk) -> None:
    """Ten years ahead and back again are two stretches, each of which ends after it began."""
    # Given / When
    decade = 10 * 365 * 24 * 60
    for number, minutes in enumerate((0, 1, decade, decade + 1, 2)):
        desk.tell(answer(number, **at(minutes)))
    # Then
    stretches = [row[2:] for row in desk.derived()["stretches"]]
    assert [last - first for first, last in stretches] == [2 * MINUTE_MS, MINUTE_MS]
    assert asked(desk, minutes=3).ended_ms is None
