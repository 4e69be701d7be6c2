"""Changes and slopes, worked out by hand."""

import pytest

from blueplane.analytics.metrics.catalogue import CATALOGUE, Figure
from blueplane.analytics.metrics.trends import Change, change, slope


@pytest.mark.parametrize(
    ("name", "now", "before", "word"),
    [
        ("error_rate", 0.3, 0.2, "worse"),
        ("error_rate", 0.1, 0.2, "better"),
        ("acceptance_rate", 0.3, 0.2, "better"),
        ("acceptance_rate", 0.1, 0.2, "worse"),
        ("acceptance_rate", 0.1 + 0.2, 0.3, "same"),
        ("tool_calls", 3, 2, ""),
    ],
)
def test_change_is_better_or_worse_when_one_way_is(
    name: str, now: float, before: float, word: str
) -> None:
    """By the direction of the metric; what computers make of equal numbers is the same."""
    # Given / When
    found = change(CATALOGUE[name], Figure(now, 5), Figure(before, 4))
    # Then
    assert found.word == word
    assert (found.before, found.before_n) == (before, 4)


@pytest.mark.parametrize(("now", "before"), [(None, 1.0), (1.0, None), (None, None)])
def test_change_is_unknown_when_a_figure_is(now: float | None, before: float | None) -> None:
    """Nothing is compared with nothing; a share of 0 is unknown, too."""
    # Given / When / Then
    found = change(CATALOGUE["error_rate"], Figure(now, 0), Figure(before, 0))
    assert found == Change(before, 0)
    assert change(CATALOGUE["lines_net"], Figure(2, 1), Figure(0, 1)).share is None


def test_slope_is_that_of_least_squares_when_there_are_days_enough() -> None:
    """Days without data count for nothing; a line through two days says nothing."""
    # Given
    points = {10: 1.0, 11: 2.0, 14: 4.0}
    # When / Then: middle 35/3, height 7/3; sums of products 6.3333 and squares 8.6667
    assert slope(points) == pytest.approx(19 / 26)
    assert slope({10: 1.0, 11: 5.0}) is None
    assert slope({10: 0.1, 11: 0.1, 12: 0.1}) == 0
