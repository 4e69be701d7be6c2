"""The transcript monitor: lines that Claude Code writes become events on the road.

Owns one thread, what is known of every transcript, and which of them is read next.
Promises that every whole line has one outcome, whatever is killed, lost, cut or written anew; that
files which change come before history, and history leaves the road to others; and that an idle
tree costs next to nothing.
Leaves a file to ``claude_code/tail.py``, a line to ``claude_code/transcript.py``, and how far each
file is settled to the store, which commits it with the rows.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Event as Flag
from threading import Lock
from typing import Final, Protocol

from blueplane.capture.claude_code.hooks import PLATFORM as CLAUDE_CODE
from blueplane.capture.claude_code.places import is_meta, session_of
from blueplane.capture.claude_code.tail import NOTHING, OpenFile, Piece, RefusedFileError
from blueplane.capture.claude_code.transcript import (
    SOURCE,
    Line,
    Place,
    TranscriptReader,
)
from blueplane.capture.claude_code.tree import Tree
from blueplane.capture.tree_watch import watch_tree
from blueplane.clock import NS_PER_MS, monotonic_s, wall_ms
from blueplane.digests import blake2b
from blueplane.errors import (
    BlueplaneError,
    FilteredError,
    MalformedPayloadError,
    QueueError,
    QueueRefusedError,
    StoreError,
)
from blueplane.event import Event, Extent, Mark, Settlement
from blueplane.logs import get
from blueplane.threads import Backoff, Service, be_nice

_log = get("transcripts")

_PLATFORM: Final = CLAUDE_CODE.name

#: Lines, and bytes of them, that are handed on together: to wait for the store, and for Redis,
#: takes as long for few.
CHUNK: Final = 1_000
CHUNK_BYTES: Final = 4 * 1024 * 1024
#: Events in flight, of all sources, at which history waits: the road's latency for the others.
HISTORY_IN_FLIGHT: Final = 500
#: Seconds of such a wait.
ROOM_S: Final = 0.004
#: Seconds between two rounds of house-keeping, and looks of each: all of 15,000 sessions in some
#: five minutes.
ROUND_S: Final = 1.0
LOOKS: Final = 150
#: Seconds between two looks for new roots.
ROOTS_S: Final = 30.0
#: Milliseconds after its last change at which a file that was never read is history.
OLD_MS: Final = 60_000
#: Files that changed last, which are looked at where the system does not name what changes.
RECENT: Final = 64
#: Ends of turns that are remembered until there is time to look.
MAX_ENDED: Final = 256
#: Bytes of the keyed hash that names a file.
ITEM_BYTES: Final = 8
#: Minutes of the rate that is shown.
RATE_MIN: Final = 5
#: Seconds before a queue or store that failed is tried again: the first delay and the longest.
RETRY_S: Final = (0.1, 2.0)


class Intake(Protocol):
    """The way into the stream."""

    @property
    def open(self) -> bool:
        """Whether events can be appended now."""

    @property
    def in_flight(self) -> int:
        """How many events are on their way."""

    def origins(self) -> Sequence[str]:
        """Return the origins of those that are."""

    def emit(self, events: Sequence[Event], stopping: Flag) -> None:
        """Append events; raise QueueError when they are not known to be in the stream."""

    def recover(self, error: QueueError) -> None:
        """See to it that what went wrong is looked into."""


class Records(Protocol):
    """What the store knows and is told; every method raises StoreError when it is away."""

    def mark(self, source: str, item: str) -> Mark | None:
        """Return how far a file is settled; None for one that is not known."""

    def announce(self, marks: Mapping[str, Mark]) -> None:
        """Store what files items are, before their lines are on the road."""

    def settled(self, events: Sequence[Event]) -> set[str]:
        """Return the origins of those events whose outcome is stored."""

    def settle(self, outcomes: Sequence[Settlement], passed: Sequence[str] = ()) -> None:
        """Store outcomes of lines that never reach the stream, and pass over settled ones."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What may change while the monitor runs; each is asked now and then.

    ``roots`` finds the directories, ``wanted`` says whether transcripts are read at all,
    ``paused_ms`` since when capture is paused. ``secret`` keys the names of files.
    """

    roots: Callable[[], Sequence[str]]
    wanted: Callable[[], bool]
    paused_ms: Callable[[], int | None]
    secret: bytes


@dataclass(slots=True, eq=False)
class _Transcript:
    """A file: how it was seen last (a hash), and, once it is opened, how far it is read.

    There may be tens of thousands, most of them quiet. Lines before ``suspect_to`` may have their
    outcome already. None ends between ``read_to`` and ``scanned``. ``tail`` is what stands before
    ``read_to``. ``known`` is what the store knows it as, whatever is settled of it.
    """

    path: str
    seen: int = 0
    size: int = 0
    read_to: int = 0
    scanned: int = 0
    suspect_to: int = 0
    tail: bytes = b""
    opened: Mark | None = None
    known: Mark | None = None
    place: Place | None = None

    @property
    def unread(self) -> int:
        """Bytes that were not looked into."""
        return max(0, self.size - max(self.read_to, self.scanned))

    def close(self) -> None:
        """Forget how far it was read: the store knows."""
        self.place = self.opened = self.known = None
        self.read_to = self.scanned = 0
        self.tail = b""


@dataclass(slots=True, eq=False)
class _Haul:
    """What was made of some lines: events, and why there is none of others.

    The outcome of ``suspects`` may be stored already. The lines themselves, which may be long, are
    let go of one by one.
    """

    files: list[_Transcript] = field(default_factory=list)
    lines: int = 0
    bytes: int = 0
    events: list[Event] = field(default_factory=list)
    outcomes: list[Settlement] = field(default_factory=list)
    suspects: list[Event] = field(default_factory=list)


class TranscriptMonitor(Service):
    """The monitor's thread."""

    def __init__(
        self, reader: TranscriptReader, intake: Intake, records: Records, around: Surroundings
    ) -> None:
        super().__init__("transcripts")
        self._reader, self._intake, self._records, self._around = reader, intake, records, around
        self._watch = watch_tree()
        self._tree = Tree(self._found, self._gone, self._watch.add)
        self._files: dict[str, _Transcript] = {}
        #: Files with something to read: those that change, and, newest last, the others.
        self._hot: dict[str, _Transcript] = {}
        self._history: dict[str, _Transcript] = {}
        self._recent: dict[str, _Transcript] = {}
        #: Files by item that the store is to know before the next lines are handed on.
        self._unknown: dict[str, Mark] = {}
        #: What became of lines that never reach the stream, and origins of lines whose outcome is
        #: stored: the store is told with the next lines, for each telling waits for the writer.
        self._outcomes: list[Settlement] = []
        self._passed: list[str] = []
        self._lock = Lock()
        #: Whether every root was looked into since we began.
        self._planted = False
        #: Whether lines are in hand, which are neither in a file nor in the stream.
        self._taking = False
        #: Origins of lines that are in the stream, as far as we know.
        self._pending: set[str] = set()
        #: Generations of items of which something was in the stream when we began anew.
        self._adopted: dict[str, int] = {}
        #: What we know of the stream, and of the files, may not be what is there.
        self._outdated = True
        self._ended: deque[str] = deque(maxlen=MAX_ENDED)
        self._sweep: Iterator[object] = iter(())
        self._round_due_s = self._roots_due_s = 0.0
        self._backoff = Backoff(*RETRY_S)
        self._trouble: str | None = None
        self._rate: deque[tuple[int, int]] = deque(maxlen=RATE_MIN + 1)
        #: For health: events that were handed on, files and lines that could not be read, bytes
        #: that are not read yet, and the time of the last event.
        self.captured = self.errors = self.backlog_bytes = 0
        self.active_ms: int | None = None

    # -- for the writer ----------------------------------------------------------------------------

    def release(self, origins: Sequence[str]) -> None:
        """Let go of lines whose outcome is stored."""
        with self._lock:
            self._pending.difference_update(origins)

    def reconcile(self, _origins: Mapping[str, bytes]) -> None:
        """Begin anew, before the next line, from what is stored and what is in the stream."""
        self._outdated = True

    def wake(self) -> None:
        """Go on: the stream takes events again."""
        self._watch.wake()

    def waiting(self) -> int:
        """Return how many lines were read and have no outcome yet."""
        return len(self._pending)

    # -- for others --------------------------------------------------------------------------------

    def turn_ended(self, platform: str, session_id: str) -> None:
        """Look at the files of a session soon; from any thread."""
        if platform == _PLATFORM and session_id:
            self._ended.append(session_id)
            self._watch.wake()

    @property
    def sessions(self) -> int:
        """How many transcripts are watched over."""
        return len(self._files)

    def extent(self) -> Extent:
        """Return how much there is, and what of it is left."""
        known, files = self._planted, list(self._files.values())
        left = [*list(self._hot.values()), *list(self._history.values())]
        unread = sum(file.unread for file in left)
        untold = len(self._outcomes) + len(self._passed)
        waiting = self._taking + len(self._pending) + untold  # in this order, as they go on
        return Extent(
            known, len(files), len(left), sum(file.size for file in files), unread, waiting
        )

    def items(self) -> set[str] | None:
        """Return the names of the files that are there; None before every root was looked into."""
        return {self._item(path) for path in list(self._files)} if self._planted else None

    @property
    def installed(self) -> bool:
        """Whether there is a place for transcripts, and they are wanted."""
        return bool(self._tree.roots)

    @property
    def errors_count(self) -> int:
        """How many files and lines could not be read."""
        return self.errors + len(self._tree.refused)

    def events_per_min(self) -> float:
        """Return the rate of the last minutes."""
        first = _minute() - RATE_MIN
        return sum(count for minute, count in list(self._rate) if minute > first) / RATE_MIN

    # -- the loop ----------------------------------------------------------------------------------

    def loop(self) -> None:
        """Read what changes, then what is old, and in between look for what is new."""
        be_nice()
        patience_s = 0.0
        while not self.stopping.is_set():
            self.beat()
            self._note(self._watch.wait(patience_s))
            try:
                self._keep_house()
                patience_s = self._take() if self._intake.open else self._rest_s()
                self._trouble = None
                self._backoff.reset()
            except (QueueRefusedError, StoreError) as error:
                self._wait(error)
            except QueueError as error:
                self._outdated = True
                self._intake.recover(error)
                self._wait(error)

    def stop(self) -> None:
        """Ask the loop to end, and wake it."""
        super().stop()
        self._watch.wake()

    def close(self) -> None:
        """Give the descriptors back, once the thread has ended."""
        self._watch.close()

    def _rest_s(self) -> float:
        return max(0.0, self._round_due_s - monotonic_s())

    def _wait(self, error: BlueplaneError) -> None:
        if self._trouble != str(error):
            self._trouble = str(error)
            _log.warning("lines wait", reason=error)
        self.stopping.wait(self._backoff.next_s())

    def _take(self) -> float:
        """Hand on one chunk; return for how long to wait before the next, in seconds."""
        if self._outdated:
            self._begin_anew()
        self._reader.paused_ms = self._around.paused_ms()
        room = self._intake.in_flight < HISTORY_IN_FLIGHT
        if self._hot:
            return 0.0 if self._take_from(self._hot, -1) else ROOM_S
        if not self._history:
            self._tell()
            return self._rest_s()
        if room:
            self._take_from(self._history, 1)
        return 0.0 if room else ROOM_S

    def _take_from(self, waiting: dict[str, _Transcript], order: int) -> int:
        """Hand on lines of files that wait, the first of them or the last; return how many."""
        haul = _Haul()
        self._taking = True
        try:
            self._gather(waiting, order, haul)
            self._hand_on(haul)
        except (QueueRefusedError, StoreError):
            for file in haul.files:
                file.close()
                waiting[file.path] = file
            raise
        finally:
            self._taking = False
        for file in haul.files:
            self._let_be(file)
        return haul.lines

    # -- looking -----------------------------------------------------------------------------------

    def _note(self, changed: Sequence[tuple[str, str]] | None) -> None:
        """Look at what changed, or, where that is not said, at what is likely to have."""
        if changed is None:
            for file in list(self._recent.values()):
                self._look_at(file)
            self._tree.look_at_top()
            return
        for directory, name in changed:
            path = f"{directory}/{name}"
            known = self._files.get(path)
            if known is None:
                self._tree.look(directory)
            else:
                self._look_at(known)
                self._tree.look_below(path.removesuffix(".jsonl"))  # of the session's agents

    def _keep_house(self) -> None:
        """Look at a part of the tree, and for new roots, when it is time."""
        while self._ended:
            self._look_at_session(self._ended.popleft())
        now_s = monotonic_s()
        if now_s < self._round_due_s:
            return
        self._round_due_s = now_s + ROUND_S
        if now_s >= self._roots_due_s:
            self._roots_due_s = now_s + ROOTS_S
            self._plant()
            self._planted = True
        for _ in range(LOOKS):
            if next(self._sweep, self) is self:
                self._sweep = self._look_around()
                break
        waiting = [*self._hot.values(), *self._history.values()]
        self.backlog_bytes = sum(file.unread for file in waiting)

    def _plant(self) -> None:
        self._tree.plant(self._around.roots() if self._around.wanted() else ())
        newest_last = sorted(self._history.items(), key=lambda pair: _mtime_ns(pair[0]))
        self._history = dict(newest_last)

    def _look_around(self) -> Iterator[object]:
        """Look at every directory and every file, one at a time."""
        for path in list(self._tree.directories):
            if path in self._tree.directories:
                self._tree.look(path)
            yield path
        for file in list(self._files.values()):
            self._look_at(file)
            yield file

    def _look_at_session(self, session_id: str) -> None:
        for directory in self._tree.look_at_top():
            self._tree.look_below(f"{directory}/{session_id}")
            if file := self._files.get(f"{directory}/{session_id}.jsonl"):
                self._look_at(file)

    def _found(self, path: str) -> None:
        """Take up a file that appeared."""
        file = self._files[path] = _Transcript(path)
        self._look_at(file)

    def _gone(self, path: str) -> None:
        """Drop a file; should it come back, the store knows how far it is settled."""
        for files in (self._files, self._hot, self._history, self._recent):
            files.pop(path, None)

    def _look_at(self, file: _Transcript) -> None:
        """Notice whether a file changed, and have it read then."""
        try:
            found = os.lstat(file.path)
        except OSError:
            return  # gone: its directory tells
        seen = hash((found.st_ino, found.st_size, found.st_mtime_ns))
        if seen == file.seen:
            return
        new = not file.seen
        file.seen, file.size = seen, found.st_size
        if new and wall_ms() - found.st_mtime_ns // NS_PER_MS > OLD_MS:
            self._history[file.path] = file
        else:
            self._warm(file)

    def _warm(self, file: _Transcript) -> None:
        self._history.pop(file.path, None)
        self._hot[file.path] = file
        self._recent.pop(file.path, None)
        self._recent[file.path] = file
        if len(self._recent) > RECENT:
            self._let_be(self._recent.pop(next(iter(self._recent))))

    def _let_be(self, file: _Transcript) -> None:
        """Keep little of a file that is read, and did not change lately: as most never do."""
        if not any(file.path in each for each in (self._hot, self._history, self._recent)):
            file.close()

    # -- reading -----------------------------------------------------------------------------------

    def _begin_anew(self) -> None:
        """Learn what is settled and what is in the stream, and go back to that in every file."""
        self._outdated = False
        with self._lock:  # what is released after this was in flight when we asked
            self._pending = {each for each in self._intake.origins() if each.startswith("t:")}
        self._adopted = dict(map(_item_of, self._pending))
        self._outcomes, self._passed = [], []  # found again
        for path, file in self._files.items():
            file.close()
            if path not in self._hot:
                self._history[path] = file

    def _item(self, path: str) -> str:
        return item_of(path, self._around.secret)

    def _mark(self, item: str) -> Mark | None:
        """Return what the store knows of a file, or that nothing but its lines on the road is."""
        mark = self._records.mark(SOURCE, item)
        if mark is None and item in self._adopted:
            return Mark(0, 0, "", self._adopted[item])
        return mark

    def _gather(self, waiting: dict[str, _Transcript], order: int, haul: _Haul) -> None:
        """Read lines of files that wait, up to a chunk."""
        for _ in range(len(waiting)):
            if haul.lines >= CHUNK or haul.bytes >= CHUNK_BYTES:
                break
            path = next(iter(waiting) if order < 0 else reversed(waiting))
            file = waiting[path]
            piece = self._read(file)
            del waiting[path]
            if piece.more:
                waiting[path] = file
            haul.files.append(file)
            haul.lines += len(piece.lines)
            for line in piece.lines:
                haul.bytes += len(line.raw)
                self._sort(file, line, haul)

    def _read(self, file: _Transcript) -> Piece:
        """Read some lines of a file, none where it may not be read."""
        item = file.place.item if file.place else self._item(file.path)
        try:
            mark = None if file.opened else self._mark(item)
            if mark is not None and _is_read(file.path, mark):
                file.read_to = file.size
                return NOTHING
            with OpenFile(file.path, self._around.secret) as opened:
                return self._read_open(file, opened, mark)
        except FileNotFoundError:
            return NOTHING  # its directory tells
        except (RefusedFileError, OSError) as error:
            self.errors += 1
            reason = error.strerror if isinstance(error, OSError) else error
            _log.warning("not read", file=item, reason=reason)
            return NOTHING

    def _read_open(self, file: _Transcript, opened: OpenFile, mark: Mark | None) -> Piece:
        if not self._is_same(file, opened) and not self._open(file, opened, file.opened or mark):
            return replace(NOTHING, more=True)
        opened.refuse_holes(file.read_to)
        if not is_meta(file.path):
            piece = opened.lines(file.read_to, file.scanned)
        elif file.read_to < opened.size:
            piece = opened.whole()
        else:
            return NOTHING
        if file.place is not None and piece.lines:
            file.place.changed_ms = opened.mtime_ns // NS_PER_MS
            self._announce(file, file.place, opened)
        file.read_to, file.scanned = piece.end, piece.scanned
        file.tail = opened.tail(file.read_to)
        return piece

    def _place(self, path: str, opened: OpenFile) -> Place:
        name = path.rpartition("/")[2]
        place = Place(self._item(path), name, session_of(path), whole=is_meta(name))
        place.date(opened.head(), opened.mtime_ns // NS_PER_MS)
        return place

    def _is_same(self, file: _Transcript, opened: OpenFile) -> bool:
        """Say whether an open file is what it was when it was read last."""
        return (
            file.opened is not None
            and file.opened.inode == opened.inode
            and file.read_to <= opened.size
            and file.opened.fingerprint in ("", opened.fingerprint(whole=is_meta(file.path)))
            and opened.tail(file.read_to) == file.tail
        )

    def _open(self, file: _Transcript, opened: OpenFile, mark: Mark | None) -> bool:
        """Find out where to read on; False while lines of what it was before are on the road."""
        place = self._place(file.path, opened)
        known = mark is not None and not file.opened and opened.is_marked(mark, whole=place.whole)
        if mark is not None and mark.inode and not known:
            if self._is_in_flight(place.item):
                return False
            mark = replace(mark, generation=mark.generation + 1)
        file.read_to = file.scanned = mark.offset if mark and known else 0
        file.suspect_to = opened.size if mark else 0
        file.tail = opened.tail(file.read_to)
        place.generation = mark.generation if mark else 0
        file.known = replace(mark, offset=0) if mark else None
        file.place, file.opened = place, opened.mark(place)
        if mark and mark.fingerprint == file.opened.fingerprint:
            place.born_ms = mark.born_ms  # it dates lines as it did before
            file.opened = opened.mark(place)
        return True

    def _announce(self, file: _Transcript, place: Place, opened: OpenFile) -> None:
        """Have the store know the file before its lines are on the road.

        Lines without a time of their own are dated by the file. Who reads them again must date them
        as before, or would not know that they are settled.
        """
        if file.opened is None:
            return
        if not file.opened.fingerprint:  # its first line was not whole then
            place.date(opened.head(), opened.mtime_ns // NS_PER_MS)
            file.opened = opened.mark(place)
        if file.known != file.opened:
            self._unknown[place.item] = file.known = file.opened

    def _is_in_flight(self, item: str) -> bool:
        name = f"t:{item}-"
        with self._lock:
            return any(origin.startswith(name) for origin in self._pending)

    # -- handing on --------------------------------------------------------------------------------

    def _hand_on(self, haul: _Haul) -> None:
        """Give events to the road, and note what becomes of other lines."""
        self._tell()
        settled = self._records.settled(haul.suspects) if haul.suspects else set()
        events = [event for event in haul.events if event.origin not in settled]
        for start in range(0, len(events), CHUNK):
            self._emit(events[start : start + CHUNK])
        self._outcomes += [each for each in haul.outcomes if each.origin not in settled]
        self._passed += sorted(settled)

    def _tell(self) -> None:
        """Have the store know the files of the next lines, and what became of the last ones."""
        if self._unknown:
            self._records.announce(self._unknown)
            self._unknown = {}
        if self._outcomes or self._passed:
            self._records.settle(self._outcomes, self._passed)
            self._outcomes, self._passed = [], []

    def _sort(self, file: _Transcript, line: Line, haul: _Haul) -> None:
        """Make of a line what becomes of it, unless it is on the road."""
        place = file.place
        if place is None:
            return
        suspect = line.start < file.suspect_to
        if suspect and place.origin(line.start, line.end) in self._pending:
            return
        outcome = self._judge(place, line)
        if isinstance(outcome, Settlement):
            haul.outcomes.append(outcome)
            if suspect and outcome.outcome == "filtered":
                haul.suspects.append(self._reader.identify(line, place))
            return
        haul.events.append(outcome)
        if suspect:
            haul.suspects.append(outcome)

    def _judge(self, place: Place, line: Line) -> Event | Settlement:
        """Make the event of a line, or say why there is none."""
        try:
            return self._reader.read(line, place)
        except FilteredError as error:
            outcome, rule = "filtered", error.rule
        except MalformedPayloadError as error:
            self.errors += 1
            outcome, rule = "quarantined", error.rule
            _log.warning("line not read", file=place.item, at=line.start, rule=rule)
        size, origin = line.end - line.start, place.origin(line.start, line.end)
        return Settlement(origin, outcome, rule, _PLATFORM, "", size, SOURCE)

    def _emit(self, events: Sequence[Event]) -> None:
        with self._lock:  # before the append: a line may be released before that returns
            self._pending.update(event.origin for event in events)
        try:
            self._intake.emit(events, self.stopping)
        except QueueRefusedError:  # none of them is in the stream
            self.release([event.origin for event in events])
            raise
        self.captured += len(events)
        self.active_ms = wall_ms()
        minute = _minute()
        if not self._rate or self._rate[-1][0] != minute:
            self._rate.append((minute, 0))
        self._rate[-1] = (minute, self._rate[-1][1] + len(events))


def item_of(path: str, secret: bytes) -> str:
    """Name a file in origins and marks: its own name may say something."""
    return blake2b(os.fsencode(path), key=secret, digest_size=ITEM_BYTES).hexdigest()


def _is_read(path: str, mark: Mark) -> bool:
    """Say whether a file is as the store knows it, to its end."""
    found = os.lstat(path)
    return (found.st_ino, found.st_size) == (mark.inode, mark.offset)


def _mtime_ns(path: str) -> int:
    try:
        return os.lstat(path).st_mtime_ns
    except OSError:
        return 0  # gone


def _item_of(origin: str) -> tuple[str, int]:
    item, _, generation = origin.split(":")[1].partition("-")
    return item, int(generation)


def _minute() -> int:
    return int(monotonic_s() // 60)
