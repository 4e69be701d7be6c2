"""Sparklines, and which figures are meant."""

import io
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest

from blueplane.errors import NotFoundError, UsageError
from blueplane.health.history import Span
from blueplane.interfaces.cli.output import render
from blueplane.interfaces.cli.sparks import _chosen, _drawn, _span, join, spark
from blueplane.pipeline.health_log import MINUTE_MS

ANSI = re.compile(r"\x1b\[[0-9;]*m")
NOW_MS = 1_795_150_800_000


def cells(*values: float | None) -> list[tuple[int, float | None]]:
    """Give each value a minute."""
    return [(number * MINUTE_MS, value) for number, value in enumerate(values)]


def speak(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    """Have standard output use an encoding."""
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))


@pytest.fixture
def draw(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[str]]:
    """Give what draws the table of one figure, which stayed the same, on a terminal."""

    def draw(metric: str, value: float, columns: int, points: int = 22) -> list[str]:
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
        monkeypatch.setenv("COLUMNS", str(columns))
        numbers = dict.fromkeys(("min", "avg", "max", "last"), value)
        row = {"metric": metric, "points": cells(*[value] * points), **numbers}
        render(_drawn([row], Span(0, points * MINUTE_MS, MINUTE_MS)), "table")
        return ANSI.sub("", capsys.readouterr().out).splitlines()

    return draw


@pytest.mark.parametrize(
    ("encoding", "metric", "values", "drawn"),
    [
        ("utf-8", "queue.queue_depth", (0, None, 7, 3.5), "▁ █▅"),
        ("utf-8", "queue.queue_depth", (0, 0), "▁▁"),
        ("utf-8", "queue.health_status", (0, 1, 2, 3), "▁▃▆█"),
        ("utf-8", "queue.health_status", (1, 1), "▃▃"),
        ("utf-8", "queue.balance", (-7, 0), "▁█"),
        ("ascii", "queue.queue_depth", (0, None, 7), "_ #"),
        ("latin-1", "queue.queue_depth", (None, None), "  "),
    ],
)
def test_spark_is_a_bar_a_cell_when_values_and_gaps_alternate(
    monkeypatch: pytest.MonkeyPatch, encoding: str, metric: str, values: Any, drawn: str
) -> None:  # fmt: skip
    """Bars start at 0, a gap is a blank, a colour reaches up to red, ASCII where there must be."""
    # Given
    speak(monkeypatch, encoding)

    # When
    found = spark(cells(*values), metric)

    # Then
    assert found == drawn


def test_figures_are_chosen_by_name_and_pattern_when_asked_for() -> None:
    """Patterns choose in their order, each figure once; what nobody knows is said."""
    # Given
    known = ["chain.in_flight", "health_status", "queue.dlq_size", "queue.queue_depth"]

    # When
    found = _chosen(known, ["queue.queue_depth", "queue.*", "chain.in_flight"])

    # Then
    assert found == ["queue.queue_depth", "queue.dlq_size", "chain.in_flight"]
    assert _chosen(known, []) == ["health_status", "queue.queue_depth"]
    with pytest.raises(NotFoundError, match="nonsense"):
        _chosen(known, ["queue.*", "nonsense"])
    with pytest.raises(NotFoundError, match="no history of that time"):
        _chosen([], ["queue.*"])


@pytest.mark.parametrize("hours", [1, 5, 24, 168])
def test_span_has_few_cells_of_whole_minutes_when_it_is_long(hours: int) -> None:
    """However long the span is, its cells fit on a line; more than is kept is refused."""
    # Given, When
    span = _span(NOW_MS, hours * 3_600_000)

    # Then
    count = len(range(span.since_ms, span.until_ms, span.step_ms))
    assert 20 <= count <= 24
    with pytest.raises(UsageError, match="7d"):
        _span(NOW_MS, 8 * 86_400_000)


@pytest.mark.parametrize(
    ("count", "joined"),
    [
        (1, [(0, 1.0), (1, None), (2, 3.0), (3, None), (4, None), (5, 2.0), (6, 9.0)]),
        (3, [(0, 1.0), (1, 3.0), (4, 9.0)]),
        (4, [(0, 3.0), (3, 9.0)]),
        (9, [(0, 9.0)]),
    ],
)
def test_join_has_the_largest_of_each_when_there_is_little_room(
    count: int, joined: list[tuple[int, float | None]]
) -> None:
    """The last cell is a whole one, the first may be of less; nothing measured stays a blank."""
    # Given
    values = [(0, 1.0), (1, None), (2, 3.0), (3, None), (4, None), (5, 2.0), (6, 9.0)]

    # When / Then
    assert join(values, count) == joined
    assert join([], count) == []
    assert join([(0, None), (1, None)], 2) == [(0, None)]


@pytest.mark.parametrize(
    ("figure", "value", "columns", "drawn"),
    [
        ("queue.queue_depth", 7.0, 80, 22),
        ("database.write_throughput_events_per_sec", 23.0, 80, 11),
        ("database.write_throughput_events_per_sec", 1_234.56, 80, 8),
        ("database.write_throughput_events_per_sec", 12_345.67, 80, 6),
        ("database.write_throughput_events_per_sec", 1_234_567_890.0, 80, 0),
        ("capture.claude_hooks.hooks_active.PostToolUseFailure", 1.0, 80, 0),
        ("queue.queue_depth", 7.0, 62, 22),
        ("queue.queue_depth", 7.0, 61, 11),
        ("queue.queue_depth", 7.0, 50, 8),
    ],
)
def test_sparkline_makes_room_for_the_names_when_a_terminal_is_narrow(
    draw: Callable[..., list[str]], figure: str, value: float, columns: int, drawn: int
) -> None:
    """No name is broken, no line is too long; a sparkline of almost nothing is left out."""
    # Given a terminal / When a figure is drawn
    lines = draw(figure, value, columns)

    # Then
    assert max(map(len, lines)) <= columns
    assert any(line.startswith(f"{figure} ") for line in lines)
    assert "".join(lines).count("█") == drawn
    assert any(line.startswith("a cell is") for line in lines) is bool(drawn)


def test_sparkline_is_empty_when_less_than_a_minute_was_asked_for(
    draw: Callable[..., list[str]],
) -> None:
    """A time in which no minute ended has no cells, and is no error."""
    # Given / When
    lines = draw("queue.queue_depth", 7.0, 80, points=0)

    # Then
    assert not any("█" in line for line in lines)
