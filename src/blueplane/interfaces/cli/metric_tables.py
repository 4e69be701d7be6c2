"""How reports of metrics look, in each form.

Owns the tables and charts of ``blueplane metrics``.
Promises a dash where there is no data, beside each figure of how many things it was made, and the
same figures in every form.
Leaves words to ``metric_words.py``, forms to ``reporting.py``.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, Final, NamedTuple

from rich.cells import cell_len

from blueplane.analytics.metrics.catalogue import Metric
from blueplane.analytics.metrics.report import IN_ORDER, Report
from blueplane.figures import UNKNOWN, count, number
from blueplane.interfaces.cli import MAX_WIDTH
from blueplane.interfaces.cli.metric_scope import Span
from blueplane.interfaces.cli.metric_words import (
    MARKS,
    MARKS_MEAN,
    broken_text,
    change_text,
    slope_text,
    value_text,
)
from blueplane.interfaces.cli.output import GAP, Column, Row, Table, cell, short_id
from blueplane.interfaces.cli.reporting import Bars, ReportForm, Shown, show

#: Columns that a figure takes at least.
_CELL: Final = 12
#: Columns that a group's name is given at most: enough for a model with its date.
_NAME: Final = 28
_MORE: Final = "there are more rows: --limit 0 shows all"


class Told(NamedTuple):
    """What is to be shown: a report of metrics and of days, and metrics that do not work."""

    report: Report
    metrics: Sequence[Metric]
    span: Span
    broken: Mapping[str, str]


def show_overview(told: Told, form: ReportForm) -> None:
    """Show a row for each figure; a table has a line for each category."""
    rows: Sequence[Row] = told.report.rows
    fields = [name for name in rows[0] if name != "parts"] if rows else ["metric"]
    if form == "table":
        rows = list(_lines(rows))
    total = {} if form == "table" else told.report.total
    _show(told, Table(_COLUMNS, rows, total, MARKS_MEAN), fields, form)


def _show(told: Told, table: Table, fields: Sequence[str], form: ReportForm) -> None:
    said = (told.span.text(), table.caption, broken_text(told.broken))
    table = Table(table.columns, table.rows, table.total, "; ".join(filter(None, said)))
    show(Shown(table, fields, _NO_BARS, _about(told), told.span.nothing()), form)


def _about(told: Told) -> Row:
    keys = ("category", "unit", "certainty", "better")
    return {
        "period": told.span.fields(),
        "metrics": {
            each.name: {key: getattr(each, key) or None for key in keys} for each in told.metrics
        },
        "broken_metrics": told.broken,
    }


# -- one row for each figure -----------------------------------------------------------------------

_COLUMNS: Final = (
    Column("metric", "metric", whole=True),
    Column("value", "value", justify="right", whole=True),
    Column("n", "n", justify="right", whole=True),
    Column("change", "change", justify="right", whole=True),
    Column("slope", "a day (days)", justify="right", whole=True),
)
_NO_BARS: Final = Bars(str, lambda _: None, str)


def _lines(rows: Sequence[Row]) -> Iterator[Row]:
    category = ""
    for row in rows:
        if row["category"] != category:
            category = row["category"]
            yield {column.key: "" for column in _COLUMNS} | {"metric": f"{category}:"}
        value = value_text(row["unit"], row["value"])
        yield {
            "metric": row["metric"],
            "value": value if row["value"] is None else value + MARKS[row["certainty"]],
            "n": number(row["n"]),
            "change": change_text(row),
            "slope": slope_text(row),
        }
        for name, points in (row["parts"] or {}).items():
            text = value_text(row["unit"], points)
            yield {column.key: "" for column in _COLUMNS} | {"metric": f"  {name}", "value": text}


# -- one row for each group ------------------------------------------------------------------------


def show_groups(told: Told, by: str, form: ReportForm) -> None:
    """Show a row for each group; a table has as many figures as there is room for."""
    rows = told.report.rows
    if form == "chart":
        _draw(told, by)
    elif form == "table":
        _show(told, _table(told, by), [], form)
    else:
        _show(told, Table((), rows, told.report.total), list(rows[0]) if rows else [by], form)


def _table(told: Told, by: str) -> Table:
    first = _first(by)
    shown = _fitting(told.metrics, MAX_WIDTH - _room_of(first, told.report.rows))
    columns = [first, *(Column(each.name, each.name, justify="right") for each in shown)]
    rows = [_texts(row, shown) for row in told.report.rows]
    total = told.report.total
    total = _texts(total, shown) if shown[0].name in total else {}
    left_out = len(told.metrics) - len(shown)
    said = ["n in brackets"]
    said += [f"{count(left_out, 'figure')} more: --metric"] if left_out else []
    said += [_MORE] if told.report.more else []
    return Table(columns, rows, total, "; ".join(said))


def _first(by: str) -> Column:
    if by == "session":
        return Column("session_id", by, short_id, whole=True)
    return Column(by, by, whole=by in IN_ORDER, name=by not in IN_ORDER)


def _room_of(first: Column, rows: Sequence[Row]) -> int:
    names = [first.title, *(cell(first, row) for row in rows)]
    return min(_NAME, max(map(cell_len, names)))


def _fitting(metrics: Sequence[Metric], room: int) -> Sequence[Metric]:
    """Return the first figures for which there is room, one at least."""
    count = 0
    for metric in metrics:
        room -= len(GAP) + max(len(metric.name), _CELL)
        count += room >= 0
    return metrics[: max(1, count)]


def _texts(row: Row, shown: Sequence[Metric]) -> dict[str, Any]:
    return {**row, **{each.name: _counted(row, each) for each in shown}}


def _counted(row: Row, metric: Metric) -> str:
    value = row[metric.name]
    if value is None:
        return UNKNOWN
    return f"{value_text(metric.unit, value)} ({number(row[f'{metric.name}_n'])})"


def _draw(told: Told, by: str) -> None:
    """Draw a chart for each figure."""
    first, rows = _first(by), told.report.rows
    for metric in told.metrics if rows else told.metrics[:1]:
        bars = Bars(
            lambda row: UNKNOWN if row[first.key] is None else first.show(row[first.key]),
            itemgetter(metric.name),
            partial(value_text, metric.unit),
        )
        caption = f"{metric.name}, {told.span.text()}"
        table = Table((), rows, {}, caption)
        show(Shown(table, [], bars, {}, told.span.nothing()), "chart")
