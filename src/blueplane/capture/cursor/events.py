"""Events of what was found in Cursor's stores.

Owns their types, ids and times, and what is left out: by a rule, or because nobody can read it.
Promises that the same content is one event however often it is read, and that no name of an item
says where it lies.
Leaves what may be in a payload to the sanitiser, and finding things to the readers.
"""

from collections.abc import Callable, Mapping
from typing import Final
from zlib import crc32

import orjson

from blueplane.capture.cursor.found import Broken, Found, Thing
from blueplane.capture.cursor.hooks import PLATFORM as CURSOR
from blueplane.capture.filters import Filters
from blueplane.capture.hook_event import FITTING
from blueplane.capture.pauses import Pauses
from blueplane.capture.pseudonyms import Pseudonyms
from blueplane.capture.sanitise import Sanitiser
from blueplane.capture.workspace import NO_WORKSPACE
from blueplane.clock import NS_PER_MS
from blueplane.digests import blake2b
from blueplane.errors import FilteredError
from blueplane.event import MAX_PAYLOAD_BYTES, Event, Settlement, derive_id

#: The source of what the databases hold, under which marks are stored, too.
SOURCE: Final = "database"
#: Our event type and source of what Cursor's stores hold; of what is not named here the first.
_KINDS: Final[Mapping[str, tuple[str, str]]] = {
    "": ("database_trace", SOURCE),
    "codeBlockData": ("acceptance_decision", SOURCE),
    "agentTranscript": ("transcript_trace", "transcript"),
}


class Maker:
    """Makes events of what was found.

    ``secret`` keys what stands for content; ``pauses`` says when capture is, and was, paused.
    """

    def __init__(
        self,
        sanitiser: Sanitiser,
        filters: Filters,
        secret: bytes,
        pauses: Callable[[], Pauses],
    ) -> None:
        self._secret = secret
        self._pauses = pauses
        self._names = Pseudonyms(secret)
        self.use(sanitiser, filters)

    def use(self, sanitiser: Sanitiser, filters: Filters) -> None:
        """Go by other settings from the next thing on."""
        self._rules = (sanitiser, filters)

    def key(self, item: str) -> str:
        """Name an item in what is stored: its own name may hold a path."""
        return self._names.digest(item)

    def make(self, thing: Thing, key: str, born_ms: int, changed_ms: int = 0) -> Event | Settlement:
        """Make the event of a thing of the item ``key``, or what becomes of it instead.

        What notes no time itself was written at ``changed_ms`` at the latest.
        """
        if isinstance(thing, Broken):
            event_id = derive_id("broken", *thing.identity, thing.digest)
            return _settlement(_origin(key, thing, event_id), "quarantined", thing.rule, thing)
        event_id = derive_id(SOURCE, thing.kind, *thing.identity, self._content(thing))
        origin = _origin(key, thing, event_id)
        sanitiser, filters = self._rules
        try:
            self._check(thing, changed_ms, filters)
        except FilteredError as error:
            return _settlement(origin, "filtered", error.rule, thing)
        return _event(thing, event_id, origin, thing.timestamp_ms or born_ms, sanitiser)

    def _check(self, thing: Found, changed_ms: int, filters: Filters) -> None:
        """Raise FilteredError when a pause or a rule leaves a thing out."""
        self._pauses().check(thing.timestamp_ms or changed_ms)
        filters.check_kind(CURSOR, thing.kind, _named(thing)[0])
        filters.check_places(CURSOR, {**thing.body, "workspace_roots": thing.workspace})

    def _content(self, thing: Found) -> bytes:
        """Hash all that is known of a thing, with the secret: a guess cannot be tested on it."""
        content = [thing.body, thing.columns, thing.turn_id, thing.tool_use_id, thing.timestamp_ms]
        text = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
        return blake2b(text, key=self._secret, digest_size=16).digest()


def _event(thing: Found, event_id: bytes, origin: str, at_ms: int, sanitiser: Sanitiser) -> Event:
    event_type, source = _named(thing)
    workspace = sanitiser.workspace(thing.workspace) if thing.workspace else NO_WORKSPACE
    metadata = _metadata(thing)
    tool_name = metadata.get("tool_name")
    payload = sanitiser.payload(thing.body, tool_name if isinstance(tool_name, str) else "")
    if len(payload) > MAX_PAYLOAD_BYTES:
        metadata["truncated"] = 1
        payload = orjson.dumps({"bytes": thing.size or len(payload)})
    return Event(
        event_id,
        CURSOR.name,
        source,
        thing.kind,
        event_type,
        sanitiser.identifier(thing.session_id),
        at_ms,
        # Below the millisecond, by what identifies it: nothing else tells two of one time apart
        at_ms * NS_PER_MS + crc32(event_id) % NS_PER_MS,
        workspace.hash,
        workspace.project,
        sanitiser.identifier(thing.turn_id),
        sanitiser.identifier(thing.tool_use_id),
        payload,
        orjson.dumps(metadata, option=orjson.OPT_SORT_KEYS),
        origin,
    )


def _named(thing: Thing) -> tuple[str, str]:
    """Return the event type and the source of a thing."""
    return _KINDS.get(thing.kind, _KINDS[""])


def _origin(key: str, thing: Thing, event_id: bytes) -> str:
    return f"d:{key}:{thing.kind}:{event_id.hex()}"


def _settlement(origin: str, outcome: str, rule: str, thing: Thing) -> Settlement:
    source = _named(thing)[1]
    return Settlement(origin, outcome, rule, CURSOR.name, thing.kind, thing.size, source)


def _metadata(thing: Found) -> dict[str, object]:
    """Return what are columns of the row, as far as they fit, and what was done to the text."""
    found = {name: FITTING[name](value) for name, value in thing.columns.items()}
    return {**{name: value for name, value in found.items() if value is not None}, **thing.marks}
