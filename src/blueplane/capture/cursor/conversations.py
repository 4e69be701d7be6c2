"""What is new in the conversations of a database since they were last read.

Owns how changes are found: a mark, the rowid trick, and what is looked at again behind it.
Promises pieces of bounded size, each read in a moment's opening of the file.
Leaves what a row says to ``composers.py``.

A changed row of keys and values gets a new highest rowid, unless the newest row was deleted
before, or it was changed in place. So rows above the mark are read, the rows just below it are
compared with what they were, and the last bubbles of the last conversations, and of those that a
list says have changed, are looked at again. What none of this tells of is found by going round
(``rotation.py``).
A conversation is walked by its own list of bubbles: what that does not name is an orphan.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from blueplane.capture.cursor.composers import Composer, read_bubble, read_composer
from blueplane.capture.cursor.database import (
    BUBBLE,
    COMPOSER,
    PAGE,
    reading,
)
from blueplane.capture.cursor.found import (
    Found,
    Piece,
    Reader,
    Thing,
    broken,
    digest,
    noted,
    notes_of,
)
from blueplane.capture.cursor.lists import Lists
from blueplane.capture.cursor.rotation import Rotation
from blueplane.capture.cursor.workspaces import Store
from blueplane.errors import MalformedPayloadError
from blueplane.event import Mark

#: Rows below the mark that are compared with what they were.
WINDOW: Final = 64
#: Keys that are read at once.
KEYS: Final = 2_000
#: Rows below the mark that are read again of a conversation that we do not know: it may name them
#: only since we were there.
NEAR: Final = 2_000
#: Conversations that are looked at again, the bubbles of each, and those that are remembered.
RECENT: Final = 3
LAST: Final = 8
REMEMBERED: Final = 16


@dataclass(slots=True)
class _Known:
    """A conversation that was walked: what its row and each of its bubbles were."""

    row: str = ""
    composer: Composer | None = None
    bubbles: dict[str, str] = field(default_factory=dict)


class ComposerReader(Reader):
    """Reads composers and their bubbles.

    The mark is a rowid, and the number of the schema: who writes the table anew, with other
    rowids, changes that.
    """

    def __init__(self, store: Store, lists: Lists) -> None:
        super().__init__(store)
        self._lists = lists
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._recent: deque[str] = deque(maxlen=RECENT)
        #: The rows at and below the mark, digests of keys by rowid.
        self._window: dict[int, str] = {}
        self._rotation = Rotation(store.path)
        #: Bubbles by conversation that the rotation found to be changed.
        self._odd: dict[str, set[str]] = {}

    def look_at(self, composer_id: str) -> None:
        """Look at a conversation again with the next changes."""
        if composer_id in self._recent:
            self._recent.remove(composer_id)
        self._recent.append(composer_id)

    def read(self, mark: Mark) -> Iterator[Piece]:
        """Yield what changed above the mark, and near it."""
        self._rotation.owe()
        more = True
        while more:
            with reading(self._store.path) as database:
                schema = database.schema()
                rows = database.changed(max(0, mark.offset - WINDOW), KEYS)
            if notes_of(mark).get("schema") != schema:
                yield from self._read_all(mark)
                return
            more = len(rows) == KEYS
            yield from self._read_changed(rows, mark)
            mark = self._moved(mark, rows, schema)
            yield Piece((), mark)

    def recheck(self, mark: Mark) -> Iterator[Piece]:
        """Yield what was changed in place, of some rows each time, or as a list has it by now."""
        if self._lists.changed:
            yield from self._read_changed((), mark)
        self._odd = _by_conversation(self._rotation.step(), self._odd)
        for composer_id, bubble_ids in list(self._odd.items()):
            yield from self._walk(composer_id, frozenset(bubble_ids), mark.offset)
            del self._odd[composer_id]

    def _moved(self, mark: Mark, rows: Sequence[tuple[int, str]], schema: int) -> Mark:
        top = max((rowid for rowid, _ in rows), default=0)
        self._window = {rowid: digest(key.encode()) for rowid, key in rows if rowid > top - WINDOW}
        return noted(mark, top, schema=schema)

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
        keys = [key for rowid, key in rows
                if rowid > mark.offset or not self._is_same(rowid, key)]  # fmt: skip
        changed = _by_conversation(keys, {})
        for composer_id in (*self._recent, *self._lists.changed):
            changed.setdefault(composer_id, set())
        for composer_id, bubble_ids in changed.items():
            self.look_at(composer_id)
            yield from self._walk(composer_id, frozenset(bubble_ids), mark.offset)
            self._lists.changed.discard(composer_id)  # not before: nothing else may tell of it

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
        for wanted, low in ((again, 0), (others, max(0, after - NEAR) if new else 0)):
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
            composer = read_composer(composer_id, value, workspace)
        except MalformedPayloadError as error:
            return [broken("composerData", composer_id, value, error)]
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


def _by_conversation(keys: Iterable[str], others: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Add to the bubbles of conversations those of rows; what is neither is left out."""
    found = dict(others)
    for key in keys:
        kind, _, name = key.partition(":")
        composer_id, _, bubble_id = name.partition(":") if kind == "bubbleId" else (name, "", "")
        if kind in ("bubbleId", "composerData"):
            found.setdefault(composer_id, set()).add(bubble_id)
    return found


def _read_bubble(composer: Composer, bubble_id: str, value: bytes) -> Thing:
    try:
        return read_bubble(composer, bubble_id, value)
    except MalformedPayloadError as error:
        return broken("bubbleId", f"{composer.composer_id}:{bubble_id}", value, error)
