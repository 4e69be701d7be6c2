"""Reports of usage: tokens and what they cost, by day, session, model or what else.

Owns the views, and the figures of a row under the names that all interfaces show.
Promises that every view of the same days sums to the same total, in tokens and in money, and that
what no call says is None; money is an estimate by the prices of the day.
Leaves the SELECTs to ``store/usage_reports.py``, prices to ``prices.py``, blocks to ``blocks.py``.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import add
from typing import Any, Final, NamedTuple, TypeAlias

from blueplane.analytics.paging import Page
from blueplane.analytics.prices import PriceTable
from blueplane.days import date_of, week_start
from blueplane.store import usage_reports as stored
from blueplane.store.usage_columns import KINDS, VALUES
from blueplane.store.usage_reports import Cell, Rates, Rows, Scope

Row: TypeAlias = dict[str, Any]

_PICO_USD: Final = 10**12
_NANO_USD: Final = 10**9
#: Kinds whose sum is all tokens: of ``cache_creation`` the others are parts.
_WHOLE: Final = ("input", "output", "cache_creation", "cache_read")
_AT: Final[Mapping[str, int]] = {name: index for index, name in enumerate(VALUES)}
_KNOWN: Final = tuple(_AT[f"{kind}_known"] for kind in KINDS)
#: The kinds that have a price of their own, as ``Rates`` has them.
_PRICED: Final = tuple(_AT[f"{kind}_tokens"] for kind in Rates._fields)
_NOTHING: Final = (0,) * len(VALUES)


class Report(NamedTuple):
    """Rows of a view, and the total of all rows, whatever page was asked for.

    ``unpriced`` are models that have no price: their cost is in no figure. ``more`` says that there
    are rows beyond the page.
    """

    rows: list[Row]
    total: Row
    unpriced: list[str]
    more: bool = False


class Priced:
    """The prices as cells are read by: each change of a price begins another era."""

    def __init__(self, prices: PriceTable) -> None:
        self.eras = prices.changes()
        self._days = [(self.eras[0] if self.eras else 0) - 1, *self.eras]
        self._prices = prices
        self._rates: dict[tuple[str | None, int, int], Rates | None] = {}
        self.unpriced: set[str] = set()

    def pico_usd(self, cell: Cell) -> int | None:
        """Return what a cell costs; None when nobody knows."""
        rates = self.rates(cell.model, cell.band, cell.era)
        if rates is None:
            self.unpriced |= {cell.model} if cell.model else set()
            return None
        sums = cell.sums
        return sum(sums[at] * rate for at, rate in zip(_PRICED, rates, strict=True))

    def rates(self, model: str | None, band: int, era: int) -> Rates | None:
        """Return what a token of each kind costs; None when nobody knows."""
        place = model, band, era
        if place not in self._rates:
            price = self._prices.price(model, self._days[era], band)
            self._rates[place] = None if price is None else Rates(
                price.input, price.output, price.cache_creation_5m,
                price.cache_creation_1h - price.cache_creation_5m, price.cache_read,
            )  # fmt: skip
        return self._rates[place]


def figures(cells: Iterable[Cell], priced: Priced) -> Row:
    """Return the figures of cells that are one row."""
    sums, pico_usd, unpriced, models = _NOTHING, 0, 0, set()
    for cell in cells:
        sums = tuple(map(add, sums, cell.sums))
        models.add(cell.model)
        calls, counted = cell.sums[_AT["calls"]], max(cell.sums[index] for index in _KNOWN)
        cost = priced.pico_usd(cell) if counted else None
        pico_usd += cost or 0
        unpriced += calls if cost is None else calls - counted
    return _row(sums, pico_usd, unpriced, models)


def _row(sums: Sequence[int], pico_usd: int, unpriced: int, models: set[str | None]) -> Row:
    tokens = {
        kind: sums[_AT[f"{kind}_tokens"]] if sums[_AT[f"{kind}_known"]] else None for kind in KINDS
    }
    known = [tokens[kind] or 0 for kind in _WHOLE if tokens[kind] is not None]
    calls = sums[_AT["calls"]]
    reported = sums[_AT["reported_nano_usd"]] / _NANO_USD
    return {
        "calls": calls,
        "final_calls": sums[_AT["final_calls"]],
        **{f"{kind}_tokens": amount for kind, amount in tokens.items()},
        "total_tokens": sum(known) if known else None,
        "cost_usd": pico_usd / _PICO_USD if unpriced < calls else None,
        "unpriced_calls": unpriced,
        "reported_cost_usd": reported if sums[_AT["reported_known"]] else None,
        "models": sorted(name for name in models if name),
    }


# --- views ----------------------------------------------------------------------------------------


class View(NamedTuple):
    """A view: how it is grouped in the store, and what a group is called in a row.

    ``name`` returns the fields of a group. A view is in the order of its groups, newest first on a
    page, or else the most expensive first. ``days`` are those that a group has at most, where the
    days of a page are all that has to be read.
    """

    group: str
    name: Callable[[tuple[Any, ...]], Row]
    in_order: bool = False
    days: int = 0


def _named(*names: str) -> Callable[[tuple[Any, ...]], Row]:
    return lambda group: dict(zip(names, group, strict=True))


def _week(group: tuple[Any, ...]) -> Row:
    return {"week": date_of(week_start(group[0])).isoformat()}


#: The views that a total follows from: each cell is in one row.
VIEWS: Final[Mapping[str, View]] = {
    "daily": View(
        "day", lambda group: {"day": date_of(group[0]).isoformat()}, in_order=True, days=1
    ),
    "weekly": View("day", _week, in_order=True, days=7),
    "monthly": View(
        "month", lambda group: {"month": date_of(group[0]).isoformat()[:7]}, in_order=True
    ),
    "platform": View("platform", _named("platform")),
    "model": View("model", _named("model")),
    "project": View("project", _named("project")),
    "branch": View("branch", _named("project", "branch")),
}


def by_view(reader: Rows, name: str, scope: Scope, prices: PriceTable, page: Page) -> Report:
    """Return the report of one of ``VIEWS``."""
    view, priced = VIEWS[name], Priced(prices)
    if view.days and page.limit:
        return _by_newest(reader, view, scope, priced, page)
    cells = stored.cells(reader, view.group, scope, priced.eras)
    groups = _grouped(view, cells)
    if view.in_order:
        wanted = page.of([groups[key] for key in sorted(groups, reverse=True)])[::-1]
        rows = [{**named, **figures(found, priced)} for named, found in wanted]
    else:
        rows = [{**named, **figures(found, priced)} for named, found in groups.values()]
        rows = page.of(sorted(rows, key=_dearest))
    whole = figures(cells, priced)
    more = len(groups) > page.offset + len(rows)
    return Report(rows, whole, sorted(priced.unpriced), more)


def _by_newest(reader: Rows, view: View, scope: Scope, priced: Priced, page: Page) -> Report:
    """Return the report of a view of which only the days of a page are read."""
    days = stored.newest_days(reader, scope, view.days * (page.offset + page.limit + 1))
    spans: dict[tuple[Any, ...], list[int]] = {}
    for day in days:
        spans.setdefault(tuple(view.name((day,)).values()), []).append(day)
    wanted = page.of([*spans.values()])
    rows: list[Row] = []
    if wanted:
        within = scope._replace(since_day=wanted[-1][-1], until_day=wanted[0][0])
        groups = _grouped(view, stored.cells(reader, view.group, within, priced.eras))
        ordered = (groups[key] for key in sorted(groups))
        rows = [{**named, **figures(found, priced)} for named, found in ordered]
    whole = total(reader, scope, priced)
    more = len(spans) > page.offset + len(rows)
    return Report(rows, whole, sorted(priced.unpriced), more)


def _grouped(view: View, cells: Iterable[Cell]) -> dict[tuple[Any, ...], tuple[Row, list[Cell]]]:
    """Return the groups of a view: what each is called, and its cells."""
    groups: dict[tuple[Any, ...], tuple[Row, list[Cell]]] = {}
    for cell in cells:
        named = view.name(cell.group)
        groups.setdefault(tuple(named.values()), (named, []))[1].append(cell)
    return groups


def _dearest(row: Row) -> tuple[float, int]:
    return -(row["cost_usd"] or 0), -(row["total_tokens"] or 0)


def by_session(reader: Rows, scope: Scope, prices: PriceTable, page: Page) -> Report:
    """Return the report of sessions, the one that was used last first.

    ``session_reported_cost_usd`` is what Claude Code itself said of the whole session.
    """
    priced = Priced(prices)
    most = page.limit + 1 if page.limit else -1
    names = stored.sessions(reader, scope, most, page.offset)
    shown = names[: page.limit or None]
    cells: dict[int, list[Cell]] = {}
    only = [each.number for each in shown]
    found = stored.cells(reader, "session", scope, priced.eras, only) if only else []
    for cell in found:
        cells.setdefault(cell.group[0], []).append(cell)
    rows = [
        {
            "session_id": each.session_id,
            "platform": each.platform,
            "project": each.project,
            "last_ms": each.last_ms,
            **figures(cells.get(each.number, []), priced),
            "session_reported_cost_usd": each.reported_cost_usd,
        }
        for each in shown
    ]
    return Report(
        rows, total(reader, scope, priced), sorted(priced.unpriced), len(names) > len(shown)
    )


def total(reader: Rows, scope: Scope, priced: Priced) -> Row:
    """Return the total of a scope."""
    return figures(stored.cells(reader, "all", scope, priced.eras), priced)
