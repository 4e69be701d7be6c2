"""``blueplane doctor``: whether everything works, and if not, what to do.

Owns how the rows look, the question before a report is written, and the exit code.
Promises rows whatever is broken: no home, no configuration, no server.
Leaves looking to ``install/doctor/``, to which it lends the way to the server.
"""

import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, Final

import click

from blueplane.clock import monotonic_s
from blueplane.errors import HomeError
from blueplane.figures import UNKNOWN, count, number
from blueplane.install.doctor import bundle as report
from blueplane.install.doctor.check import Row
from blueplane.install.doctor.mending import Mended, look_again, mend
from blueplane.install.doctor.recover import recover_newest
from blueplane.install.doctor.registry import chosen
from blueplane.install.doctor.runner import run
from blueplane.install.doctor.scene import Scene, ServerActions
from blueplane.interfaces.cli.asking import confirm
from blueplane.interfaces.cli.options import format_option
from blueplane.interfaces.cli.output import (
    Column,
    Fact,
    Form,
    Table,
    render,
    render_facts,
    render_json,
)
from blueplane.interfaces.cli.start import begin
from blueplane.interfaces.cli.stop import end
from blueplane.paths import Home, default_home, home_at
from blueplane.server.control import ask

EXIT_FAILS: Final = 1
EXIT_BROKE: Final = 70
_STYLES: Final = {"ok": "green", "warn": "yellow", "fail": "bold red", "skip": "dim"}
_COLUMNS: Final = (
    Column("id", "check", whole=True),
    Column("level", "", style=lambda level: _STYLES[level], whole=True),
    Column("evidence", "evidence"),
    Column("command", "what helps", extra=True),
)
_TAKEN_COLUMNS: Final = (
    Column("table", "table"),
    Column("rows", "rows", number, "right"),
    Column("unreadable", "unreadable", number, "right"),
)

_Place = Home | HomeError


def _to_place(_context: click.Context, _option: click.Parameter, value: Path | None) -> _Place:
    """Return the home; what speaks against it is a row, too."""
    try:
        return default_home() if value is None else home_at(value.absolute())
    except HomeError as error:
        return error


_home_option = click.option(
    "--home",
    "place",
    type=click.Path(readable=False, path_type=Path),
    callback=_to_place,
    help="Home directory; BLUEPLANE_HOME or ~/.blueplane if not given.",
)


@click.command()
@click.option("--fix", is_flag=True, help="Mend what can be mended safely, and look again.")
@click.option("--only", multiple=True, metavar="CHECK", help="Only this check, or this group.")
@click.option("--canary", is_flag=True, help="Also send an event of our own down the whole road.")
@click.option(
    "--bundle", type=click.Path(path_type=Path), help="Write a report without names to a new file."
)
@click.option("--recover", is_flag=True, help="Take out of a damaged database what can be read.")
@click.option("--yes", is_flag=True, help="Write the report without a question.")
@format_option
@_home_option
def doctor(place: _Place, form: Form, **said: Any) -> int:  # noqa: ANN401 - what click was told
    """Check everything, and say what to do.

    One row a check, in less than a second, with or without a server. Nothing is changed without
    --fix, which does only what can be undone; it says what it did, and looks again. With --canary
    an event of our own goes down the whole road; that takes up to three seconds.

    --bundle shows a report without names, paths and passwords, and asks before it writes it.
    --recover makes a new database of what a damaged one still holds; the damaged one is kept.

    \b
    Examples:
      blueplane doctor --only redis --only spool.waiting
      blueplane doctor --fix
      blueplane doctor --bundle report.json

    \b
    Exit codes:
      0   nothing fails; with --recover: a database was made
      1   something fails; with --recover: no database is damaged
      70  a check failed itself: that is a bug of ours
    """  # noqa: D301 - click wants the character, not its name
    if said["recover"]:
        _recover(place, form)
        return 0
    checks = chosen(said["only"], canary=said["canary"])
    begin_s = monotonic_s()
    scene = _scene(place)
    rows, mended = run(checks, scene), []
    if said["fix"] and any(row.fixable for row in rows):
        mended = mend(rows, scene)
        scene = _scene(place)
        rows = look_again(rows, scene)
    took_ms = (monotonic_s() - begin_s) * 1000
    if said["bundle"] is not None:
        _write(said["bundle"], report.make(scene, rows), yes=said["yes"])
    elif form == "json":
        render_json(_answer(rows, mended, took_ms))
    else:
        _show(rows, mended, took_ms)
    return _exit_code(rows)


def _exit_code(rows: Sequence[Row]) -> int:
    if any(row.broke for row in rows):
        return EXIT_BROKE
    return EXIT_FAILS if any(row.result.level == "fail" for row in rows) else 0


# --- the server -----------------------------------------------------------------------------------


def _scene(place: _Place) -> Scene:
    if isinstance(place, HomeError):
        return Scene(place, os.environ, ServerActions(_nobody, _nobody, _nobody))
    server = ServerActions(
        ask=partial(ask, place.control_socket),
        start=lambda: _quietly(place, begin),
        restart=lambda: _quietly(place, end, begin),
    )
    return Scene(place, os.environ, server)


def _nobody(*_: object, **__: object) -> Any:  # noqa: ANN401 - it never returns
    message = "there is no home, so there is no server"
    raise HomeError(message)


def _quietly(home: Home, *acts: Callable[[Home], None]) -> None:
    """Do what other commands do, without what they say: there is a row for that."""
    with redirect_stdout(StringIO()):
        for act in acts:
            act(home)


# --- showing --------------------------------------------------------------------------------------


def _answer(rows: Sequence[Row], mended: Sequence[Mended], took_ms: float) -> dict[str, Any]:
    return {
        "rows": [row.body() for row in rows],
        "total": Counter(row.result.level for row in rows),
        "fixed": [
            {"id": each.check.id, "what": each.what, "trouble": each.trouble or None}
            for each in mended
        ],
        "took_ms": round(took_ms, 1),
    }


def _show(rows: Sequence[Row], mended: Sequence[Mended], took_ms: float) -> None:
    if mended:
        render_facts([Fact(each.check.id, _done(each)) for each in mended])
        click.echo()
    levels = Counter[str](row.result.level for row in rows)
    shown = ", ".join(f"{levels[level]} {level}" for level in _STYLES if levels[level])
    caption = f"{count(len(rows), 'check')} in {took_ms:.0f} ms: {shown}"
    fixable = sum(row.fixable for row in rows)
    if fixable:
        caption += f"; `blueplane doctor --fix` can mend {fixable}"
    render(Table(_COLUMNS, [_cells(row) for row in rows], caption=caption), "table")
    helps = [Fact(row.check.id, row.result.command) for row in rows if row.is_bad]
    if helps and sys.stdout is not None and sys.stdout.isatty():  # there is no room in the table
        click.echo("\nwhat helps:")
        render_facts(helps)


def _cells(row: Row) -> Mapping[str, Any]:
    """Return a row as people see it, for whom the user's home is ``~``."""
    user_home = os.environ.get("HOME", "")
    body = row.body()
    if len(user_home) > 1:
        body["evidence"] = body["evidence"].replace(f"{user_home}/", "~/")
    return body


def _done(mended: Mended) -> str:
    return mended.what if not mended.trouble else f"NOT MENDED: {mended.trouble}"


def _write(path: Path, text: bytes, *, yes: bool) -> None:
    """Show the report, ask, and write it."""
    click.echo(text.decode(), nl=False)
    if not yes:
        confirm(f"Write this to {path}?")
    report.write(path, text)
    click.echo(f"written to {path}", err=True)


def _recover(place: _Place, form: Form) -> None:
    if isinstance(place, HomeError):
        raise place
    found = recover_newest(place)
    rows = [
        {"table": each.table, "rows": each.rows, "unreadable": each.unreadable}
        for each in found.taken
    ]
    if form == "json":
        known = {"damaged": str(found.damaged), "path": str(found.path)}
        render_json({**known, "installed": found.installed, "rows": rows})
        return
    render(Table(_TAKEN_COLUMNS, rows), "table")
    how = "and is the database again" if found.installed else "beside the present database"
    click.echo(f"recovered from {found.damaged} to {found.path}, {how}; {UNKNOWN} is unknown")
