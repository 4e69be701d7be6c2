"""The lists of a database: composers, prompts and generations.

Owns the three places where versions kept the list of composers, and what is newer in them than a
mark says.
Promises that the newest entry of a composer wins, wherever it stands.
Leaves the conversations themselves to ``conversations.py``.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from blueplane.capture.cursor.composers import Composer, identified, make_composer
from blueplane.capture.cursor.database import Row, reading
from blueplane.capture.cursor.found import (
    Broken,
    Found,
    Piece,
    Reader,
    Thing,
    broken,
    digest,
    latest,
    noted,
    notes_of,
    pieces,
    since,
)
from blueplane.capture.cursor.values import objects, parse_list, taken, time_ms, word
from blueplane.capture.cursor.workspaces import Store
from blueplane.capture.parse import Body, parse_leniently
from blueplane.errors import MalformedPayloadError
from blueplane.event import Mark

#: Milliseconds below the newest time of a list in which entries are looked at again.
OVERLAP_MS: Final = 600_000


@dataclass(frozen=True, slots=True)
class Header:
    """A line of a list of composers."""

    composer_id: str
    updated_ms: int
    workspace: str
    found: Found


@dataclass(slots=True)
class Lists:
    """What the lists of composers say: where each belongs, and when it was last changed.

    ``changed`` are those that did since their rows were last looked at.
    """

    workspaces: dict[str, str] = field(default_factory=dict)
    updated_ms: dict[str, int] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)


class ListReader(Reader):
    """Reads what a database has in ``ItemTable``, and the table ``composerHeaders``.

    The mark notes the time of the newest thing of each kind, and the number of prompts.
    """

    def __init__(self, store: Store, lists: Lists) -> None:
        super().__init__(store)
        self._lists = lists
        self._digests: dict[str, str] = {}

    def read(self, mark: Mark) -> Iterator[Piece]:
        """Yield what the lists have that is newer than the mark."""
        notes = notes_of(mark)
        newest = {kind: since(noted_ms) for kind, noted_ms in notes.get("newest", {}).items()}
        with reading(self._store.path) as database:
            rows = [row for row in database.items() if row.value]
            since_ms = newest.get("composerHeaders", 0) - OVERLAP_MS if self._digests else 0
            records = database.headers(since_ms)
        things: list[Thing] = []
        headers: list[Header] = []
        for record in records:
            headers += self._safely(things, "composerHeaders", b"", read_header_row, record)
        for row in rows:
            if self._digests.get(row.key) != (new := digest(row.value)):
                self._digests[row.key] = new
                headers += self._read_item(row, things, notes)
        things += self._newest(headers)
        fresh = [each for each in things if _is_fresh(each, newest)]
        for each in fresh:
            if isinstance(each, Found):
                newest[each.kind] = latest(newest.get(each.kind, 0), [each.timestamp_ms])
                if each.kind == "composerHeaders":
                    self._lists.changed.add(each.session_id)
        yield from pieces(fresh, noted(mark, 0, **{**notes, "newest": newest}))

    def _read_item(self, row: Row, things: list[Thing], notes: dict[str, Any]) -> list[Header]:
        """Add what an item holds to ``things``; return the headers of a list."""
        workspace, args = self._store.workspace, (things, row.key, row.value)
        if row.key == "aiService.generations":
            things += self._safely(*args, read_generations, row.value, workspace)
        elif row.key == "aiService.prompts":
            item = self._store.item
            found = self._safely(*args, read_prompts, row.value, workspace, item)
            known = notes.get("prompts", 0)
            things += found[known:] if known <= len(found) else found
            notes["prompts"] = len(found)
        elif row.key.startswith("workbench."):
            chats = self._safely(*args, read_chats, row.value, workspace)
            things += (thing for chat in chats for thing in chat.found)
        else:
            entries = self._safely(*args, read_list, row.value, workspace)
            things += (thing for each in entries if isinstance(each, Composer)
                       for thing in each.found)  # fmt: skip
            return [each for each in entries if isinstance(each, Header)]
        return []

    def _newest(self, headers: Iterable[Header]) -> Iterator[Found]:
        """Yield of each composer what is newer than what any list has said before."""
        for header in headers:
            if header.workspace:
                self._lists.workspaces[header.composer_id] = header.workspace
            known_ms = self._lists.updated_ms.get(header.composer_id, -1)
            if header.updated_ms > since(known_ms):
                self._lists.updated_ms[header.composer_id] = header.updated_ms
                yield header.found

    def _safely(
        self,
        things: list[Thing],
        kind: str,
        value: bytes,
        read: Callable[..., Iterable[Any]],
        *args: object,
    ) -> list[Any]:
        """Return what ``read`` finds; note in ``things`` what cannot be read."""
        try:
            return list(read(*args))
        except MalformedPayloadError as error:
            things.append(broken(kind, self._store.item, value, error))
            return []


def _is_fresh(thing: Thing, newest: Mapping[str, int]) -> bool:
    """Whether a thing is not older than what was there before; clocks may go back a little."""
    if isinstance(thing, Broken) or not thing.timestamp_ms:
        return True
    return thing.timestamp_ms >= newest.get(thing.kind, 0) - OVERLAP_MS


# --- what they say --------------------------------------------------------------------------------


_HEADER: Final = (
    "type", "name", "createdAt", "lastUpdatedAt", "unifiedMode", "forceMode", "isArchived",
    "isSubagent", "subagentTypeName", "totalLinesAdded", "totalLinesRemoved", "filesChangedCount",
    "contextUsagePercent",
)  # fmt: skip


def read_list(value: bytes, workspace: str) -> Iterator[Header | Composer]:
    """Yield what a list of composers has; an old one holds whole chats.

    Raises MalformedPayloadError.
    """
    body, _ = parse_leniently(value)
    for entry in objects(body.get("allComposers")):
        yield from make_header(entry, workspace)
        composer_id = word(entry.get("composerId"))
        if composer_id and (entry.get("conversation") or entry.get("conversationMap")):
            yield make_composer(composer_id, entry, workspace, 0)


def read_header_row(record: Mapping[str, Any]) -> list[Header]:
    """Read a row of the table ``composerHeaders``; raises MalformedPayloadError."""
    value = record.get("value")
    body = parse_leniently(value.encode())[0] if isinstance(value, str) and value else {}
    columns = {key: item for key, item in record.items() if key != "value" and item is not None}
    return list(make_header(body | columns, ""))


def make_header(entry: Body, workspace: str) -> Iterator[Header]:
    """Yield the header of an entry, nothing when it has no id."""
    composer_id = word(entry.get("composerId"))
    if not composer_id:
        return
    updated_ms = time_ms(entry.get("lastUpdatedAt")) or time_ms(entry.get("createdAt"))
    workspace = identified(entry.get("workspaceIdentifier")) or workspace
    found = Found(
        kind="composerHeaders",
        session_id=composer_id,
        identity=("header", composer_id),
        body=taken(entry, _HEADER),
        timestamp_ms=updated_ms,
        workspace=workspace,
    )
    yield Header(composer_id, updated_ms, workspace, found)


def read_generations(value: bytes, workspace: str) -> Iterator[Found]:
    """Yield the turns that a workspace remembers; raises MalformedPayloadError."""
    for each in parse_list(value):
        generation = word(each.get("generationUUID"))
        if not generation:
            continue
        yield Found(
            kind="aiService.generations",
            session_id="",
            identity=("generation", generation),
            body=taken(each, ("type", "textDescription")),
            timestamp_ms=time_ms(each.get("unixMs")),
            turn_id=generation,
            workspace=workspace,
        )


def read_prompts(value: bytes, workspace: str, item: str) -> Iterator[Found]:
    """Yield the prompts that a workspace remembers, which have neither id nor time.

    One that was typed twice is told apart by how often it stood there before.
    """
    times: dict[tuple[str, str], int] = {}
    for each in parse_list(value):
        key = (str(each.get("text")), str(each.get("commandType")))
        times[key] = times.get(key, 0) + 1
        yield Found(
            kind="aiService.prompts",
            session_id="",
            identity=("prompt", item, str(times[key])),
            body=taken(each, ("text", "commandType")),
            workspace=workspace,
        )


def read_chats(value: bytes, workspace: str) -> Iterator[Composer]:
    """Yield the chats of versions before composers; raises MalformedPayloadError."""
    body, _ = parse_leniently(value)
    for tab in objects(body.get("tabs")):
        tab_id = word(tab.get("tabId"))
        if not tab_id:
            continue
        bubbles = [
            {
                "bubbleId": each.get("id"),
                "type": {"user": 1, "ai": 2}.get(word(each.get("type"))),
                "text": each.get("text") or each.get("rawText"),
                "modelInfo": {"modelName": each.get("modelType")},
            }
            for each in objects(tab.get("bubbles"))
        ]
        chat = {"name": tab.get("chatTitle"), "lastUpdatedAt": tab.get("lastSendTime")}
        yield make_composer(tab_id, chat | {"conversation": bubbles}, workspace, 0)
