"""The list of sessions: what each of them came to, and what it cost.

Owns the figures of a row under the names that all interfaces show, and the total of all rows.
Promises that tokens and money are those of the days and project asked for, so that they sum to the
total of ``usage``; the other figures are of the whole session.
Leaves the SELECTs to ``store/session_list.py``, tokens to ``usage_report.py``.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from blueplane.analytics.prices import PriceTable
from blueplane.analytics.usage_report import Priced, Report, Row, all_tokens, figures, total
from blueplane.store import session_list as stored
from blueplane.store.session_list import Figures, Listed, Wanted
from blueplane.store.usage_reports import Cell, Rows, Scope, cells

#: Orders by what is added up of calls.
_BY_USAGE: Final = ("tokens", "cost")
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
    limit, offset = wanted.limit, wanted.offset
    if wanted.order in _BY_USAGE:
        ranked = _ranked(reader, wanted, priced)[offset:]
        return stored.by_number(reader, ranked[: _end(limit)], now_ms), 0 <= limit < len(ranked)
    one_more = limit if limit < 0 else limit + 1
    found = stored.listed(reader, wanted._replace(limit=one_more), now_ms)
    return found[: _end(limit)], 0 <= limit < len(found)


def _end(limit: int) -> int | None:
    return None if limit < 0 else limit


def _ranked(reader: Rows, wanted: Wanted, priced: Priced) -> list[int]:
    """Return the numbers of sessions, the one that cost most, or took most tokens, first."""
    amount = priced.pico_usd if wanted.order == "cost" else all_tokens
    amounts: defaultdict[int, int] = defaultdict(int)
    for cell in cells(reader, "session", wanted.scope, priced.eras):
        amounts[cell.group[0]] += amount(cell) or 0
    found = stored.numbers(reader, wanted)
    return sorted(found, key=lambda number: -amounts[number])


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
