"""``blueplane export``: what is known, row by row, for other programs.

Owns the command: which kind of rows goes where, in which form.
Promises to hold few rows at a time, a file that is whole or not there, and sums that ``usage`` and
``metrics`` show.
Leaves rows to ``analytics/export.py``, forms to ``export_forms.py``, names to ``disguise.py``.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

import click

from blueplane.analytics.export import KINDS_OF_EXPORT, Row, Source
from blueplane.errors import UsageError
from blueplane.figures import count
from blueplane.interfaces.cli.disguise import Disguise
from blueplane.interfaces.cli.export_forms import FORMS
from blueplane.interfaces.cli.lazy import load
from blueplane.interfaces.cli.near import OneOf
from blueplane.interfaces.cli.opening import opened
from blueplane.interfaces.cli.prices import prices_of
from blueplane.interfaces.cli.progress import progress
from blueplane.interfaces.cli.reporting import read_span, span_options
from blueplane.interfaces.cli.scoping import check_names
from blueplane.interfaces.cli.written import check_free, writing
from blueplane.paths import Home, replacing
from blueplane.server.control import Report
from blueplane.store.queries import Reader
from blueplane.store.usage_reports import Scope

#: Rows between two words of progress.
_STEP: Final = 1_000
_INSTALL: Final = (
    "parquet needs pyarrow: `pip install pyarrow` beside Blueplane, or take --format csv or jsonl"
)


@click.command()
@click.argument("kind", type=OneOf(list(KINDS_OF_EXPORT)), metavar="[KIND]", default="usage")
@click.option("--format", "form", type=OneOf([*FORMS, "parquet"]), default="csv",
              show_default=True, help="The form of the rows.")  # fmt: skip
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write this file, for nobody else to read; standard output if not given.",
)
@click.option("--force", is_flag=True, help="With --output: write over a file that is there.")
@click.option(
    "--anonymize", is_flag=True, help="Give projects, sessions, branches and ids other names."
)
@click.option(
    "--key",
    metavar="WORD",
    help="With --anonymize: the same word gives the same names, in any export.",
)
@span_options  # fmt: skip
def export(home: Home, kind: str, form: str, output: Path | None, **said: Any) -> None:  # noqa: ANN401 - of the options
    """Write out usage, calls, sessions, turns, tools, changes or metrics.

    \b
    blueplane export                             usage by day, for a spreadsheet
    blueplane export calls --period month --output calls.csv
    blueplane export tools --format jsonl --anonymize --output tools.jsonl

    Usage has a row for each day, project, branch and model; metrics one for each
    figure of a day. Texts of prompts and answers are never in it. With --anonymize
    the same project or session has the same new name within the export, so that
    rows can still be joined; the names of models, platforms and tools stay.
    """  # noqa: D301 - click wants the character, not its name
    if said["key"] is not None and not said["anonymize"]:
        message = "--key goes with --anonymize"
        raise UsageError(message)
    if form == "parquet" and output is None and sys.stdout.isatty():
        message = "parquet is not for a terminal: name a file with --output"
        raise UsageError(message)
    if output is not None:
        check_free("--output", output, force=said["force"])
    write = _writer(form)
    prices = prices_of(home)
    since, until = read_span(said)
    scope = Scope(since, until, said["platform"], said["project"])
    columns = KINDS_OF_EXPORT[kind].columns
    with opened(home, Reader) as reader, _progress(output) as report:
        check_names(reader, scope)
        rows = KINDS_OF_EXPORT[kind].rows(Source(reader, scope, prices))
        if said["anonymize"]:
            rows = map(Disguise(home.secret(), said["key"]).row, rows)
        with _target(output) as stream:
            write(columns, _told(rows, kind, report), stream)


def _writer(form: str) -> Any:  # noqa: ANN401 - a function of any form
    if form != "parquet":
        return FORMS[form]
    try:
        return load("parquet", "write")
    except ModuleNotFoundError as error:
        raise UsageError(_INSTALL) from error


@contextmanager
def _progress(output: Path | None) -> Iterator[Report]:
    """Say how far it is, and that a file is written, unless the rows go to the terminal."""
    if output is None and sys.stdout.isatty():
        yield lambda _: None
        return
    with progress(counted=False) as report:
        yield report
    if output is not None and sys.stderr.isatty():
        click.echo(f"{output}: written", err=True)


@contextmanager
def _target(output: Path | None) -> Iterator[BinaryIO]:
    """Give standard output, a private file that is there when all of it is, or what is no file.

    A device, or a pipe, is written to: a file in its place would take it away from everybody.
    """
    if output is None:
        yield sys.stdout.buffer
        return
    is_kept = output.exists() and not output.is_file()
    with writing("--output", output), output.open("wb") if is_kept else replacing(output) as stream:
        yield stream


def _told(rows: Iterable[Row], kind: str, report: Report) -> Iterator[Row]:
    """Pass rows on, and say how many there were."""
    for number, row in enumerate(rows):
        if number % _STEP == 0:
            report({"step": f"{kind}: {count(number, 'row')}"})
        yield row
