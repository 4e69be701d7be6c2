"""``blueplane sessions``: what became of each conversation with an agent.

Owns the command, and how the list looks.
Promises the newest first, a dash for what is unknown, and the total of ``usage`` for the same days.
Leaves the figures to ``analytics/session_report.py``, the forms to ``reporting.py``, one session to
``analyze.py``.
"""

from typing import Any, Final

import click

from blueplane.analytics.session_report import ORDERS
from blueplane.analytics.session_report import sessions as report_of
from blueplane.analytics.usage_report import Report
from blueplane.clock import wall_ms
from blueplane.errors import UsageError
from blueplane.figures import (
    UNKNOWN,
    brief_duration,
    brief_percent,
    dollars,
    moment,
    number,
    tokens,
)
from blueplane.interfaces.cli.cost_words import about_prices, cost_bars, cost_words
from blueplane.interfaces.cli.near import OneOf
from blueplane.interfaces.cli.opening import opened_once
from blueplane.interfaces.cli.output import Column, Row, Table, short_id
from blueplane.interfaces.cli.prices import prices_of
from blueplane.interfaces.cli.reporting import Asked, Shown, read_asked, report_options, show
from blueplane.interfaces.cli.usage import scope_of
from blueplane.paths import Home
from blueplane.store.reading import Reads
from blueplane.store.session_list import Figures, Wanted

#: Characters of the last word of why a session ended: enough for those of all editors.
_END: Final = 9
_PERCENT: Final = click.FloatRange(0, 100)


def _minute(at_ms: int) -> str:
    return moment(at_ms)[2:16]


def _last_word(reason: str) -> str:
    """Show why a session ended by what tells reasons apart: ``prompt_input_exit`` as ``exit``."""
    return reason.rsplit("_", 1)[-1][:_END]


_COLUMNS: Final = (
    Column("session_id", "session", short_id, whole=True),
    Column("platform", "platform", extra=True, name=True),
    Column("project", "project", name=True),
    Column("started_ms", "began", _minute, whole=True),
    Column("duration_ms", "took", brief_duration, "right", whole=True),
    Column("prompts", "asked", number, "right", whole=True, extra=True),
    Column("tool_calls", "tools", number, "right", whole=True),
    Column("acceptance_rate", "kept", brief_percent, "right", whole=True),
    Column("productivity_score", "score", lambda value: f"{value:.0f}", "right", whole=True),
    Column("total_tokens", "tokens", tokens, "right", whole=True, extra=True),
    Column("cost_usd", "cost", dollars, "right", whole=True),
    Column("ended_by", "end", _last_word, whole=True),
)
_FIELDS: Final = (
    "session_id", "platform", "project", "parent_id", "started_ms", "last_ms", "ended_by",
    "duration_ms", "prompts", "tool_calls", "failed", "acceptance_rate", "productivity_score",
)  # fmt: skip


@click.command()
@click.option("--min-acceptance", type=_PERCENT, metavar="PERCENT",
              help="With at least so many of its edits kept.")  # fmt: skip
@click.option("--max-acceptance", type=_PERCENT, metavar="PERCENT", help="With at most so many.")
@click.option("--min-productivity", type=_PERCENT, metavar="POINTS",
              help="With at least this score.")  # fmt: skip
@click.option("--with-errors", is_flag=True, help="In which a tool failed.")
@click.option("--sort", type=OneOf(ORDERS), default="last", show_default=True,
              metavar="ORDER",
              help=f"What is most, or latest, first: {', '.join(ORDERS)}.")  # fmt: skip
@report_options
def sessions(home: Home, sort: str, **said: Any) -> None:  # noqa: ANN401 - of the options
    """List sessions: when each was, what was done, what it cost, how it ended.

    \b
    blueplane sessions --period week           this week's
    blueplane sessions --with-errors           in which tools failed
    blueplane sessions --sort cost --limit 5   the dearest
    blueplane analyze last                     all of the newest

    Tokens and cost are of the days and project asked for and sum to what
    `usage` shows; the other figures are of the whole session. `kept` is the
    share of its edits that were accepted, `score` its productivity (0 to 100,
    from 5 tool calls on). A session ends as its editor says, or is `idle` after
    30 minutes; else it is `open`.
    """  # noqa: D301 - click shows it as it stands, and wants the character of \b
    asked = read_asked(said)
    figures = _figures(said)
    prices = prices_of(home)
    with opened_once(home, Reads) as reader:
        scope = scope_of(reader, asked)
        wanted = Wanted(scope, figures, sort, asked.limit or -1, asked.offset)
        report = report_of(reader, wanted, prices, wall_ms())
    show(_shown(report, prices.as_of, _nothing(asked, figures)), asked.form)


def _figures(said: dict[str, Any]) -> Figures:
    least, most = (_of_one(said[f"{which}_acceptance"]) for which in ("min", "max"))
    if least is not None and most is not None and least > most:
        message = "--min-acceptance is more than --max-acceptance: no session can have both"
        raise UsageError(message)
    return Figures(least, most, said["min_productivity"], said["with_errors"])


def _of_one(percent: float | None) -> float | None:
    return None if percent is None else percent / 100


def _shown(report: Report, as_of: str, empty: str) -> Shown:
    table = Table(_COLUMNS, report.rows, report.total, _caption(report, as_of))
    fields = list(report.rows[0]) if report.rows else [*_FIELDS, *_usage_fields(report)]
    return Shown(table, fields, cost_bars(report, _label), about_prices(report, as_of), empty)


def _usage_fields(report: Report) -> list[str]:
    return [name for name in report.total if name not in {*_FIELDS, "sessions"}]


def _caption(report: Report, as_of: str) -> str:
    said = [f"{number(report.total['sessions'])} sessions", *cost_words(report, as_of)]
    if report.more:
        said.append("--limit 0 shows all; the total is of all")
    return "; ".join(said)


def _label(row: Row) -> str:
    return f"{short_id(row['session_id'])} {row['project'] or UNKNOWN}"


def _nothing(asked: Asked, figures: Figures) -> str:
    if figures != Figures() or asked[:4] != (None,) * 4:
        return "no sessions: none is as was asked for"
    return "no sessions yet: they are listed as the editors tell of them; see `blueplane status`"
