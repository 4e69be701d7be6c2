"""What both witnesses saw, as people read it."""

import pytest

from blueplane.interfaces.cli import witnesses as module
from blueplane.paths import Home

SESSION = "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d"
DAY = {
    "day": "2026-11-20", "platform": "claude_code", "kind": "tool", "both": 123_456,
    "hooks_only": 3, "stored_only": 12, "hooks_rate": 0.9167, "stored_rate": 1.0,
}  # fmt: skip
ALONE = {
    "platform": "claude_code", "session_id": SESSION, "kind": "tool", "at_ms": 1_795_150_000_000,
    "seen_by": "stored",
}  # fmt: skip


def test_witnesses_are_a_table_of_eighty_columns_when_there_are_two(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line for each day, a session once above what it lacks, and nothing wider than a screen."""
    # Given
    monkeypatch.setattr(module, "found", lambda _home: [ALONE, {**ALONE, "kind": "turn"}])
    # When
    lines = list(module.lines(home, [DAY]))
    # Then
    assert max(map(len, lines)) <= 80
    head, day = (line.split() for line in lines[2:4])
    assert head == ["day", "editor", "what", "both", *["hooks", "only", "store", "only"], "hooks",
                    "store"]  # fmt: skip
    assert day == ["2026-11-20", "claude_code", "tool", "123,456", "3", "12", *["91.67", "%"],
                   *["100", "%"]]  # fmt: skip
    assert [line for line in lines if SESSION in line] == [f"  claude_code, session {SESSION}"]
    assert sum("by the editor's own store only" in line for line in lines) == 2


def test_witnesses_are_not_mentioned_when_there_is_one(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has no hooks gets no empty table."""
    # Given
    monkeypatch.setattr(module, "found", lambda _home: [])

    # When / Then
    assert list(module.lines(home, [])) == []
