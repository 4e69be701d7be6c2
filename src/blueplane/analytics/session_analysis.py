"""A session by what was measured of it: its figures and its tools.

Owns the rows of both, and what rows of each part of a session have.
Promises the names that all interfaces show, and to import little.
Leaves files and the timeline to ``session_story.py``, counting to ``metrics/measure.py``.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from blueplane.analytics import insights
from blueplane.analytics.metrics.catalogue import CATALOGUE, OUTCOMES, VERDICTS, figures
from blueplane.analytics.metrics.vector import Vector, at, mean, percentile

Row: TypeAlias = dict[str, Any]

_PERCENTILES: Final = (50, 95, 99)
#: What a row of each part has, in this order.
FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "figures": ("category", "name", "value", "unit", "n", "certainty"),
    "tools": (
        "tool", "calls", *OUTCOMES, "avg_ms", *(f"p{each}_ms" for each in _PERCENTILES), "max_ms",
    ),
    "files": (
        "file", "extension", "created", "edits", "lines_added", "lines_removed", *VERDICTS,
        "evidence",
    ),
    "insights": insights.FIELDS,
    "timeline": (
        "depth", "at_ms", "kind", "name", "outcome", "duration_ms", "chars", "lines_added",
        "lines_removed", "file", "seen_by", "joined_by", "prompt",
    ),
}  # fmt: skip


def figure_rows(vector: Vector) -> list[Row]:
    """Return all figures, with unit, size of sample, certainty, and what each was added up from."""
    return [
        {
            "category": CATALOGUE[name].category, "name": name, "value": figure.value,
            "unit": CATALOGUE[name].unit, "n": figure.n, "certainty": CATALOGUE[name].certainty,
            "parts": figure.parts,
        }
        for name, figure in figures(vector).items()
    ]  # fmt: skip


# --- tools ----------------------------------------------------------------------------------------


def tool_rows(vector: Vector) -> list[Row]:
    """Return for each tool how often it was called, what became of it and how long it took."""
    rows = [_tool_row(name, tool) for name, tool in at(vector, "tools").items()]
    return sorted(rows, key=lambda row: (-row["calls"], row["tool"]))


def _tool_row(name: str, tool: Mapping[str, Any]) -> Row:
    found = {outcome: tool.get(outcome, 0) for outcome in OUTCOMES}
    times = tool.get("ms", {})
    percentiles = {f"p{percent}_ms": percentile(times, percent) for percent in _PERCENTILES}
    return {
        "tool": name, "calls": sum(found.values()), **found,
        "avg_ms": mean(times), **percentiles, "max_ms": times.get("most"),
    }  # fmt: skip


def sequence_rows(vector: Vector) -> list[Row]:
    """Return which tools followed on which, in twos and threes, the most frequent first."""
    rows = [
        {"sequence": name, "tools": length, "times": times}
        for length in (2, 3)
        for name, times in at(vector, f"sequences_{length}").items()
    ]
    return sorted(rows, key=lambda row: (-row["times"], row["tools"], row["sequence"]))
