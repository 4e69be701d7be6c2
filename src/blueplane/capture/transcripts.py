"""The transcript monitor: lines that Claude Code writes become events on the road.

Owns one thread, which file is read next, and when it is looked for new ones.
Promises that every whole line has one outcome, whatever is killed, lost, cut or written anew; that
history leaves the road to others; and that an idle tree costs next to nothing.
Leaves which files there are to ``claude_code/files.py``, where to read on in one to
``claude_code/reading.py``, handing lines on to ``claude_code/courier.py``, and how far each file is
settled to the store, which commits it with the rows.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from blueplane.capture.claude_code.courier import Courier, Haul, Records, TranscriptIntake
from blueplane.capture.claude_code.files import Files, Transcript
from blueplane.capture.claude_code.hooks import PLATFORM as CLAUDE_CODE
from blueplane.capture.claude_code.reading import FileReader
from blueplane.capture.claude_code.transcript import TranscriptReader
from blueplane.capture.pauses import Pauses
from blueplane.capture.tree_watch import watch_tree
from blueplane.clock import monotonic_s
from blueplane.errors import BlueplaneError, QueueError, QueueRefusedError, StoreError
from blueplane.event import Extent
from blueplane.logs import get
from blueplane.threads import Backoff, Service, be_nice

_log = get("transcripts")

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
#: Ends of turns that are remembered until there is time to look.
MAX_ENDED: Final = 256
#: Seconds before a queue or store that failed is tried again: the first delay and the longest.
RETRY_S: Final = (0.1, 2.0)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What may change while the monitor runs; each is asked now and then.

    ``roots`` finds the directories, ``wanted`` says whether transcripts are read at all,
    ``pauses`` when capture is, and was, paused. ``secret`` keys the names of files.
    """

    roots: Callable[[], Sequence[str]]
    wanted: Callable[[], bool]
    pauses: Callable[[], Pauses]
    secret: bytes


class TranscriptMonitor(Service):
    """The monitor's thread."""

    def __init__(
        self,
        reader: TranscriptReader,
        intake: TranscriptIntake,
        records: Records,
        around: Surroundings,
    ) -> None:
        super().__init__("transcripts")
        self._reader, self._intake, self._around = reader, intake, around
        self._watch = watch_tree()
        self.files = Files(lambda path, lasting: self._watch.add(path, lasting=lasting))
        self.courier = Courier(reader, intake, records, self.stopping)
        self._reading = FileReader(records, self.courier, around.secret)
        #: When all roots were looked for last, and when somebody last wanted that.
        self._planted_s, self._wanted_s = float("-inf"), 0.0
        #: Whether lines are in hand, which are neither in a file nor in the stream.
        self._taking = False
        #: What we know of the stream, and of the files, may not be what is there.
        self._outdated = True
        self._ended: deque[str] = deque(maxlen=MAX_ENDED)
        self._round_due_s = self._roots_due_s = 0.0
        self._backoff = Backoff(*RETRY_S)
        self._trouble: str | None = None
        #: Bytes of lines that were read.
        self._taken_bytes = 0

    # -- for the writer ----------------------------------------------------------------------------

    def release(self, origins: Sequence[str]) -> None:
        """Let go of lines whose outcome is stored."""
        self.courier.release(origins)

    def reconcile(self, _origins: Mapping[str, bytes]) -> None:
        """Begin anew, before the next line, from what is stored and what is in the stream."""
        self._outdated = True

    def wake(self) -> None:
        """Go on: the stream takes events again."""
        self._watch.wake()

    def waiting(self) -> int:
        """Return how many lines were read and have no outcome yet."""
        return self.courier.in_flight

    # -- for others --------------------------------------------------------------------------------

    def turn_ended(self, platform: str, session_id: str) -> None:
        """Look at the files of a session soon; from any thread."""
        if platform == CLAUDE_CODE.name and session_id:
            self._ended.append(session_id)
            self._watch.wake()

    def look_anew(self) -> None:
        """Look for roots soon, and try again what could not be read; from any thread."""
        self._wanted_s = monotonic_s()
        self._watch.wake()

    @property
    def _is_known(self) -> bool:
        """Whether every root was looked into since we began, or were asked to."""
        return self._planted_s >= self._wanted_s

    def extent(self) -> Extent:
        """Return how much there is, and what of it is left."""
        known, files, left = self._is_known, list(self.files.known.values()), self.files.waiting()
        unread = tuple(self.files.unread())
        waiting = self._taking + self.courier.waiting()  # in this order, as lines go on
        return Extent(
            known,
            len(files),
            len(left) + len(unread),
            sum(file.size for file in files),
            sum(file.unread for file in left) + sum(each.bytes for each in unread),
            waiting,
            self._taken_bytes,
            unread,
        )

    def items(self) -> set[str] | None:
        """Return the names of the files that are there; None before every root was looked into."""
        name = self._reading.item
        return {name(path) for path in list(self.files.known)} if self._is_known else None

    @property
    def installed(self) -> bool:
        """Whether there is a place for transcripts, and they are wanted."""
        return bool(self.files.tree.roots)

    @property
    def errors(self) -> int:
        """How many files and lines could not be read."""
        return self._reading.errors + self.courier.errors + len(self.files.tree.refused)

    # -- the loop ----------------------------------------------------------------------------------

    def loop(self) -> None:
        """Read what changes, then what is old, and in between look for what is new."""
        be_nice()
        patience_s = 0.0
        while not self.stopping.is_set():
            self.beat()
            self.files.note(self._watch.wait(patience_s))
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

    def _keep_house(self) -> None:
        """Look at a part of the tree, and for new roots, when it is time."""
        while self._ended:
            self.files.look_at_session(self._ended.popleft())
        now_s = monotonic_s()
        if now_s < self._round_due_s and self._is_known:
            return
        self._round_due_s = now_s + ROUND_S
        if now_s >= self._roots_due_s or not self._is_known:
            self._roots_due_s = now_s + ROOTS_S
            roots = self._around.roots() if self._around.wanted() else ()
            self.files.plant(roots, again=not self._is_known)
            self._planted_s = now_s
        self.files.look_around(LOOKS)

    # -- reading -----------------------------------------------------------------------------------

    def _take(self) -> float:
        """Hand on one chunk; return for how long to wait before the next, in seconds."""
        if self._outdated:
            self._begin_anew()
        self._reader.pauses = self._around.pauses()
        room = self._intake.in_flight < HISTORY_IN_FLIGHT
        if self.files.hot:
            return 0.0 if self._take_from(self.files.hot, -1) else ROOM_S
        if not self.files.history:
            self.courier.tell()
            return self._rest_s()
        if room:
            self._take_from(self.files.history, 1)
        return 0.0 if room else ROOM_S

    def _begin_anew(self) -> None:
        """Learn what is settled and what is in the stream, and go back to that in every file."""
        self._outdated = False
        self.courier.begin_anew()
        self.files.begin_anew()

    def _take_from(self, waiting: dict[str, Transcript], order: int) -> int:
        """Hand on lines of files that wait, the first of them or the last; return how many."""
        haul = Haul()
        self._taking = True
        try:
            self._gather(waiting, order, haul)
            self.courier.hand_on(haul)
        except (QueueRefusedError, StoreError):
            for file in haul.files:
                file.close()
                waiting[file.path] = file
            raise
        finally:
            self._taking = False
        for file in haul.files:
            self.files.let_be(file)
        return haul.lines

    def _gather(self, waiting: dict[str, Transcript], order: int, haul: Haul) -> None:
        """Read lines of files that wait, up to a chunk."""
        for _ in range(len(waiting)):
            if haul.full:
                break
            path = next(iter(waiting) if order < 0 else reversed(waiting))
            file = waiting[path]
            piece = self._reading.read(file)
            del waiting[path]
            if piece.more:
                waiting[path] = file
            haul.files.append(file)
            haul.lines += len(piece.lines)
            for line in piece.lines:
                haul.bytes += len(line.raw)
                self.courier.sort(file, line, haul)
        self._taken_bytes += haul.bytes
