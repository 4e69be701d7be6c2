"""``blueplane backfill``: see the history of the editors read to its end.

Owns the command, how much there is before anything is read, and how far a refresh is.
Promises that it can be broken off at any time: the server goes on, or the next one does.
Leaves watching over the reading to ``following.py``, and a refresh to ``pipeline/refresher.py``.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from blueplane.capture.history import History
from blueplane.clock import monotonic_s
from blueplane.config import load
from blueplane.errors import UsageError
from blueplane.figures import lasting, number, size
from blueplane.interfaces.cli.acting import Act, serving
from blueplane.interfaces.cli.following import FILES, follow, say_goodbye, total
from blueplane.interfaces.cli.options import format_option, home_option
from blueplane.interfaces.cli.output import Column, Form, Table, render
from blueplane.interfaces.cli.progress import progress
from blueplane.interfaces.cli.storage import stored
from blueplane.paths import Home

_FOUND: Final = (*FILES, Column("sessions", "sessions", number, "right"))
_CHANGED: Final = (
    Column("what", "what"),
    Column("read", "read", number, "right"),
    Column("changed", "changed", number, "right"),
)


#: What could not be read: of a line its first byte, of a row its kind.
_MALFORMED: Final = (
    Column("path", "file"),
    Column("entry", "byte or row", justify="right"),
    Column("bytes", "size", size, "right"),
    Column("rule", "why"),
)
#: Entries that are listed.
MOST: Final = 10_000
#: What ends the name of a file in an origin: ``t:<item>-<generation>:``, ``d:<item>:``.
_ITEM: Final = re.compile("[:-]")


@click.command()
@click.option("--dry-run", is_flag=True, help="Only show how much there is, by names and sizes.")
@click.option("--refresh", is_flag=True, help="Bring what is stored to the present privacy level.")
@click.option("--malformed", is_flag=True, help="Only list what could not be read in files.")
@format_option
@home_option
def backfill(home: Home, form: Form, *, dry_run: bool, refresh: bool, malformed: bool) -> int:
    """Show how far the history of the editors is read, until all of it is.

    The server reads all of it by itself, the newest first, and lets new events pass; without a
    server, one runs as long as this command. Ctrl-C ends the command: what is read stays, the rest
    is read later, and nothing twice.

    With --refresh, what came from files and databases of the editors that are still there is read
    again, and stored as the present privacy level has it, with more detail or with less. What came
    from hooks, or has no file any more, stays: `blueplane scrub` brings that down.

    With --malformed, lines of transcripts that are no JSON, and the like, are listed by file and
    byte. They are counted as quarantined, and stay where they are.

    \b
    Exit codes:
      0    all is read, and figures are made of it
      1    something holds it up for a minute, or some of it could not be read: it
           is said what; with --refresh: something is left to do, it is said what
      4    with --refresh: a forget or scrub is under way
      130  Ctrl-C; 143 is SIGTERM, and 129 that its terminal is gone
    """  # noqa: D301 - click wants the character, not its name
    if dry_run + refresh + malformed > 1:
        message = "say only one of --dry-run, --refresh and --malformed"
        raise UsageError(message)
    if dry_run or malformed:
        return _survey(home, form) if dry_run else _list_malformed(home, form)
    with serving(home) as act:
        return _refresh(act, form) if refresh else follow(act, form)


def _survey(home: Home, form: Form) -> int:
    found = _history(home, b"").survey()
    rows = [each._asdict() for each in found]
    render(Table(_FOUND, rows, total(rows, "files", "bytes")), form)
    return 0


def _list_malformed(home: Home, form: Form) -> int:
    with stored(home) as reader:
        found = reader.malformed(MOST)
    paths = _history(home, home.secret()).paths()
    rows = [
        {
            "path": paths.get(_ITEM.split(each.origin)[1]),
            "entry": each.origin.split(":")[2],
            "bytes": each.bytes,
            "rule": each.rule,
            "seen_ms": each.seen_ms,
        }
        for each in found
    ]
    caption = "" if len(rows) < MOST else f"only the newest {number(MOST)} are shown"
    render(Table(_MALFORMED, rows, caption=caption), form)
    return 0


def _history(home: Home, secret: bytes) -> History:
    user_home = Path(os.environ.get("HOME") or home.root.parent)
    return History(load(home, os.environ).capture, user_home, os.environ, secret)


# --- refreshing -----------------------------------------------------------------------------------


def _refresh(act: Act, form: Form) -> int:
    act("reload")  # the settings of now, also those that were changed in the file
    pace = _Pace()
    try:
        with progress(counted=False) as report:
            answer = act("backfill.refresh", lambda said: report(pace.words(said)))
    except KeyboardInterrupt:
        rest = "the server goes on with it; run this again to see how far it is"
        rest = rest if act.running else "run this again to go on from here"
        say_goodbye(f"{pace.last}; {rest}")
        raise
    render(Table(_CHANGED, answer["rows"]), form)
    for note in answer["notes"]:
        click.echo(f"blueplane: {note}", err=True)
    return int(bool(answer["notes"]))


class _Pace:
    """How fast it goes, from what is said of it."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None
        self.last = "nothing is changed yet"

    def words(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is said, with rate and remaining time where they are known."""
        now_s, done, of = monotonic_s(), said["done"], said["of"]
        self._first = first_s, first = self._first or (now_s, done)
        parts = [f"{said['step']}: {size(done)} of {size(of)}"]
        if done > first and now_s > first_s:
            rate = (done - first) / (now_s - first_s)
            parts += [f"{size(rate)}/s", f"{lasting((of - done) * 1000 / rate)} left"]
        self.last = ", ".join(parts)
        return {**said, "step": self.last}
