"""How a session that is analyzed looks to people.

Owns the columns of each part.
Promises that each part says so when it is empty, and a dash for what is unknown.
Leaves the rows to ``analyze.py``, drawing to ``output.py``.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import click

from blueplane.analytics.metrics.catalogue import OUTCOMES
from blueplane.figures import UNKNOWN, count, dollars, milliseconds, moment, number, tokens
from blueplane.interfaces.cli import visible
from blueplane.interfaces.cli.insights import text_of
from blueplane.interfaces.cli.metric_words import value_text
from blueplane.interfaces.cli.output import Column, Fact, Row, Table, cut, render, render_facts

#: What is left out of a spread on a screen.
_DETAIL: Final = re.compile(r"(?<!_per)_(avg|min|max|p99)(_[a-z]+)?\Z")
#: Sequences that are shown.
_SEQUENCES: Final = 8


def _right(key: str, title: str = "", show: Any = number) -> Column:  # noqa: ANN401 - as Column has it
    return Column(key, title or key, show, "right", whole=True)


_FIGURES: Final = (
    Column("category", "category", whole=True),
    Column("name", "figure"),
    Column("text", "value", justify="right", whole=True),
    Column("n", "n", justify="right", whole=True),
    Column("certainty", "certainty", whole=True),
)
_TOOLS: Final = (
    Column("tool", "tool", name=True),
    _right("calls"),
    *(_right(each, each if each != "interrupted" else "stopped") for each in OUTCOMES),
    _right("p50_ms", "p50", milliseconds),
    _right("p95_ms", "p95", milliseconds),
    _right("p99_ms", "p99", milliseconds),
)
_SEQUENCE: Final = (Column("sequence", "sequence", name=True), _right("times"))
_FILES: Final = (
    Column("file", "file", name=True),
    _right("edits"),
    _right("lines_added", "added"),
    _right("lines_removed", "removed"),
    _right("accepted", "kept"),
    _right("provisional", "so far"),
    _right("modified", "changed"),
    _right("rejected", "undone"),
    _right("undecided", "open"),
)
_TIMELINE: Final = (
    Column("when", "when", whole=True),
    Column("what", "what", name=True),
    Column("outcome", "outcome"),
    _right("duration_ms", "took", milliseconds),
    Column("detail", "detail"),
    Column("seen", "seen by", whole=True),
)


def show(answer: Mapping[str, Any]) -> None:
    """Print the session, and the parts that are there; its figures where there are none."""
    render_facts(_facts(answer["session"]))
    if answer.keys() == {"session", "figures"}:
        _part_of_figures(answer["figures"])
    if "tools" in answer:
        _part("Tools", Table(_TOOLS, answer["tools"]), "no tool was called")
        _part_of_sequences(answer["sequences"])
    if "files" in answer:
        _part("Files", Table(_FILES, answer["files"]), "no file was edited")
    if "timeline" in answer:
        rows = _entries(answer["timeline"])
        _part("Timeline", Table(_TIMELINE, rows), "nothing is known of what happened when")
    if "insights" in answer:
        rows = answer["insights"]
        said = "\n\n".join(text_of(row) for row in rows) or "no rule has anything to say"
        click.echo(f"\nInsights\n{said}")


def _part(title: str, table: Table, empty: str) -> None:
    click.echo(f"\n{title}" if title else "")
    if table.rows:
        render(table, "table")
    else:
        click.echo(empty)


def _part_of_figures(rows: Sequence[Row]) -> None:
    shown = [line for row in rows if _is_shown(row) for line in _lines(row)]
    _part("", Table(_FIGURES, shown), "no figures yet: they come a moment after the events")


def _lines(row: Row) -> Iterator[Row]:
    """Yield a figure, and below it what it was added up from."""
    yield {**row, "text": value_text(row["unit"], row["value"]), "n": number(row["n"])}
    for name, value in (row["parts"] or {}).items():
        text = value_text(row["unit"], value)
        yield dict.fromkeys(row, "") | {"name": f"  {name}", "text": text}


def _part_of_sequences(rows: Sequence[Row]) -> None:
    if rows:
        more = len(rows) - _SEQUENCES
        caption = f"and {number(more)} more: --format json has all" if more > 0 else ""
        click.echo()
        render(Table(_SEQUENCE, rows[:_SEQUENCES], caption=caption), "table")


def _facts(session: Row) -> list[Fact]:
    ended = session["ended_by"]
    facts = {
        "session": session["session_id"],
        "platform": session["platform"],
        "project": session["project"] or UNKNOWN,
        "sub-agent of": session["parent_id"],
        "began": moment(session["started_ms"])[:19],
        "took": milliseconds(session["duration_ms"]),
        "end": UNKNOWN if ended is None else ended,
        "prompts": number(session["prompts"]),
        "tool calls": _calls(session),
        "tokens": _used(session),
        "cost": _cost(session["cost_usd"]),
        "models": ", ".join(session["models"]) or UNKNOWN,
    }
    return [Fact(label, text) for label, text in facts.items() if text is not None]


def _calls(session: Row) -> str:
    failed = session["failed"]
    return number(session["tool_calls"]) + (f", {number(failed)} failed" if failed else "")


def _used(session: Row) -> str:
    calls = session["calls"]
    return f"{tokens(session['total_tokens'])} in {count(calls, 'call')}" if calls else UNKNOWN


def _cost(cost_usd: float | None) -> str:
    return UNKNOWN if cost_usd is None else f"{dollars(cost_usd)} (estimate)"


def _is_shown(row: Row) -> bool:
    return row["value"] is not None and not _DETAIL.search(row["name"])


# --- timeline -------------------------------------------------------------------------------------


def _entries(rows: Sequence[Row]) -> list[Row]:
    """Return entries as they are shown, with a date where there are several."""
    moments = [moment(row["at_ms"]) for row in rows]
    begin = 5 if len({each[:10] for each in moments if each != UNKNOWN}) > 1 else 11
    return [
        {**_entry(row), "when": None if each == UNKNOWN else each[begin:19]}
        for row, each in zip(rows, moments, strict=True)
    ]


def _entry(row: Row) -> Row:
    """Return an entry as it is shown; what a sub-agent did is indented."""
    seen = "+".join(row["seen_by"])
    what = f"{'  ' * row['depth']}{row['kind']} {row['name'] or ''}".rstrip()
    return {**row, "what": what, "detail": _detail(row) or None, "seen": seen}


def _detail(row: Row) -> str:
    said = []
    if row["prompt"] is not None:
        said.append(cut(visible(row["prompt"])))
    elif row["chars"] is not None:
        said.append(f"{number(row['chars'])} characters")
    if row["file"] is not None:
        said.append(cut(visible(row["file"])))
    if row["lines_added"] is not None or row["lines_removed"] is not None:
        said.append(f"+{number(row['lines_added'])} -{number(row['lines_removed'])}")
    if row["joined_by"] == "time":
        said.append("(by time)")
    return " ".join(said)
