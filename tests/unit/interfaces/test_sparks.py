"""Sparklines, and which figures are meant."""

import io
import sys
from typing import Any

import pytest

from blueplane.errors import NotFoundError, UsageError
from blueplane.interfaces.cli.sparks import _chosen, _span, spark
from blueplane.pipeline.health_log import MINUTE_MS

NOW_MS = 1_795_150_800_000


def cells(*values: float | None) -> list[tuple[int, float | None]]:
    """Give each value a minute."""
    return [(number * MINUTE_MS, value) for number, value in enumerate(values)]


def speak(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    """Have standard output use an encoding."""
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))


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
    monkeypatch: pytest.MonkeyPatch, encoding: str, metric: str, values: Any, drawn: str  # noqa: ANN401
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
        _chosen(known, ["nonsense"])


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
