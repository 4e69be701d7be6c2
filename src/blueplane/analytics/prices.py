"""Prices of models: what a token of each kind costs, on which day.

Owns ``prices.json``, the bundled table, and by which name a model is found in it.
Promises that a model is priced only when the table, or the configuration, has it: with its date, or
how hard it was to think, left out of its name, and never by likeness.
Leaves the configuration's own lines to ``price_text.py``, and the sums to ``usage_report.py``.

Not considered: batches, a fast mode that the transcript does not name in the model, and regions.
"""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final, NamedTuple

from blueplane.days import day_of
from blueplane.price_text import PICO, Price, read_price
from blueplane.store.usage_columns import BANDS

_BUNDLED: Final = Path(__file__).with_name("prices.json")
#: A day before all others.
_EVER: Final = -(10**9)
#: What clouds, and the date of a model, put around its name.
_AROUND: Final = re.compile(
    r"[-@]\d{8}$|-\d{4}-\d{2}-\d{2}$|-latest$|-v\d+:\d+$|\[1m\]$|^.*/|^(?:\w+\.)?anthropic\."
)
#: How hard it is to think: the price of a token is the same.
_EFFORT: Final = re.compile(r"-(?:thinking|none|minimal|low|medium|high|xhigh|max|preview)$")
#: As Cursor has it: ``claude-4.5-sonnet``.
_TURNED: Final = re.compile(r"^claude-(\d+(?:-\d+)?)-([a-z]+)")


class _Rate(NamedTuple):
    """What a model costs from a day on, for the prompts of each band; None is unknown."""

    from_day: int
    prices: tuple[Price | None, ...]


class PriceTable:
    """The prices of all models."""

    def __init__(self, as_of: str, rates: Mapping[str, list[_Rate]], same: Mapping[str, str]):
        self.as_of = as_of
        self._rates = rates
        self._same = same
        self._names: dict[str, str | None] = {}

    def price(self, model: str | None, day: int, band: int) -> Price | None:
        """Return what a model costs on a day for prompts of a band; None when nobody knows."""
        if model is None:
            return None
        if model not in self._names:
            self._names[model] = self._find(model)
        rates = self._rates.get(self._names[model] or "", [])
        held = [rate for rate in rates if rate.from_day <= day]
        return held[-1].prices[band] if held else None

    def changes(self) -> list[int]:
        """Return the days on which any price is another one than the day before."""
        days = {rate.from_day for rates in self._rates.values() for rate in rates}
        return sorted(days - {_EVER})

    def _find(self, model: str) -> str | None:
        name = plain_name(model)
        name = self._same.get(name, name)
        while name not in self._rates:
            turned = _TURNED.sub(r"claude-\2-\1", name)
            if turned in self._rates:
                return turned
            shorter = _EFFORT.sub("", name)
            if shorter == name:
                return None
            name = shorter
        return name


def plain_name(model: str) -> str:
    """Return the name of a model without its date and its cloud, one way for all spellings."""
    name, before = model.lower(), ""
    while name != before:
        name, before = _AROUND.sub("", name), name
    return name.replace(".", "-")


def load_prices(lines: Iterable[str] = ()) -> PriceTable:
    """Return the bundled table with the lines of a configuration in place of what it has."""
    bundled = json.loads(_BUNDLED.read_bytes())
    rates = {
        plain_name(model): [_rate(each) for each in entries]
        for model, entries in bundled["usd_per_million_tokens"].items()
    }
    for line in sorted(map(read_price, lines), key=lambda each: each.from_day or _EVER):
        name, from_day = plain_name(line.model), line.from_day or _EVER
        earlier = [rate for rate in rates.get(name, []) if rate.from_day < from_day]
        rates[name] = [*earlier, _Rate(from_day, (line.price,) * (len(BANDS) + 1))]
    return PriceTable(bundled["as_of"], rates, bundled["same"])


def _rate(entry: Mapping[str, Any]) -> _Rate:
    start = day_of(date.fromisoformat(entry["from"])) if "from" in entry else _EVER
    prices = [_price(entry["price"])]
    for limit in BANDS:
        above = entry.get("above", {}).get(str(limit))
        prices.append(_price(above) if above else prices[-1])
    return _Rate(start, tuple(prices))


def _price(usd: list[float] | None) -> Price | None:
    return None if usd is None else Price(*(round(each * PICO) for each in usd))
