"""The monitor of Cursor's databases: what its stores hold becomes events on the road.

Owns one thread, the times at which each store is looked at, and the marks up to which it is read.
Promises that a mark moves only when everything before it has its outcome stored, that the same
content is one event however often it is read, and that a store that cannot be read costs only
itself.
Leaves finding what is new to ``cursor/changes.py``; knows neither Redis nor our database.

Nothing needs more than the marks: identity and time of an event come from its content, so what was
sent twice, or stored before a mark was, is known by the store.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Condition
from threading import Event as Flag
from typing import Final, NamedTuple, Protocol
from zlib import crc32

import orjson

from blueplane.capture.cursor.changes import (
    Broken,
    ComposerReader,
    Lists,
    Piece,
    Reader,
    Thing,
    make_reader,
)
from blueplane.capture.cursor.database import CHANGED, Fingerprint
from blueplane.capture.cursor.extract import Found
from blueplane.capture.cursor.hooks import PLATFORM as CURSOR
from blueplane.capture.cursor.workspaces import Places, Store, find_stores
from blueplane.capture.filters import Filters
from blueplane.capture.hook_event import FITTING
from blueplane.capture.pseudonyms import Pseudonyms
from blueplane.capture.rule_names import PAUSED
from blueplane.capture.sanitise import Sanitiser
from blueplane.capture.workspace import NO_WORKSPACE
from blueplane.clock import NS_PER_MS, monotonic_s, wall_ms
from blueplane.digests import blake2b
from blueplane.errors import EditorDatabaseError, FilteredError, QueueError, StoreError
from blueplane.event import MAX_PAYLOAD_BYTES, Event, Extent, Mark, Settlement, derive_id
from blueplane.logs import get
from blueplane.threads import Backoff, Service, be_nice

_log = get("databases")

#: The source under which marks are stored, and of what is counted.
SOURCE: Final = "database"
#: Seconds between two looks at stores that changed lately, at the others, and for new ones.
HOT_S: Final = 1.0
COLD_S: Final = 15.0
SEARCH_S: Final = 30.0
#: Seconds between two rounds at least, unless somebody asks for one.
ROUND_S: Final = 0.25
#: Seconds for which a store that changed is looked at often.
LATELY_S: Final = 900.0
#: Seconds before a store that could not be read is tried again, and the queue or our own store.
RETRY_S: Final = (0.05, 60.0)
ROAD_RETRY_S: Final = (0.1, 2.0)
#: Seconds between two looks at the stop flag while outcomes are waited for.
TICK_S: Final = 0.5
#: Events that are handed on together, and that are remembered to be settled.
AT_ONCE: Final = 200
REMEMBERED: Final = 20_000
#: Minutes over which events a minute are counted.
PACE_MIN: Final = 5
_MIN_MS: Final = 60_000

#: Our event type and source of what Cursor's stores hold; of what is not named here the first.
_KINDS: Final[Mapping[str, tuple[str, str]]] = {
    "": ("database_trace", SOURCE),
    "codeBlockData": ("acceptance_decision", SOURCE),
    "agentTranscript": ("transcript_trace", "transcript"),
}


class Intake(Protocol):
    """The way into the stream."""

    @property
    def open(self) -> bool:
        """Whether events can be appended now."""

    def emit(self, events: Sequence[Event], stopping: Flag) -> None:
        """Append events; raise QueueError when they are not known to be in the stream."""

    def recover(self, error: QueueError) -> None:
        """See to it that what went wrong is looked into."""


class Records(Protocol):
    """What the store knows and is told; every method raises StoreError when it is away."""

    def settled(self, events: Sequence[Event]) -> set[str]:
        """Return the origins of those events whose outcome is stored."""

    def settle(self, outcomes: Sequence[Settlement]) -> None:
        """Store what became of things that never reached the stream."""

    def marks(self, source: str) -> dict[str, Mark]:
        """Return how far each item of a source is settled."""

    def put_marks(self, source: str, marks: Mapping[str, Mark]) -> None:
        """Set how far items of a source are settled."""


class Activity(NamedTuple):
    """What the monitor did, for health."""

    sessions: int
    events: int
    last_ms: int | None
    errors: int
    events_per_min: float
    backlog_bytes: int


class Maker:
    """Makes events of what was found.

    ``secret`` keys what stands for content; ``paused_ms`` says since when capture is paused.
    """

    def __init__(
        self,
        sanitiser: Sanitiser,
        filters: Filters,
        secret: bytes,
        paused_ms: Callable[[], int | None],
    ) -> None:
        self._secret = secret
        self._paused_ms = paused_ms
        self._names = Pseudonyms(secret)
        self.use(sanitiser, filters)

    def use(self, sanitiser: Sanitiser, filters: Filters) -> None:
        """Go by other settings from the next thing on."""
        self._rules = (sanitiser, filters)

    def key(self, item: str) -> str:
        """Name an item in what is stored: its own name may hold a path."""
        return self._names.digest(item)

    def make(self, thing: Thing, key: str, born_ms: int) -> Event | Settlement:
        """Make the event of a thing of the item ``key``, or what becomes of it instead."""
        event_type, source = _KINDS.get(thing.kind, _KINDS[""])
        if isinstance(thing, Broken):
            event_id = derive_id("broken", *thing.identity, thing.digest)
            origin = _origin(key, thing.kind, event_id)
            return _settlement(origin, "quarantined", thing.rule, thing, source)
        sanitiser, filters = self._rules
        event_id = derive_id(SOURCE, thing.kind, *thing.identity, self._content(thing))
        origin = _origin(key, thing.kind, event_id)
        at_ms = thing.timestamp_ms or born_ms
        try:
            _check_pause(at_ms, self._paused_ms())
            filters.check_kind(CURSOR, thing.kind, event_type)
            filters.check_places(CURSOR, {**thing.body, "workspace_roots": thing.workspace})
        except FilteredError as error:
            return _settlement(origin, "filtered", error.rule, thing, source)
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

    def _content(self, thing: Found) -> bytes:
        """Hash all that is known of a thing, with the secret: a guess cannot be tested on it."""
        content = [thing.body, thing.columns, thing.turn_id, thing.tool_use_id, thing.timestamp_ms]
        text = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
        return blake2b(text, key=self._secret, digest_size=16).digest()


def _check_pause(at_ms: int, paused_ms: int | None) -> None:
    """Leave out what was done while the user has nothing captured."""
    if paused_ms is not None and at_ms >= paused_ms:
        raise FilteredError(PAUSED)


def _origin(key: str, kind: str, event_id: bytes) -> str:
    return f"d:{key}:{kind}:{event_id.hex()}"


def _settlement(origin: str, outcome: str, rule: str, thing: Thing, source: str) -> Settlement:
    return Settlement(origin, outcome, rule, CURSOR.name, thing.kind, thing.size, source)


def _metadata(thing: Found) -> dict[str, object]:
    """Return what are columns of the row, as far as they fit."""
    found = {name: FITTING[name](value) for name, value in thing.columns.items()}
    return {name: value for name, value in found.items() if value is not None}


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
    known: bool = False
    trouble: str | None = None
    backoff: Backoff | None = None


@dataclass(slots=True)
class _Held:
    """An event that was read and has no outcome yet."""

    event: Event
    sent: bool


class Monitor(Service):
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
        self._intake = intake
        self._records = records
        self._lists = Lists()
        self._watched: dict[str, _Watched] = {}
        self._search_due_s = 0.0
        self._searched = False
        self._nudge = Flag()
        #: Guards what the writer's thread changes, and is notified when it has.
        self._changed = Condition()
        self._held: dict[str, _Held] = {}
        self._elsewhere: set[str] = set()
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self._asked: deque[str] = deque(maxlen=8)
        self._backoff = Backoff(*ROAD_RETRY_S)
        self._trouble: str | None = None
        self._events = self._errors = 0
        self._last_ms: int | None = None
        self._minutes: Counter[int] = Counter()

    # -- for the writer ----------------------------------------------------------------------------

    def release(self, origins: Sequence[str]) -> None:
        """Note that outcomes are stored; other sources' origins are not known here."""
        with self._changed:
            for origin in origins:
                self._held.pop(origin, None)
                self._elsewhere.discard(origin)
            self._changed.notify_all()

    def reconcile(self, origins: Mapping[str, bytes]) -> None:
        """Forget what was sent: of what is held, ``origins`` are in the stream, the rest is not."""
        with self._changed:
            for origin, held in self._held.items():
                held.sent = origin in origins
            self._elsewhere = {origin for origin in origins if origin.startswith("d:")}
            self._elsewhere -= self._held.keys()
            self._changed.notify_all()

    def wake(self) -> None:
        """Go on: the stream takes events again."""
        with self._changed:
            self._changed.notify_all()

    def waiting(self) -> int:
        """Return how many events were read and have no outcome yet."""
        return len(self._held) + len(self._elsewhere)

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

    def activity(self) -> Activity:
        """Return what was done since the start, for health."""
        now = wall_ms() // _MIN_MS
        pace = sum(self._minutes[minute] for minute in range(now - PACE_MIN + 1, now + 1))
        watched = list(self._watched.values())
        backlog = sum(each.size for each in watched if each.trouble or not _is_begun(each))
        sessions = len(self._lists.updated_ms)
        return Activity(
            sessions, self._events, self._last_ms, self._errors, pace / PACE_MIN, backlog
        )

    def extent(self) -> Extent:
        """Return how much there is, and what of it is left; what cannot be read is not."""
        known, watched = self._searched, list(self._watched.values())
        left = [each for each in watched if not each.known and each.trouble in (None, CHANGED)]
        sizes, unread = ({each.store.path: each.size for each in some} for some in (watched, left))
        return Extent(
            known, len(sizes), len(unread), sum(sizes.values()), sum(unread.values()),
            self.waiting(),
        )  # fmt: skip

    def stop(self) -> None:
        """Ask the loop to end, and wake it."""
        super().stop()
        self._nudge.set()
        self.wake()

    # -- the loop ----------------------------------------------------------------------------------

    def loop(self) -> None:
        """Look at every store when it is due."""
        be_nice()
        while not self.stopping.is_set():
            self.beat()
            try:
                self._search()
                for watched in list(self._watched.values()):
                    self._look_if_due(watched)
                self._end_trouble()
            except (QueueError, StoreError) as error:
                self._hold_back(error)
            self._nudge.wait(self._patience_s())
            if self._nudge.is_set():
                self._nudge.clear()
                self._look_now()

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

    def _search(self) -> None:
        """Find stores, now and then; what is gone is not looked at any more."""
        if monotonic_s() < self._search_due_s:
            return
        places = self._places()
        stores = {store.item: store for store in find_stores(places)} if places else {}
        before, marks = self._watched, self._records.marks(SOURCE)
        self._watched = {}
        for item, store in stores.items():
            known = before.get(item)
            if known is not None and known.store == store:
                self._watched[item] = known
                continue
            key = self._maker.key(item)
            reader = make_reader(store, self._lists)
            self._watched[item] = _Watched(store, reader, key, marks.get(key))
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
            if watched.trouble not in (None, CHANGED):
                _log.info("read again", store=watched.store.item, after=watched.trouble)
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
        """Read a store that is not as it was; one that may change unseen is read once more."""
        now = watched.reader.look()
        if now is None or now == watched.seen:
            return
        if watched.size:  # it was there before, and has changed
            watched.hot_until_s = monotonic_s() + LATELY_S
        watched.size = now.size + now.wal_size
        mark = self._begin(watched, now)
        for piece in _joined(watched.reader.read(mark)):
            self.beat()
            if not self._deliver(watched, piece):
                return
        watched.seen = None if now.racy else now

    def _begin(self, watched: _Watched, now: Fingerprint) -> Mark:
        """Return the mark of a store: that of a new one is stored before anything is read.

        For the time of what has none is its, and must not change.
        """
        mark = watched.mark
        if mark is None or mark.inode != now.inode:
            born_ms = mark.born_ms if mark else now.mtime_ns // NS_PER_MS
            mark = Mark(0, now.inode, "", 0, born_ms)
            self._put(watched, mark)
        return mark

    def _put(self, watched: _Watched, mark: Mark) -> None:
        if mark != watched.mark:
            self._patiently(lambda: self._records.put_marks(SOURCE, {watched.key: mark}))
            watched.mark = mark

    # -- on the road -------------------------------------------------------------------------------

    def _deliver(self, watched: _Watched, piece: Piece) -> bool:
        """See things through to their outcome, and then move the mark; False when asked to stop."""
        born_ms = watched.mark.born_ms if watched.mark else 0
        made = [self._maker.make(thing, watched.key, born_ms) for thing in piece.things]
        events = {each.event_id: each for each in made if isinstance(each, Event)}
        fresh = [event for key, event in events.items() if key not in self._known]
        self._settle([each for each in made if isinstance(each, Settlement)])
        if self.stopping.is_set() or not self._see_through(fresh):
            return False
        self._remember(fresh)
        if piece.mark is not None:
            self._put(watched, piece.mark)
        return True

    def _settle(self, outcomes: Sequence[Settlement]) -> None:
        if outcomes:
            self._errors += sum(each.outcome == "quarantined" for each in outcomes)
            self._patiently(lambda: self._records.settle(outcomes))

    def _see_through(self, events: Sequence[Event]) -> bool:
        """Send events until each has its outcome stored; False when asked to stop first."""
        if not events:
            return True
        with self._changed:
            self._held = {
                event.origin: _Held(event, event.origin in self._elsewhere) for event in events
            }
            self._elsewhere -= self._held.keys()
        while not self.stopping.is_set():
            self.beat()
            if self._intake.open:
                self._patiently(self._send)
            with self._changed:
                if not self._held:
                    return True
                self._changed.wait(TICK_S)
        return False

    def _send(self) -> None:
        """Append what is not in the stream, unless its outcome is stored."""
        with self._changed:
            unsent = [held for held in self._held.values() if not held.sent]
        if not unsent:
            return
        settled = self._records.settled([held.event for held in unsent])
        self.release(list(settled))
        with self._changed:
            chosen = [held for held in unsent
                      if not held.sent and held.event.origin in self._held]  # fmt: skip
            for held in chosen:
                held.sent = True  # before the append, which the writer may outrun
        if not chosen:
            return
        try:
            self._intake.emit([held.event for held in chosen], self.stopping)
        except QueueError:
            with self._changed:
                for held in chosen:
                    held.sent = False
            raise
        self._count(len(chosen))

    def _patiently(self, work: Callable[[], None]) -> None:
        """Do ``work`` until neither the queue nor the store is in its way, or asked to stop."""
        while not self.stopping.is_set():
            self.beat()
            try:
                work()
            except (QueueError, StoreError) as error:
                if isinstance(error, QueueError):
                    self._intake.recover(error)
                self._hold_back(error)
            else:
                self._end_trouble()
                return

    def _count(self, events: int) -> None:
        self._events += events
        self._last_ms = wall_ms()
        minute = self._last_ms // _MIN_MS
        self._minutes[minute] += events
        for old in [each for each in self._minutes if each < minute - PACE_MIN]:
            del self._minutes[old]

    def _remember(self, events: Sequence[Event]) -> None:
        for event in events:
            self._known[event.event_id] = None
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    # -- trouble -----------------------------------------------------------------------------------

    def _note_trouble(self, watched: _Watched, error: EditorDatabaseError) -> None:
        """Try a store again later, with one line for each change of what is wrong.

        That an editor wrote at the same moment is nothing wrong.
        """
        if error.cause != CHANGED:
            self._errors += 1
            if watched.trouble != error.cause:
                _log.warning("cannot be read", store=watched.store.item, reason=error.cause)
        watched.trouble = error.cause
        watched.backoff = watched.backoff or Backoff(*RETRY_S)
        watched.due_s = monotonic_s() + watched.backoff.next_s()

    def _hold_back(self, error: QueueError | StoreError) -> None:
        if self._trouble != str(error):
            self._trouble = str(error)
            _log.warning("databases wait", reason=error)
        self.stopping.wait(self._backoff.next_s())

    def _end_trouble(self) -> None:
        self._trouble = None
        self._backoff.reset()


def _is_begun(watched: _Watched) -> bool:
    return watched.mark is not None and bool(watched.mark.fingerprint)


def _joined(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Join small pieces, for each has to be waited for; a mark ends a piece."""
    things: list[Thing] = []
    try:
        for piece in pieces:
            things += piece.things
            if piece.mark is not None or len(things) >= AT_ONCE:
                yield Piece(things, piece.mark)
                things = []
    except EditorDatabaseError:
        if things:
            yield Piece(things)  # its reader knows them, and will not yield them again
        raise
    if things:
        yield Piece(things)
