"""From a hand-off file to an event.

Owns the envelope of a hook's event: type, session, workspace, times, identity, columns.
Promises that an event of the same hand-off file always has the same id, that nothing of a payload
is stored twice, and that only MalformedPayloadError and FilteredError leave here.
Leaves the files to the spooler, the words of each editor to its platform, privacy to the sanitiser.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from zlib import crc32

import orjson

from blueplane.capture.adapter import Hook, Platform
from blueplane.capture.claude_code.hooks import PLATFORM as CLAUDE_CODE
from blueplane.capture.cursor.hooks import COMPATIBILITY_NAMES
from blueplane.capture.cursor.hooks import PLATFORM as CURSOR
from blueplane.capture.filters import NO_FILTERS, Filters
from blueplane.capture.parse import Body, Marks, parse_payload
from blueplane.capture.platforms import CANARY_HOOK, INTERNAL, find_platform, is_canary
from blueplane.capture.rule_names import CURSOR_COMPATIBILITY
from blueplane.capture.sanitise import Sanitiser
from blueplane.capture.vocabulary import MODEL, NAME
from blueplane.capture.workspace import NO_WORKSPACE, Workspace
from blueplane.clock import NS_PER_MS, parse_iso_ms
from blueplane.errors import FilteredError, MalformedPayloadError
from blueplane.event import COLUMNS, MAX_INT, MAX_PAYLOAD_BYTES, Event, derive_id

#: A larger payload is not even parsed: only its size is kept.
MAX_PARSED_BYTES: Final = 5 * 1024 * 1024
#: A platform's own time is believed between the years 2000 and 2100.
_EARLIEST_MS: Final = 946_684_800_000
_LATEST_MS: Final = 4_102_444_800_000


@dataclass(frozen=True, slots=True)
class HandOff:
    """A complete hand-off file: name, mtime, payload and the two words of its trailer.

    ``size`` is the size of the payload in bytes where ``raw`` is not all of it.
    """

    name: str
    mtime_ns: int
    raw: bytes
    platform: str
    hook_name: str
    size: int = 0


def spool_origin(name: str, mtime_ns: int) -> str:
    """Name a hand-off file as the origin of an event; a foreign name may be no text at all."""
    return f"spool:{os.fsencode(name).decode('utf-8', 'backslashreplace')}:{mtime_ns}"


def captured_at(name: str, mtime_ns: int) -> int:
    """Return the time of a capture, in ns, that tells any two hand-off files apart.

    Exact to the millisecond, below which it is a hash of the name: a kernel may give all files of
    one tick of its clock (1 to 10 ms) the same mtime, and Cursor's double sends come together.
    """
    return mtime_ns - mtime_ns % NS_PER_MS + crc32(os.fsencode(name)) % NS_PER_MS


class _Draft(NamedTuple):
    """What the trailer and the platform say of an event, and its metadata so far."""

    platform: Platform
    hook_name: str
    metadata: dict[str, Any]

    @property
    def hook(self) -> Hook:
        return self.platform.hook(self.hook_name)


class _Envelope(NamedTuple):
    """What the payload says of its event's place and time."""

    event_id: bytes
    timestamp_ms: int
    session_id: str = ""
    workspace: Workspace = NO_WORKSPACE
    turn_id: str = ""
    tool_use_id: str = ""


class HookReader:
    """Makes events of hand-off files.

    ``cursor_hook_installed`` says whether our own Cursor hook for a native event is installed.
    ``use`` may be called at any time, by any thread: the next event is judged by the new ones.
    """

    def __init__(
        self,
        sanitiser: Sanitiser,
        cursor_hook_installed: Callable[[str], bool],
        filters: Filters = NO_FILTERS,
    ) -> None:
        self._sanitiser = sanitiser
        self._cursor_hook_installed = cursor_hook_installed
        self.filters = filters

    def use(self, sanitiser: Sanitiser, filters: Filters) -> None:
        """Go by other settings from the next event on."""
        self._sanitiser, self.filters = sanitiser, filters

    def read(self, item: HandOff) -> Event:
        """Make the event of a hand-off file.

        Raises MalformedPayloadError (it cannot be read) or FilteredError (a rule leaves it out).
        """
        try:
            return self._read(item, self.filters)
        except MalformedPayloadError:
            self.filters.check_hook(find_platform(item.platform), item.hook_name)
            raise

    def identify(self, item: HandOff) -> Event:
        """Make the event as ``read`` does, whatever the filters say."""
        return self._read(item, NO_FILTERS)

    def _read(self, item: HandOff, filters: Filters) -> Event:
        if not 0 <= item.mtime_ns <= MAX_INT:
            rule = "mtime"
            raise MalformedPayloadError(rule, "not between 1970 and 2262")
        platform = find_platform(item.platform)
        if len(item.raw) > MAX_PARSED_BYTES:
            filters.check_hook(platform, item.hook_name)
            filters.check_unread()
            envelope = _Envelope(_file_id(item), item.mtime_ns // NS_PER_MS)
            return _event(item, _Draft(platform, item.hook_name, {}), envelope, None)
        body, marks = parse_payload(item.raw)
        draft = self._route(platform, item.hook_name, body, marks)
        if filters:
            filters.check_hook(draft.platform, draft.hook_name)
            filters.check_places(draft.platform, body)
        envelope = self._envelope(item, draft, body)
        _count_lines(draft, body)
        _lift_columns(draft, body)
        tool_name = draft.metadata.get("tool_name", "")
        payload = self._sanitiser.payload(body, tool_name, draft.platform.own_keys)
        return _event(item, draft, envelope, payload)

    def _route(self, platform: Platform, hook_name: str, body: Body, marks: Marks) -> _Draft:
        """Find whose event it is.

        Cursor also runs the hooks that Claude Code's settings name, and our canary may come through
        the hook of any editor.
        """
        if is_canary(body):
            via = {} if platform is INTERNAL else {"via": platform.name}
            return _Draft(INTERNAL, CANARY_HOOK, {**marks, **via})
        if platform is not CLAUDE_CODE or "cursor_version" not in body:
            return _Draft(platform, hook_name, marks)
        native_name = COMPATIBILITY_NAMES.get(hook_name, hook_name)
        if self._cursor_hook_installed(native_name):
            raise FilteredError(CURSOR_COMPATIBILITY)
        return _Draft(CURSOR, native_name, {**marks, "via": CLAUDE_CODE.name})

    def _envelope(self, item: HandOff, draft: _Draft, body: Body) -> _Envelope:
        """Take out of the payload what the envelope says."""
        platform = draft.platform
        identity = platform.identify(body, draft.hook_name)
        session_id, path = platform.session_id(body), platform.workspace(body)
        timestamp_ms = take_time(body)
        workspace = self._sanitiser.workspace(path) if path else NO_WORKSPACE
        _take(body, platform.session_keys, session_id)
        _take(body, platform.workspace_keys, path)
        _take(body, ("hook_event_name",), draft.hook_name)
        if self._sanitiser.level == "strict":
            _take_transcript(body, session_id)
        return _Envelope(
            derive_id(*identity) if identity else _file_id(item),
            item.mtime_ns // NS_PER_MS if timestamp_ms is None else timestamp_ms,
            self._sanitiser.identifier(session_id),
            workspace,
            self._take_id(body, platform.turn_key),
            self._take_id(body, platform.tool_use_key),
        )

    def _take_id(self, body: Body, key: str) -> str:
        """Take an id out of the payload; what is no text stays there."""
        value = body.get(key)
        if type(value) is not str:
            return ""
        del body[key]
        return self._sanitiser.identifier(value)


def _event(item: HandOff, draft: _Draft, envelope: _Envelope, payload: bytes | None) -> Event:
    """Build the event; of a payload that is missing or too large only the size is kept."""
    hook, metadata = draft.hook, draft.metadata
    if hook.phase:
        metadata["phase"] = hook.phase
    if payload is None or len(payload) > MAX_PAYLOAD_BYTES:
        metadata["truncated"] = 1
        payload = orjson.dumps({"bytes": item.size or len(item.raw)})
    return Event(
        envelope.event_id,
        draft.platform.name,
        hook.source,
        draft.hook_name,
        hook.event_type,
        envelope.session_id,
        envelope.timestamp_ms,
        captured_at(item.name, item.mtime_ns),
        envelope.workspace.hash,
        envelope.workspace.project,
        envelope.turn_id,
        envelope.tool_use_id,
        payload,
        orjson.dumps(metadata, option=orjson.OPT_SORT_KEYS),
        spool_origin(item.name, item.mtime_ns),
    )


def _file_id(item: HandOff) -> bytes:
    return derive_id("spool", item.name, str(item.mtime_ns), item.raw)


def _take(body: Body, keys: tuple[str, ...], taken: str) -> None:
    """Remove what the envelope holds; a list keeps what follows it."""
    for key in keys:
        value = body.get(key)
        if value in (taken, [taken]):
            del body[key]
        elif type(value) is list and value and value[0] == taken:
            body[key] = value[1:]


def _take_transcript(body: Body, session_id: str) -> None:
    """Remove the name of a transcript that says no more than the session's id."""
    path = body.get("transcript_path")
    if session_id and type(path) is str and path.endswith(f"{session_id}.jsonl"):
        del body["transcript_path"]


def take_time(body: Body) -> int | None:
    """Take the platform's own time, ISO 8601 or a Unix time in s or ms, if it can be believed."""
    value = body.get("timestamp")
    moment: int | None = None
    if type(value) is str:
        try:
            moment = parse_iso_ms(value)
        except ValueError:
            return None
    elif type(value) is int:
        moment = value if value > _LATEST_MS // 1000 else value * 1000
    if moment is None or not _EARLIEST_MS <= moment <= _LATEST_MS:
        return None
    del body["timestamp"]
    return moment


def _count_lines(draft: _Draft, body: Body) -> None:
    lines = draft.platform.count_lines(body, draft.hook_name)
    if lines is not None:
        draft.metadata["lines_added"], draft.metadata["lines_removed"] = lines


def _lift_columns(draft: _Draft, body: Body) -> None:
    """Move to the metadata what is a column of the row; what does not fit stays in the payload."""
    metadata = draft.metadata
    for key, column in draft.platform.column_keys.items():
        value = body.get(key)
        if value is None or column in metadata:
            continue
        fitting = FITTING[column](value)
        if fitting is not None:
            metadata[column] = fitting
            del body[key]


def _amount(value: object) -> int | None:
    """Round a number of tokens or milliseconds; None for what a column cannot hold."""
    if type(value) is float:
        value = round(value)
    return value if type(value) is int and 0 <= value <= MAX_INT else None


def _model(value: object) -> str | None:
    return value if type(value) is str and MODEL.match(value) else None


def _name(value: object) -> str | None:
    return value if type(value) is str and NAME.match(value) else None


FITTING: Final[Mapping[str, Callable[[object], str | int | None]]] = {
    column: _amount if kind is int else _name for column, kind in COLUMNS.items()
} | {"model": _model}
