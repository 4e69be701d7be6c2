"""What reports say of money: that it is an estimate, by which prices, and what is not in it.

Owns these words, for people and for programs, and whether a chart draws money or tokens.
Promises that a model without a price is named wherever a cost is shown.
Leaves costs to ``analytics/usage_report.py``.
"""

from collections.abc import Callable, Mapping
from typing import Any

from blueplane.analytics.usage_report import Report
from blueplane.figures import dollars, tokens
from blueplane.interfaces.cli import visible
from blueplane.interfaces.cli.output import Row, cut
from blueplane.interfaces.cli.reporting import Bars


def cost_words(report: Report, as_of: str) -> list[str]:
    """Say of what the cost is, and what is not in it."""
    said = [f"cost is an estimate by prices of {as_of}"]
    if report.unpriced:
        models = ", ".join(cut(visible(each)) for each in report.unpriced)
        said.append(f"not in it, for there is no price: {models}")
    return said


def about_prices(report: Report, as_of: str) -> Mapping[str, Any]:
    """Say the same for programs."""
    return {"prices": {"as_of": as_of, "unpriced_models": report.unpriced}}


def cost_bars(report: Report, label: Callable[[Row], str]) -> Bars:
    """Draw money, or tokens where nothing has a price."""
    if report.total["cost_usd"] is None:
        return Bars(label, lambda row: row["total_tokens"], tokens)
    return Bars(label, lambda row: row["cost_usd"], dollars)
