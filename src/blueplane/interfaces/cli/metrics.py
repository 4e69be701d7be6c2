"""``blueplane metrics``: what people did with their agents, as figures.

Owns the command, and which figures it shows.
Promises to show any figure by its name, and an error that names the nearest for a name of none.
Leaves the figures to ``analytics/metrics``, how they look to ``metric_tables.py``.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, NoReturn

import click

from blueplane.analytics.metrics.additions import known_metrics
from blueplane.analytics.metrics.catalogue import Metric
from blueplane.analytics.metrics.parts import PARTS
from blueplane.analytics.metrics.report import GROUPS, grouped, overview
from blueplane.analytics.paging import Page
from blueplane.errors import UsageError
from blueplane.interfaces.cli.metric_scope import read_period, span_of
from blueplane.interfaces.cli.metric_tables import Told, show_groups, show_overview
from blueplane.interfaces.cli.near import OneOf, hint
from blueplane.interfaces.cli.opening import opened_once
from blueplane.interfaces.cli.reporting import ReportForm, report_options
from blueplane.interfaces.cli.values import completing
from blueplane.paths import Home
from blueplane.store.reading import Reads

#: The figures of a group when none are chosen; a chart has the first.
_HEAD: Final = ("error_rate", "acceptance_rate", "lines_net", "productivity_score")
_HEAD_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "tool": ("tool_calls", "error_rate", "tool_execution_p50_ms", "tool_execution_p95_ms"),
    "model": ("model_calls", "output_tokens", "error_rate", "input_tokens",
              "cache_read_share"),
    "extension": ("files_changed", "edits"),
    "pair": ("times",),
    "triple": ("times",),
    "subagent": ("subagents", "subagent_success_rate", "subagent_duration_p50_ms",
                 "subagent_duration_p95_ms"),
    "evidence": ("acceptance_rate", "partial_rate", "rejection_rate"),
}  # fmt: skip
#: Of spreads, what a table leaves out unless somebody chooses figures.
_ENDS: Final = re.compile(r"(?<!_per)_(min|max|p99)(_[a-z]+)?\Z")
#: Names that an error lists at most.
_LISTED: Final = 12


def _every() -> Iterable[Metric]:
    return known_metrics().metrics.values()


@click.command()
@click.option("--group-by", "by", type=OneOf(GROUPS), metavar="NAME",
              help=f"A row for each {', '.join(GROUPS[:-1])} or {GROUPS[-1]}.")  # fmt: skip
@click.option(
    "--category",
    metavar="NAME",
    shell_complete=completing(lambda: sorted({each.category for each in _every()})),
    help="Only figures of it, as errors or latency.",
)
@click.option(
    "--metric",
    "names",
    multiple=True,
    metavar="NAME",
    shell_complete=completing(lambda: [each.name for each in _every()]),
    help="Only this figure, `*` standing for anything; as often as you like.",
)
@report_options
def metrics(
    home: Home,
    by: str | None,
    category: str | None,
    names: tuple[str, ...],
    **said: Any,  # noqa: ANN401 - of the options
) -> None:
    """Show what you did with your agents as figures, and how they change:
    latency, throughput, errors, acceptance, tools, code, rhythm, context.

    \b
    blueplane metrics                          the last 30 days
    blueplane metrics --category errors        one kind, in full
    blueplane metrics --group-by tool          which tools fail, which are slow
    blueplane metrics --metric error_rate --format chart

    Beside each figure are the number of things that it was made of (n), the
    change against the period of the same length before, and by how much it
    grows a day, with the number of days. `--period all` is everything.
    """  # noqa: D205, D301 - click shows it as it stands, and wants the character of \b
    asked = read_period(said, every_row=by is None)
    if asked.form == "chart":
        by = by or "day"
    known = known_metrics()
    there = PARTS[by].metrics if by is not None and by in PARTS else known.metrics
    chosen = _named(_of_category(there, category), names)
    if not names:
        chosen = _fewer(chosen, by, asked.form, whole=category is not None)
    with opened_once(home, Reads) as reader:
        span = span_of(reader, asked)
        page = Page(asked.limit, asked.offset)
        if by is None:
            report = overview(reader, span.scope, chosen, bounded=span.bounded)
            report = report._replace(rows=page.of(report.rows))
        else:
            report = grouped(reader, span.scope, by, chosen, page)
    told = Told(report, chosen, span, known.broken)
    if by is None:
        show_overview(told, asked.form)
    else:
        show_groups(told, by, asked.form)


def _of_category(there: Mapping[str, Metric], category: str | None) -> list[Metric]:
    found = [each for each in there.values() if category in (None, each.category)]
    if not found:
        categories = {each.category for each in there.values()}
        _refuse("category", str(category), categories)
    return found


def _fewer(there: list[Metric], by: str | None, form: ReportForm, *, whole: bool) -> list[Metric]:
    """Return what is shown of figures of which none is named, ``whole`` if of one category."""
    if by is not None and not whole:
        known = {each.name: each for each in there}
        head = [known[name] for name in _HEAD_OF.get(by, _HEAD)]
        return head[:1] if form == "chart" else head
    if form == "table" and (by is not None or not whole):
        return [each for each in there if not _ENDS.search(each.name)]
    return there


def _named(there: Sequence[Metric], names: Sequence[str]) -> list[Metric]:
    for name in names:
        if not any(_fits(each, [name]) for each in there):
            _refuse("metric", name, {each.name for each in there})
    return [each for each in there if not names or _fits(each, names)]


def _fits(metric: Metric, names: Iterable[str]) -> bool:
    return any(fnmatchcase(metric.name, name) for name in names)


def _refuse(what: str, said: str, names: set[str]) -> NoReturn:
    some = ", ".join(sorted(names)[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
    message = f"no {what} {said!r} here; {hint(said, names, f'there are {some}')}"
    raise UsageError(message)
