"""Who saw a turn or a tool call: hooks, the editor's own store, or both."""

from typing import Any

import pytest

from blueplane.event import Event
from blueplane.store.derived import DATABASE, HOOK, TRANSCRIPT
from helpers.desk import T0_MS, Desk, answer, hook, line


def seen(desk: Desk) -> list[tuple[int, int, int]]:
    """Return kind, time since the first event and witnesses of everything that was seen."""
    found = desk.execute("SELECT kind, at_ms, seen FROM witnesses ORDER BY kind, at_ms")
    return [(kind, at_ms - T0_MS, witnesses) for kind, at_ms, witnesses in found]


def before_tool(number: int, tool_use_id: str, **changes: Any) -> Event:
    """Make the hook before a tool call."""
    return hook(number, "PreToolUse", "tool_start", tool_use_id=tool_use_id, **changes)


@pytest.mark.parametrize("hooks_first", [True, False])
def test_a_tool_call_is_joined_by_its_id_when_both_saw_it(desk: Desk, hooks_first: bool) -> None:
    """One row with both witnesses, at the earlier time, in whatever order they came."""
    # Given
    desk.tell(before_tool(1, "t0"))
    hooks = [before_tool(5, "t1"), before_tool(6, "t1"), before_tool(7, "t2")]
    lines = [answer(4, tool_use_id="t1"), line(8, "user", tool_use_id="t1")]
    # When
    desk.tell(*(hooks if hooks_first else lines))
    desk.tell(*(lines if hooks_first else hooks))
    # Then
    assert seen(desk) == [(1, 1, HOOK), (1, 4, HOOK | TRANSCRIPT), (1, 7, HOOK)]


def test_a_turn_is_joined_by_the_prompts_id_when_both_name_it(desk: Desk) -> None:
    """prompt_id of hooks and promptId of lines are the same."""
    # Given / When
    desk.tell(
        hook(1, "UserPromptSubmit", "user_prompt", turn_id="p1"),
        line(2, "user", turn_id="p1"), answer(3, turn_id="p2"),
    )  # fmt: skip
    # Then
    assert seen(desk) == [(0, 1, HOOK | TRANSCRIPT), (0, 3, TRANSCRIPT)]


def test_every_tool_call_of_a_line_is_seen_when_it_has_several(desk: Desk) -> None:
    """The blocks of a message have the ids that no column holds."""
    # Given
    asked = [{"type": "tool_use", "id": "t1"}, {"type": "tool_use", "id": "t2"}, {"type": "text"}]
    told: list[Any] = [{"type": "tool_result", "tool_use_id": "t1"}, {"type": "tool_use"}]
    told += [7, {"type": []}, {"type": {"a": 1}}, {"type": "tool_use", "id": ["t5"]}]
    told += [{"type": "tool_result", "tool_use_id": "t3"}]
    # When
    desk.tell(
        before_tool(0, "t0"),
        answer(1, message={"content": asked}),
        line(2, "user", payload={"message": {"content": told}}),
        line(3, "user", payload={"message": {"content": {"chars": 4}}}),
        answer(4, message={"content": {"items": 9, "first": [{"type": "tool_use", "id": "t4"}]}}),
    )
    # Then
    assert seen(desk)[1:] == [(1, at_ms, TRANSCRIPT) for at_ms in (1, 1, 2, 4)]


@pytest.mark.parametrize("together", [True, False])
def test_history_has_no_witness_when_there_were_no_hooks_yet(desk: Desk, together: bool) -> None:
    """What was written, or what happened, before the first hook is not missed by hooks."""
    # Given
    rows = [
        answer(1, tool_use_id="t1"), answer(99, tool_use_id="t2"), before_tool(10, "t3"),
        answer(5, tool_use_id="t4"), before_tool(3, "t5"), answer(11, tool_use_id="t6"),
    ]  # fmt: skip
    # When
    for some in [rows] if together else [[row] for row in rows]:
        desk.tell(*some)
    # Then
    expected = [(1, 3, HOOK), (1, 10, HOOK), (1, 11, TRANSCRIPT)]
    assert seen(desk) == expected
    # and a replay finds the same
    for emptied in (False, True):
        desk.begin_again(emptied=emptied)
        desk.derive()
        assert seen(desk) == expected


def test_a_database_is_a_witness_when_it_names_a_tool_call(desk: Desk) -> None:
    """Cursor's own store and its hooks are joined in the same way."""
    # Given / When
    desk.tell(
        hook(1, "postToolUse", "tool_use", "cursor", tool_use_id="c1\nfc1"),
        hook(2, "bubbleId", "database_trace", "cursor", source="database", tool_use_id="c1\nfc1"),
        before_tool(3, "c1\nfc1"),
    )
    # Then another platform's call is another one
    assert seen(desk) == [(1, 1, HOOK | DATABASE), (1, 3, HOOK)]
