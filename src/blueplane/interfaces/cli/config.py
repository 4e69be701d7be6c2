"""``blueplane config``: look at the settings, and change them.

Owns how a setting is shown, and what is said about a change.
Promises that no password is shown, and says from when a change holds.
Leaves the table of settings to ``config.py`` and the file to ``config_edit.py``.
"""

import os
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import click

from blueplane.config import SETTINGS, Settings, find, in_environment, in_file, load
from blueplane.config_edit import set_value
from blueplane.config_edit import unset as take_out
from blueplane.config_values import Setting, Value, parse_items, parse_one, redact_url
from blueplane.errors import ConfigError, RemoteError, ServerUnavailableError, UsageError
from blueplane.figures import UNKNOWN
from blueplane.interfaces.cli import visible
from blueplane.interfaces.cli.options import format_option, home_option
from blueplane.interfaces.cli.output import Column, Form, Table, render, render_json
from blueplane.paths import Home
from blueplane.server.control import ask

#: The values of a setting that is, or is not, a switch.
_SWITCHES: Final = ((), ("true", "false"))
#: Settings that name directories.
_DIRECTORIES: Final = frozenset(
    {"capture.claude_dirs", "capture.cursor_data", "capture.cursor_home"}
)


def _complete_key(_context: click.Context, _argument: click.Parameter, begun: str) -> list[str]:
    """Return the keys that begin so, for a shell."""
    return [setting.key for setting in SETTINGS if setting.key.startswith(begun)]


def _complete_value(context: click.Context, _argument: click.Parameter, begun: str) -> list[str]:
    """Return the values of a setting that begin so, where there are only some."""
    chosen = [setting for setting in SETTINGS if setting.key == context.params.get("key")]
    words = [word for each in chosen for word in each.choices or _SWITCHES[each.kind is bool]]
    return [word for word in words if word.startswith(begun)]


@click.group()
def config() -> None:
    """List, get or change settings.

    They are in config.yaml in the home directory; the environment wins over it. A change takes
    effect at once where the running server can do that, and says so where it cannot.
    """


@config.command("list")
@format_option
@home_option
def list_settings(home: Home, form: Form) -> None:
    """List every setting, its value and where that comes from."""
    rows = _rows(home, SETTINGS)
    columns = (Column("key", "key"), Column("value", "value", _text), Column("from", "from"))
    render(Table(columns, rows), form)


@config.command()
@click.argument("key", shell_complete=_complete_key)
@format_option
@home_option
def get(home: Home, form: Form, key: str) -> None:
    """Print one value; of a list one item a line.

    A password in redis.url is hidden. A setting without a value prints nothing.
    """
    row = _rows(home, [find(key)])[0]
    if form == "json":
        render_json(row)
        return
    value = row["value"]
    for item in value if isinstance(value, tuple) else [value]:
        if item is not None:
            click.echo(visible(_text(item)))


@config.command("set")
@click.argument("key", shell_complete=_complete_key)
@click.argument(
    "values", nargs=-1, required=True, metavar="VALUE...", shell_complete=_complete_value
)
@home_option
def set_setting(home: Home, key: str, values: Sequence[str]) -> None:
    """Set a value in config.yaml; of a list, all of its items.

    Everything else in the file stays as it is, comments too. A value that begins with a dash goes
    behind `--`.
    """
    set_value(home, key, _parse(find(key), values))
    _report(home, find(key), "set")
    for value in values if key in _DIRECTORIES else ():
        if not Path(value).expanduser().is_dir():
            click.echo(f"blueplane: there is no directory {visible(value)} now", err=True)


@config.command()
@click.argument("key", shell_complete=_complete_key)
@home_option
def unset(home: Home, key: str) -> None:
    """Take a setting out of config.yaml: its default holds again."""
    if take_out(home, key):
        _report(home, find(key), "unset")
    else:
        click.echo(f"{key}: was not set there")


@config.command()
@home_option
def path(home: Home) -> None:
    """Print where the configuration file is, or would be."""
    click.echo(home.config_file)


# --- values --------------------------------------------------------------------------------------


def _rows(home: Home, settings: Sequence[Setting]) -> list[dict[str, Any]]:
    holding = load(home, os.environ)
    places = {
        **dict.fromkeys(in_file(home), "file"),
        **dict.fromkeys(in_environment(os.environ), "environment"),
    }
    return [
        {
            "key": setting.key,
            "value": _shown(holding, setting),
            "from": places.get(setting.key, "default"),
        }
        for setting in settings
    ]


def _shown(settings: Settings, setting: Setting) -> Value:
    """Return what may be seen of a value."""
    value: Value = attrgetter(setting.key)(settings)
    return redact_url(value) if setting.key == "redis.url" and isinstance(value, str) else value


def _text(value: Value) -> str:
    """Write a value as one would type it."""
    if isinstance(value, tuple):
        return ", ".join(value) or UNKNOWN
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parse(setting: Setting, values: Sequence[str]) -> Value:
    try:
        if setting.many:
            return parse_items(setting, values)
        if len(values) == 1:
            return parse_one(setting, values[0])
    except ValueError as error:
        message = f"{setting.key}: {error}"
        raise ConfigError(message) from None
    message = f"{setting.key} takes one value; put quotes around one with blanks in it"
    raise UsageError(message)


# --- what comes of a change ---------------------------------------------------------------------


def _report(home: Home, setting: Setting, done: str) -> None:
    click.echo(f"{setting.key}: {done}; {_from_when(home, setting.key)}")
    if os.environ.get(setting.variable):
        note = f"{setting.variable} in this shell's environment overrides it for what starts here"
        click.echo(f"blueplane: {note}", err=True)


def _from_when(home: Home, key: str) -> str:
    """Have a running server read the configuration; return from when it holds."""
    try:
        answer = ask(home.control_socket, "reload")
    except ServerUnavailableError:
        return "the next server uses it"
    except RemoteError as error:
        return f"the server goes on without it: {visible(str(error))}"
    if key in answer["restart"]:
        return "needs `blueplane restart`"
    if key in answer["applied"]:
        return "the server uses it from now on"
    return "nothing changes for the running server"
