"""``blueplane insights``: what is worth a change, with the evidence.

Owns the command, and how an insight looks.
Promises nothing that is not in the figures of the days that it names.
Leaves the rules to ``analytics/insight_rules.py``.
"""

from collections.abc import Sequence
from typing import Any, Final

import click

from blueplane.analytics import insight_rules  # noqa: F401 - declares the rules
from blueplane.analytics.insights import FIELDS, RULES, ModelCost, Scene, as_row, what_rules_say
from blueplane.analytics.metrics.report import before
from blueplane.analytics.metrics.spans import vector_of
from blueplane.analytics.metrics.vector import Vector
from blueplane.analytics.paging import Page
from blueplane.analytics.usage_report import by_view
from blueplane.errors import UsageError
from blueplane.figures import count
from blueplane.interfaces.cli import visible
from blueplane.interfaces.cli.metric_scope import Span, read_period, span_of
from blueplane.interfaces.cli.metric_words import value_text
from blueplane.interfaces.cli.opening import opened_once
from blueplane.interfaces.cli.output import Row, broken, render_json
from blueplane.interfaces.cli.prices import prices_of
from blueplane.interfaces.cli.reporting import Asked, report_options, write_csv
from blueplane.paths import Home
from blueplane.store.reading import Reads
from blueplane.store.usage_reports import Scope

#: Cells of a line of a text, beside its margin.
_CELLS: Final = 74


@click.command()
@report_options
def insights(home: Home, **said: Any) -> None:  # noqa: ANN401 - of the options
    """Say what in your figures is worth a change: about productivity, errors
    and patterns, each with its evidence and one suggestion.

    \b
    blueplane insights                     the last 30 days
    blueplane insights --period 7d --project orchard
    blueplane insights --format json       for programs

    They follow from rules over what `blueplane metrics` shows; a rule needs some
    things to judge by, and says of how many (n) it did, and its threshold.
    """  # noqa: D205, D301 - click shows it as it stands, and wants the character of \b
    asked = read_period(said, every_row=True)
    if asked.form == "chart":
        message = "insights are no chart: write --format table, json or csv"
        raise UsageError(message)
    with opened_once(home, Reads) as reader:
        span = span_of(reader, asked)
        scene = _scene(home, reader, span)
    rows = Page(asked.limit, asked.offset).of(
        [{**as_row(each), **span.fields()} for each in what_rules_say(RULES, scene)]
    )
    _show(rows, span, asked, known=bool(scene.now))


def rows_of(vector: Vector) -> list[Row]:
    """Return what rules say of something alone: there is nothing before it, and no other."""
    return [as_row(each) for each in what_rules_say(RULES, Scene(vector, {}))]


def _scene(home: Home, reader: Reads, span: Span) -> Scene:
    past = vector_of(reader, before(span.scope)) if span.bounded else {}
    return Scene(vector_of(reader, span.scope), past, _costs(home, reader, span))


def _costs(home: Home, reader: Reads, span: Span) -> Sequence[ModelCost]:
    """Return what models cost, of those whose every call has a price."""
    prices = prices_of(home)
    report = by_view(reader, "model", Scope(*span.scope), prices, Page())
    return [
        ModelCost(row["model"], row["calls"], row["output_tokens"] or 0, row["cost_usd"])
        for row in report.rows
        if row["model"] and row["cost_usd"] is not None and not row["unpriced_calls"]
    ]


def _show(rows: Sequence[Row], span: Span, asked: Asked, *, known: bool) -> None:
    if asked.form == "json":
        about = {"period": span.fields(), "rules": sorted(RULES)}
        render_json({"rows": rows, "total": {"insights": len(rows)}, **about})
    elif asked.form == "csv":
        write_csv((*FIELDS, *span.fields()), rows)
    elif not known:
        click.echo(span.nothing())
    elif not rows:
        click.echo(f"{span.text()}: none of {count(len(RULES), 'rule')} has anything to say")
    else:
        click.echo("\n\n".join(text_of(row) for row in rows))
        click.echo(f"\n{count(len(rows), 'insight')} for {span.text()}")


def text_of(row: Row) -> str:
    """Return an insight in lines."""
    shown, threshold = (value_text(row["unit"], row[each]) for each in ("value", "threshold"))
    evidence = f"{row['metric']} {shown}, n {row['n']:,}, threshold {threshold}"
    lines = (row["finding"], f"Evidence: {evidence}", f"Try: {row['suggestion']}")
    texts = ["\n    ".join(broken(visible(line), _CELLS)) for line in lines]
    return "\n  ".join([f"{row['priority']}: {row['rule']} ({row['kind']})", *texts])
