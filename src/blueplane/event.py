"""The event: what capture emits, the stream carries and the store keeps.

Owns the record, its wire form (the fields of one stream entry) and the size limits.
Promises that ``decode(encode(event)) == event`` and that whatever is not an event is refused.
Leaves what may be in a payload to the sanitiser, and how a row is stored to the store.
"""

import os
import re
from binascii import unhexlify
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from blueplane.clock import iso_utc, parse_iso_ms
from blueplane.digests import blake2b
from blueplane.errors import UndecodableEntryError

#: The version of the wire form. A reader accepts its own and the one before.
WIRE_VERSION: Final = b"1"
#: Bytes of an event id: 128 bits make a collision among 10^12 events improbable (about 10^-15).
EVENT_ID_BYTES: Final = 16
#: The largest sanitised payload that is stored; above it only the size is kept.
MAX_PAYLOAD_BYTES: Final = 256 * 1024
#: Levels of a JSON field. Ours have at most twice the 64 of a payload; orjson writes 254, and a
#: stricter privacy level may need two for one.
MAX_LEVELS: Final = 126
#: The largest integer that SQLite holds.
MAX_INT: Final = 2**63 - 1

#: Our event types, with their priority for whoever is woken by a commit:
#: 1 ends or begins something a person looks at, 2 is a tool or a file, 3 is the rest.
EVENT_TYPES: Final[dict[str, int]] = {
    "session_start": 1,
    "session_end": 1,
    "user_prompt": 1,
    "assistant_response": 2,
    "tool_start": 2,
    "tool_use": 2,
    "mcp_execution": 2,
    "shell_execution": 2,
    "file_edit": 2,
    "file_read": 2,
    "subagent_start": 2,
    "subagent_stop": 2,
    "turn_end": 1,
    "context_compact": 2,
    "notification": 3,
    "transcript_trace": 3,
    "database_trace": 3,
    "acceptance_decision": 1,
    "error": 1,
    "canary": 3,
    "other": 3,
}

#: Metadata keys that are columns of a row too, with the type that each must have.
COLUMNS: Final[dict[str, type]] = {
    "model": str,
    "tool_name": str,
    "duration_ms": int,
    "input_tokens": int,
    "output_tokens": int,
    "cache_read_tokens": int,
    "cache_creation_tokens": int,
    "lines_added": int,
    "lines_removed": int,
}
#: Those of them that are stored as columns only; the tool says how its payload is to be read.
COLUMNS_ONLY: Final = tuple(name for name in COLUMNS if name != "tool_name")

#: A uuid as everyone writes it: its bytes can be written back to the same text.
_UUID: Final = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_FIELDS: Final = (
    b"v",
    b"event_id",
    b"platform",
    b"source",
    b"hook_type",
    b"event_type",
    b"session_id",
    b"timestamp",
    b"captured_at",
    b"workspace_hash",
    b"project",
    b"turn_id",
    b"tool_use_id",
    b"payload",
    b"metadata",
    b"origin",
)
_OPTIONAL: Final = (b"project", b"turn_id", b"tool_use_id", b"origin")
_FIELD_LIST: Final = list(_FIELDS)


class Event(NamedTuple):
    """One event on the road.

    ``session_id``, ``turn_id`` (of a prompt and all that follows from it) and ``tool_use_id`` are
    the platform's own, "" where it names none: they join events, and stand apart from the payload
    for that, and because they are most of what no compression makes smaller.

    ``captured_ns`` is ours (nanoseconds since the epoch), ``timestamp_ms`` the platform's own time
    or the same moment. ``payload`` and ``metadata`` are canonical JSON objects, already sanitised;
    those keys of ``metadata`` that ``COLUMNS`` names are columns of the row as well. ``origin``
    names what the source lets go of after the commit; an event that none of our sources sent has
    none.
    """

    event_id: bytes
    platform: str
    source: str
    hook_type: str
    event_type: str
    session_id: str
    timestamp_ms: int
    captured_ns: int
    workspace_hash: str
    project: str
    turn_id: str
    tool_use_id: str
    payload: bytes
    metadata: bytes
    origin: str


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of a captured item that never reached the stream, and by which rule.

    ``outcome`` is ``filtered`` or ``quarantined``, ``size`` that of the item in bytes, ``source``
    the event's.
    """

    origin: str
    outcome: str
    rule: str
    platform: str
    hook_type: str
    size: int
    source: str = "hook"


@dataclass(frozen=True, slots=True)
class Mark:
    """How far an item of a source is settled: a file of an editor, or a table of its database.

    Everything before ``offset`` has its outcome stored. ``inode`` and ``fingerprint`` tell whether
    it is still the same item; ``generation`` counts how often it was not, and was begun anew.
    ``born_ms`` dates what has no time of its own. ``tail`` stands for the line that ends at
    ``offset``, 0 for one of which that is not known.
    """

    offset: int
    inode: int
    fingerprint: str
    generation: int = 0
    born_ms: int = 0
    tail: int = 0


#: Sources that read what editors keep: nothing of it goes anywhere else.
STORED_SOURCES: Final = frozenset({"transcript", "database"})


class Unread(NamedTuple):
    """A file or store that cannot be read since ``since_s`` (monotonic), and why.

    The ``reason`` is in words without a path; the path is as it can be shown (``as_text``).
    """

    path: str
    bytes: int
    reason: str
    since_s: float


def as_text(path: str) -> str:
    """Return a path, in which any byte may be, as text that anybody can encode."""
    return os.fsencode(path).decode(errors="backslashreplace")


class Extent(NamedTuple):
    """How much a source has to read, and what of it is left, with what cannot be read.

    ``known`` says whether it has looked for all of it; ``waiting`` are things that were read and
    have no outcome yet; ``taken`` are the bytes that were read since the start.
    """

    known: bool
    files: int
    files_left: int
    bytes: int
    bytes_left: int
    waiting: int
    taken: int = 0
    unread: tuple[Unread, ...] = ()

    @property
    def is_read(self) -> bool:
        """Whether nothing is left but what cannot be read."""
        unread = sum(each.bytes for each in self.unread)
        left = self.files_left - len(self.unread) + self.bytes_left - unread + self.waiting
        return self.known and not left


def derive_id(*parts: bytes | str) -> bytes:
    """Derive a deterministic event id from what identifies an event.

    Every part is hashed with its length before it, so that no two lists of parts run together.
    """
    hashed = blake2b(digest_size=EVENT_ID_BYTES)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        hashed.update(len(data).to_bytes(8, "big"))
        hashed.update(data)
    return hashed.digest()


def line_id(uuid: str) -> bytes:
    """Return the event id of a transcript's line by its uuid, which its copies have too.

    It is the uuid itself, unless that is written in another way than all are.
    """
    if _UUID.fullmatch(uuid):
        return unhexlify(uuid.replace("-", ""))
    return derive_id("line", uuid)


def encode(event: Event) -> list[bytes]:
    """Make the fields of a stream entry: name, value, name, value and so on."""
    return [
        b"v",
        WIRE_VERSION,
        b"event_id",
        event.event_id.hex().encode(),
        b"platform",
        event.platform.encode(),
        b"source",
        event.source.encode(),
        b"hook_type",
        event.hook_type.encode(),
        b"event_type",
        event.event_type.encode(),
        b"session_id",
        event.session_id.encode(),
        b"timestamp",
        iso_utc(event.timestamp_ms).encode(),
        b"captured_at",
        b"%d" % event.captured_ns,
        b"workspace_hash",
        event.workspace_hash.encode(),
        b"project",
        event.project.encode(),
        b"turn_id",
        event.turn_id.encode(),
        b"tool_use_id",
        event.tool_use_id.encode(),
        b"payload",
        event.payload,
        b"metadata",
        event.metadata,
        b"origin",
        event.origin.encode(),
    ]


def decode(fields: Sequence[bytes]) -> Event:
    """Read an event from the fields of a stream entry.

    Raises UndecodableEntryError, which names the field, when it is none.
    """
    (
        _, event_id, platform, source, hook_type, event_type, session_id, timestamp, captured,
        workspace_hash, project, turn_id, tool_use_id, payload, metadata, origin,
    ) = read_values(fields)  # fmt: skip
    return Event(
        read_event_id(event_id),
        read_text(platform),
        read_text(source),
        read_text(hook_type),
        read_text(event_type),
        read_text(session_id),
        read_timestamp(timestamp),
        read_captured(captured),
        read_text(workspace_hash),
        read_text(project),
        read_text(turn_id),
        read_text(tool_use_id),
        payload,
        metadata,
        read_text(origin),
    )


def read_values(fields: Sequence[bytes]) -> Sequence[bytes]:
    """Return the values of an entry in the order of ``encode``, whatever order they came in.

    Unknown fields are ignored, the ids that not every event has may be missing. Raises
    UndecodableEntryError for an entry that lacks a field, and for a version that is not ours.
    """
    values = fields[1::2]
    if fields[0::2] != _FIELD_LIST:
        table = dict(zip(fields[0::2], values, strict=False))
        table = dict.fromkeys(_OPTIONAL, b"") | table
        missing = [name.decode() for name in _FIELDS if name not in table]
        if missing:
            message = f"no field {', '.join(missing)}"
            raise UndecodableEntryError(message)
        values = [table[name] for name in _FIELDS]
    if values[0] != WIRE_VERSION:
        said = repr(values[0][:20]) if values[0].isdigit() else "that is no number"
        message = f"field v: wire version {said} is not {WIRE_VERSION.decode()}"
        raise UndecodableEntryError(message)
    return values


def read_text(value: bytes) -> str:
    """Read a field that holds text."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        message = "a text field is not UTF-8"
        raise UndecodableEntryError(message) from None


def read_texts(values: Sequence[bytes]) -> list[str]:
    """Read fields that hold text, of many entries at once."""
    try:
        return list(map(bytes.decode, values))
    except UnicodeDecodeError:
        return list(map(read_text, values))


def read_event_id(value: bytes) -> bytes:
    """Read the field ``event_id``."""
    try:
        event_id = unhexlify(value)
    except ValueError:
        event_id = b""
    if len(event_id) != EVENT_ID_BYTES:
        message = f"field event_id: not {EVENT_ID_BYTES} bytes in hex"
        raise UndecodableEntryError(message)
    return event_id


def read_timestamp(value: bytes) -> int:
    """Read the field ``timestamp``: milliseconds since the epoch."""
    try:
        return parse_iso_ms(value.decode())
    except ValueError:
        message = "field timestamp: not an ISO 8601 time"
        raise UndecodableEntryError(message) from None


def read_captured(value: bytes) -> int:
    """Read the field ``captured_at``: nanoseconds since the epoch."""
    try:
        captured_ns = int(value)
    except ValueError:
        captured_ns = -1
    if not 0 <= captured_ns <= MAX_INT:
        message = "field captured_at: not a number of nanoseconds"
        raise UndecodableEntryError(message)
    return captured_ns


def read_object(name: str, data: bytes) -> dict[str, object]:
    """Parse one of the JSON fields of an event.

    Raises UndecodableEntryError, which names the field, when it is not a JSON object, or has more
    levels than can be walked through and written again later.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        message = f"field {name}: not JSON"
        raise UndecodableEntryError(message) from None
    if not isinstance(value, dict):
        message = f"field {name}: {type(value).__name__} instead of an object"
        raise UndecodableEntryError(message)
    if data.count(b"{") + data.count(b"[") > MAX_LEVELS and is_deep(value, MAX_LEVELS):
        message = f"field {name}: more than {MAX_LEVELS} levels"
        raise UndecodableEntryError(message)
    return value


def is_deep(value: object, levels: int) -> bool:
    """Whether a JSON value has more than so many levels."""
    level: list[Any] = [value]
    for _ in range(levels):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, (list, dict))
        ]
        if not level:
            return False
    return True
