"""The monitor of Cursor's databases: what its stores hold becomes events on the road.

Owns one thread, the times at which each store is looked at, and the marks up to which it is read.
Promises that a mark moves only when everything before it has its outcome stored, and that a store
that cannot be read costs only itself.
Leaves finding what is new to the readers in ``cursor/``, events to ``cursor/events.py``, and seeing
them through to ``cursor/courier.py``.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from threading import Event as Flag
from typing import Final, NamedTuple

from blueplane.capture.cursor.conversations import ComposerReader
from blueplane.capture.cursor.courier import Courier, Records
from blueplane.capture.cursor.database import CHANGED, Fingerprint
from blueplane.capture.cursor.events import SOURCE, Maker
from blueplane.capture.cursor.found import CHUNK, Piece, Reader, Thing
from blueplane.capture.cursor.hooks import PLATFORM as CURSOR
from blueplane.capture.cursor.lists import Lists
from blueplane.capture.cursor.readers import make_reader
from blueplane.capture.cursor.workspaces import Places, Store, files_of, find_stores, size_of
from blueplane.capture.sources import Intake
from blueplane.clock import NS_PER_MS, monotonic_s
from blueplane.errors import EditorDatabaseError, QueueError, StoreError
from blueplane.event import Extent, Mark, Unread, as_text
from blueplane.logs import get
from blueplane.threads import Backoff, Service, be_nice

_log = get("databases")

#: Seconds between two looks at stores that changed lately, at the others, and for new ones.
HOT_S: Final = 1.0
COLD_S: Final = 15.0
SEARCH_S: Final = 30.0
#: Seconds between two rounds at least, unless somebody asks for one.
ROUND_S: Final = 0.25
#: Seconds for which a store that changed is looked at often.
LATELY_S: Final = 900.0
#: Seconds before a store that could not be read is tried again: the first delay and the longest.
RETRY_S: Final = (0.05, 60.0)


class Activity(NamedTuple):
    """What the monitor did, for health."""

    sessions: int
    events: int
    last_ms: int | None
    errors: int
    events_per_min: float
    backlog_bytes: int


@dataclass(slots=True)
class _Watched:
    """A store that is looked at: as it was when it was last read, and when it is due.

    ``known``: it was read to its end, or found empty, since we began.
    """

    store: Store
    reader: Reader
    key: str
    mark: Mark | None = None
    seen: Fingerprint | None = None
    due_s: float = 0.0
    hot_until_s: float = 0.0
    size: int = 0
    changed_ms: int = 0
    known: bool = False
    trouble: str | None = None
    trouble_s: float = 0.0
    backoff: Backoff | None = None

    @property
    def name(self) -> str:
        """Name it in the log, where no name of a directory belongs."""
        return f"{self.store.kind}:{self.key}" if ":" in self.store.item else self.store.item


class DatabaseMonitor(Service):
    """The monitor thread; ``places`` says where Cursor's stores are now, None for nowhere."""

    def __init__(
        self,
        places: Callable[[], Places | None],
        maker: Maker,
        intake: Intake,
        records: Records,
    ) -> None:
        super().__init__("databases")
        self._places = places
        self._maker = maker
        self._records = records
        self.courier = Courier(intake, records, self.stopping, self.beat)
        self._lists = Lists()
        self._watched: dict[str, _Watched] = {}
        self._search_due_s = 0.0
        self._searched = False
        #: When all stores were looked at last, and when somebody last wanted that.
        self._looked_s, self._wanted_s = float("-inf"), 0.0
        self._nudge = Flag()
        self._asked: deque[str] = deque(maxlen=8)
        #: How often a store could not be read.
        self._unread = 0

    # -- for others --------------------------------------------------------------------------------

    def turn_ended(self, platform: str, session_id: str) -> None:
        """Look at once: a turn of an editor has ended, and what it stored is whole."""
        if platform == CURSOR.name:
            self._asked.append(session_id)
            self._nudge.set()

    @property
    def installed(self) -> bool:
        """Whether there is anything of Cursor's to look at."""
        return bool(self._watched)

    def look_anew(self) -> None:
        """Look for stores, and at all of them, soon; from any thread."""
        self._wanted_s = monotonic_s()
        self._nudge.set()

    def items(self) -> set[str] | None:
        """Return the names of what is there; None before everything was looked at."""
        return {each.key for each in self._watched.values()} if self._searched else None

    def activity(self) -> Activity:
        """Return what was done since the start, for health."""
        courier = self.courier
        return Activity(
            sessions=len(self._lists.updated_ms),
            events=courier.sent,
            last_ms=courier.last_ms,
            errors=self._unread + courier.quarantined,
            events_per_min=courier.events_per_min(),
            backlog_bytes=self.extent().bytes_left,
        )

    def extent(self) -> Extent:
        """Return how much there is, and what of it is left; several stores may be in one file."""
        known, watched = self._looked_s >= self._wanted_s, list(self._watched.values())
        sizes = {each.store.path: size_of(files_of(each.store)) for each in watched}
        unread = {each.store.path: each for each in watched if _is_broken(each)}
        left = {each.store.path for each in watched if not each.known} | unread.keys()
        return Extent(
            known,
            len(sizes),
            len(left),
            sum(sizes.values()),
            sum(sizes[path] for path in left),
            self.courier.waiting(),
            unread=tuple(
                Unread(as_text(str(path)), sizes[path], each.trouble or "", each.trouble_s)
                for path, each in unread.items()
            ),
        )

    def stop(self) -> None:
        """Ask the loop to end, and wake it."""
        super().stop()
        self._nudge.set()
        self.courier.wake()

    # -- the loop ----------------------------------------------------------------------------------

    def loop(self) -> None:
        """Look at every store when it is due."""
        be_nice()
        while not self.stopping.is_set():
            self.beat()
            try:
                if self.courier.reconciled:
                    self._check_marks()
                self._go_round()
                self.courier.end_trouble()
            except (QueueError, StoreError) as error:
                self.courier.hold_back(error)
            self._nudge.wait(self._patience_s())
            if self._nudge.is_set():
                self._nudge.clear()
                self._look_now()

    def _go_round(self) -> None:
        began_s = monotonic_s()
        if self._looked_s < self._wanted_s:
            self._search_due_s = 0.0
            for watched in self._watched.values():
                watched.due_s = 0.0
        self._search()
        for watched in list(self._watched.values()):
            self._look_if_due(watched)
        self._looked_s = began_s

    def _patience_s(self) -> float:
        due_s = min((each.due_s for each in self._watched.values()), default=self._search_due_s)
        return min(HOT_S, max(ROUND_S, min(due_s, self._search_due_s) - monotonic_s()))

    def _look_now(self) -> None:
        """Have the databases, and what may be new, looked at."""
        self._search_due_s = 0.0
        for watched in self._watched.values():
            if watched.trouble is None and watched.store.kind != "chat":
                watched.due_s = 0.0
            if isinstance(watched.reader, ComposerReader):
                while self._asked:
                    watched.reader.look_at(self._asked.popleft())

    def _check_marks(self) -> None:
        """Have everything read anew when the store is another one: it has not the marks we know."""
        self.courier.reconciled = False
        marks, watched = self._records.marks(SOURCE), list(self._watched.values())
        if all(each.mark == marks.get(each.key) for each in watched if each.mark):
            return
        _log.warning("read anew", reason="the store has other marks")
        self.courier.forget()
        self._lists = Lists()
        for each in watched:
            mark = replace(each.mark, inode=0) if each.mark else None  # its time stays
            reader = make_reader(each.store, self._lists)
            self._watched[each.store.item] = _Watched(each.store, reader, each.key, mark)

    def _search(self) -> None:
        """Find stores, now and then; what is gone is not looked at any more."""
        if monotonic_s() < self._search_due_s:
            return
        places = self._places()
        stores = {store.item: store for store in find_stores(places)} if places else {}
        marks = self._records.marks(SOURCE)
        watched: dict[str, _Watched] = {}
        for item, store in stores.items():
            known = self._watched.get(item)
            if known is None or known.store != store:
                key = self._maker.key(item)
                known = _Watched(store, make_reader(store, self._lists), key, marks.get(key))
            watched[item] = known
        self._watched = watched
        self._search_due_s = monotonic_s() + SEARCH_S
        self._searched = True

    def _look_if_due(self, watched: _Watched) -> None:
        now_s = monotonic_s()
        if now_s < watched.due_s or self.stopping.is_set():
            return
        if watched.store.kind == "composers" and not self._has_lists():
            return
        hot = now_s < watched.hot_until_s or watched.store.item in ("lists", "composers")
        watched.due_s = now_s + (HOT_S if hot else COLD_S)
        try:
            self._look(watched)
        except EditorDatabaseError as error:
            self._note_trouble(watched, error)
        else:
            if _is_broken(watched):
                _log.info("read again", store=watched.name, after=watched.trouble)
            watched.trouble = watched.backoff = None
            watched.known = True

    def _has_lists(self) -> bool:
        """Look at the list that says where conversations belong; False when it cannot be read."""
        lists = self._watched.get("lists")
        if lists is None:
            return True
        if lists.trouble is None:
            lists.due_s = 0.0
        self._look_if_due(lists)
        return lists.trouble is None

    def _look(self, watched: _Watched) -> None:
        """Read a store that is not as it was, and then what may have changed in it unseen."""
        now = watched.reader.look()
        if now is None:
            return
        if now != watched.seen:
            self._read(watched, now)
        if watched.mark is not None:
            self._hand_on(watched, watched.reader.recheck(watched.mark))

    def _read(self, watched: _Watched, now: Fingerprint) -> None:
        """Read a store; one that may look the same after its next change is read once more."""
        if watched.size:  # it was there before, and has changed
            watched.hot_until_s = monotonic_s() + LATELY_S
        watched.size = now.size + now.wal_size
        watched.changed_ms = now.changed_ns // NS_PER_MS
        mark = self._begin(watched, now)
        if self._hand_on(watched, watched.reader.read(mark)):
            watched.seen = None if now.racy else now

    def _hand_on(self, watched: _Watched, pieces: Iterator[Piece]) -> bool:
        """See all of it through; False when asked to stop."""
        for piece in _joined(pieces):
            self.beat()
            if not self._deliver(watched, piece):
                return False
        return True

    def _begin(self, watched: _Watched, now: Fingerprint) -> Mark:
        """Return the mark of a store: that of a new one is stored before anything is read.

        For the time of what has none is its, and must not change.
        """
        mark = watched.mark
        if mark is None or mark.inode != now.inode:
            born_ms = mark.born_ms if mark else now.mtime_ns // NS_PER_MS
            mark = Mark(0, now.inode, "", 0, born_ms)
            self.courier.put(watched.key, mark)
            watched.mark = mark
        return mark

    def _deliver(self, watched: _Watched, piece: Piece) -> bool:
        """See things through to their outcomes, the mark with them; False when asked to stop."""
        times = watched.mark.born_ms if watched.mark else 0, watched.changed_ms
        made = [self._maker.make(thing, watched.key, *times) for thing in piece.things]
        mark = piece.mark if piece.mark != watched.mark else None
        if not self.courier.deliver(made, watched.key, mark):
            return False
        watched.mark = piece.mark or watched.mark
        return True

    # -- trouble -----------------------------------------------------------------------------------

    def _note_trouble(self, watched: _Watched, error: EditorDatabaseError) -> None:
        """Try a store again later, with one line for each change of what is wrong.

        That an editor wrote at the same moment is nothing wrong.
        """
        if error.cause != CHANGED:
            self._unread += 1
            if watched.trouble != error.cause:
                _log.warning("cannot be read", store=watched.name, reason=error.cause)
        if not _is_broken(watched):
            watched.trouble_s = monotonic_s()
        watched.trouble = error.cause
        watched.backoff = watched.backoff or Backoff(*RETRY_S)
        watched.due_s = monotonic_s() + watched.backoff.next_s()


def _is_broken(watched: _Watched) -> bool:
    """Whether a store cannot be read; that an editor wrote at the same moment is nothing wrong."""
    return watched.trouble not in (None, CHANGED)


def _joined(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Join small pieces, for each has to be waited for; a mark ends a piece."""
    things: list[Thing] = []
    try:
        for piece in pieces:
            things += piece.things
            if piece.mark is not None or len(things) >= CHUNK:
                yield Piece(things, piece.mark)
                things = []
    except EditorDatabaseError:
        if things:
            yield Piece(things)  # its reader knows them, and will not yield them again
        raise
    if things:
        yield Piece(things)
