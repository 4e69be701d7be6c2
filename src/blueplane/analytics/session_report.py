"""The list of sessions: what each of them came to, and what it cost.

Owns the figures of a row under the names that all interfaces show, and the total of all rows.
Promises that tokens and money are those of the days and project asked for, so that they sum to the
total of ``usage``; the other figures are of the whole session.
Leaves the SELECTs to ``store/session_list.py``, tokens to ``usage_report.py``.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Final

from blueplane.analytics.prices import PriceTable
from blueplane.analytics.usage_report import Priced, Report, Row, figures, total
from blueplane.store import session_list as stored
from blueplane.store.session_list import Figures, Listed, Wanted
from blueplane.store.usage_columns import BANDS
from blueplane.store.usage_reports import Cell, Rates, RatesOf, Rows, Scope, cells, models

#: Orders by what is added up of calls.
_BY_USAGE: Final = ("tokens", "cost")
_ONE_BY_ONE: Final = Rates(1, 1, 1, 0, 1)
ORDERS: Final = (*stored.ORDERS, *_BY_USAGE)


def sessions(reader: Rows, wanted: Wanted, prices: PriceTable, now_ms: int) -> Report:
    """Return the report of sessions in one of ``ORDERS``, what is most, or latest, first."""
    priced = Priced(prices)
    found, more = _page(reader, wanted, priced, now_ms)
    known = _by_session(reader, wanted.scope, priced, [each.number for each in found])
    rows = [_row(each, figures(known.get(each.number, []), priced)) for each in found]
    whole = {**stored.sums(reader, wanted)._asdict(), **_usage(reader, wanted, priced)}
    return Report(rows, whole, sorted(priced.unpriced), more)


def one(reader: Rows, number: int, prices: PriceTable, now_ms: int) -> Report:
    """Return the report of one session, with all its calls."""
    priced = Priced(prices)
    known = _by_session(reader, Scope(), priced, [number])
    rows = [
        _row(each, figures(known.get(number, []), priced))
        for each in stored.by_number(reader, [number], now_ms)
    ]
    return Report(rows, {}, sorted(priced.unpriced))


def _page(reader: Rows, wanted: Wanted, priced: Priced, now_ms: int) -> tuple[list[Listed], bool]:
    """Return the sessions of a page, and whether there are more."""
    limit = wanted.limit
    one_more = wanted._replace(limit=limit if limit < 0 else limit + 1)
    if wanted.order in _BY_USAGE:
        rates = _rates(reader, wanted.order, priced)
        found = stored.dearest(reader, one_more, priced.eras, rates, now_ms)
    else:
        found = stored.listed(reader, one_more, now_ms)
    return found[: None if limit < 0 else limit], 0 <= limit < len(found)


def _rates(reader: Rows, order: str, priced: Priced) -> RatesOf:
    """Return what tokens of each model count by: one by one, or what they cost."""
    known = models(reader)
    if order == "tokens":
        return {model: {(0, 0): _ONE_BY_ONE} for model in known}
    places = [*product(range(len(BANDS) + 1), range(len(priced.eras) + 1))]
    return {
        model: {place: priced.rates(name, *place) or Rates() for place in places}
        for model, name in known.items()
    }


def _by_session(
    reader: Rows, scope: Scope, priced: Priced, only: Sequence[int]
) -> Mapping[int, list[Cell]]:
    found: defaultdict[int, list[Cell]] = defaultdict(list)
    for cell in cells(reader, "session", scope, priced.eras, only) if only else ():
        found[cell.group[0]].append(cell)
    return found


def _row(each: Listed, usage: Row) -> Row:
    values = each._asdict()
    del values["number"]
    return {**values, **usage}


def _usage(reader: Rows, wanted: Wanted, priced: Priced) -> Row:
    """Return what calls of all sessions add up to."""
    if wanted.figures == Figures():
        return total(reader, wanted.scope, priced)
    only = stored.numbers(reader, wanted)
    found = cells(reader, "sessions", wanted.scope, priced.eras, only) if only else []
    return figures(found, priced)
