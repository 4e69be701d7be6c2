"""The screen of a live block."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from blueplane.clock import wall_ms
from blueplane.errors import NotFoundError, UsageError
from blueplane.interfaces.cli import block_screen
from blueplane.interfaces.cli.block_screen import screen
from blueplane.paths import Home
from helpers.told import NOW_MS, answered, printed, run, sessions, told

HOUR_MS = 3_600_000


def make_block(**changes: Any) -> dict[str, Any]:
    """Make a block of which half has passed, with large figures."""
    now_ms = wall_ms()
    return {
        "platform": "claude_code", "start_ms": now_ms - HOUR_MS * 5 // 2,
        "end_ms": now_ms + HOUR_MS * 5 // 2, "calls": 12_345, "total_tokens": 4_571_000_000,
        "cost_usd": 1234.5, "minutes_left": 150.0, "tokens_per_minute": 30_473_333.0,
        "cost_usd_per_hour": 493.8, "projected_tokens": 9_142_000_000.0,
        "projected_cost_usd": 2469.0, "project": None,
        "models": [f"claude-model-{n}" for n in range(9)],
        **changes,
    }  # fmt: skip


def shown(row: dict[str, Any] | None, trouble: str | None = None) -> str:
    """Return the screen on a terminal of 80x24."""
    page = io.StringIO()
    console = Console(file=page, width=80, height=24)
    console.print(screen("claude_code", row, trouble, console))
    return page.getvalue()


def test_the_screen_fits_the_smallest_terminal_when_figures_are_large() -> None:
    """It says what is left, what it took, and where it leads."""
    # Given / When
    text = shown(make_block(), "the database cannot be read: " + "very/long" * 12)
    # Then
    lines = text.splitlines()
    assert len(lines) < 24
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("the database cannot be read")
    for each in ("2 h", "4.571 G in 12,345 calls", "$1,234.50", "$493.80 an hour", "$2,469.00"):
        assert each in text
    assert f"[{'=' * 20}{' ' * 20}]" in text


@pytest.mark.parametrize("key", ["cost_usd", "cost_usd_per_hour", "projected_cost_usd"])
def test_the_screen_has_a_dash_when_a_figure_is_unknown(key: str) -> None:
    """A model without a price costs nothing that is known."""
    # Given / When / Then
    assert "–" in shown(make_block(**{key: None}))  # noqa: RUF001 - a dash for unknown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("usage", "--live"), "`blueplane usage blocks --live`"),
        (("usage", "blocks", "--live", "--format", "csv"), "take --format table or json"),
        (("usage", "blocks", "--live", "--format", "chart"), "take --format table or json"),
        (("usage", "blocks", "--live", "--since", "7d"), "leave out --since"),
        (("usage", "blocks", "--live", "--until", "7d"), "leave out --until"),
        (("usage", "blocks", "--live", "--period", "7d"), "leave out --period"),
        (("usage", "blocks", "--live", "--limit", "0", "--offset", "2"), "out --limit, --offset"),
    ],
)
def test_live_is_refused_when_there_is_no_such_thing(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    """It is of blocks, for people or as JSON; the error says what to write."""
    # Given / When
    ended = run(Home(tmp_path), *words)
    # Then
    assert isinstance(ended.exception, UsageError)
    assert said in str(ended.exception)


def test_live_is_of_a_project_when_one_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The block is that of the platform; what it took is the project's; a wrong name is refused."""
    # Given a block with calls of several projects
    home = told(tmp_path / "home", sessions())
    monkeypatch.setattr(block_screen, "wall_ms", lambda: NOW_MS)
    # When
    (whole,) = answered(home, "usage", "blocks", "--live")["rows"]
    (part,) = answered(home, "usage", "blocks", "--live", "--project", "second")["rows"]
    facts = printed(home, "usage", "blocks", "--live", "--project", "second")
    wrong = [run(home, "usage", "blocks", "--live", f"--{each}", "secnd")
             for each in ("project", "platform")]  # fmt: skip
    other = answered(home, "usage", "blocks", "--live", "--platform", "cursor")["rows"]
    # Then
    assert (part["start_ms"], part["end_ms"]) == (whole["start_ms"], whole["end_ms"])
    assert (part["calls"], part["total_tokens"], part["project"]) == (2, 244, "second")
    assert whole["calls"] > part["calls"]
    assert facts.startswith("project     second\n")
    assert [type(each.exception) for each in wrong] == [NotFoundError] * 2
    assert [each["platform"] for each in other] == ["cursor"]


def test_the_screen_says_so_when_no_block_is_under_way() -> None:
    """In words, with the platform that was looked at, and without a bar."""
    # Given / When
    text = shown(None)
    # Then
    assert "none of claude_code is under way" in text
    assert "[" not in text
