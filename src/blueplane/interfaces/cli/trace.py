"""``blueplane trace``: one event, or the events of a session, along the road.

Owns how a road looks.
Promises to say where an event is, or everywhere it is not.
Leaves the search to ``search.py`` and the names of the hops to ``store/hops.py``.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import click

from blueplane.errors import NotFoundError
from blueplane.event import STORED_SOURCES
from blueplane.figures import count, milliseconds, moment, number
from blueplane.interfaces.cli import visible
from blueplane.interfaces.cli.options import format_option, home_option
from blueplane.interfaces.cli.output import (
    Column,
    Fact,
    Form,
    Table,
    render,
    render_facts,
    render_json,
    render_notes,
)
from blueplane.interfaces.cli.search import (
    Found,
    envelope,
    find_event_id,
    letter_note,
    letters_of,
    queued,
    queued_event,
    session_notes,
    spooled,
    stored_event,
    with_data,
)
from blueplane.interfaces.cli.session_names import full_id
from blueplane.interfaces.cli.storage import stored
from blueplane.interfaces.cli.values import complete_session
from blueplane.paths import Home
from blueplane.store.hops import HOPS

#: Events of a session that are shown unless asked otherwise.
LIMIT: Final = 50

_HOP_COLUMNS: Final = (
    Column("hop", "hop"),
    Column("at_ms", "time", moment, whole=True),
    Column("since_captured_ms", "since captured", milliseconds, "right"),
    Column("since_previous_ms", "since the one before", milliseconds, "right"),
)
_SESSION_COLUMNS: Final = (
    Column("event_id", "event", lambda value: value[:12], whole=True),
    Column("captured_ms", "captured", moment, whole=True),
    Column("kind", "type", name=True),
    Column("tool_name", "tool", name=True),
    Column("written_after", "written after", justify="right", whole=True),
)
_QUEUE_COLUMNS: Final = (
    Column("message_id", "message", whole=True),
    Column("event_id", "event", lambda value: value[:12], whole=True),
    Column("captured_ms", "captured", moment, whole=True),
    Column("event_type", "type", name=True),
)
#: What an editor stored, by its native name and whether it is of a tool.
_STORED_KINDS: Final = {
    ("user", False): "prompt",
    ("user", True): "tool result",
    ("assistant", False): "answer",
    ("assistant", True): "tool call",
    ("bubbleId", True): "tool call",
    ("bubbleId", False): "bubble",
    ("composerData", False): "conversation",
}
#: What of a row is no fact about the event, or is shown as a hop.
_NOT_FACTS: Final = frozenset(
    {
        "sequence",
        "event_id",
        "message_id",
        "timestamp_ms",
        "written_after_ms",
        "from_history",
        *HOPS.values(),
    }
)


@click.command()
@click.argument("name", metavar="ID", shell_complete=complete_session)
@click.option("--data", is_flag=True, help="Show also what was stored of each event.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=LIMIT,
    show_default=True,
    help="Newest events of a session; 0 shows all.",
)
@format_option
@home_option
def trace(home: Home, name: str, form: Form, limit: int, *, data: bool) -> None:
    """Follow one event along its road, or list the events of a session.

    ID is an event id, the first 6 digits of one or more, the uuid of a transcript's line, or a
    session: its id, the beginning of one, or `last`. What is not written is looked for among the
    dead letters and in the queue. Exit code 1: it is nowhere.
    """
    with stored(home) as reader:
        event_id = find_event_id(reader, name)
        if event_id is not None:
            _show_event(stored_event(reader, event_id, data=data), form)
            return
        name = full_id(reader, name)
        total = reader.count_session(name)
        notes = [
            *session_notes(reader, name),
            *(letter_note(letter) for letter in letters_of(reader, name)),
        ]
        if total or notes:
            newest = reader.newest(name, limit or total)
            rows = [with_data(reader, row, data=data) for row in newest]
            _show_session(rows, total, notes, form)
            return
    _show_queued(home, name, form)


def _show_queued(home: Home, name: str, form: Form) -> None:
    """Show what is in the stream; raise NotFoundError, with every place, when nothing is."""
    found, trouble = queued(home, name)
    if not found:
        message = f"{name}: no event, no session, no dead letter; {trouble}; {spooled(home)}"
        raise NotFoundError(message)
    if len(found) == 1:
        _show_event(queued_event(*found[0]), form)
        return
    rows = [{"message_id": message_id, **envelope(event)} for message_id, event in found]
    render(Table(_QUEUE_COLUMNS, rows, caption="in the queue, not written"), form)


# --- showing -------------------------------------------------------------------------------------


def _show_event(found: Found, form: Form) -> None:
    rows = [asdict(hop) for hop in found.hops]
    if form == "json":
        more = {"data": found.data} if found.data else {}
        event = dict(found.event)
        render_json({"rows": rows, "total": {}, "event": event, "notes": found.notes, **more})
        return
    render_facts(list(_facts(found.event)))
    click.echo()
    render(Table(_HOP_COLUMNS, rows), form)
    render_notes(found.notes)
    if found.data:
        _show_data(found.data)


def _facts(event: Mapping[str, Any]) -> Iterator[Fact]:
    event_id = event["event_id"]
    yield Fact("event", event_id.hex() if isinstance(event_id, bytes) else str(event_id))
    for key, value in event.items():
        if key not in _NOT_FACTS and value not in (None, ""):
            yield Fact(key.replace("_", " "), number(value) if type(value) is int else str(value))


def _show_session(
    rows: Sequence[Mapping[str, Any]], total: int, notes: Sequence[str], form: Form
) -> None:
    if form == "json":
        render_json({"rows": rows, "total": {"events": total}, "notes": notes})
        return
    left_out = total - len(rows)
    caption = f"{count(left_out, 'older event')} not shown; --limit 0 shows all" if left_out else ""
    if rows:
        shown = [{**row, "kind": _kind(row), "written_after": _written_after(row)} for row in rows]
        render(Table(_SESSION_COLUMNS, shown, caption=caption), form)
    render_notes(notes)
    for row in rows:
        if "data" in row:
            click.echo(f"\n{row['event_id']} {visible(row['event_type'])}")
            _show_data(row["data"])


def _kind(row: Mapping[str, Any]) -> str:
    """Say what an event is; of a line or row that an editor stored, as far as its columns tell."""
    if row["source"] not in STORED_SOURCES:
        return str(row["event_type"])
    of_tool = bool(row["tool_use_id"] or row["tool_name"])
    return _STORED_KINDS.get((row["hook_type"], of_tool), str(row["hook_type"]))


def _written_after(row: Mapping[str, Any]) -> str:
    return "from history" if row["from_history"] else milliseconds(row["written_after_ms"])


def _show_data(data: Mapping[str, Any]) -> None:
    for line in json.dumps(data, indent=2, ensure_ascii=False).splitlines():
        click.echo(visible(line))
