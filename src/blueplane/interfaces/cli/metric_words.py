"""How metrics are said: values with their units, changes, slopes, and what went wrong with some.

Owns the words of ``blueplane metrics`` and ``blueplane insights`` for figures.
Promises that better and worse are words, and a dash for what is unknown.
Leaves figures to ``analytics/metrics``, tables to the commands.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from blueplane.figures import UNKNOWN, milliseconds, number, percent, tokens

_SECOND_MS: Final = 1000
#: From here on a change is only said to be more.
_LARGE: Final = 10
#: Points of a hundred below which one digit after the point is none.
_SMALL: Final = 0.1
_SHOWS: Final[Mapping[str, Callable[[float], str]]] = {
    "ms": milliseconds,
    "s": lambda value: milliseconds(value * _SECOND_MS),
    "share": percent,
    "percent": lambda value: percent(value / 100),
    "count": number,
    "tokens": tokens,
    "points": number,
    "per second": lambda value: f"{number(value)} /s",
    "per minute": lambda value: f"{number(value)} /min",
    "per hour": lambda value: f"{number(value)} /h",
}
#: What is beside a value that is not exact.
MARKS: Final = {"exact": "", "estimate": " ~", "inferred": " *"}
MARKS_MEAN: Final = "~ within 1 %, * by a rule"


def value_text(unit: str, value: float | None) -> str:
    """Show a value with its unit."""
    if value is None:
        return UNKNOWN
    show = _SHOWS.get(unit)
    return show(value) if show else f"{number(value)} {unit}"


def change_text(row: Mapping[str, Any]) -> str:
    """Show a change: ``+12 % worse``; of a share its points, for a percent of it would mislead."""
    grown, share = row["change"], row["change_share"]
    if grown is None:
        return UNKNOWN
    if not grown:
        text = "0"
    elif row["unit"] in {"share", "percent"}:
        text = _points(grown * 100 if row["unit"] == "share" else grown)
    elif share is None:
        text = f"+{number(grown)}" if grown > 0 else number(grown)
    else:
        text = ">+999 %" if share > _LARGE else f"{share * 100:+.0f} %"
    return f"{text} {row['change_is'] or ''}".strip()


def _points(points: float) -> str:
    return f"{points:+.1f} pts" if abs(points) >= _SMALL else f"{points:+.1g} pts"


def slope_text(row: Mapping[str, Any]) -> str:
    """Show by how much a figure grows a day, and of how many days that was made."""
    slope = row["slope_per_day"]
    if slope is None:
        return UNKNOWN
    return f"{_slope(row['unit'], slope)} ({row['slope_days']})"


def _slope(unit: str, slope: float) -> str:
    if not slope:
        return "0"
    if unit in {"share", "percent"}:
        return f"{slope * 100 if unit == 'share' else slope:+.2g} pts"
    if unit in {"ms", "s"}:
        took = milliseconds(abs(slope) * (1 if unit == "ms" else _SECOND_MS))
        return f"{'-' if slope < 0 else '+'}{took}"
    return f"{slope:+.3g}"


def broken_text(broken: Mapping[str, str]) -> str:
    """Name metrics of other packages that could not be had."""
    return "; ".join(f"the metric {name} does not work: {why}" for name, why in broken.items())
