"""What is new in a store of Cursor's since it was last read.

Owns how changes are found: a mark for each store, the rowid trick, and the bounded scan behind it.
Promises pieces of bounded size, each read in a moment's opening of a file, and a mark only behind
what it stands for.
Leaves it to the monitor which pieces are new, for the same content may come by again.

A changed row of keys and values gets a new highest rowid, unless the newest row was deleted
before, or it was changed in place. So rows above the mark are read, the rows just below it are
compared with what they were, and the last bubbles of the last conversations, and of those that a
list says have changed, are looked at again.
A conversation is walked by its own list of bubbles: what that does not name is an orphan.
"""

import os
import stat
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

import orjson

from blueplane.capture.cursor import extract
from blueplane.capture.cursor.database import (
    BUBBLE,
    COMPOSER,
    PAGE,
    Fingerprint,
    Row,
    fingerprint,
    reading,
)
from blueplane.capture.cursor.extract import Composer, Found, Header
from blueplane.capture.cursor.workspaces import Store, read_json
from blueplane.digests import blake2b
from blueplane.errors import EditorDatabaseError, MalformedPayloadError
from blueplane.event import Mark

#: Things that are handed on together.
CHUNK: Final = 200
#: Rows below the mark that are compared with what they were.
WINDOW: Final = 64
#: Keys that are read at once.
KEYS: Final = 2_000
#: Conversations that are looked at again, the bubbles of each, and those that are remembered.
RECENT: Final = 3
LAST: Final = 8
REMEMBERED: Final = 16
#: Milliseconds below the newest time of a list in which entries are looked at again.
OVERLAP_MS: Final = 600_000
#: Bytes of a transcript that are read at once, which is also the longest line.
BLOCK: Final = 4 * 1024 * 1024

_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Broken:
    """A value that cannot be read; ``digest`` tells its versions apart."""

    kind: str
    identity: tuple[str, ...]
    digest: str
    rule: str
    size: int


Thing: TypeAlias = Found | Broken


class Piece(NamedTuple):
    """Things that were found, and the mark behind them where there is one."""

    things: Sequence[Thing]
    mark: Mark | None = None


@dataclass(slots=True)
class Lists:
    """What the lists of composers say: where each belongs, and when it was last changed.

    ``changed`` are those that did since their rows were last looked at.
    """

    workspaces: dict[str, str] = field(default_factory=dict)
    updated_ms: dict[str, int] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)


class Reader(Protocol):
    """Finds what is new in one store."""

    def look(self) -> Fingerprint | None:
        """Return what changes when the store does; None when it is gone.

        Raises EditorDatabaseError.
        """

    def read(self, mark: Mark) -> Iterator[Piece]:
        """Yield what came after a mark; one without a fingerprint is the beginning.

        Raises EditorDatabaseError.
        """


def make_reader(store: Store, lists: Lists) -> Reader:
    """Return what reads a store."""
    if store.kind == "lists":
        return ListReader(store, lists)
    if store.kind == "composers":
        return ComposerReader(store, lists)
    if store.kind == "tracking":
        return TrackingReader(store)
    return ChatReader(store) if store.kind == "chat" else TranscriptReader(store)


def digest(data: bytes) -> str:
    """Tell two values apart, in memory only."""
    return blake2b(data, digest_size=8).hexdigest()


def _pieces(things: Sequence[Thing], mark: Mark) -> Iterator[Piece]:
    """Yield things in pieces, the last with the mark."""
    for start in range(0, len(things), CHUNK):
        yield Piece(things[start : start + CHUNK])
    yield Piece((), mark)


def _notes(mark: Mark) -> dict[str, Any]:
    """Read what a mark notes beside its offset."""
    notes = orjson.loads(mark.fingerprint) if mark.fingerprint else {}
    return notes if isinstance(notes, dict) else {}


def _noted(mark: Mark, offset: int, **notes: object) -> Mark:
    text = orjson.dumps(notes, option=orjson.OPT_SORT_KEYS).decode()
    return replace(mark, offset=offset, fingerprint=text)


def _broken(kind: str, name: str, value: bytes, error: MalformedPayloadError) -> Broken:
    return Broken(kind, (kind, name), digest(value), error.rule, len(value))


# --- lists of composers, prompts and generations --------------------------------------------------


class ListReader:
    """Reads what a database has in ``ItemTable``, and the table ``composerHeaders``.

    The mark notes the time of the newest thing of each kind, and the number of prompts.
    """

    def __init__(self, store: Store, lists: Lists) -> None:
        self._store = store
        self._lists = lists
        self._digests: dict[str, str] = {}

    def look(self) -> Fingerprint | None:
        """Return what changes when the database does; None when it is gone."""
        return fingerprint(self._store.path)

    def read(self, mark: Mark) -> Iterator[Piece]:
        """Yield what the lists have that is newer than the mark."""
        notes = _notes(mark)
        newest: dict[str, int] = notes.setdefault("newest", {})
        with reading(self._store.path) as database:
            rows = [row for row in database.items() if row.value]
            since_ms = newest.get("composerHeaders", 0) - OVERLAP_MS if self._digests else 0
            records = database.headers(since_ms)
        things: list[Thing] = []
        headers: list[Header] = []
        for record in records:
            headers += self._safely(things, "composerHeaders", b"", extract.read_header_row, record)
        for row in rows:
            if self._digests.get(row.key) != (new := digest(row.value)):
                self._digests[row.key] = new
                headers += self._read_item(row, things, notes)
        things += self._newest(headers)
        fresh = [each for each in things if _is_fresh(each, newest)]
        for each in fresh:
            if isinstance(each, Found):
                newest[each.kind] = max(newest.get(each.kind, 0), each.timestamp_ms)
                if each.kind == "composerHeaders":
                    self._lists.changed.add(each.session_id)
        yield from _pieces(fresh, _noted(mark, 0, **notes))

    def _read_item(self, row: Row, things: list[Thing], notes: dict[str, Any]) -> list[Header]:
        """Add what an item holds to ``things``; return the headers of a list."""
        workspace, args = self._store.workspace, (things, row.key, row.value)
        if row.key == "aiService.generations":
            things += self._safely(*args, extract.read_generations, row.value, workspace)
        elif row.key == "aiService.prompts":
            item = self._store.item
            found = self._safely(*args, extract.read_prompts, row.value, workspace, item)
            known = notes.get("prompts", 0)
            things += found[known:] if known <= len(found) else found
            notes["prompts"] = len(found)
        elif row.key.startswith("workbench."):
            chats = self._safely(*args, extract.read_chats, row.value, workspace)
            things += (thing for chat in chats for thing in chat.found)
        else:
            entries = self._safely(*args, extract.read_list, row.value, workspace)
            things += (thing for each in entries if isinstance(each, Composer)
                       for thing in each.found)  # fmt: skip
            return [each for each in entries if isinstance(each, Header)]
        return []

    def _newest(self, headers: Iterable[Header]) -> Iterator[Found]:
        """Yield of each composer what is newer than what any list has said before."""
        for header in headers:
            if header.workspace:
                self._lists.workspaces[header.composer_id] = header.workspace
            if header.updated_ms > self._lists.updated_ms.get(header.composer_id, -1):
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
            things.append(_broken(kind, self._store.item, value, error))
            return []


def _is_fresh(thing: Thing, newest: Mapping[str, int]) -> bool:
    """Whether a thing is not older than what was there before; clocks may go back a little."""
    if isinstance(thing, Broken) or not thing.timestamp_ms:
        return True
    return thing.timestamp_ms >= newest.get(thing.kind, 0) - OVERLAP_MS


# --- conversations --------------------------------------------------------------------------------


@dataclass(slots=True)
class _Known:
    """A conversation that was walked: what its row and each of its bubbles were."""

    row: str = ""
    composer: Composer | None = None
    bubbles: dict[str, str] = field(default_factory=dict)


class ComposerReader:
    """Reads composers and their bubbles.

    The mark is a rowid, and the number of the schema: who writes the table anew, with other
    rowids, changes that.
    """

    def __init__(self, store: Store, lists: Lists) -> None:
        self._store = store
        self._lists = lists
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._recent: deque[str] = deque(maxlen=RECENT)
        #: The rows at and below the mark, digests of keys by rowid.
        self._window: dict[int, str] = {}

    def look_at(self, composer_id: str) -> None:
        """Look at a conversation again with the next changes."""
        if composer_id in self._recent:
            self._recent.remove(composer_id)
        self._recent.append(composer_id)

    def look(self) -> Fingerprint | None:
        """Return what changes when the database does; None when it is gone."""
        return fingerprint(self._store.path)

    def read(self, mark: Mark) -> Iterator[Piece]:
        """Yield what changed above the mark, and near it."""
        more = True
        while more:
            with reading(self._store.path) as database:
                schema = database.schema()
                rows = database.changed(max(0, mark.offset - WINDOW), KEYS)
            if _notes(mark).get("schema") != schema:
                yield from self._read_all(mark)
                return
            more = len(rows) == KEYS
            yield from self._read_changed(rows, mark)
            mark = self._moved(mark, rows, schema)
            yield Piece((), mark)

    def _moved(self, mark: Mark, rows: Sequence[tuple[int, str]], schema: int) -> Mark:
        top = max((rowid for rowid, _ in rows), default=0)
        self._window = {rowid: digest(key.encode()) for rowid, key in rows if rowid > top - WINDOW}
        return _noted(mark, top, schema=schema)

    def _read_all(self, mark: Mark) -> Iterator[Piece]:
        """Yield every conversation, and then the mark: what changes meanwhile is above it."""
        with reading(self._store.path) as database:
            schema, top = database.schema(), database.top()
            rows = database.changed(max(0, top - WINDOW), 2 * WINDOW)
        rows = [(rowid, key) for rowid, key in rows if rowid <= top]
        self._lists.changed.clear()
        after = ""
        while True:
            with reading(self._store.path) as database:
                keys = database.composers(after, KEYS)
            for key in keys:
                yield from self._walk(key.removeprefix(COMPOSER), frozenset(), 0)
            if len(keys) < KEYS:
                break
            after = keys[-1]
        yield Piece((), self._moved(mark, rows, schema))

    def _read_changed(self, rows: Sequence[tuple[int, str]], mark: Mark) -> Iterator[Piece]:
        changed: dict[str, set[str]] = {}
        for rowid, key in rows:
            if rowid <= mark.offset and self._is_same(rowid, key):
                continue
            if key.startswith(COMPOSER):
                changed.setdefault(key.removeprefix(COMPOSER), set())
            elif key.startswith(BUBBLE):
                composer_id, _, bubble_id = key.removeprefix(BUBBLE).partition(":")
                changed.setdefault(composer_id, set()).add(bubble_id)
        again = (*self._recent, *self._lists.changed)
        self._lists.changed.clear()
        for composer_id in again:
            changed.setdefault(composer_id, set())
        for composer_id, bubble_ids in changed.items():
            self.look_at(composer_id)
            yield from self._walk(composer_id, frozenset(bubble_ids), mark.offset)

    def _is_same(self, rowid: int, key: str) -> bool:
        """Whether a row below the mark is what it was; nobody knows after a start."""
        return not self._window or self._window.get(rowid) == digest(key.encode())

    def _walk(self, composer_id: str, changed: frozenset[str], after: int) -> Iterator[Piece]:
        """Yield a conversation: what it says of itself, and the bubbles that are due."""
        new = composer_id not in self._known
        known = self._remember(composer_id)
        things = self._read_composer(composer_id, known)
        if things:
            yield Piece(things)
        if known.composer is None:
            return
        ids = known.composer.bubble_ids
        last = set(ids[-LAST:])
        again = [each for each in ids if each in last or each in changed]
        others = [each for each in ids if each not in known.bubbles and each not in last]
        # Of a conversation that is known, what is new to its list may be a row of long ago.
        for wanted, low in ((again, 0), (others, after if new else 0)):
            for start in range(0, len(wanted), PAGE):
                page = wanted[start : start + PAGE]
                yield Piece(self._read_bubbles(known.composer, known.bubbles, page, low))
        if new and not after:
            yield Piece(self._read_misnamed(known.composer, known.bubbles))
        known.bubbles |= dict.fromkeys((each for each in others if each not in known.bubbles), "")

    def _remember(self, composer_id: str) -> _Known:
        known = self._known.setdefault(composer_id, _Known())
        self._known.move_to_end(composer_id)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return known

    def _read_composer(self, composer_id: str, known: _Known) -> list[Thing]:
        with reading(self._store.path) as database:
            rows = database.values([COMPOSER + composer_id])
        value = rows[0].value if rows else b""
        if not value or known.row == (new := digest(value)):
            return []
        workspace = self._lists.workspaces.get(composer_id, "")
        known.row = new
        try:
            composer = extract.read_composer(composer_id, value, workspace)
        except MalformedPayloadError as error:
            return [_broken("composerData", composer_id, value, error)]
        known.composer = replace(composer, found=())
        return list(composer.found)

    def _read_bubbles(
        self, composer: Composer, known: dict[str, str], ids: Sequence[str], after: int
    ) -> list[Thing]:
        """Read those bubbles that are rows above ``after``, and not what ``known`` says."""
        prefix = f"{BUBBLE}{composer.composer_id}:"
        with reading(self._store.path) as database:
            rows = database.values([prefix + each for each in ids if each], after)
        things: list[Thing] = []
        for row in rows:
            bubble_id = row.key.removeprefix(prefix)
            if row.value and known.get(bubble_id) != (new := digest(row.value)):
                known[bubble_id] = new
                things.append(_read_bubble(composer, bubble_id, row.value))
        return things

    def _read_misnamed(self, composer: Composer, known: Mapping[str, str]) -> list[Thing]:
        """Read bubbles whose keys have other ids than they have themselves."""
        missing = set(composer.bubble_ids) - known.keys()
        if not missing:
            return []
        prefix = f"{BUBBLE}{composer.composer_id}:"
        with reading(self._store.path) as database:
            keys = [key for key in database.bubbles(composer.composer_id, KEYS)
                    if key.removeprefix(prefix) not in known][:PAGE]  # fmt: skip
            rows = [row for row in database.values(keys) if row.value]
        found = (_read_bubble(composer, row.key.removeprefix(prefix), row.value) for row in rows)
        return [each for each in found if isinstance(each, Found) and each.own_id in missing]


def _read_bubble(composer: Composer, bubble_id: str, value: bytes) -> Thing:
    try:
        return extract.read_bubble(composer, bubble_id, value)
    except MalformedPayloadError as error:
        return _broken("bubbleId", f"{composer.composer_id}:{bubble_id}", value, error)


# --- what is not a conversation -------------------------------------------------------------------


class TrackingReader:
    """Reads who wrote the lines of each commit; the mark is a rowid and a time."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def look(self) -> Fingerprint | None:
        """Return what changes when the database does; None when it is gone."""
        return fingerprint(self._store.path)

    def read(self, mark: Mark) -> Iterator[Piece]:
        """Yield commits scored since, and requests that wrote lines since."""
        since_ms = _notes(mark).get("scored", 0)
        with reading(self._store.path) as database:
            commits = [extract.read_commit(record) for record in database.commits(since_ms)]
            top, records = database.line_groups(mark.offset)
        groups = [extract.read_line_group(record) for record in records]
        scored = max((since_ms, *(each.timestamp_ms for each in commits)))
        yield from _pieces([*commits, *groups], _noted(mark, top, scored=scored))


class ChatReader:
    """Reads what a chat of the command line says of itself."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._meta = store.path / "meta.json"
        self._blobs = store.path / "store.db"

    def look(self) -> Fingerprint | None:
        """Return what changes when the chat does; None when it is gone."""
        meta, blobs = (fingerprint(path) for path in (self._meta, self._blobs))
        if meta is None or blobs is None:
            return meta or blobs
        return meta._replace(size=meta.size + blobs.size, wal_size=blobs.wal_size,
                             wal_mtime_ns=max(blobs.mtime_ns, blobs.wal_mtime_ns))  # fmt: skip

    def read(self, mark: Mark) -> Iterator[Piece]:
        """Yield the chat as it is now."""
        meta = read_json(self._meta)
        values: list[bytes] = []
        if self._blobs.exists():
            with reading(self._blobs) as database:
                values = database.meta()
        things = [extract.read_chat(self._store.path.name, meta, values)] if meta or values else []
        yield from _pieces(things, _noted(mark, 0))


class TranscriptReader:
    """Reads the whole lines of an agent's transcript; the mark is an offset in bytes."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def look(self) -> Fingerprint | None:
        """Return what changes when the file does; None when it is gone."""
        return fingerprint(self._store.path)

    def read(self, mark: Mark) -> Iterator[Piece]:
        """Yield lines that were appended; a file that is shorter than before is begun anew."""
        offset = mark.offset
        while True:
            block, size = self._block(offset)
            if size < offset:
                offset = 0
                continue
            things: list[Thing] = []
            end = block.rfind(b"\n") + 1
            for line in block[:end].split(b"\n")[:-1]:
                if line.strip():
                    things.append(self._read_line(offset, line))
                offset += len(line) + 1
            if not end and len(block) == BLOCK:
                things.append(Broken("agentTranscript", (self._store.item, str(offset)), "",
                                     "too-long", size - offset))  # fmt: skip
                offset = size
            yield from _pieces(things, _noted(mark, offset))
            if not end:
                return

    def _read_line(self, offset: int, line: bytes) -> Thing:
        try:
            return extract.read_line(self._store.path.stem, self._store.item, offset, line)
        except MalformedPayloadError as error:
            return _broken("agentTranscript", f"{self._store.item}:{offset}", line, error)

    def _block(self, offset: int) -> tuple[bytes, int]:
        """Return the bytes from an offset on, as many as are read at once, and the file's size."""
        try:
            descriptor = os.open(self._store.path, _READ)
            try:
                found = os.fstat(descriptor)
                if not stat.S_ISREG(found.st_mode):
                    raise EditorDatabaseError(self._store.path, "no plain file")
                return os.pread(descriptor, BLOCK, offset), found.st_size
            finally:
                os.close(descriptor)
        except OSError as error:
            raise EditorDatabaseError(self._store.path, error.strerror or "unreadable") from error
