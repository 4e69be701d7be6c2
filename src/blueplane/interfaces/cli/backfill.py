"""``blueplane backfill``: see the history of the editors read to its end.

Owns the bar, the lines in a pipe, and what is said when everything is read.
Promises that it can be broken off at any time: the server goes on, or the next one does.
Leaves reading to the server's monitors, and a refresh to ``pipeline/refresher.py``.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event as Flag
from typing import Any, Final

import click

from blueplane.capture.history import History
from blueplane.clock import monotonic_s
from blueplane.config import load
from blueplane.errors import UsageError
from blueplane.figures import count, lasting, number, size
from blueplane.interfaces.cli import visible
from blueplane.interfaces.cli.acting import Act, serving
from blueplane.interfaces.cli.options import format_option, home_option
from blueplane.interfaces.cli.output import Column, Form, Table, render
from blueplane.interfaces.cli.progress import progress
from blueplane.paths import Home

#: Seconds between two looks, and between two lines in a pipe.
LOOK_S: Final = 0.3
LINE_S: Final = 5.0
#: Seconds for which something may hold everything up.
PATIENCE_S: Final = 60.0

_FILES: Final = (
    Column("what", "what"),
    Column("files", "files", number, "right"),
    Column("bytes", "size", size, "right"),
)
_FOUND: Final = (*_FILES, Column("sessions", "sessions", number, "right"))
_READ: Final = (
    *_FILES,
    Column("bytes_left", "left", size, "right"),
    Column("lines", "events", number, "right"),
    Column("lines_left", "left", number, "right"),
)
_CHANGED: Final = (
    Column("what", "what"),
    Column("read", "read", number, "right"),
    Column("changed", "changed", number, "right"),
)


@click.command()
@click.option("--dry-run", is_flag=True, help="Only show how much there is, by names and sizes.")
@click.option("--refresh", is_flag=True, help="Bring what is stored to the present privacy level.")
@format_option
@home_option
def backfill(home: Home, form: Form, *, dry_run: bool, refresh: bool) -> int:
    """Show how far the history of the editors is read, until all of it is.

    The server reads all of it by itself, the newest first, and lets new events pass; without a
    server, one runs as long as this command. Ctrl-C ends the command: what is read stays, the rest
    is read later, and nothing twice.

    With --refresh, what came from files and databases of the editors that are still there is read
    again, and stored as the present privacy level has it, with more detail or with less. What came
    from hooks, or has no file any more, stays: `blueplane scrub` brings that down.

    \b
    Exit codes:
      0  all is read
      1  something holds it up, or some of it could not be read: it is said what
    """  # noqa: D301 - click wants the character, not its name
    if dry_run and refresh:
        message = "say one of --dry-run and --refresh"
        raise UsageError(message)
    if dry_run:
        return _survey(home, form)
    with serving(home) as act:
        return _refresh(act, form) if refresh else _follow(act, form)


def _survey(home: Home, form: Form) -> int:
    settings = load(home, os.environ)
    user_home = Path(os.environ.get("HOME") or home.root.parent)
    found = History(settings.capture, user_home, os.environ, b"").survey()
    rows = [each._asdict() for each in found]
    render(Table(_FOUND, rows, _total(rows, "files", "bytes")), form)
    return 0


def _total(rows: Sequence[Mapping[str, Any]], *keys: str) -> dict[str, int]:
    return {key: sum(row[key] for row in rows) for key in keys}


# --- reading --------------------------------------------------------------------------------------


def _follow(act: Act, form: Form) -> int:
    """Show how far it is until all is read, or nothing goes on."""
    said_s = float("-inf")
    went_s = monotonic_s()
    with progress(counted=False) as report:
        while not (body := act("backfill.status"))["done"]:
            words, now_s = _words(body), monotonic_s()
            total = _total(body["rows"], "bytes", "bytes_left")
            read = total["bytes"] - total["bytes_left"]
            report({"step": words, "done": read, "of": total["bytes"] or None})
            if form == "table" and not sys.stdout.isatty() and now_s - said_s >= LINE_S:
                said_s = now_s
                click.echo(words)
            went_s = went_s if body["trouble"] else now_s
            if now_s - went_s > PATIENCE_S:
                break
            Flag().wait(LOOK_S)
    total = _total(body["rows"], "files", "bytes", "bytes_left", "lines")
    caption = "all of it is read" if body["done"] else ""
    render(Table(_READ, body["rows"], total, caption), form)
    if not body["done"]:
        click.echo(f"blueplane: it does not get on: {visible(body['trouble'])}", err=True)
    return int(not body["done"])


def _words(body: Mapping[str, Any]) -> str:
    """Say how far it is: ``1.2 GB of 3.4 GB read, 45.0 MB/s, 2 min left``."""
    if body["trouble"]:
        return f"waits: {visible(body['trouble'])}"
    rows = body["rows"]
    total = _total(rows, "bytes", "bytes_left", "files_left")
    parts = [f"{size(total['bytes'] - total['bytes_left'])} of {size(total['bytes'])} read"]
    if not total["files_left"]:
        return f"{parts[0]}, the last events are on their way"
    rate = sum(row["bytes_per_s"] or 0 for row in rows)
    if rate:
        left = lasting(total["bytes_left"] * 1000 / rate)
        parts += [f"{size(rate)}/s", f"{left} left"]
    return ", ".join([*parts, count(total["files_left"], "file")])


# --- refreshing -----------------------------------------------------------------------------------


def _refresh(act: Act, form: Form) -> int:
    act("reload")  # the settings of now, also those that were changed in the file
    with progress(counted=False) as report:

        def say(said: Mapping[str, Any]) -> None:
            words = f"{said['step']}: {size(said['done'])} of {size(said['of'])}"
            report({**said, "step": words})

        answer = act("backfill.refresh", say)
    render(Table(_CHANGED, answer["rows"]), form)
    for note in answer["notes"]:
        click.echo(f"blueplane: {note}", err=True)
    return int(bool(answer["notes"]))
