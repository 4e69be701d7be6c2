"""``blueplane health incidents``: when something was not green, and what vanished.

Owns the table.
Promises every incident that lasts, or ended in the time asked for, newest first, server or not.
Leaves what is one to the server.
"""

from collections.abc import Mapping
from typing import Any, Final

import click

from blueplane.clock import MS_PER_DAY, wall_ms
from blueplane.figures import milliseconds, moment, number
from blueplane.interfaces.cli.output import Column, Form, Row, Table, render
from blueplane.interfaces.cli.storage import stored
from blueplane.paths import Home

#: Milliseconds of the past that are shown when nobody says how many.
DEFAULT_MS: Final = 7 * MS_PER_DAY
#: Incidents that are shown at most.
LIMIT: Final = 1_000

_COLUMNS: Final = (
    Column("started_ms", "began", moment, whole=True),
    Column("lasted", "lasted", justify="right"),
    Column("what", "what", whole=True),
    Column("colour", "colour", whole=True),
    Column("count", "messages", number, "right", extra=True),
    Column("recovered", "sent again", number, "right", extra=True),
    Column("cause", "cause"),
)


def show(home: Home, since_s: int | None, form: Form) -> None:
    """Print the incidents of the last ``since_s`` seconds."""
    now_ms = wall_ms()
    since_ms = now_ms - (DEFAULT_MS if since_s is None else since_s * 1000)
    with stored(home) as reader:
        rows = [_row(each) for each in reader.all_incidents(since_ms, LIMIT)]
    if form == "table" and not rows:
        click.echo("no incidents")
        return
    render(Table(_COLUMNS, rows), form)


def _row(found: Mapping[str, Any]) -> Row:
    """Return an incident as it is shown; ``lasted_ms`` is None, and ``lasted`` says so, if it does.

    A break of custody has no colour, and was over when it was found.
    """
    kind, ended_ms = found["kind"], found["ended_ms"]
    lasted_ms = None if ended_ms is None else ended_ms - found["started_ms"]
    lasted = "still lasts" if lasted_ms is None else milliseconds(lasted_ms)
    is_break = found["colour"] is None
    counts = {name: found[name] if is_break else None for name in ("count", "recovered")}
    return {
        **found,
        **counts,
        "lasted_ms": lasted_ms,
        "lasted": None if is_break else lasted,
        "what": kind.removeprefix("health:"),
    }
