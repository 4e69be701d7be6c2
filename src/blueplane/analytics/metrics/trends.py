"""How a figure changes: against the period before, and from day to day.

Owns the words for better and worse, and the slope of a line through days.
Promises no change of what was unknown, and no slope of fewer than ``DAYS_AT_LEAST`` days.
Leaves figures to ``catalogue.py``, which periods there are to ``report.py``.
"""

from collections.abc import Mapping
from math import isclose
from typing import Any, Final, NamedTuple

from blueplane.analytics.metrics.catalogue import Figure, Metric

#: Days with data that a line needs: through two goes every line.
DAYS_AT_LEAST: Final = 3
#: A slope below this share of the largest value is what computers make of none.
_NOISE: Final = 1e-12


class Change(NamedTuple):
    """A figure of the period before, and what became of it.

    ``share`` is the change as a share of what it was; ``word`` is ``better``, ``worse``, ``same``,
    or empty where neither way is better.
    """

    before: float | None
    before_n: int
    change: float | None = None
    share: float | None = None
    word: str = ""


def change(metric: Metric, now: Figure, before: Figure) -> Change:
    """Compare a figure with that of the period before."""
    if now.value is None or before.value is None:
        return Change(before.value, before.n)
    grown = 0.0 if isclose(now.value, before.value) else now.value - before.value
    share = grown / abs(before.value) if before.value else None
    return Change(before.value, before.n, grown, share, _word(metric, grown))


def _word(metric: Metric, grown: float) -> str:
    if not metric.better:
        return ""
    if not grown:
        return "same"
    return "better" if (grown > 0) == (metric.better == "up") else "worse"


def slope(points: Mapping[int, float]) -> float | None:
    """Return by how much a figure grows a day: the line of the least squares through days."""
    n = len(points)
    if n < DAYS_AT_LEAST:
        return None
    middle, height = sum(points) / n, sum(points.values()) / n
    spread = sum((day - middle) ** 2 for day in points)
    found = sum((day - middle) * (value - height) for day, value in points.items()) / spread
    return 0.0 if abs(found) <= _NOISE * max(map(abs, points.values())) else found


def known(values: Mapping[int, Figure]) -> dict[int, float]:
    """Return the days on which a figure is known."""
    return {day: each.value for day, each in values.items() if each.value is not None}


def as_fields(found: Change, points: Mapping[int, float]) -> dict[str, Any]:
    """Return a change and a slope as the fields of a row."""
    return {
        "before": found.before,
        "before_n": found.before_n,
        "change": found.change,
        "change_share": found.share,
        "change_is": found.word or None,
        "slope_per_day": slope(points),
        "slope_days": len(points),
    }
