"""The workers: raw traces in, derived rows out, each worker up to a watermark of its own.

Owns the thread ``workers``, what it reads, and what becomes of a row that nothing can be derived
from.
Promises that the rows of a worker and its watermark are one transaction, so that it can be killed
anywhere and replayed from zero; that such a row costs only itself (a dead letter of hop
``derived``), and a failing worker only its own figures.
Leaves what is derived to each worker, the transaction to the writer.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event as Flag
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

from blueplane import faults
from blueplane.clock import NS_PER_MS, monotonic_s
from blueplane.errors import StoreError, StoreUnavailableError
from blueplane.logs import get
from blueplane.store.codec import Codec
from blueplane.store.derived import HOP, Derivation, Derived, Trace
from blueplane.store.letters import Letter
from blueplane.store.metric_rollups import TouchedError
from blueplane.store.queries import SERVER_READ_S, Reader, reading
from blueplane.store.rollups import is_elsewhere
from blueplane.threads import Backoff, Service

_log = get("workers")

#: Rows that are read at once.
BATCH: Final = 1_000
#: Seconds that rows of a wake-up have to gather: each transaction waits for the disk.
GATHER_S: Final = 0.2
#: While events wait to be written: how many times as long as the last batch took to rest.
RESTS: Final = 3
#: Seconds between two looks when nobody wakes us.
IDLE_S: Final = 5.0
#: Seconds before a failing worker, or an absent store, is tried again: the first and the longest.
RETRY_S: Final = (0.5, 60.0)
#: Seconds for which the follower waits at most while workers have rows: their sessions would soon
#: be derived from again.
FOLLOW_S: Final = 2.0
#: Letters that are tried again at once.
LETTERS: Final = 100


#: Stores something within the writer's transaction.
Write: TypeAlias = Callable[[Derived], None]


class Worker(Protocol):
    """What derives something; it keeps nothing between two calls."""

    @property
    def name(self) -> str:
        """Its name, under which its watermark is."""

    def read(self, trace: Trace) -> Any:  # noqa: ANN401 - whatever ``write`` takes
        """Return what a row says, or None; what it raises is the row's failure."""

    def write(self, tables: Derived, found: Sequence[Any]) -> None:
        """Store what rows say, in the writer's thread and within its transaction."""


class Step(NamedTuple):
    """What stores what was made of some sessions, and the errors of those of which none was made.

    ``write`` raises TouchedError when more was derived of one of them meanwhile.
    """

    write: Write
    errors: Sequence[Exception]


class Follower(Protocol):
    """What derives from derived rows: of each session anew, after something was derived of it."""

    @property
    def name(self) -> str:
        """Its name, under which its watermark is."""

    def next(self, reader: Reader) -> Step | None:
        """Derive from the next sessions; None when there are none."""


_W = TypeVar("_W", Worker, Follower)


class State(NamedTuple):
    """How a worker is: whether it runs, events that it could not derive from, its last error."""

    running: bool
    failures: int
    last_error: str | None


@dataclass(frozen=True, slots=True)
class Store:
    """The store as workers see it.

    ``derive`` stores a derivation, or returns False, having stored nothing, when the store is
    another one than ``edition`` said; ``busy`` says whether events wait that are not written yet.
    """

    database: Path
    codec: Callable[[], Codec]
    edition: Callable[[], int]
    derive: Callable[[Derivation], bool]
    busy: Callable[[], bool]


@dataclass(slots=True)
class _Run(Generic[_W]):
    """A worker, and how it was going since the start."""

    worker: _W
    failures: int = 0
    last_error: str | None = None
    failing: bool = False
    due_s: float = 0.0
    backoff: Backoff = field(default_factory=lambda: Backoff(*RETRY_S))


class _StaleError(Exception):
    """What was read is not what is stored any more: it is read again."""


class Workers(Service):
    """The thread of all workers."""

    def __init__(self, store: Store, workers: Sequence[Worker], follower: Follower) -> None:
        super().__init__("workers")
        self._store = store
        self._runs = {worker.name: _Run(worker) for worker in workers}
        self._follower = _Run(follower)
        self._follow_s = monotonic_s()
        self._woken = Flag()
        #: Told after each portion of the follower that was stored.
        self.followed: Callable[[], None] = lambda: None
        self._backoff = Backoff(*RETRY_S)

    # -- for other threads -------------------------------------------------------------------------

    def wake(self) -> None:
        """Look for rows soon."""
        self._woken.set()

    def stop(self) -> None:
        """Ask the loop to end after the batch in hand."""
        super().stop()
        self._woken.set()

    def states(self) -> Mapping[str, State]:
        """Return how each worker is."""
        alive = self.alive()
        return {
            name: State(alive and not run.failing, run.failures, run.last_error)
            for name, run in self._all_runs().items()
        }

    def _all_runs(self) -> dict[str, "_Run[Worker] | _Run[Follower]"]:
        return {**self._runs, self._follower.worker.name: self._follower}

    def catch_up(self) -> None:
        """Derive from everything that there is, in the caller's thread instead of our own."""
        while self._go_round():
            pass

    # -- the loop ----------------------------------------------------------------------------------

    def loop(self) -> None:
        """Derive from what is new, until asked to stop."""
        while not self.stopping.is_set():
            self.beat()
            began_s = monotonic_s()
            try:
                more = self._go_round()
                self._backoff.reset()
            except StoreError as error:
                _log.info("workers wait", reason=error)
                self.stopping.wait(self._backoff.next_s())
            else:
                self._rest(monotonic_s() - began_s, more=more)

    def _rest(self, took_s: float, *, more: bool) -> None:
        """Wait for rows; while events wait to be written, longer than the last batch took."""
        if more:
            if self._store.busy():
                self.stopping.wait(took_s * RESTS)
            return
        self._woken.wait(IDLE_S)
        self._woken.clear()
        self.stopping.wait(GATHER_S)

    def _go_round(self) -> bool:
        """Give each worker its next rows; True when there may be more."""
        edition = self._store.edition()
        with reading(self._store.database, SERVER_READ_S) as reader:
            last = reader.last_sequence()
            marks = reader.watermarks()
            groups = self._groups(marks, last)
            more = False
            try:
                for mark, runs in groups.items():
                    traces = reader.after(mark, BATCH, self._store.codec())
                    full = len(traces) == BATCH
                    upto = traces[-1].sequence if full else max(last, *_sequences(traces))
                    for run in runs:
                        with self._turn(run):
                            self._derive(run, traces, upto, edition)
                    more = more or full
                if not more:
                    self._try_letters(reader, edition)
                    if is_elsewhere(reader):
                        self._commit(Derivation("", None, Derived.follow_machine, edition))
                if not more or monotonic_s() >= self._follow_s:
                    more = self._follow(reader, marks, edition) or more
            except _StaleError:
                return True
        return more

    def _follow(self, reader: Reader, marks: Mapping[str, int], edition: int) -> bool:
        """Give the follower its next sessions; True when there may be more.

        When there are none, it has followed up to where all workers were.
        """
        run, more = self._follower, False
        if run.due_s > monotonic_s():
            return False
        with self._turn(run):
            step = run.worker.next(reader)
            more = step is not None
            name, upto = run.worker.name, min(marks.get(each, 0) for each in self._runs)
            if step is not None:
                with suppress(TouchedError):  # they are still to be derived from
                    self._commit(Derivation(name, None, step.write, edition))
                    self.followed()
                for error in step.errors:
                    run.failures += 1
                    run.last_error = type(error).__name__
            elif upto != marks.get(name, 0):
                self._commit(Derivation(name, upto, _nothing, edition))
        self._follow_s = monotonic_s() + FOLLOW_S
        return more

    def _groups(self, marks: Mapping[str, int], last: int) -> dict[int, list[_Run[Worker]]]:
        """Return who has something to do, by watermark: those with the same one read together."""
        now_s = monotonic_s()
        groups: dict[int, list[_Run[Worker]]] = {}
        for name, run in self._runs.items():
            mark = marks.get(name, 0)
            if mark < last and run.due_s <= now_s:
                groups.setdefault(mark, []).append(run)
        return groups

    @contextmanager
    def _turn(self, run: _Run[_W]) -> Iterator[None]:
        """Have a worker's own failure be only its own: it is tried again later."""
        try:
            yield
        except (StoreUnavailableError, _StaleError):
            raise
        except Exception as error:  # noqa: BLE001 - a failing worker stops nobody
            if not run.failing:
                _log.error("worker failed", worker=run.worker.name, error=error)
            run.failing, run.last_error = True, type(error).__name__
            run.due_s = monotonic_s() + run.backoff.next_s()
        else:
            run.failing = False
            run.backoff.reset()

    # -- a batch -----------------------------------------------------------------------------------

    def _derive(self, run: _Run[Worker], traces: Sequence[Trace], upto: int, edition: int) -> None:
        """Derive from rows; a batch that is refused is halved until the culprit is alone."""
        found, letters = _read(run.worker, traces)
        write = partial(run.worker.write, found=found)
        try:
            self._commit(Derivation(run.worker.name, upto, write, edition, letters))
        except (StoreUnavailableError, _StaleError):
            raise
        except Exception as error:  # one row breaks it for all: halve them until it is alone
            if len(traces) > 1:
                half = len(traces) // 2
                self._derive(run, traces[:half], traces[half - 1].sequence, edition)
                self._derive(run, traces[half:], upto, edition)
                return
            if not traces:
                raise
            letters = [_letter(run.worker, traces[0], error)]
            self._commit(Derivation(run.worker.name, upto, _nothing, edition, letters))
        for letter in letters:
            run.failures += 1
            run.last_error = letter.error_class

    def _commit(self, derivation: Derivation) -> None:
        self.beat()
        if not self._store.derive(derivation):
            raise _StaleError
        faults.point("after_derive")

    def _try_letters(self, reader: Reader, edition: int) -> None:
        """Try rows again of which somebody said so; what fails again is open again.

        What later rows said was stored without theirs: a worker that can read one begins anew.
        """
        gone, failed, anew = list[str](), list[tuple[str, str]](), set[str]()
        for letter in reader.letters_to_derive(LETTERS):
            name = letter.message_id.rpartition(":")[2]
            trace = reader.trace(letter.event_id or b"", self._store.codec())
            if name not in self._runs or trace is None:
                gone.append(letter.message_id)  # there is nothing left to derive from
            elif _read(self._runs[name].worker, [trace])[1]:
                failed.append((letter.message_id, name))
            else:
                anew.add(name)
        reopened = [letter_id for letter_id, name in failed if name not in anew]
        if gone or reopened or anew:
            done = Derivation(
                "", None, _nothing, edition, settled=gone, reopened=reopened, anew=sorted(anew)
            )
            self._commit(done)


def _read(worker: Worker, traces: Sequence[Trace]) -> tuple[list[Any], list[Letter]]:
    """Return what rows say, and the dead letters of those that could not be read."""
    found: list[Any] = []
    letters: list[Letter] = []
    for trace in traces:
        try:
            said = worker.read(trace)
        except Exception as error:  # noqa: BLE001 - the row's failure, whatever it is
            letters.append(_letter(worker, trace, error))
        else:
            if said is not None:
                found.append(said)
    return found, letters


def _letter(worker: Worker, trace: Trace, error: Exception) -> Letter:
    """Make the dead letter of a row; the row itself stays where it is.

    The words of the error may be of the event: only those of the store are kept.
    """
    error_class = type(error).__name__
    said = str(error) if isinstance(error, StoreError) else error_class
    return Letter(
        message_id=f"{trace.message_id}:{worker.name}",
        event_id=trace.event_id,
        captured_ns=trace.timestamp_ms * NS_PER_MS,
        origin="",
        platform=trace.platform,
        source=trace.source,
        hook_type=trace.hook_type,
        raw=b"[]",
        reason=f"the worker {worker.name}: {said}",
        error_class=error_class,
        failures=1,
        hop=HOP,
    )


def _nothing(_tables: Derived) -> None:
    """Store nothing."""


def _sequences(traces: Sequence[Trace]) -> tuple[int, ...]:
    return (0, *(trace.sequence for trace in traces[-1:]))
