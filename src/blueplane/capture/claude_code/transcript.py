"""Claude Code's transcripts: from one line to one event.

Owns what a line's keys mean, and what of a line is worth storing: who, when, which call, how many
tokens and lines; of texts their length.
Promises that a line of the same place is always the same event, and that only
MalformedPayloadError and FilteredError leave here.
Leaves the files to ``tail.py`` and the monitor, privacy to the sanitiser.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from zlib import crc32

import orjson

from blueplane.capture.claude_code.hooks import PLATFORM
from blueplane.capture.claude_code.places import SOURCE
from blueplane.capture.filters import NO_FILTERS, Filters
from blueplane.capture.hook_event import FITTING, take_time
from blueplane.capture.lines import patch_lines, split_lines
from blueplane.capture.parse import Body, parse_leniently
from blueplane.capture.pauses import NO_PAUSES, Pauses
from blueplane.capture.sanitise import Sanitiser
from blueplane.capture.vocabulary import CODE, NAME
from blueplane.capture.workspace import NO_WORKSPACE
from blueplane.clock import NS_PER_MS
from blueplane.event import MAX_PAYLOAD_BYTES, Event, derive_id, line_id

#: What an event of a transcript is called.
EVENT_TYPE: Final = "transcript_trace"
#: The native type of a sub-agent's ``meta.json``, and of a line that names none.
AGENT_META: Final = "agent-meta"
UNKNOWN: Final = "unknown"
#: Bytes at the end of a line that tell it from another one.
TAIL: Final = 1_024
#: Keys of a line that say nothing: constants, and what stands elsewhere.
_LEFT_OUT: Final = ("userType", "slug", "wireToolInputs")
#: Keys of ``usage`` that are columns.
_TOKENS: Final[Mapping[str, str]] = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_input_tokens": "cache_read_tokens",
    "cache_creation_input_tokens": "cache_creation_tokens",
}
#: Texts of a message's blocks, by the type of the block.
_TEXTS: Final = {"text": "text", "thinking": "thinking", "tool_result": "content"}
_CALLS: Final = {"tool_use": "id", "tool_result": "tool_use_id"}
#: How messages begin that a user did not type as they stand: a command with what it printed, or
#: the note that the user interrupted the answer.
_WRAPPER: Final = re.compile(
    r"\s*<(?P<command>command-(?:name|message|args)|local-command-(?:stdout|stderr|caveat)"
    r"|bash-(?:input|stdout|stderr)|task-notification)>|\[Request interrupted by user"
)
_CWD: Final = re.compile(rb'"cwd":"((?:[^"\\]|\\.)*)"')
_TIME: Final = re.compile(rb'"timestamp":("[0-9TZ:.+-]{10,40}")')


@dataclass(slots=True)
class Place:
    """What a file says of all its lines.

    ``item`` names it in origins, ``name`` is the file's own, ``session_id`` what its place in the
    tree says; ``salt`` goes into what stands for a line. A ``whole`` file is one line. ``cwd`` and
    ``born_ms`` stand in for what a line does not say, ``last_ms`` is the time of the line before,
    ``changed_ms`` that of the file's last change.
    """

    item: str
    name: str
    session_id: str
    salt: int = 0
    whole: bool = False
    generation: int = 0
    cwd: str = ""
    born_ms: int = 0
    last_ms: int = 0
    changed_ms: int = 0

    def origin(self, line: "Line") -> str:
        """Name a line, by where it stands and what stands for it."""
        tail = tail_of(line.raw, self.salt) if line.raw else 0
        return f"t:{self.item}-{self.generation}:{line.start}:{line.end}:{tail}"

    def moment_ms(self, timestamp_ms: int | None) -> int:
        """Return the time of a line: its own, that of the line before, or that of the file."""
        return self.last_ms or self.born_ms if timestamp_ms is None else timestamp_ms

    def date(self, head: bytes, mtime_ms: int) -> None:
        """Take place and time from the first lines, or else the time of the file."""
        found = _CWD.search(head)
        self.cwd = _text(found[1]) if found else ""
        dated = {"timestamp": orjson.loads(time[1])} if (time := _TIME.search(head)) else {}
        self.born_ms = take_time(dated) or max(0, mtime_ms)


class Line(NamedTuple):
    """A whole line: its bytes, and where it stands; of one that is too long only where."""

    raw: bytes
    start: int
    end: int


def tail_of(raw: bytes, salt: int) -> int:
    """Return what stands for a line, by its end; the salt keeps anybody from guessing at it."""
    return crc32(raw[-TAIL:].strip(), salt) or 1


@dataclass(slots=True)
class _Draft:
    """A line that was parsed: its type, its own time, and what is left of it."""

    kind: str
    timestamp_ms: int | None
    body: Body
    metadata: dict[str, Any]


class TranscriptReader:
    """Makes events of lines; ``use`` may be called at any time, by any thread."""

    def __init__(self, sanitiser: Sanitiser, filters: Filters = NO_FILTERS) -> None:
        self._sanitiser, self._filters = sanitiser, filters
        #: When capture is, and was, paused.
        self.pauses = NO_PAUSES

    def use(self, sanitiser: Sanitiser, filters: Filters) -> None:
        """Go by other settings from the next line on."""
        self._sanitiser, self._filters = sanitiser, filters

    def read(self, line: Line, place: Place) -> Event:
        """Make the event of a line.

        Raises MalformedPayloadError (it cannot be read) or FilteredError (a rule leaves it out).
        """
        return self._read(line, place, self._filters, self.pauses)

    def identify(self, line: Line, place: Place) -> Event:
        """Make the event as ``read`` does, whatever the rules say."""
        return self._read(line, place, NO_FILTERS, NO_PAUSES)

    def _read(self, line: Line, place: Place, filters: Filters, pauses: Pauses) -> Event:
        if not line.raw:
            pauses.check(place.last_ms, place.changed_ms)
            filters.check_unread()
            return self._unread(line, place)
        body, marks = parse_leniently(line.raw)
        kind = _take_type(body, place)
        timestamp_ms = take_time(body)
        if timestamp_ms is None:  # it may be of the time of the line before, or of the last change
            pauses.check(place.last_ms, place.changed_ms)
        else:
            place.last_ms = timestamp_ms
            pauses.check(timestamp_ms)
        if filters:
            filters.check_kind(PLATFORM, kind, EVENT_TYPE)
            cwd = body.get("cwd") if type(body.get("cwd")) is str else place.cwd
            filters.check_places(PLATFORM, {**body, "cwd": cwd})
        return self._event(line, place, _Draft(kind, timestamp_ms, body, dict(marks)))

    def _event(self, line: Line, place: Place, draft: _Draft) -> Event:
        body, kind, metadata = draft.body, draft.kind, draft.metadata
        event_id = _take_id(body, line, place)
        clean = self._sanitiser
        identifier = clean.identifier
        session_id = _take_text(body, "sessionId") or place.session_id
        cwd = _take_text(body, "cwd") or place.cwd
        place.cwd = place.cwd or cwd
        workspace = clean.workspace(cwd) if cwd else NO_WORKSPACE
        turn_id = _take_text(body, "promptId")
        tool_use_id = _lift(body, metadata)
        _mark_wrapper(body)
        if clean.level != "full":
            _project(body)
        payload = clean.payload(body)
        if len(payload) > MAX_PAYLOAD_BYTES:
            metadata["truncated"] = 1
            payload = orjson.dumps({"bytes": len(line.raw)})
        return Event(
            event_id,
            PLATFORM.name,
            SOURCE,
            kind,
            EVENT_TYPE,
            identifier(session_id),
            place.moment_ms(draft.timestamp_ms),
            _captured_ns(line, place, draft.timestamp_ms),
            workspace.hash,
            workspace.project,
            identifier(turn_id),
            identifier(tool_use_id),
            payload,
            orjson.dumps(metadata, option=orjson.OPT_SORT_KEYS),
            place.origin(line),
        )

    def _unread(self, line: Line, place: Place) -> Event:
        """Make the event of a line that is too long: of its content only the size is known."""
        size = line.end - line.start
        return Event(
            derive_id(SOURCE, place.name, str(line.start), str(size)),
            PLATFORM.name,
            SOURCE,
            UNKNOWN,
            EVENT_TYPE,
            self._sanitiser.identifier(place.session_id),
            place.moment_ms(None),
            _captured_ns(line, place, None),
            "",
            "",
            "",
            "",
            orjson.dumps({"bytes": size}),
            b'{"truncated":1}',
            place.origin(line),
        )


def _captured_ns(line: Line, place: Place, timestamp_ms: int | None) -> int:
    """Return a time of capture that is the same whenever the line is read, and of no other line.

    Exact to the millisecond, below which it is a hash of where the line stands: forks copy lines.
    """
    moment_ms = place.born_ms if timestamp_ms is None else timestamp_ms
    return moment_ms * NS_PER_MS + crc32(b"%d" % line.start, crc32(place.item.encode())) % NS_PER_MS


def _text(quoted: bytes) -> str:
    try:
        return str(orjson.loads(b'"%b"' % quoted))
    except orjson.JSONDecodeError:
        return ""


def _take_type(body: Body, place: Place) -> str:
    """Take the native type of a line; what is no name stays where it is.

    What describes a sub-agent names it by its file only.
    """
    if place.whole:
        body["agentId"] = place.name.removeprefix("agent-").removesuffix(".meta.json")
        return AGENT_META
    kind = body.get("type")
    if type(kind) is str and NAME.match(kind):
        del body["type"]
        return kind
    return UNKNOWN


def _take_id(body: Body, line: Line, place: Place) -> bytes:
    """Return the event id of a line: its uuid, if it has one, which then stands nowhere else."""
    identity = body.get("uuid")
    if type(identity) is not str or not identity:
        return derive_id(SOURCE, place.name, str(line.start), line.raw)
    event_id = line_id(identity)
    if event_id.hex() == identity.replace("-", ""):
        del body["uuid"]
    return event_id


def _take_text(body: Body, key: str) -> str:
    value = body.get(key)
    if type(value) is str:
        del body[key]
        return value
    return ""


# --- columns -------------------------------------------------------------------------------------


def _lift(body: Body, metadata: dict[str, Any]) -> str:
    """Move to the metadata what is a column of the row; return the tool call of the line."""
    result = body.get("toolUseResult")
    if type(result) is dict and (lines := _count_lines(result)):
        metadata["lines_added"], metadata["lines_removed"] = lines
    message = body.get("message")
    if type(message) is not dict:
        return ""
    _move(message, "model", "model", metadata)
    usage = message.get("usage")
    if type(usage) is dict:
        for key, column in _TOKENS.items():
            _move(usage, key, column, metadata)
    return _lift_call(message.get("content"), metadata)


def _move(body: Body, key: str, column: str, metadata: dict[str, Any]) -> None:
    fitting = FITTING[column](body.get(key))
    if fitting is not None:
        metadata[column] = fitting
        del body[key]


def _lift_call(content: object, metadata: dict[str, Any]) -> str:
    """Take the id of the first tool call out of a message, and its name; others stay there."""
    for block in content if type(content) is list else ():
        kind = block.get("type") if type(block) is dict else None
        key = _CALLS.get(kind) if type(kind) is str else None
        if key is not None:
            if kind == "tool_use":
                _move(block, "name", "tool_name", metadata)
            return _take_text(block, key)
    return ""


def _count_lines(result: Body) -> tuple[int, int] | None:
    """Count the lines that a tool changed; a new file has no patch."""
    lines = patch_lines(result.get("structuredPatch"))
    content = result.get("content")
    if lines is None and result.get("type") == "create" and type(content) is str:
        return len(split_lines(content)), 0
    return lines


def _mark_wrapper(body: Body) -> None:
    """Note what the program wrote as a user's message; nobody can tell from its length."""
    message = body.get("message")
    content = message.get("content") if type(message) is dict else None
    if type(content) is list and content and type(content[0]) is dict:
        content = content[0].get("text")
    found = _WRAPPER.match(content) if type(content) is str else None
    if found:
        body["wrapper"] = "command" if found["command"] else "interruption"


# --- what is worth storing -----------------------------------------------------------------------


def _project(body: Body) -> None:
    """Leave of a line what is worth storing below ``full``: of what is long its measures."""
    for key in _LEFT_OUT:
        body.pop(key, None)
    for key in [key for key, value in body.items() if value is None or value is False]:
        del body[key]
    for key, shorten in _SHORTENED.items():
        if key in body:
            body[key] = shorten(body[key])


def _message(message: object) -> object:
    if type(message) is not dict:
        return message
    kept = {
        key: value
        for key, value in message.items()
        if value is not None and key not in ("type", "role")
    }
    usage = kept.get("usage")
    if type(usage) is dict:
        kept["usage"] = {key: value for key, value in usage.items() if _says_something(value)}
    content = kept.get("content")
    if type(content) is str:
        kept["content"] = {"chars": len(content)}
    elif type(content) is list:
        kept["content"] = list(map(_block, content))
    return kept


def _says_something(value: object) -> bool:
    """Say whether a value is more than nothing, or the noughts of what was not used."""
    if type(value) is dict and "ephemeral_5m_input_tokens" not in value:
        return any(value.values())
    return value is not None and value != []


def _block(block: object) -> object:
    """Shorten one block of a message: its type, what it is called, and how long its text is."""
    if type(block) is not dict:
        return block
    kind = block.get("type")
    kept = {key: block[key] for key in ("type", "id", "tool_use_id") if key in block}
    if kind == "tool_use" and "name" in block:
        kept["tool_name"] = block["name"]
    if block.get("is_error"):
        kept["is_error"] = True
    if type(kind) is str and kind in _TEXTS:
        kept["chars"] = _length(block.get(_TEXTS[kind]))
    return kept


def _length(value: object) -> int:
    """Return the characters of a text, or of the texts in a list of blocks."""
    if type(value) is str:
        return len(value)
    if type(value) is not list:
        return 0
    texts = (item.get("text") for item in value if type(item) is dict)
    return sum(len(text) for text in texts if type(text) is str)


def _result(result: object) -> object:
    """Shorten what a tool answered."""
    if type(result) is list:
        return {"items": len(result), "chars": _length(result)}
    if type(result) is not dict:
        return result
    kept = {
        key: _size(value) if key in _LONG else value
        for key, value in result.items()
        if value not in (None, False, "") and key not in ("structuredPatch", "originalFile")
    }
    if type(file := kept.get("file")) is dict:
        kept["file"] = {key: _size(value) if key in _LONG else value for key, value in file.items()}
    return kept


def _size(value: object) -> object:
    if type(value) is str:
        return {"chars": len(value)}
    return {"items": len(value), "chars": _length(value)} if type(value) is list else value


def _models(usage: object) -> object:
    """Make a list of an object whose keys are names of models: names are no keys."""
    if type(usage) is not dict:
        return usage
    return [{"model": name, **figures} for name, figures in usage.items() if type(figures) is dict]


def _flat(value: object) -> object:
    """Keep the first level of what may hold anything: of what is in it the number of items."""
    if type(value) is not dict:
        return value
    return {
        key: {"items": len(item)} if isinstance(item, (dict, list)) else item
        for key, item in value.items()
    }


#: Not the texts of an edit, whose hashes tell that it was undone.
_LONG: Final = (CODE - {"oldString", "newString"}) | {"stdout", "stderr", "prompt"}
_SHORTENED: Final[Mapping[str, Callable[[object], object]]] = {
    "message": _message,
    "toolUseResult": _result,
    "modelUsage": _models,
    "attachment": _flat,
    "snapshot": _flat,
    "data": _flat,
}
