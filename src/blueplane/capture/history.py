"""The history that editors keep on the disk: how much there is, and reading it once more.

Owns going through every source from its beginning, beside the monitors.
Promises events with the ids and times of capture that the monitors gave them, at any privacy
level, in pieces of bounded size; and to change nothing.
Leaves capturing to the monitors, and what is done with the events to its caller.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from blueplane.capture.claude_code.places import is_meta, item_of, roots, session_of
from blueplane.capture.claude_code.tail import OpenFile, RefusedFileError
from blueplane.capture.claude_code.transcript import Line, Place, TranscriptReader
from blueplane.capture.claude_code.tree import Tree
from blueplane.capture.cursor.events import Maker
from blueplane.capture.cursor.lists import Lists
from blueplane.capture.cursor.readers import make_reader
from blueplane.capture.cursor.workspaces import (
    Places,
    Store,
    files_of,
    find_places,
    find_stores,
    size_of,
)
from blueplane.capture.filters import NO_FILTERS
from blueplane.capture.pauses import NO_PAUSES
from blueplane.capture.pseudonyms import Pseudonyms
from blueplane.capture.renewal import Renewal, make_sanitiser
from blueplane.capture.sanitise import Sanitiser
from blueplane.clock import NS_PER_MS
from blueplane.config import CaptureSettings, PrivacySettings
from blueplane.errors import EditorDatabaseError, MalformedPayloadError
from blueplane.event import Event, Mark

#: What the sources are called where people see them.
TRANSCRIPTS: Final = "transcripts of Claude Code"
STORES: Final = "stores of Cursor"


class Amount(NamedTuple):
    """How much a source has; how many ``sessions`` only where the names of files tell."""

    what: str
    files: int
    bytes: int
    sessions: int | None


@dataclass(frozen=True, slots=True)
class Item:
    """A file or store that can be read again; ``key`` names it, as its mark does.

    ``events`` yields everything in it, and raises EditorDatabaseError when it cannot be read.
    Several items may be of one file: its bytes are the ``share`` of one of them.
    """

    key: str
    size: int
    share: int
    events: Callable[[], Iterator[list[Event]]]


@dataclass(frozen=True, slots=True)
class History:
    """The sources of one user, as the settings of now name them; ``secret`` keys their names."""

    settings: CaptureSettings
    user_home: Path
    environment: Mapping[str, str]
    secret: bytes

    def roots(self) -> list[str]:
        """Return the directories in which transcripts may be."""
        wanted = self.settings.transcripts
        return roots(self.user_home, self.environment, self.settings.claude_dirs) if wanted else []

    def places(self) -> Places | None:
        """Return where Cursor's stores are, None when they are not wanted."""
        if not self.settings.databases:
            return None
        moved = (self.settings.cursor_data, self.settings.cursor_home)
        return find_places(self.user_home, self.environment, *moved)

    def survey(self) -> list[Amount]:
        """Return how much there is, by names and sizes: nothing is opened."""
        paths = self._transcripts()
        sessions = {session_of(path) for path in paths} - {""}
        stores = {store.path: files_of(store) for store in self._stores()}
        return [
            Amount(TRANSCRIPTS, len(paths), size_of(paths), len(sessions)),
            Amount(STORES, len(stores), sum(map(size_of, stores.values())), None),
        ]

    def paths(self) -> dict[str, str]:
        """Return where what has a mark is, by the names that origins have for it."""
        names = Pseudonyms(self.secret)
        return {
            **{item_of(path, self.secret): path for path in self._transcripts()},
            **{names.digest(store.item): str(store.path) for store in self._stores()},
        }

    def items(
        self, sanitiser: Sanitiser, transcripts: Mapping[str, Mark], databases: Mapping[str, Mark]
    ) -> list[Item]:
        """Return what was captured before and is still there; marks are those of the monitors."""
        found: list[Item] = []
        reader = TranscriptReader(sanitiser)
        for path in self._transcripts():
            key = item_of(path, self.secret)
            if mark := transcripts.get(key):
                place = Place(key, path.rpartition("/")[2], session_of(path), whole=is_meta(path))
                events = partial(self._lines, reader, path, place, mark)
                size = size_of([path])
                found.append(Item(key, size, size, events))
        maker = Maker(sanitiser, NO_FILTERS, self.secret, pauses=lambda: NO_PAUSES)
        lists = Lists()
        shared: set[Path] = set()
        for store in self._stores():
            key = maker.key(store.item)
            if mark := databases.get(key):
                size = size_of(files_of(store))
                share = 0 if store.path in shared else size
                shared.add(store.path)
                found.append(Item(key, size, share, partial(_things, maker, store, lists, mark)))
        return found

    def _transcripts(self) -> list[str]:
        found: list[str] = []
        Tree(found.append, _ignore, _unwatched).plant(self.roots())
        return sorted(found)

    def _stores(self) -> list[Store]:
        places = self.places()
        return list(find_stores(places)) if places else []

    def _lines(
        self, reader: TranscriptReader, path: str, place: Place, mark: Mark
    ) -> Iterator[list[Event]]:
        try:
            with OpenFile(path, self.secret) as opened:
                opened.refuse_holes(0)
                place.date(opened.head(), opened.mtime_ns // NS_PER_MS)
                if mark.fingerprint == opened.fingerprint(whole=place.whole):
                    place.born_ms = mark.born_ms  # it dates lines as it did when they were captured
                yield from _pieces(reader, opened, place)
        except FileNotFoundError:
            return
        except (RefusedFileError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise EditorDatabaseError(Path(path), reason or "unreadable") from error


class Again:
    """What a refresh asks of capture: everything by the settings of the moment."""

    def __init__(
        self, history: Callable[[], History], privacy: Callable[[], PrivacySettings]
    ) -> None:
        self._history = history
        self._privacy = privacy

    def privacy(self) -> str:
        """Return the privacy settings, in a word."""
        privacy = self._privacy()
        return f"{privacy.level}{'-hashed' * privacy.hash_project_names}"

    def items(self, transcripts: Mapping[str, Mark], databases: Mapping[str, Mark]) -> list[Item]:
        """Return what can be read again, given how far each item is captured."""
        history = self._history()
        sanitiser = make_sanitiser(self._privacy(), history.secret)
        return history.items(sanitiser, transcripts, databases)

    def renewal(self) -> Callable[[bytes, str], bytes]:
        """Return what brings a stored event of a platform down to the present level."""
        return Renewal(self._privacy(), self._history().secret).renew


def _ignore(_path: str) -> None:
    """Nothing was known before."""


def _unwatched(_path: str, _lasting: bool) -> None:  # noqa: FBT001 - as Tree calls it
    """Nobody watches."""


def _pieces(reader: TranscriptReader, opened: OpenFile, place: Place) -> Iterator[list[Event]]:
    start = scanned = 0
    while True:
        piece = opened.whole() if place.whole else opened.lines(start, scanned)
        yield [event for line in piece.lines for event in _event(reader, line, place)]
        if not piece.more:
            return
        start, scanned = piece.end, piece.scanned


def _event(reader: TranscriptReader, line: Line, place: Place) -> Iterator[Event]:
    try:
        yield reader.read(line, place)
    except MalformedPayloadError:
        return  # it has no row


def _things(maker: Maker, store: Store, lists: Lists, mark: Mark) -> Iterator[list[Event]]:
    begin = Mark(0, mark.inode, "", 0, mark.born_ms)
    key = maker.key(store.item)
    for piece in make_reader(store, lists).read(begin):
        made = [maker.make(thing, key, mark.born_ms) for thing in piece.things]
        yield [each for each in made if isinstance(each, Event)]
