"""``blueplane forget``: remove what is stored of a session, a project, or a time.

Owns how it is said what to forget, the question before, and the proof after.
Promises that nothing is removed before a person has seen how much, and said yes.
Leaves the removing to the server (``pipeline/eraser.py``).
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import click

from blueplane.clock import MS_PER_DAY, parse_iso_ms, wall_ms
from blueplane.errors import UsageError
from blueplane.figures import moment, number
from blueplane.interfaces.cli import visible
from blueplane.interfaces.cli.acting import acting
from blueplane.interfaces.cli.asking import confirm
from blueplane.interfaces.cli.options import format_option, home_option
from blueplane.interfaces.cli.output import Column, Form, Table, render
from blueplane.interfaces.cli.progress import progress
from blueplane.paths import Home

_PLACE: Final = (Column("place", "place", whole=True), Column("what", "what"))
_PLAN: Final = (*_PLACE, Column("count", "to remove", number, "right"))
_PROOF: Final = (
    *_PLACE,
    Column("count", "removed", number, "right"),
    Column("left", "left", number, "right"),
)
_AGE: Final = re.compile(r"([0-9]{1,6})([dwmy])")
_DAYS: Final = {"d": 1, "w": 7, "m": 30, "y": 365}


@click.command()
@click.option("--session", default="", help="The session with this id, the whole of it.")
@click.option("--project", default="", help="The project of this name.")
@click.option(
    "--before", default="",
    help="All before a day (2026-01-31), or older than 90d (days), 6w (weeks), 6m (months) or 1y.",
)  # fmt: skip
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@format_option
@home_option
def forget(home: Home, form: Form, *, yes: bool, dry_run: bool, **said: str) -> int:
    """Remove what is stored of a session or a project, or all before a day.

    It shows what it finds, asks, removes it from the database, the dead letters, the quarantine and
    the backups, has the database and redis write their files anew, and looks again. New events are
    held up meanwhile and lost by none of it. What the editors keep themselves is not touched.

    \b
    Exit codes:
      0  nothing of it is left, or there was nothing
      1  something is left, or was not removed: the notes say what
    """  # noqa: D301 - click wants the character, not its name
    wanted = _wanted(**said)
    with acting(home) as act:
        with progress() as report:
            plan = act("forget.plan", report, **wanted)
        found = sum(row["count"] for row in plan)
        if dry_run or not found:
            _show(Table(_PLAN, plan, caption=_words(**wanted)), form)
            return 0
        if not yes:
            _confirm(Table(_PLAN, plan, caption=_words(**wanted)), form)
        with progress() as report:
            answer = act("forget", report, **wanted)
    return _prove(answer, form, _words(**wanted))


def _wanted(session: str, project: str, before: str) -> dict[str, Any]:
    """Return what is meant, as the server wants it; raise UsageError unless it is one thing."""
    if bool(session) + bool(project) + bool(before) != 1:
        message = "say one thing to forget: --session ID, --project NAME or --before DAY"
        raise UsageError(message)
    try:
        f"{session}{project}".encode()
    except UnicodeEncodeError:
        message = "what is to be forgotten is not UTF-8"
        raise UsageError(message) from None
    if "/" in project:
        name = project.rstrip("/").rpartition("/")[2] or "NAME"
        message = f"{project} is a path; a project has the name of its last directory: {name}"
        raise UsageError(message)
    return {"before_ms": _moment(before)} if before else {"session": session, "project": project}


def _moment(before: str) -> int:
    """Return a day (of this machine's time zone), a time, or an age as milliseconds."""
    age = _AGE.fullmatch(before.lower())
    now_ms = wall_ms()
    try:
        moment_ms = now_ms - int(age[1]) * _DAYS[age[2]] * MS_PER_DAY if age else _parse(before)
    except ValueError:
        wanted = "write 2026-01-31, 2026-01-31T12:00 or an age as 90d, 6m (months) or 1y"
        message = f"{before!r} is no day: {wanted}"
        raise UsageError(message) from None
    if moment_ms > now_ms:
        message = f"{before} is in the future; nothing is removed that is not there yet"
        raise UsageError(message)
    return max(1, moment_ms)


def _parse(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return parse_iso_ms(
        (moment if moment.tzinfo else moment.astimezone()).astimezone(UTC).isoformat()
    )


def _words(session: str = "", project: str = "", before_ms: int = 0) -> str:
    """Say what is meant; of an age also which moment that is."""
    if before_ms:
        return f"captured before {moment(before_ms)}"
    return f"of session {session}" if session else f"of project {project}"


def _confirm(plan: Table, form: Form) -> None:
    if form == "table":
        _show(plan, form)
    what = ", ".join(f"{row['what']} {number(row['count'])}" for row in plan.rows if row["count"])
    confirm(f"remove for good ({what})?")


def _show(table: Table, form: Form) -> None:
    """Show the rows that count something, with their totals."""
    keys = [column.key for column in table.columns if column.key in ("count", "left")]
    shown = [row for row in table.rows if form == "json" or any(row[key] for key in keys)]
    if form == "table" and not shown:
        click.echo(f"nothing {visible(table.caption)} is stored here")
        return
    total = {key: sum(row[key] for row in table.rows) for key in keys}
    render(replace(table, rows=shown, total=total), form)


def _prove(answer: Mapping[str, Any], form: Form, words: str) -> int:
    _show(Table(_PROOF, answer["rows"], caption=words), form)
    for note in answer["notes"]:
        click.echo(f"blueplane: {note}", err=True)
    left = sum(row["left"] for row in answer["rows"])
    if not left and not answer["notes"] and form == "table":
        click.echo("looked again: nothing of it is left, also not in free space of the files")
    return int(bool(left or answer["notes"]))
