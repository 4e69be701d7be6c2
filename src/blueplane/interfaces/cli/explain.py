"""``blueplane explain``: what a figure is made of, down to file and line.

Owns the command, and how an explanation looks.
Promises the formula in words, the numbers that went in, the parts, and what they add up to beside
what reports show.
Leaves taking apart to ``analytics/explaining.py``, files to ``spots.py``.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Final, NoReturn

import click

from blueplane.analytics.explaining import (
    USAGE,
    Explained,
    Row,
    Wanted,
    explain_metric,
    explain_usage,
)
from blueplane.analytics.metrics.additions import known_metrics
from blueplane.analytics.metrics.catalogue import CATALOGUE
from blueplane.errors import UsageError
from blueplane.figures import UNKNOWN, moment, number, percent
from blueplane.interfaces.cli import visible
from blueplane.interfaces.cli.opening import opened_once
from blueplane.interfaces.cli.options import format_option
from blueplane.interfaces.cli.output import (
    Column,
    Fact,
    Form,
    Table,
    render,
    render_facts,
    render_json,
    short_id,
)
from blueplane.interfaces.cli.prices import prices_of
from blueplane.interfaces.cli.reporting import read_span, span_options
from blueplane.interfaces.cli.scoping import check_names
from blueplane.interfaces.cli.session_names import find_session
from blueplane.interfaces.cli.spots import Files, spotted
from blueplane.interfaces.cli.values import complete_session, completing
from blueplane.paths import Home
from blueplane.store.queries import Reader
from blueplane.store.usage_reports import Scope

#: Parts that are shown unless somebody says how many.
_PARTS: Final = 20
_NAMES: Final = (*(f"usage.{name}" for name in USAGE), *(f"metrics.{name}" for name in CATALOGUE))
_EXAMPLES: Final = "write it as usage.cost_usd or metrics.error_rate"
#: Columns of the figures of a record.
_FIGURES: Final = (
    "value", "took_ms", "lines_added", "lines_removed", "chars", "response_ms"
)  # fmt: skip


@click.command()
@click.argument("figure", shell_complete=completing(lambda: _NAMES))
@click.option("--day", metavar="DAY", help="Of this day: 2026-01-31, yesterday, 7d.")
@click.option("--session", metavar="ID", shell_complete=complete_session,
              help="Of this session: its id, its beginning, or `last`.")  # fmt: skip
@click.option("--model", metavar="NAME", help="Of usage: of this model.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=_PARTS,
    show_default=True,
    help="Parts to show, the largest first.",
)
@format_option
@span_options  # fmt: skip
def explain(home: Home, figure: str, form: Form, limit: int, **said: Any) -> None:  # noqa: ANN401 - of the options
    """Show what a figure is made of: which calls, tool calls, edits, lines and files.

    \b
    blueplane explain usage.output_tokens --day yesterday
    blueplane explain usage.cost_usd --session 386ccc3b --model claude-haiku-4-5
    blueplane explain metrics.error_rate --session 386ccc3b

    A figure of metrics is made of sessions, and of a session of what happened in
    it. Lines are looked up in the transcripts on this disk, where they still are;
    at the level `strict` a file is shown without its directory.
    """  # noqa: D301 - click wants the character, not its name
    group, name = _named(figure, said["model"])
    with opened_once(home, Reader) as reader:
        wanted = _wanted(reader, limit, said)
        if group == "usage":
            found = explain_usage(reader, name, wanted, prices_of(home))
        else:
            _check_whole(wanted)
            found = explain_metric(reader, name, wanted)
        files = Files(home)
        rows = spotted(reader, files, found)
    if form == "json":
        _render_json(figure, found, rows)
    elif found.parts or found.value is not None:
        _show(figure, found, rows, files)
    else:
        click.echo(f"{figure} is {UNKNOWN}: there is nothing that it would be made of")


def _named(figure: str, model: str | None) -> tuple[str, str]:
    """Return group and name of a figure; raise UsageError for what cannot be explained."""
    group, _, name = figure.partition(".")
    if figure not in _NAMES:
        _refuse(figure, group, name)
    if model is not None and group != "usage":
        message = "--model is of usage: metrics are of sessions, days and projects"
        raise UsageError(message)
    return group, name


def _refuse(figure: str, group: str, name: str) -> NoReturn:
    makers = known_metrics().makers
    if group == "metrics" and name in makers:
        shown = f"`blueplane metrics --metric {name}` shows it"
        message = f"{figure} is of the package {makers[name]}, which alone knows how; {shown}"
        raise UsageError(message)
    names = [*_NAMES, *(f"metrics.{each}" for each in makers)]
    bare = figure.rpartition(".")[2]
    close = [each for each in names if each.endswith(f".{bare}")]
    close = close or get_close_matches(figure, names, n=2)
    hint = f"did you mean {' or '.join(close)}?" if close else _EXAMPLES
    message = f"no figure {figure!r}; {hint}"
    raise UsageError(message)


def _wanted(reader: Reader, limit: int, said: dict[str, Any]) -> Wanted:
    if said["day"] is not None:
        if said["since"] or said["until"] or said["period"]:
            message = "--day is one day: leave out --since, --until and --period"
            raise UsageError(message)
        said = {**said, "since": said["day"], "until": said["day"]}
    since, until = read_span(said)
    scope = Scope(since, until, said["platform"], said["project"])
    check_names(reader, scope)
    session = None if said["session"] is None else find_session(reader, said["session"]).number
    return Wanted(scope, session, said["model"], limit)


def _check_whole(wanted: Wanted) -> None:
    """Raise UsageError where days, or a project, of a session are asked for."""
    if wanted.session is not None and wanted.scope != Scope():
        message = "a figure of metrics is of a whole session: leave out days, platform and project"
        raise UsageError(message)


# -- showing ---------------------------------------------------------------------------------------


def _render_json(figure: str, found: Explained, rows: Sequence[Row]) -> None:
    head = {
        "figure": figure, "value": found.value, "unit": found.unit,
        "certainty": found.certainty, "formula": found.words, "inputs": found.inputs,
        "made_of": found.records or None,
    }  # fmt: skip
    total = {"parts": found.parts, "value": found.again}
    render_json({"rows": rows, "total": total, **head})


def _amount(value: float | None, unit: str) -> str:
    if value is None:
        return UNKNOWN
    words = {"USD": f"${value:,.6f}", "share": percent(value)}
    plain = number(value) if unit == "count" else f"{number(value)} {unit}"
    return words.get(unit, plain)


def _show(figure: str, found: Explained, rows: Sequence[Row], files: Files) -> None:
    inputs = ", ".join(f"{name} {number(value)}" for name, value in found.inputs.items())
    same = "the same" if found.again == found.value else _amount(found.again, found.unit)
    render_facts([
        Fact(figure, f"{_amount(found.value, found.unit)} ({found.certainty})"),
        Fact("formula", found.words),
        Fact("numbers", inputs or UNKNOWN),
        Fact("made of", f"{_parts(found)}, together {same}"),
    ])  # fmt: skip
    if not rows:
        return
    click.echo()
    more = found.parts - len(rows)
    caption = f"{number(more)} more; --limit {found.parts} shows all" if more else ""
    render(Table(_columns(found, rows), rows, caption=caption), "table")
    for place, path in enumerate(files.shown, 1):
        click.echo(f"[{place}] {visible(path)}")


def _parts(found: Explained) -> str:
    if not found.records:
        return "what is known of the whole session"
    return f"{number(found.parts)} {found.records.replace('_', ' ')}"


def _columns(found: Explained, rows: Sequence[Row]) -> list[Column]:
    columns = [Column("session_id", "session", short_id, whole=True)]
    if found.records == "sessions":
        names = [name for name in rows[0] if name != "session_id"][:5]
        return columns + [Column(each, each.replace("_", " "), number, "right") for each in names]
    columns.insert(0, Column("at_ms", "at", lambda value: moment(value)[5:19], whole=True))
    names = [each for each in ("model", "what", "outcome") if each in rows[0]]
    columns += [Column(each, each, name=True) for each in names]
    columns += [
        Column(each, each.replace("_", " "), lambda value: _amount(value, found.unit), "right")
        if each == "value"
        else Column(each, each.removeprefix("lines_").replace("_", " "), number, "right")
        for each in _FIGURES
        if each in rows[0]
    ]
    return [*columns, Column("where", "lines")]
