#!/usr/bin/env python3
"""Push invented events into the queue of a running server, and see their rows come out.

Owns what such an event looks like, and the table that compares each field with its row.
Promises that nobody takes them for real ones: they say platform ``smoke`` and source ``canary``,
and ``blueplane forget --project blueplane-smoke`` removes them.
Leaves hooks and spool out: `blueplane serve --canary` goes through those, too.

    .venv/bin/python scripts/ingest_smoke.py [COUNT] [--home DIRECTORY]

Exit codes: 0 every field is as expected and both laws close, 1 it is not, 2 wrong use, 4 no server
runs in this home, or its Redis does not answer.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from secrets import token_hex
from typing import Any

import click
import orjson

from blueplane.clock import NS_PER_MS, monotonic_s, wall_ns
from blueplane.config import RedisSettings, load
from blueplane.errors import BlueplaneError, QueueError, ServerUnavailableError
from blueplane.event import COLUMNS, Event, derive_id, encode
from blueplane.figures import count, milliseconds
from blueplane.health.laws import LAWS, remainder
from blueplane.interfaces.cli.law_words import law_text
from blueplane.interfaces.cli.options import home_option
from blueplane.interfaces.cli.output import Column, Fact, Table, render, render_facts
from blueplane.interfaces.cli.screen import Screen
from blueplane.interfaces.cli.storage import stored
from blueplane.paths import Home
from blueplane.pipeline.link import COMMAND_TIMEOUT_S, Link
from blueplane.pipeline.stream import Stream
from blueplane.server.control import ask
from blueplane.store.hops import HOPS
from blueplane.store.queries import Reader

PROJECT = "blueplane-smoke"
#: Entries of one round trip.
CHUNK = 500
#: Seconds without a new row after which no more are waited for.
PATIENCE_S = 20.0
POLL_S = 0.05
STATUS_S = 10.0
#: Characters of a value that are shown.
WIDTH = 20
#: What the events are, in turn, and what their rows must say of it.
KINDS = ("user_prompt", "tool_start", "tool_use", "file_edit", "assistant_response", "turn_end")

Fields = dict[str, Any]


# --- the events -----------------------------------------------------------------------------------


def make_events(number: int, session: str) -> list[Event]:
    """Make the events of one run, a millisecond apart; ``session`` is its name."""
    began_ns = wall_ns() - number * NS_PER_MS
    return [_event(each, session, began_ns + each * NS_PER_MS) for each in range(number)]


def _event(number: int, session: str, captured_ns: int) -> Event:
    metadata: Fields = {
        name: "smoke-1" if kind is str else number % 1000 + place
        for place, (name, kind) in enumerate(sorted(COLUMNS.items()))
    }
    return Event(
        event_id=derive_id("smoke", session, str(number)),
        platform="smoke",
        source="canary",
        hook_type="IngestSmoke",
        event_type=KINDS[number % len(KINDS)],
        session_id=session,
        timestamp_ms=captured_ns // NS_PER_MS - 1,
        captured_ns=captured_ns,
        workspace_hash=derive_id(PROJECT)[:8].hex(),
        project=PROJECT,
        turn_id=f"{session}-turn-{number // len(KINDS)}",
        tool_use_id=f"{session}-tool-{number}",
        payload=orjson.dumps({"number": number, "prompt": {"chars": number % 80}}),
        metadata=orjson.dumps(metadata),
        origin="",
    )


def expected(event: Event, message_id: str) -> Fields:
    """Return what the row of an event must say, by the names of ``raw_traces``."""
    same = (
        "platform", "source", "event_type", "hook_type", "session_id", "workspace_hash",
        "project", "turn_id", "tool_use_id", "timestamp_ms",
    )  # fmt: skip
    metadata = orjson.loads(event.metadata)
    return {
        "event_id": event.event_id.hex(),
        "message_id": message_id,
        **{name: getattr(event, name) for name in same},
        "captured_ms": event.captured_ns // NS_PER_MS,
        **metadata,
        "hops": "in order",
        "data": {"metadata": metadata, "payload": orjson.loads(event.payload)},
    }


# --- the queue ------------------------------------------------------------------------------------


def queue_url(home: Home, redis: RedisSettings) -> str:
    """Return the address of the Redis that the running server uses.

    Raises ServerUnavailableError when no server runs, QueueError when its Redis is away or unknown.
    """
    if not home.root.is_dir():
        message = f"{home.root}: there is no such home; start a server there first"
        raise ServerUnavailableError(message)
    live = ask(home.control_socket, "status", timeout_s=STATUS_S)["redis"]
    if not live["connected"]:
        message = f"the server is not connected to its redis: {live['trouble']}"
        raise QueueError(message)
    if live["mode"] == "private":
        return home.redis_url
    if redis.url is None:
        message = "the server uses a redis of yours: set BLUEPLANE_REDIS_URL here as it is there"
        raise QueueError(message)
    return redis.url


def push(url: str, prefix: str, home: Home, events: Sequence[Event]) -> Iterator[list[str]]:
    """Add the events to the stream of this home, and yield the ids of each chunk of messages."""
    keys = Stream(lambda: url, prefix)
    with closing(Link(url, COMMAND_TIMEOUT_S)) as link:
        link.connect()
        owner = link.call("GET", f"{prefix}telemetry:epoch") or b"nobody"
        if owner.decode("utf-8", "replace").partition(":")[0] != home.home_id():
            message = "the queue there is not this home's: look at redis.url and redis.key_prefix"
            raise QueueError(message)
        for start in range(0, len(events), CHUNK):
            chunk = events[start : start + CHUNK]
            replies = link.pipeline(
                [("XADD", keys.events, "NOMKSTREAM", "*", *encode(event)) for event in chunk]
            )
            refused = [str(reply) for reply in replies if not isinstance(reply, bytes)]
            if refused:
                message = f"redis took {len(chunk) - len(refused)} of {len(chunk)}: {refused[0]}"
                raise QueueError(message)
            yield [reply.decode() for reply in replies]


# --- the rows -------------------------------------------------------------------------------------


def wait_for_rows(
    reader: Reader, session: str, number: int, show: Callable[[int], None]
) -> list[Fields]:
    """Return the rows of a session when all are there, or when no more come."""
    rows, moved_s = 0, monotonic_s()
    while rows < number and monotonic_s() - moved_s < PATIENCE_S:
        found = reader.count_session(session)
        if found != rows:
            rows, moved_s = found, monotonic_s()
            show(rows)
        threading.Event().wait(POLL_S)
    return reader.traces("session_id", session, number + CHUNK)


def complete(reader: Reader, row: Fields) -> Fields:
    """Return a row with its decoded data, and whether its hops come one after the other."""
    times = [row[column] for column in HOPS.values()]
    order = "in order" if times == sorted(times) else str(times)
    return {**row, "hops": order, "data": orjson.loads(reader.event_data(row["sequence"]))}


def compare(wanted: Sequence[Fields], rows: Sequence[Fields]) -> list[Fields]:
    """Return a line for each field: an expected value, one that was found, and how often it is."""
    found = {row["event_id"]: row for row in rows}
    pairs = [(each, found.get(each["event_id"], {})) for each in wanted]
    return [_compare_field(name, pairs) for name in wanted[0]]


def _compare_field(name: str, pairs: Sequence[tuple[Fields, Fields]]) -> Fields:
    wrong = [(each, row) for each, row in pairs if row.get(name) != each[name]]
    example, row = wrong[0] if wrong else pairs[0]
    return {
        "field": name,
        "expected": example[name],
        "found": row.get(name),
        "right": f"{len(pairs) - len(wrong)}/{len(pairs)}",
        "wrong": len(wrong),
    }


# --- showing --------------------------------------------------------------------------------------


def _short(value: object) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"


COLUMNS_SHOWN = (
    Column("field", "field", whole=True),
    Column("expected", "expected", _short),
    Column("found", "found", _short),
    Column("right", "ok/total", justify="right", whole=True),
)


def show(lines: Sequence[Fields], surplus: int, body: Mapping[str, Any]) -> bool:
    """Show what was found; True when all of it is as it must be."""
    render(Table(COLUMNS_SHOWN, lines), "table")
    click.echo()
    render_facts([Fact(law, law_text(law, body)) for law in LAWS])
    wrong = sum(bool(line["wrong"]) for line in lines)
    well = not (wrong or surplus or any(remainder(law, body) for law in LAWS))
    click.echo()
    if well:
        click.echo(f"all well; remove the rows with: blueplane forget --project {PROJECT}")
    else:
        click.echo(f"NOT WELL: {count(wrong, 'field')} wrong, {count(surplus, 'row')} too many")
    return well


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("number", metavar="[COUNT]", type=click.IntRange(1, 1_000_000), default=100)
@home_option
def smoke(number: int, home: Home) -> int:
    """Push COUNT (100) invented events into the queue of a running server, and check their rows."""
    settings = load(home, os.environ).redis
    url = queue_url(home, settings)
    session = f"smoke-{token_hex(8)}"
    events = make_events(number, session)
    screen, began_s = Screen(sys.stdout), monotonic_s()
    say = screen.show if screen.live else lambda _line: None
    ids: list[str] = []
    for chunk in push(url, settings.key_prefix, home, events):
        ids += chunk
        say(f"pushed {len(ids)} of {number}")
    screen.say(f"pushed {count(number, 'event')} of session {session}")
    with stored(home) as reader:
        rows = wait_for_rows(reader, session, number, lambda n: say(f"{n} of {number} rows"))
        rows = [complete(reader, row) for row in rows]
        took_ms = round((monotonic_s() - began_s) * 1000)
        say("")
        screen.say(f"{count(len(rows), 'row')} after {milliseconds(took_ms)}")
        screen.close()
        ask(home.control_socket, "status", timeout_s=STATUS_S)
        balance = reader.balance()
    wanted = [expected(event, each) for event, each in zip(events, ids, strict=True)]
    body = balance.body if balance else {}
    return int(not show(compare(wanted, rows), max(0, len(rows) - number), body))


def main() -> int:
    """Run it, and turn what a user can mend into one line."""
    try:
        return int(smoke.main(standalone_mode=False) or 0)
    except BlueplaneError as error:
        click.echo(f"ingest_smoke: {error}", err=True)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
