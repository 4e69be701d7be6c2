"""What reports have in common: which days and rows are asked for, and in which form.

Owns the options ``--since``, ``--until``, ``--period``, ``--platform``, ``--project``, ``--limit``,
``--offset`` and ``--format``, and a report as JSON, as CSV, as a table or as a chart.
Promises that a cell of CSV is no formula to a spreadsheet, and that foreign text steers nothing.
Leaves the rows to the commands, drawing to ``output.py`` and ``bars.py``.
"""

import csv
import re
import sys
from codecs import StreamWriter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Final, Literal, NamedTuple, TextIO, TypeVar

import click

from blueplane.days import date_of, day_of, today
from blueplane.errors import UsageError
from blueplane.interfaces.cli import visible
from blueplane.interfaces.cli.lazy import load
from blueplane.interfaces.cli.near import OneOf, hint
from blueplane.interfaces.cli.options import home_option
from blueplane.interfaces.cli.output import Row, Table, render, render_json
from blueplane.interfaces.cli.values import complete_platform, complete_project

ReportForm = Literal["table", "json", "csv", "chart"]

#: Rows of a table or a chart unless somebody says how many; programs get all.
ROWS: Final = 30
_AGO: Final = re.compile(r"([0-9]{1,5})([dwmy])")
_DAYS: Final = {"d": 1, "w": 7, "m": 30, "y": 365}
_DAY_FORMS: Final = "write 2026-01-31, today, yesterday, or 7d, 6w, 3m, 1y ago"
_PERIODS: Final = "today, yesterday, week, month, year, all, or the last 7d, 6w, 3m, 1y"
#: How a spreadsheet knows a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")

_F = TypeVar("_F", bound=Callable[..., Any])


class Asked(NamedTuple):
    """What a report is to be of, and how it is to be shown; a None is all."""

    since_day: int | None
    until_day: int | None
    platform: str | None
    project: str | None
    limit: int
    offset: int
    form: ReportForm


_SPAN: Final = (
    click.option("--since", metavar="DAY", help="From this day on: 2026-01-31, yesterday, 7d."),
    click.option("--until", metavar="DAY", help="Up to this day, with it."),
    click.option("--period", metavar="SPAN", help=f"{_PERIODS.capitalize()}."),
    click.option("--platform", metavar="NAME", shell_complete=complete_platform,
                 help="Only of this platform, as claude_code."),
    click.option("--project", metavar="NAME", shell_complete=complete_project,
                 help="Only of this project."),
    home_option,
)  # fmt: skip
_OPTIONS: Final = (
    *_SPAN[:-1],
    click.option(
        "--limit",
        type=click.IntRange(min=0),
        metavar="N",
        help=f"Rows to show, 0 for all; {ROWS} in a table or a chart, else all.",
    ),
    click.option("--offset", type=click.IntRange(min=0), default=0, metavar="N",
                 help="Rows to pass over first."),
    click.option("--format", "form", type=OneOf(["table", "json", "csv", "chart"]),
                 default="table", show_default=True, help="For people, or for programs."),
    home_option,
)  # fmt: skip


def report_options(command: _F) -> _F:
    """Give a command the options of a report; it gets them as ``home`` and ``said``."""
    return _with(_OPTIONS, command)


def span_options(command: _F) -> _F:
    """Give a command those options of a report that say of what it is."""
    return _with(_SPAN, command)


def _with(options: Sequence[Callable[[_F], _F]], command: _F) -> _F:
    for option in reversed(options):
        command = option(command)
    return command


def read_span(said: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Read which days are wanted; raise UsageError for what is none, or ends before it begins."""
    if said["period"] and (said["since"] or said["until"]):
        message = "--period has its own days: leave it out, or --since and --until"
        raise UsageError(message)
    since, until = _span(said)
    if since is not None and until is not None and since > until:
        message = f"--since {date_of(since)} is after --until {date_of(until)}"
        raise UsageError(message)
    return since, until


def read_asked(said: Mapping[str, Any]) -> Asked:
    """Read the options of a report, and raise as ``read_span`` does."""
    since, until = read_span(said)
    limit = said["limit"]
    if limit is None:
        limit = ROWS if said["form"] in {"table", "chart"} else 0
    chosen = (said["platform"], said["project"], limit, said["offset"], said["form"])
    return Asked(since, until, *chosen)


def _span(said: Mapping[str, Any]) -> tuple[int | None, int | None]:
    if said["period"]:
        return _period(said["period"].lower())
    days = [None if said[n] is None else _day(n, said[n].lower()) for n in ("since", "until")]
    return days[0], days[1]


def _day(option: str, text: str) -> int:
    now = today()
    named = {"today": now, "yesterday": now - 1}
    if text in named:
        return named[text]
    ago = _AGO.fullmatch(text)
    if ago:
        return now - int(ago[1]) * _DAYS[ago[2]]
    try:
        return day_of(date.fromisoformat(text))
    except ValueError:
        message = f"--{option} {text!r} is no day: {_DAY_FORMS}"
        raise UsageError(message) from None


def _period(text: str) -> tuple[int | None, int | None]:
    if text == "all":
        return None, None
    now = today()
    when = date_of(now)
    begins = {
        "today": now,
        "yesterday": now - 1,
        "week": now - when.weekday(),
        "month": day_of(when.replace(day=1)),
        "year": day_of(when.replace(month=1, day=1)),
    }
    last = _AGO.fullmatch(text)
    if last and int(last[1]):
        return now - int(last[1]) * _DAYS[last[2]] + 1, now
    if text not in begins:
        message = f"--period {text!r} is none: {hint(text, {*begins, 'all'}, f'write {_PERIODS}')}"
        raise UsageError(message)
    return begins[text], now - 1 if text == "yesterday" else now


# --- forms ----------------------------------------------------------------------------------------


class Bars(NamedTuple):
    """How a row is drawn in a chart: what it is called, how long its bar is, what stands beside."""

    label: Callable[[Row], str]
    value: Callable[[Row], float | None]
    show: Callable[[float | None], str]


class Shown(NamedTuple):
    """A report in all its forms.

    ``fields`` are the columns of CSV, ``about`` is what JSON has beside rows and total.
    """

    table: Table
    fields: Sequence[str]
    bars: Bars
    about: Mapping[str, Any]
    empty: str


def show(shown: Shown, form: ReportForm) -> None:
    """Print a report; a table or a chart without rows is one line."""
    rows = shown.table.rows
    if form == "json":
        render_json({"rows": rows, "total": shown.table.total, **shown.about})
    elif form == "csv":
        write_csv(shown.fields, rows)
    elif not rows:
        click.echo(shown.empty)
    elif form == "chart":
        for line in load("bars", "drawn")(rows, *shown.bars):
            click.echo(line)
        click.echo(visible(shown.table.caption))
    else:
        render(shown.table, "table")


def write_csv(
    columns: Sequence[str], rows: Iterable[Row], stream: TextIO | StreamWriter | None = None
) -> None:
    """Write rows for spreadsheets, one at a time; unknown is an empty cell."""
    out = csv.writer(stream or sys.stdout, lineterminator="\n")
    out.writerow(columns)
    out.writerows([_csv_cell(row.get(column)) for column in columns] for row in rows)


def _csv_cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        value = "; ".join(map(str, value))
    if not isinstance(value, str):
        return value
    text = visible(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
