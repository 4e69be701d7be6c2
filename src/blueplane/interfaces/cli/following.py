"""Following how the history is read, until all of it is.

Owns when that ends, the line that says how far it is, and what is said at the end.
Promises that a state is said once, in plain words, and with what helps where something holds it up.
Leaves reading to the server's monitors, and figures to its workers.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Event as Flag
from typing import Any, Final, TypeAlias

import click

from blueplane.capture.history import STORES
from blueplane.clock import monotonic_s
from blueplane.figures import count, lasting, number, size
from blueplane.interfaces.cli import visible
from blueplane.interfaces.cli.acting import Act
from blueplane.interfaces.cli.output import Column, Form, Table, render, render_json
from blueplane.interfaces.cli.progress import progress
from blueplane.server.control import Report

#: What the server says of its sources (``Backfill.status``).
Body: TypeAlias = Mapping[str, Any]

#: Seconds between two looks, and between two lines in a pipe.
LOOK_S: Final = 0.3
LINE_S: Final = 5.0
#: Seconds without any progress after which nobody is kept waiting, and those for which what cannot
#: be read is tried again.
PATIENCE_S: Final = 60.0
UNREAD_S: Final = 10.0
#: Columns of a table of sources.
FILES: Final = (
    Column("what", "what"),
    Column("files", "files", number, "right"),
    Column("bytes", "size", size, "right"),
)
_READ: Final = (
    *FILES,
    Column("bytes_left", "left", size, "right"),
    Column("events", "events", number, "right"),
    Column("events_left", "left", number, "right"),
)


def follow(act: Act, form: Form) -> int:
    """Show how far it is until all is read, or nothing goes on."""
    act("reload")  # the settings of now; and the sources look for what there is now
    body: Body = {}
    with progress(counted=False) as report:
        told = _Told(report, aloud=form == "table" and not sys.stdout.isatty())
        patience = _Patience()
        try:
            while patience.lasts(body := act("backfill.status")):
                told.tell(body)
                Flag().wait(LOOK_S)
        except KeyboardInterrupt:
            rest = "the server goes on" if act.running else "the next run, or server, goes on"
            say_goodbye(f"{words(body)}; {rest}" if body else rest)
            raise
    _show(body, form)
    for line in _left(body):
        click.echo(f"blueplane: {line}", err=True)
    return int(not body["done"] or bool(body["unread"]))


def total(rows: Sequence[Mapping[str, Any]], *keys: str) -> dict[str, int]:
    """Return the sums of columns."""
    return {key: sum(row[key] for row in rows) for key in keys}


class _Patience:
    """How long to go on looking."""

    def __init__(self) -> None:
        self._seen: object = None
        self._moved_s = monotonic_s()
        self._done_s: float | None = None

    def lasts(self, body: Body) -> bool:
        """Say whether more can come of waiting."""
        now_s = monotonic_s()
        seen = [body["to_derive"], *(_amounts(row) for row in body["rows"])]
        if seen != self._seen:
            self._seen, self._moved_s = seen, now_s
        if not body["done"]:
            return now_s - self._moved_s <= PATIENCE_S
        if self._done_s is None:
            self._done_s = now_s
        return bool(body["unread"]) and now_s - self._done_s <= UNREAD_S


def _amounts(row: Mapping[str, Any]) -> list[Any]:
    return [row[key] for key in ("files", "bytes_left", "events", "events_left")]


@dataclass(slots=True)
class _Told:
    """What was said last: on a terminal a bar, ``aloud`` a line where that is none."""

    report: Report
    aloud: bool
    line: str = ""
    said_s: float = float("-inf")
    halted: bool = False

    def tell(self, body: Body) -> None:
        line, halted = words(body), bool(body["trouble"])
        self.report({"step": line, **_bar(body)})
        due = monotonic_s() - self.said_s >= LINE_S and not halted
        if self.aloud and line != self.line and (due or halted != self.halted):
            self.line, self.said_s, self.halted = line, monotonic_s(), halted
            click.echo(line)


def words(body: Body) -> str:
    """Say how far it is: ``1.2 GB of 3.4 GB read, 45.0 MB/s, 2 min left, 12 files left``."""
    if body["trouble"]:
        return f"waits, and goes on by itself: {_why(body)}; see `blueplane doctor`"
    if body["done"]:
        return f"{count(len(body['unread']), 'file')} cannot be read, and is tried again"
    if body["read"]:
        return f"all of it is read; figures are made of {count(body['to_derive'], 'event')} more"
    if any(row["files_left"] for row in body["rows"]):
        return "; ".join(filter(None, map(_row_words, body["rows"])))
    waiting = sum(row["events_left"] for row in body["rows"])
    return "the last events are written" if waiting else "looking for what there is"


def _why(body: Body) -> str:
    """Return what holds everything up, as a part of a sentence."""
    return visible(body["trouble"]).rstrip(".")


def _row_words(row: Mapping[str, Any]) -> str:
    """Say how far a source is; of stores, large and little of it read, by their number alone."""
    left = row["files_left"]
    if not left:
        return ""
    if row["what"] == STORES:
        return f"{number(row['files'] - left)} of {count(row['files'], 'store')} of Cursor read"
    parts = [f"{size(row['bytes'] - row['bytes_left'])} of {size(row['bytes'])} read"]
    if rate := row["bytes_per_s"]:
        parts += [f"{size(rate)}/s", f"{lasting(row['bytes_left'] * 1000 / rate)} left"]
    return ", ".join([*parts, f"{count(left, 'file')} left"])


def _bar(body: Body) -> dict[str, int | None]:
    """Return how much of what is done: of bytes, as long as some of files are left."""
    even = total([row for row in body["rows"] if row["what"] != STORES], "bytes", "bytes_left")
    if even["bytes_left"]:
        return {"done": even["bytes"] - even["bytes_left"], "of": even["bytes"]}
    files = total(body["rows"], "files", "files_left")
    return {"done": files["files"] - files["files_left"], "of": files["files"] or None}


def _show(body: Body, form: Form) -> None:
    sums = total(body["rows"], "files", "bytes", "bytes_left", "events")
    if form == "json":
        render_json({"rows": body["rows"], "total": sums, "unread": body["unread"]})
        return
    whole = body["done"] and not body["unread"]
    render(Table(_READ, body["rows"], sums, "all of it is read" if whole else ""), form)


def _left(body: Body) -> Iterator[str]:
    """Say what is not read, and what helps."""
    if not body["done"]:
        waited = f"nothing went on for {lasting(PATIENCE_S * 1000)}"
        why = f": {_why(body)}" if body["trouble"] else ""
        yield f"{waited}{why}; what is read stays, and `blueplane doctor` says what to do"
    if unread := body["unread"]:
        yield f"{count(len(unread), 'file')} cannot be read; see to it, and run this again:"
        yield from (visible(f"  {each['path']}: {each['reason']}") for each in unread)


def say_goodbye(line: str) -> None:
    """Say what becomes of the rest to somebody who does not want to wait for it."""
    with suppress(OSError):  # the terminal may be what is gone
        click.echo(f"blueplane: {line}", err=True)
