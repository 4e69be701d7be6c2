"""``blueplane analyze``: all that is known of one session.

Owns the command, and the file that is exported.
Promises the figures of ``sessions`` and ``metrics``, and a file that is whole, private and never
written over another one unasked.
Leaves which session is meant to ``session_names.py``, the rows to ``analytics/session_analysis.py``
and, for it takes long to import, ``analysis_story.py``; how they look to ``analysis_screen.py``.
"""

from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, Final, Literal

import click

from blueplane.analytics import session_analysis as parts_of
from blueplane.analytics.metrics.vector import merged
from blueplane.analytics.session_report import one
from blueplane.clock import wall_ms
from blueplane.errors import UsageError
from blueplane.interfaces.cli.lazy import load
from blueplane.interfaces.cli.near import OneOf
from blueplane.interfaces.cli.opening import opened_once
from blueplane.interfaces.cli.options import home_option
from blueplane.interfaces.cli.output import json_text
from blueplane.interfaces.cli.prices import prices_of
from blueplane.interfaces.cli.reporting import write_csv
from blueplane.interfaces.cli.session_names import find_session
from blueplane.interfaces.cli.values import complete_session
from blueplane.interfaces.cli.written import check_free, writing
from blueplane.paths import Home, replacing
from blueplane.store.metric_rollups import bodies_of_session
from blueplane.store.reading import Reads
from blueplane.store.session_list import Known

#: What may be asked for beside the figures.
_PARTS: Final = ("tools", "files", "timeline", "insights")

_Form = Literal["table", "json", "csv"]


@click.command()
@click.argument("session", shell_complete=complete_session)
@click.option("--tools", is_flag=True, help="Each tool: outcomes, times, what follows on what.")
@click.option("--files", is_flag=True, help="What was edited, and what the edits came to.")
@click.option("--timeline", is_flag=True, help="What happened, in order, and who saw it.")
@click.option("--insights", is_flag=True, help="What in its figures is worth a change.")
@click.option("--export", metavar="FILE", type=click.Path(path_type=Path),
              help="Write it to a .json or .csv file instead.")  # fmt: skip
@click.option("--force", is_flag=True, help="With --export: write over a file that is there.")
@click.option("--format", "form", type=OneOf(["table", "json", "csv"]), default="table",
              show_default=True, help="For people, or for programs.")  # fmt: skip
@home_option
def analyze(home: Home, session: str, form: _Form, export: Path | None, **said: bool) -> None:
    """Show all that is known of a SESSION: its id, the beginning of one, or
    `last` for the newest.

    \b
    blueplane analyze last --tools --files     with its tools and files
    blueplane analyze 3f2a --timeline          what happened, in order
    blueplane analyze last --export all.json   everything, as a file

    Its figures are shown, or the parts that are asked for. JSON has both, a .json
    file all parts there are; CSV has one part. A file is a pseudonym and an
    extension; prompts are shown where `privacy.level` is `full`.
    """  # noqa: D205, D301 - click shows it as it stands, and wants the character of \b
    asked = [name for name in _PARTS if said[name]]
    written = _written(export, force=said["force"])
    if "csv" in {form, written} and len(asked) > 1:
        message = f"CSV has one part, not --{' --'.join(asked)}; ask for one, or for JSON"
        raise UsageError(message)
    with opened_once(home, Reads) as reader:
        wanted = _PARTS if written == "json" and not asked else asked
        answer = _answer(reader, find_session(reader, session), home, wanted)
    if export is not None:
        _export(export, _text(answer, asked, written))
        click.echo(f"{export}: written")
    elif form == "table":
        load("analysis_screen", "show")(answer)
    else:
        click.echo(_text(answer, asked, form), nl=form == "json")


def _answer(reader: Reads, known: Known, home: Home, parts: Sequence[str]) -> dict[str, Any]:
    """Return everything that is asked for, by part."""
    vector = merged(body for _, body in bodies_of_session(reader, known.number))
    report = one(reader, known.number, prices_of(home), wall_ms())
    answer: dict[str, Any] = {"session": report.rows[0], "figures": parts_of.figure_rows(vector)}
    if "tools" in parts:
        answer["tools"] = parts_of.tool_rows(vector)
        answer["sequences"] = parts_of.sequence_rows(vector)
    if "insights" in parts:
        answer["insights"] = load("insights", "rows_of")(vector)
    if "files" in parts or "timeline" in parts:
        answer |= load("analysis_story", "told")(reader, known, parts)
    return answer


# --- forms ----------------------------------------------------------------------------------------


def _text(answer: Mapping[str, Any], asked: Sequence[str], form: str | None) -> str:
    if form == "json":
        return json_text(answer)
    part = asked[0] if asked else "figures"
    out = StringIO()
    write_csv(parts_of.FIELDS[part], answer[part], out)
    return out.getvalue()


def _written(export: Path | None, *, force: bool) -> str | None:
    """Return the form of the file to export; raise UsageError for one that cannot be."""
    if export is None:
        return None
    form = export.suffix.lower().removeprefix(".")
    if form not in {"json", "csv"}:
        message = f"--export {export}: a name that ends in .json or .csv says what to write"
        raise UsageError(message)
    check_free("--export", export, force=force)
    return form


def _export(path: Path, text: str) -> None:
    with writing("--export", path), replacing(path) as stream:
        stream.write(text.encode())
