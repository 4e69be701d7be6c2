"""``blueplane usage``: tokens and what they cost.

Owns the command, and how each view looks.
Promises figures of derived tables alone, a dash for what is unknown, and the same total in every
view of the same days.
Leaves the figures to ``analytics/``, the forms to ``reporting.py``, a live block to
``block_screen.py``.
"""

from collections.abc import Mapping
from typing import Any, Final

import click

from blueplane.analytics.blocks import by_block
from blueplane.analytics.paging import Page
from blueplane.analytics.prices import PriceTable
from blueplane.analytics.usage_report import Report, by_session, by_view
from blueplane.clock import wall_ms
from blueplane.errors import NotFoundError, UsageError
from blueplane.figures import UNKNOWN, dollars, moment, number, tokens
from blueplane.interfaces.cli.cost_words import about_prices, cost_bars, cost_words
from blueplane.interfaces.cli.lazy import load
from blueplane.interfaces.cli.near import OneOf, hint
from blueplane.interfaces.cli.opening import opened_once
from blueplane.interfaces.cli.output import Column, Row, Table, short_id
from blueplane.interfaces.cli.prices import prices_of
from blueplane.interfaces.cli.reporting import (
    Asked,
    Bars,
    Shown,
    read_asked,
    report_options,
    show,
)
from blueplane.paths import Home
from blueplane.store import usage_reports as stored
from blueplane.store.reading import Reads
from blueplane.store.usage_reports import Rows, Scope

_NAMES: Final = ("daily", "weekly", "monthly", "session", "model", "project", "branch", "platform",
                 "blocks")  # fmt: skip


def _minute(at_ms: int) -> str:
    return moment(at_ms)[:16]


_FIRST: Final[Mapping[str, tuple[Column, ...]]] = {
    "daily": (Column("day", "day", whole=True),),
    "weekly": (Column("week", "week of", whole=True),),
    "monthly": (Column("month", "month", whole=True),),
    "session": (
        Column("session_id", "session", short_id, whole=True),
        Column("project", "project", name=True),
        Column("last_ms", "last used", _minute, whole=True),
    ),
    "model": (Column("model", "model", name=True),),
    "project": (Column("project", "project", name=True),),
    "branch": (Column("project", "project", name=True), Column("branch", "branch", name=True)),
    "platform": (Column("platform", "platform", name=True),),
    "blocks": (
        Column("platform", "platform", name=True),
        Column("start_ms", "block begins", _minute, whole=True),
    ),
}
_KINDS: Final = (
    Column("input_tokens", "input", tokens, "right", whole=True),
    Column("output_tokens", "output", tokens, "right", whole=True),
    Column("cache_creation_tokens", "cache write", tokens, "right", whole=True),
    Column("cache_read_tokens", "cache read", tokens, "right", whole=True),
)
_TOTALS: Final = (
    Column("total_tokens", "tokens", tokens, "right", whole=True),
    Column("cost_usd", "cost est.", dollars, "right", whole=True),
)
#: Kinds of tokens that the first columns of a view leave room for on a terminal.
_ROOM: Final[Mapping[str, tuple[Column, ...]]] = {
    **dict.fromkeys(("daily", "weekly", "monthly"), _KINDS),
    "platform": _KINDS[:2],
    **dict.fromkeys(("model", "project"), _KINDS[1:2]),
}
#: Options that choose among blocks, and what they are when nobody says them.
_NOT_LIVE: Final = {**dict.fromkeys(("since", "until", "period", "limit")), "offset": 0}
_CALLS: Final = Column("calls", "calls", number, "right", whole=True)
_REPORTED: Final = Column("reported_cost_usd", "reported", dollars, "right", whole=True)


@click.command()
@click.argument("view", type=OneOf(_NAMES), metavar="[VIEW]", default="daily")
@click.option("--live", is_flag=True, help="With blocks: the current one, and where it leads.")
@report_options
def usage(home: Home, view: str, *, live: bool, **said: Any) -> None:  # noqa: ANN401 - of the options
    """Show tokens and what they cost: daily, weekly, monthly, or by session,
    model, project, branch, platform, or blocks of five hours.

    \b
    blueplane usage                            the last days
    blueplane usage model --period month       this month by model
    blueplane usage blocks --live              the block that is under way
    blueplane usage session --format csv       all sessions, for a spreadsheet

    Days are those of this machine's time zone. Cost is an estimate: tokens times
    the price of the model on the day, of a bundled table that `prices.models` in
    the configuration adds to. A model without a price is named, and not priced.
    """  # noqa: D205, D301 - click shows it as it stands, and wants the character of \b
    asked = read_asked(said)
    prices = prices_of(home)
    if live:
        _check_live(view, asked, said)
        with opened_once(home, Reads) as reader:
            scope_of(reader, asked)  # refuses a name that nothing has
        load("block_screen", "run")(home, asked, prices)
        return
    with opened_once(home, Reads) as reader:
        scope = scope_of(reader, asked)
        report = _report(reader, view, scope, prices, asked)
    show(_shown(view, report, prices, asked), asked.form)


def _check_live(view: str, asked: Asked, said: Mapping[str, Any]) -> None:
    if view != "blocks":
        message = "--live is of blocks: `blueplane usage blocks --live`"
        raise UsageError(message)
    if asked.form not in {"table", "json"}:
        message = f"--live has no {asked.form}: take --format table or json, or leave out --live"
        raise UsageError(message)
    if others := [f"--{name}" for name, unsaid in _NOT_LIVE.items() if said[name] != unsaid]:
        message = f"--live is of the one block that runs now: leave out {', '.join(others)}"
        raise UsageError(message)


def _shown(view: str, report: Report, prices: PriceTable, asked: Asked) -> Shown:
    first = _FIRST[view]
    columns = [*first, _CALLS, *_ROOM.get(view, ()), *_TOTALS]
    if report.total["reported_cost_usd"] is not None and _KINDS[0] not in columns:
        columns.append(_REPORTED)
    fields = report.rows[0] if report.rows else [*(each.key for each in first), *report.total]
    table = Table(columns, report.rows, report.total, _caption(report, prices))
    about = about_prices(report, prices.as_of)
    return Shown(table, list(fields), _bars(view, report), about, _nothing(asked))


def scope_of(reader: Rows, asked: Asked) -> Scope:
    """Return the scope that is asked for; raise NotFoundError for a name that nothing has."""
    for name, known in (("platform", stored.platforms), ("project", stored.projects)):
        said = getattr(asked, name)
        if said is not None and said not in (names := known(reader)):
            there = hint(said, names, f"`blueplane usage {name}` lists them")
            message = f"no usage of the {name} {said!r}; {there}"
            raise NotFoundError(message)
    return Scope(asked.since_day, asked.until_day, asked.platform, asked.project)


def _report(reader: Rows, view: str, scope: Scope, prices: PriceTable, asked: Asked) -> Report:
    page = Page(asked.limit, asked.offset)
    if view == "session":
        return by_session(reader, scope, prices, page)
    if view == "blocks":
        return by_block(reader, scope, prices, page, wall_ms())
    return by_view(reader, view, scope, prices, page)


def _caption(report: Report, prices: PriceTable) -> str:
    said = cost_words(report, prices.as_of)
    if report.more:
        said.append("there are more rows: --limit 0 shows all; the total is of all")
    return "; ".join(said)


def _bars(view: str, report: Report) -> Bars:
    first = _FIRST[view]

    def label(row: Row) -> str:
        values = [(column, row[column.key]) for column in first]
        return " ".join(UNKNOWN if each is None else column.show(each) for column, each in values)

    return cost_bars(report, label)


def _nothing(asked: Asked) -> str:
    narrowed = (asked.since_day, asked.until_day, asked.platform, asked.project)
    if any(each is not None for each in narrowed):
        return "no usage: nothing that was asked for has any"
    return "no usage yet: it is counted as the editors tell of it; `blueplane status` says whether"
