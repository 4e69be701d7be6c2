"""Where an event is: rows, dead letters, the stream, and what may be in the spool.

Owns the search behind ``blueplane trace``.
Promises to look everywhere an event can be, and to say of each place what it found.
Leaves showing to ``trace.py``.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from blueplane.clock import NS_PER_MS, wall_ms
from blueplane.config import load
from blueplane.errors import QueueError, UndecodableEntryError, UsageError
from blueplane.event import EVENT_ID_BYTES, Event, decode
from blueplane.figures import count, milliseconds, moment, number
from blueplane.interfaces.cli.reach import in_stream
from blueplane.lock import is_running
from blueplane.paths import Home
from blueplane.pipeline.dead_letters import fields_of
from blueplane.store.hops import Hop, chain, hops, is_history, written_after
from blueplane.store.letters import Letter
from blueplane.store.queries import Reader
from blueplane.store.reports import session

_ID_DIGITS: Final = 2 * EVENT_ID_BYTES
#: Characters of a uuid, which has dashes.
_UUID_CHARS: Final = 36
_EVENT_ID: Final = re.compile(rf"[0-9a-f]{{6,{_ID_DIGITS}}}\Z")
#: What an event in the queue has beside its hops.
_ENVELOPE: Final = (
    "platform",
    "source",
    "hook_type",
    "event_type",
    "session_id",
    "workspace_hash",
)


# --- what is stored ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Found:
    """An event, its hops, sentences about it, and what was stored of it, if that is wanted."""

    event: Mapping[str, Any]
    hops: Sequence[Hop]
    notes: Sequence[str] = ()
    data: Mapping[str, Any] = field(default_factory=dict)


def find_event_id(reader: Reader, name: str) -> str | None:
    """Return the event id (hex) that begins with ``name``; raise UsageError when several do."""
    digits = _digits(name)
    if digits is None:
        return None
    first, last = (bytes.fromhex(digits.ljust(_ID_DIGITS, fill)) for fill in "0f")
    found = reader.event_ids(first, last, 2)
    if len(found) > 1:
        message = f"{name}: several event ids begin like this; give more digits"
        raise UsageError(message)
    return found[0] if found else None


def _digits(name: str) -> str | None:
    """Return what an event id begins with; None for what is none. That of a line is its uuid."""
    digits = name.lower()
    if len(digits) == _UUID_CHARS:
        digits = digits.replace("-", "")
    return digits if _EVENT_ID.match(digits) else None


def stored_event(reader: Reader, event_id: str, *, data: bool) -> Found:
    """Return the event that ``find_event_id`` found."""
    letters = list(reader.letters_of_event(bytes.fromhex(event_id)))
    notes = [letter_note(letter) for letter in letters]
    rows = reader.traces("event_id", event_id)
    if not rows:
        return _dead_letter(letters[-1], notes)
    duplicates = reader.duplicates(bytes.fromhex(event_id))
    notes += [f"came again as message {each['message_id']}" for each in duplicates]
    row = with_data(reader, rows[0], data=data)
    if row["from_history"]:
        old = milliseconds(row["enqueued_ms"] - row["captured_ms"])
        notes.append(f"from history: it was {old} old when it was read, and its road begins there")
    return Found(row, hops(row), notes, row.pop("data", {}))


def with_data(reader: Reader, row: dict[str, Any], *, data: bool) -> dict[str, Any]:
    """Return a row with how long it took to be written and, if wanted, the stored ``data``.

    Nothing of ``from_history`` took long: it was old when it was read.
    """
    extra = {"data": json.loads(reader.event_data(row["sequence"]))} if data else {}
    old = is_history(row["source"], row["captured_ms"], row["enqueued_ms"])
    return {**row, "written_after_ms": written_after(row), "from_history": old, **extra}


def _dead_letter(letter: Letter, notes: Sequence[str]) -> Found:
    enqueued_ms = _enqueued_ms(letter.message_id)
    captured_ms = (letter.captured_ns or enqueued_ms * NS_PER_MS) // NS_PER_MS
    queued = [("captured", captured_ms), ("enqueued", enqueued_ms)]
    event = {key: getattr(letter, key) for key in ("event_id", "platform", "source", "hook_type")}
    steps = [*queued, ("dead letter", letter.opened_ms)]
    return Found(event, chain(letter.source, steps), notes)


def letters_of(reader: Reader, name: str) -> Iterator[Letter]:
    """Return the dead letters of a session, or the one of this message id.

    The session is only in the fields of what was not written.
    """
    named = reader.letter(name)
    if named is not None:
        yield named
        return
    for letter in reader.letters(("open", "dropped")):
        if _session_id(letter) == name:
            yield letter


def _session_id(letter: Letter) -> str | None:
    try:
        return decode(fields_of(letter) or []).session_id
    except UndecodableEntryError:
        return None


def session_notes(reader: Reader, name: str) -> Iterator[str]:
    """Say what is derived of a session: when it was, what it belongs to, and what it took."""
    found = session(reader, name, wall_ms())
    if found is None or found.started_ms is None:
        return
    end = "lasts" if found.ended_ms is None else f"ended {moment(found.ended_ms)}"
    reason = f" ({found.ended_by})" if found.ended_by else ""
    times = f", taken up {found.stretches} times" if found.stretches > 1 else ""
    yield f"session of {found.platform}: began {moment(found.started_ms)}, {end}{reason}{times}"
    place = [
        f"{word} {value}"
        for word, value in (
            ("project", found.project), ("branch", found.branch),
            ("goes on from session", found.continues), ("sub-agent of session", found.parent_id),
        )
        if value
    ]  # fmt: skip
    if place:
        yield ", ".join(place)
    if found.calls:
        tokens = ", ".join(
            f"{number(value)} {word}"
            for word, value in (
                ("input", found.input_tokens), ("output", found.output_tokens),
                ("cache creation", found.cache_creation_tokens),
                ("cache read", found.cache_read_tokens),
            )
        )  # fmt: skip
        yield f"{count(found.calls, 'call')} of models, tokens: {tokens}"
    if found.reported_cost_usd is not None:
        yield f"cost as the editor reports it: {number(found.reported_cost_usd)} USD"


def letter_note(letter: Letter) -> str:
    """Say what a dead letter is, in a line."""
    return f"dead letter {letter.message_id} ({letter.state}): {letter.reason}"


# --- what is not stored --------------------------------------------------------------------------


def queued(home: Home, name: str) -> tuple[list[tuple[str, Event]], str]:
    """Return what is in the stream, and what to say when that is nothing."""
    prefix = _digits(name)

    def wanted(event: Event) -> bool:
        by_id = prefix is not None and event.event_id.hex().startswith(prefix)
        return by_id or event.session_id == name

    settings = load(home, os.environ).redis
    if settings.private and not is_running(home):
        return [], "no server runs, so its queue cannot be looked at (`blueplane start`)"
    try:
        return in_stream(home, settings, wanted), "not in the queue"
    except QueueError as error:
        return [], f"the queue cannot be looked at ({error})"


def spooled(home: Home) -> str:
    """Say what may be in the spool: nobody knows the ids of what is not read yet."""
    waiting = len(list(home.spool.iterdir())) if home.spool.exists() else 0
    if not waiting:
        return "nothing waits in the spool"
    return f"{count(waiting, 'file')} in the spool not read yet: it may be there"


def envelope(event: Event) -> dict[str, Any]:
    """Return what a queued event says of itself, by the names of ``raw_traces``."""
    captured_ms = event.captured_ns // NS_PER_MS
    shown = {key: getattr(event, key) for key in _ENVELOPE}
    return {"event_id": event.event_id.hex(), **shown, "captured_ms": captured_ms}


def queued_event(message_id: str, event: Event) -> Found:
    """Return an event that is in the stream."""
    shown = envelope(event)
    steps = [("captured", shown["captured_ms"]), ("enqueued", _enqueued_ms(message_id))]
    return Found(
        shown, chain(event.source, steps), [f"in the queue as message {message_id}, not written"]
    )


def _enqueued_ms(message_id: str) -> int:
    return int(message_id.partition("-")[0])
