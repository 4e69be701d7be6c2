"""``blueplane ignore``: leave directories out from now on, or list every filter.

Owns how a directory is named on the command line, and the table of filters.
Promises that the configuration file is the only thing that changes, and says from when it holds.
Leaves the file to ``config_edit.py`` and what a filter does to ``capture/filters.py``.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import click

from blueplane.capture.filters import spelled
from blueplane.clock import wall_ms
from blueplane.config import load
from blueplane.config_edit import add_item, remove_item
from blueplane.errors import NotFoundError, RemoteError, ServerUnavailableError, UsageError
from blueplane.figures import age, number
from blueplane.interfaces.cli import visible
from blueplane.interfaces.cli.options import format_option, home_option
from blueplane.interfaces.cli.output import Column, Form, Row, Table, render
from blueplane.interfaces.cli.rules import filter_rules, kind_words
from blueplane.interfaces.cli.storage import stored
from blueplane.paths import Home
from blueplane.server.control import ask
from blueplane.store.queries import RuleCount

_KEY: Final = "filter.workspaces"
_VARIABLE: Final = "BLUEPLANE_FILTER_WORKSPACES"


def _ago(last_ms: int) -> str:
    return age(max(0, wall_ms() - last_ms))


_COLUMNS: Final = (
    Column("kind", "kind", kind_words),
    Column("rule", "rule"),
    Column("configured", "holds"),
    Column("events", "left out", number, "right"),
    Column("last_ms", "last", _ago, "right"),
)


@click.command()
@click.argument("paths", nargs=-1)
@click.option("--remove", is_flag=True, help="Ignore them no longer.")
@format_option
@home_option
def ignore(home: Home, form: Form, paths: tuple[str, ...], *, remove: bool) -> int:
    """Leave out what happens in a directory; without one, list every filter.

    An event is left out when one of its workspaces, or a path that it names, is the directory or
    below it. The directory is added to filter.workspaces in config.yaml, and a running server goes
    by it at once. What is stored already stays: `blueplane forget` removes it.

    \b
    Exit codes:
      0  done
      1  with --remove: the directory was not ignored
    """  # noqa: D301 - click wants the character, not its name
    if paths:
        return (_take_back if remove else _leave_out)(home, [_named(path) for path in paths])
    if remove:
        message = "--remove needs a directory; `blueplane ignore` lists what is ignored"
        raise UsageError(message)
    _list(home, form)
    return 0


def _named(path: str) -> str:
    """Return the absolute path that is meant, as text that a configuration can hold."""
    if not path or not path.isprintable():
        message = f"{path!r} cannot be written into config.yaml: not text, or not printable"
        raise UsageError(message)
    if not path.startswith(("~", "file:")):
        # Where links are, only the system knows what is above.
        climbs = ".." in Path(path).parts
        path = os.path.realpath(path) if climbs else str(Path(path).absolute())
    named = spelled(path)
    return named if named.startswith("/") else f"/{named}"  # a drive


# --- changing ------------------------------------------------------------------------------------


def _leave_out(home: Home, directories: Sequence[str]) -> int:
    known = _spelled(load(home, os.environ).filter.workspaces)
    added = [directory for directory in directories if spelled(directory) not in known]
    for directory in added:
        add_item(home, _KEY, directory)
    when = _tell_server(home) if added else ""
    for directory in directories:
        text = visible(directory)
        if directory not in added:
            click.echo(f"{text} is ignored already")
            continue
        seen = os.path.exists(directory)  # noqa: PTH110 - what cannot be seen raises there
        there = "" if seen else ", though nothing is there"
        click.echo(f"{text} is ignored {when}{there}")
    if added:
        click.echo("what is stored already stays; `blueplane forget` removes it")
    _warn(home, added)
    return 0


def _take_back(home: Home, directories: Sequence[str]) -> int:
    written = load(home, {}).filter.workspaces
    missing = [each for each in directories if spelled(each) not in _spelled(written)]
    if missing:
        message = f"{missing[0]} is not ignored in {home.config_file}; `blueplane ignore` lists all"
        raise NotFoundError(message)
    gone = _spelled(directories)
    for item in written:
        if spelled(item) in gone:
            remove_item(home, _KEY, item)
    when = _tell_server(home)
    for directory in directories:
        click.echo(f"{visible(directory)} is ignored no longer, {when}")
    return 0


def _spelled(paths: Iterable[str]) -> set[str]:
    return {spelled(path) for path in paths}


def _tell_server(home: Home) -> str:
    """Have a running server read the configuration; return from when it holds."""
    try:
        ask(home.control_socket, "reload")
    except ServerUnavailableError:
        return "as soon as a server runs"
    except RemoteError as error:
        return f"in the file only: the server goes on without it, {visible(str(error))}"
    return "from now on"


def _warn(home: Home, added: Sequence[str]) -> None:
    """Say so when the environment hides what was written."""
    holding = _spelled(load(home, os.environ).filter.workspaces)
    if any(spelled(directory) not in holding for directory in added):
        click.echo(f"blueplane: {_VARIABLE} in this shell overrides config.yaml", err=True)


# --- listing -------------------------------------------------------------------------------------


def _list(home: Home, form: Form) -> None:
    rows: list[Row] = filter_rules(home, load(home, os.environ).filter, _counts(home))
    if not rows and form == "table":
        click.echo("no filters; `blueplane ignore <path>` leaves a directory out")
        return
    render(Table(_COLUMNS, rows, {"events": sum(row["events"] for row in rows)}), form)


def _counts(home: Home) -> list[RuleCount]:
    try:
        with stored(home) as reader:
            return reader.rules()
    except NotFoundError:  # no server ever ran here
        return []
