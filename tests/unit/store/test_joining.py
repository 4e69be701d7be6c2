"""Joining rows of one conversation: as much work as there are rows, however many there are."""

from collections.abc import Callable
from typing import Any

import pytest

from blueplane.store.conversation_tables import BEGIN, END
from blueplane.store.joining import Row, join_calls, join_subagents, join_turns

MINUTE = 60_000


class Counted(dict[str, Any]):
    """A row that counts how often anybody looks at it."""

    looks = 0

    def __getitem__(self, name: str) -> Any:
        """Count, and return what is under a name."""
        Counted.looks += 1
        return super().__getitem__(name)


def prompts(number: int) -> list[Row]:
    """Return a prompt without an id, another witness of it, and its end."""
    whole = {"named": False, "agent": None, "prompt_ms": None, "ended_ms": None, "outcome": None}
    at_ms = number * MINUTE
    return [
        Counted(whole, key=3 * number, evidence=1, prompt_ms=at_ms),
        Counted(whole, key=3 * number + 1, evidence=2, prompt_ms=at_ms + 1),
        Counted(whole, key=3 * number + 2, evidence=2, ended_ms=at_ms + 2, outcome=14),
    ]


def runs(number: int) -> list[Row]:
    """Return the begin of one run of a shell, and the end of another."""
    whole = {"turn": None, "name": "Shell", "duration_ms": 1, "outcome": None}
    return [
        Counted(whole, part=BEGIN, target=-number, hook_started_ms=number, hook_ended_ms=None),
        Counted(whole, part=END, target=number + 1, hook_started_ms=None, hook_ended_ms=number),
    ]


def agents(number: int) -> list[Row]:
    """Return the begin of one sub-agent, and the end of one of another type."""
    whole = {"child": f"c-{number}", "evidence": 1, "key": number}
    return [
        Counted(whole, part=BEGIN, type="explorer", started_ms=number, ended_ms=None),
        Counted(whole, part=END, type="reviewer", started_ms=None, ended_ms=number),
    ]


@pytest.mark.parametrize(
    ("join", "rows", "left"),
    [(join_turns, prompts, 1), (join_calls, runs, 2), (join_subagents, agents, 2)],
)
def test_joining_looks_at_each_row_a_few_times_when_there_are_many(
    join: Callable[[list[Row]], list[Row]], rows: Callable[[int], list[Row]], left: int
) -> None:
    """A session with twice as many rows costs twice as much, not four times."""
    # Given
    many = 500
    Counted.looks = 0
    # When
    found = join([row for number in range(many) for row in rows(number)])
    # Then
    assert len(found) == many * left
    assert Counted.looks < many * 100
