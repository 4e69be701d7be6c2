"""``blueplane watch``: what happens now, and again every second.

Owns the command: what is looked at, and how it looks.
Promises one plain page for a pipe, and for programs a line of JSON for each change, as long as
somebody reads.
Leaves what is recent to ``analytics/recent.py``, a terminal to ``live.py``.
"""

import json
import select
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import click

from blueplane.analytics.recent import Recent
from blueplane.clock import wall_ms
from blueplane.days import local_day, today
from blueplane.errors import BlueplaneError
from blueplane.figures import UNKNOWN, age, count, dollars, milliseconds, moment, tokens
from blueplane.interfaces.cli.lazy import load
from blueplane.interfaces.cli.opening import opened_once
from blueplane.interfaces.cli.options import format_option, home_option
from blueplane.interfaces.cli.output import Column, Form, Table, is_watched, render, short_id
from blueplane.interfaces.cli.prices import prices_of
from blueplane.interfaces.cli.server_word import server_text, server_word
from blueplane.paths import Home
from blueplane.store.queries import Reader

#: What is seen at one look.
Seen: TypeAlias = Mapping[str, Any]

#: Seconds between two looks.
_EVERY_S: Final = 1.0
#: How an outcome looks that is not well.
_STYLES: Final = {"failed": "bold red", "denied": "yellow", "interrupted": "yellow"}


def _since(at_ms: int) -> str:
    return age(max(0, wall_ms() - at_ms))


def _clock(at_ms: int) -> str:
    return moment(at_ms)[11:19] if local_day(at_ms) == today() else moment(at_ms)[5:16]


_SESSIONS: Final = (
    Column("session_id", "session", short_id, whole=True),
    Column("project", "project", name=True),
    Column("branch", "branch", extra=True, name=True),
    Column("active", "now", lambda value: "active" if value else "idle", whole=True),
    Column("last_ms", "last event", _since, whole=True),
    Column("total_tokens", "tokens", tokens, "right", whole=True),
    Column("cost_usd", "cost est.", dollars, "right", whole=True),
)
_THINGS: Final = (
    Column("at_ms", "at", _clock, whole=True),
    Column("session_id", "session", short_id, whole=True),
    Column("what", "what", name=True),
    Column("outcome", "outcome", style=lambda value: _STYLES.get(value, ""), whole=True),
    Column("took_ms", "took", milliseconds, "right", whole=True),
)


@click.command()
@click.option("--once", is_flag=True, help="Print it once, and end.")
@format_option
@home_option
def watch(home: Home, form: Form, *, once: bool) -> None:
    """Show what happens now: sessions, their last prompts and tools, today's cost.

    `q` or Ctrl-C ends it. With --format json there is a line for each change. In a
    pipe it is shown once, otherwise. Cost is an estimate, as in `blueplane usage`.
    """
    recent = Recent(prices_of(home))

    def look() -> Seen:
        with opened_once(home, Reader) as reader:
            now_ms = wall_ms()
            return {"health": server_word(home, reader, now_ms), **recent.look(reader, now_ms)}

    seen = look()
    if form == "json":
        _tell(look, seen, once=once)
    elif once or not is_watched():
        _print(seen)
    else:
        load("live", "follow")(look, seen, load("watch_screen", "screen"))


def _tell(look: Callable[[], Seen], seen: Seen, *, once: bool) -> None:
    """Print a line now and for each change, until somebody has had enough."""
    told: Seen = {}
    while True:
        if seen != told:
            click.echo(json.dumps({"as_of_ms": wall_ms(), **seen}))
            told = seen
        if once:
            return
        _rest()
        try:
            seen = look()
        except BlueplaneError as error:
            seen = {"error": str(error)}


def _rest() -> None:
    """Wait for the next look; raise BrokenPipeError as soon as nobody reads what is told."""
    if sys.stdout is None:
        raise BrokenPipeError
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # that nobody reads is told unasked
    if poll.poll(_EVERY_S * 1000):
        raise BrokenPipeError


def _print(seen: Seen) -> None:
    for line in head(seen):
        click.echo(line)
    for table in tables(seen):
        click.echo()
        render(table, "table")


def head(seen: Seen) -> list[str]:
    """Return what is said above the tables."""
    active = sum(each["active"] for each in seen["sessions"])
    day = seen["today"]
    cost = f"{dollars(day['cost_usd'])} est., {tokens(day['total_tokens'])} tokens"
    used = f"{cost} in {count(day['calls'], 'call')}" if day["calls"] else UNKNOWN
    lines = [f"{server_text(seen['health'])}, {count(active, 'session')} active", f"today  {used}"]
    if not seen["sessions"]:
        lines.append("no session yet: it is shown as the editors tell of it")
    return lines


def tables(seen: Seen) -> list[Table]:
    """Return the tables of sessions and of what happened, those that have rows."""
    found = [Table(_SESSIONS, seen["sessions"]), Table(_THINGS, seen["things"])]
    return [table for table in found if table.rows]
