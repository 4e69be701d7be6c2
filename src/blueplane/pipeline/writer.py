"""The writer: batches become rows, and only then are let go.

Owns the one thread that commits, and the order of every commit: begin, rows, counters, COMMIT, then
announce, acknowledge, remove, release.
Promises that nothing is acknowledged or released before its outcome is durable, that a failing
event costs only itself, and that a failing store costs only time.
Leaves the statements to ``commits.py``, what counts to ``custody.py``, reading to the consumer.
"""

import queue
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Event as Flag
from typing import Any, Final, NoReturn, Protocol, TypeVar

from blueplane import faults
from blueplane.clock import NS_PER_MS, monotonic_s, wall_ms
from blueplane.errors import (
    OversizedEntryError,
    QueueError,
    RowRefusedError,
    StoreBrokenError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
    UndecodableEntryError,
)
from blueplane.event import EVENT_TYPES
from blueplane.logs import get
from blueplane.pipeline.attach import Attacher, Attachment
from blueplane.pipeline.balance import IDLE_EVERY_S, Balancer
from blueplane.pipeline.batch import MAX_BATCH, Batch, Delivery, prepare
from blueplane.pipeline.commits import Commits
from blueplane.pipeline.custody import Balance, InFlight, is_letter
from blueplane.pipeline.dead_letters import DeadLetters, make_letter, origin_of
from blueplane.pipeline.jobs import Job
from blueplane.pipeline.measures import Measures
from blueplane.pipeline.stream import Commit, Stream
from blueplane.store.connection import translated
from blueplane.store.derived import Derivation
from blueplane.store.ledger import Epoch
from blueplane.store.traces import Inserted, Row
from blueplane.threads import Backoff, Service

_log = get("writer")

T = TypeVar("T")

#: Batches and jobs that wait for the writer; beyond it the consumer and the sources wait.
INBOX: Final = 4
#: Events that failed, and bytes of them, at which they are tried again before new ones are taken.
MAX_FAILURES: Final = 1_000
FAILURE_BYTES: Final = 8 * 1024 * 1024
#: Seconds before a failing event is tried again: the first delay and the longest.
RETRY_S: Final = (0.05, 1.0)
#: The same for a store that fails.
STORE_RETRY_S: Final = (0.1, 5.0)
#: Seconds between two looks at the stop flag while the inbox is empty or the store is away.
TICK_S: Final = 0.5


class Source(Protocol):
    """What the writer needs of whoever captures."""

    def release(self, origins: Sequence[str]) -> None:
        """Let go of items whose outcome is stored."""

    def reconcile(self, origins: Mapping[str, bytes]) -> None:
        """Forget what was sent: only ``origins`` are in the stream, the rest is sent again."""

    def wake(self) -> None:
        """The stream takes events again."""

    def waiting(self) -> int:
        """Return how many captured items have no outcome yet."""


class _StoppedError(Exception):
    """The writer was asked to stop while it waited for the store: what is in hand stays pending."""


class _RenewedError(StoreUnavailableError):
    """The store was opened anew: what is in hand is pending, and is read again after an attach."""


@dataclass(slots=True)
class _Failure:
    """An event that failed: how often, and when it is tried again."""

    delivery: Delivery
    count: int
    due_s: float


class Writer(Service):
    """The writer thread."""

    def __init__(
        self, commits: Commits, stream: Stream, attacher: Attacher, max_retries: int
    ) -> None:
        super().__init__("writer")
        self.commits = commits
        self.stream = stream
        self.in_flight: InFlight = attacher.in_flight
        self.sources: list[Source] = []
        #: Makes room when the disk of the store is full; called between two transactions.
        self.relieve: Callable[[], None] = lambda: None
        #: Told after each commit that wrote rows.
        self.announced: Callable[[], None] = lambda: None
        self.attachment: Attachment | None = None
        self.store_error: str | None = None
        #: What ends the server: the store is damaged, and must not be replaced.
        self.damage: StoreBrokenError | None = None
        #: Rows that this process wrote.
        self.written = 0
        self.measures = Measures()
        self.inbox: queue.Queue[Batch | Job[Any]] = queue.Queue(INBOX)
        self.letters = DeadLetters(commits, stream, attacher.in_flight, self.reattach)
        self._balancer = Balancer(
            commits,
            stream,
            self.letters,
            waiting=lambda: sum(source.waiting() for source in self.sources),
            store=self._store_balance,
        )
        self._attacher = attacher
        self.max_retries = max_retries
        self._failures: dict[bytes, _Failure] = {}
        #: Batches are of another store until the next attach: its codec made their rows.
        self._stale = False
        self._suspected = Flag()
        #: Messages whose acknowledgement was sent, and not yet answered.
        self._unanswered = 0

    # -- for other threads -----------------------------------------------------------------------

    def put(
        self, item: Batch | Job[Any], stopping: Flag, beat: Callable[[], None] = lambda: None
    ) -> bool:
        """Hand over a batch or a job, waiting for room; False when ``stopping`` came first.

        ``beat`` is called while it waits: who waits for the writer does not hang.
        """
        while not stopping.is_set():
            beat()
            if self._offer(item):
                return True
        return False

    def ask(self, work: Callable[[], T], timeout_s: float = 30.0) -> T:
        """Have ``work`` done between two batches and return what it returns.

        Raises what it raises, and StoreUnavailableError when the writer has no time for it, or the
        store is away: a thread that asks must stay able to do what needs no store, and to stop.
        """
        job = Job(work)
        put = False
        deadline_s = monotonic_s() + timeout_s
        while monotonic_s() < deadline_s and self.alive() and self.store_error is None:
            if not put:
                put = self._offer(job)
            elif job.wait(TICK_S):
                return job.answer()
        job.cancel()
        away = f"the store is away: {self.store_error}" if self.store_error else None
        message = away or f"the writer did not get to it in {timeout_s:g} s; ask again later"
        raise StoreUnavailableError(message)

    def tell(self, work: Callable[[], object]) -> bool:
        """Have ``work`` done when there is time, without waiting; False when nobody has any now."""
        try:
            self.inbox.put_nowait(Job(work))
        except queue.Full:
            return False
        return True

    def _offer(self, item: Batch | Job[Any]) -> bool:
        """Wait a moment for room in the inbox; False when there is none."""
        try:
            self.inbox.put(item, timeout=TICK_S)
        except queue.Full:
            return False
        return True

    def stop(self) -> None:
        """Ask the loop to end when the inbox is empty, and wake it."""
        super().stop()
        with suppress(queue.Full):
            self.inbox.put_nowait(Job(lambda: None))

    def derive(self, done: Derivation) -> bool:
        """Have a derivation stored; see ``Commits.derive``."""
        return self.ask(lambda: self._derive(done))

    def _derive(self, done: Derivation) -> bool:
        stored = self.commits.derive(done)
        if done.letters or done.settled or done.reopened or done.anew:
            self.letters.note_change()
        return stored

    def suspect_store(self) -> None:
        """Have the store looked at: somebody could not read it."""
        self._suspected.set()

    def backlog(self) -> int:
        """Return how many entries are in the stream, or in hand."""
        with self.inbox.mutex:
            batches = sum(isinstance(item, Batch) for item in self.inbox.queue)
        return self.stream.length + len(self._failures) + batches

    def reattach(self) -> None:
        """Have the consumer attach again: something about the stream is not as it should be."""
        if self.stream.attached:
            self.stream.detach()
            self.stream.unblock_reader()

    def rewrite(self) -> bool:
        """Write the database anew, in the writer's thread, however long that takes."""
        with self.unhurried():
            return self.commits.rewrite()

    # -- the loop --------------------------------------------------------------------------------

    def loop(self) -> None:
        """Take batches and jobs until asked to stop, and then what is left of them."""
        try:
            while not (self.stopping.is_set() and self.inbox.empty()):
                faults.point("writer_loop")
                self.beat()
                with suppress(_RenewedError):
                    self._go_round()
            with suppress(_RenewedError), translated(self.commits.path):
                self.balance()
        except (_StoppedError, StoreUnavailableError) as error:
            _log.warning("stopped while the store was away", reason=self.store_error or error)

    def _go_round(self) -> None:
        """Take one item and do what is due; what fails to be read is read again after an attach."""
        try:
            with translated(self.commits.path):
                self._take(self._patience_s())
                self.commits.tend_wal()
                self._retry_due()
                self.letters.send_waiting()
                if not self._balancer.closes_when_due():
                    self.reattach()
                if self._suspected.is_set():
                    self._renew("it could not be read")
        except _RenewedError:
            raise
        except StoreUnavailableError as error:
            self._note_failure(error)
            if isinstance(error, StoreBrokenError):
                self._renew(str(error))
            self.reattach()
            if self.stopping.wait(STORE_RETRY_S[0]):
                raise _StoppedError from error
        else:
            self._note_well()

    def _patience_s(self) -> float:
        """Seconds to wait for the next item: until the next thing that is due."""
        due = [failure.due_s for failure in self._failures.values()]
        due.append(self._balancer.due_s)
        return min(IDLE_EVERY_S, max(0.0, min(due) - monotonic_s()))

    def _take(self, patience_s: float) -> None:
        if self._has_too_many_failures() and not self.stopping.is_set():
            self._finish()
            self.stopping.wait(patience_s)
            return
        try:
            item = self.inbox.get_nowait()
        except queue.Empty:
            self._finish()
            try:
                item = self.inbox.get(timeout=patience_s)
            except queue.Empty:
                self.commits.verify()
                return
        if isinstance(item, Job):
            item.run()
            self._balancer.note_change()
            if isinstance(item.error, StoreBrokenError):
                raise item.error
        elif not self._stale:
            self._take_batch(self._with_more(item))

    def _with_more(self, batch: Batch) -> Batch:
        """Add batches that wait behind this one: one commit costs less than several."""
        while (more := self._next()) and len(batch) + len(more) <= MAX_BATCH:
            self.inbox.get_nowait()
            batch = batch.joined(more)
        return batch

    def _next(self) -> Batch | None:
        """Return what is first in the inbox, and stays there; None unless it is a batch."""
        with self.inbox.mutex:
            first = self.inbox.queue[0] if self.inbox.queue else None
        return first if isinstance(first, Batch) else None

    # -- a batch -----------------------------------------------------------------------------------

    def _take_batch(self, item: Batch) -> None:
        """Write what makes rows; count a failure of what does not."""
        ready = [delivery for delivery in item.deliveries if isinstance(delivery.row, Row)]
        if ready:
            self._write(ready)
        for delivery in item.deliveries:
            if isinstance(delivery.row, UndecodableEntryError):
                self._fail(delivery, delivery.row)
        if item.empty:
            self._settle(item.empty, None)

    def _write(self, ready: Sequence[Delivery]) -> None:
        """Commit a batch; one that the store refuses is halved until the culprit is alone."""
        rows = [delivery.row for delivery in ready if isinstance(delivery.row, Row)]
        began_s = monotonic_s()
        try:
            inserted = self._patiently(lambda: self.commits.write(rows), len(rows))
        except RowRefusedError as error:
            if len(ready) == 1:
                self._fail(ready[0], error)
                return
            half = len(ready) // 2
            self._write(ready[:half])
            self._write(ready[half:])
            return
        seconds, now_ms = monotonic_s() - began_s, wall_ms()
        # Only a hook is captured now: what an editor wrote down may be years old.
        hooks = [row for row in rows if row.kind[1] == "hook"]
        road_ms = [now_ms - row.captured_ns // NS_PER_MS for row in hooks]
        self.measures.batch(seconds, road_ms, others=len(rows) - len(hooks))
        _log.debug("flush", rows=len(rows), ms=seconds * 1000)
        self._let_go(inserted, [delivery.message_id for delivery in ready], rows)

    def _let_go(
        self, inserted: Inserted, message_ids: Sequence[bytes], rows: Sequence[Row]
    ) -> None:
        """Announce, acknowledge, remove and release what was committed, in this order."""
        origins = [row.origin for row in rows]
        self._note_done(message_ids, origins)
        faults.point("after_commit")
        self._balancer.note_change()
        self.written += len(inserted.written)
        self._settle(message_ids, _announce(inserted))
        if inserted.written:
            self.announced()
        faults.point("after_ack")
        if self._failures:
            for message_id in message_ids:
                self._failures.pop(message_id, None)
        self._release(origins)
        if any(map(is_letter, origins)):
            self.letters.note_change()

    def _settle(self, message_ids: Sequence[bytes], commit: Commit | None) -> None:
        """Acknowledge; when Redis cannot, the entries come again and are known by their ids."""
        if not self.stream.attached:
            return  # the next attach takes out what is done; a frozen server is not asked in vain
        try:
            self.stream.settle(message_ids, commit)
        except QueueError as error:
            self._note_unsettled(error)
        else:
            self._note_settled(len(message_ids))

    def _finish(self) -> None:
        """Learn whether the last acknowledgement was taken."""
        try:
            self.stream.finish()
        except QueueError as error:
            self._note_unsettled(error)
        else:
            self._note_settled(0)

    def _note_settled(self, sent: int) -> None:
        """Note that the acknowledgement before was taken, and one of ``sent`` messages is out."""
        if self._unanswered and self.stream.attached:
            self.measures.acknowledged(self._unanswered)
        self._unanswered = sent

    def _note_unsettled(self, error: QueueError) -> None:
        _log.warning("ack failed", reason=error)
        self._unanswered = 0
        self.reattach()

    def _note_done(self, message_ids: Sequence[bytes], origins: Sequence[str]) -> None:
        """Note at once that these have their outcome.

        Should this thread die over what follows, the next attach must not miss them in the stream.
        """
        if not all(origins):
            message_ids = [key for key, origin in zip(message_ids, origins, strict=True) if origin]
        self.in_flight.settle(message_ids)

    def _release(self, origins: Sequence[str]) -> None:
        faults.point("before_release")
        own = [origin for origin in origins if origin]
        for source in self.sources:
            source.release(own)

    def _patiently(self, work: Callable[[], T], events: int = 0) -> T:
        """Do ``work``, a write of ``events``, again and again while the store is away."""
        backoff = Backoff(*STORE_RETRY_S)
        while True:
            try:
                result = work()
            except StoreUnavailableError as error:
                self._note_failure(error, events)
                if isinstance(error, StoreBrokenError):
                    self._renew(str(error))
                if self.stopping.wait(backoff.next_s()):
                    raise _StoppedError from error
            except RowRefusedError:
                self._note_well()  # it has answered
                raise
            else:
                self._note_well()
                return result

    def _note_failure(self, error: StoreError, events: int = 0) -> None:
        if isinstance(error, StoreFullError):
            self.relieve()
        self._note_trouble(error, events)

    def _note_trouble(self, error: StoreError, events: int = 0) -> None:
        if self.store_error is None:
            _log.error("store failed", reason=error)
        self.measures.outage(events, error)
        self.store_error = str(error)
        self.beat()

    def _note_well(self) -> None:
        if self.store_error is not None:
            _log.info("store is back", after=self.store_error)
            self.store_error = None
            self.measures.end_outage()

    def _renew(self, reason: str) -> NoReturn:
        """Open the store anew, however long it takes, and have the consumer attach to the stream.

        Everything that has no outcome there is then read again. What is in hand is given up: its
        rows may be encoded with a dictionary that the new store does not have.
        """
        backoff = Backoff(*STORE_RETRY_S)
        while True:
            try:
                self.commits.reopen(self.stopping.is_set)
            except StoreError as error:
                self._note_trouble(error)  # nothing is open that could be relieved
                if isinstance(error, StoreBrokenError):
                    self.damage = error
                if self.stopping.wait(backoff.next_s()):
                    raise _StoppedError from error
            else:
                break
        _log.warning("store opened anew", after=reason)
        self.store_error = self.damage = None
        self.measures.end_outage()
        self._suspected.clear()
        self._stale = True
        self._failures.clear()
        self.letters.note_change()
        self._balancer.forget()
        self.reattach()
        message = "the database was opened anew; ask again"
        raise _RenewedError(message)

    # -- failures --------------------------------------------------------------------------------

    def _fail(self, delivery: Delivery, error: Exception) -> None:
        """Count a failure of one event; after ``max_retries`` of them it is a dead letter."""
        before = self._failures.get(delivery.message_id)
        count = before.count + 1 if before else 1
        if before is None and isinstance(error, RowRefusedError):  # else it never got to the store
            self.measures.failure(1, error)
        if count >= self.max_retries or isinstance(error, OversizedEntryError):
            self._dead_letter(delivery, count, error)
            self._failures.pop(delivery.message_id, None)
            return
        first_s, cap_s = RETRY_S
        due_s = monotonic_s() + min(cap_s, first_s * 2**count)
        self._failures[delivery.message_id] = _Failure(delivery, count, due_s)
        _log.info("retry", message=delivery.message_id.decode(), failures=count)

    def _has_too_many_failures(self) -> bool:
        failures = self._failures.values()
        return bool(failures) and (
            len(failures) >= MAX_FAILURES
            or sum(failure.delivery.size for failure in failures) >= FAILURE_BYTES
        )

    def _retry_due(self) -> None:
        now_s = monotonic_s()
        for failure in [f for f in self._failures.values() if f.due_s <= now_s]:
            entry = (failure.delivery.message_id, failure.delivery.fields)
            self._take_batch(Batch(prepare([entry], self.commits.codec), ()))

    def _dead_letter(self, delivery: Delivery, failures: int, error: Exception) -> None:
        """Open a dead letter, and only then acknowledge and release what it stands for."""
        letter = make_letter(delivery, failures, error)
        self._patiently(lambda: self.commits.dead_letter(letter))
        origin = origin_of(delivery)
        self._note_done([delivery.message_id], [origin])
        faults.point("in_dlq")
        _log.warning(
            "dead letter", message=letter.message_id, source=letter.source, reason=letter.reason
        )
        self._balancer.note_change()
        self.letters.note_change()
        self._settle([delivery.message_id], None)
        self.letters.mirror({letter.message_id: letter.reason}, ())
        self._release([origin])

    # -- attaching and the balance -----------------------------------------------------------------

    def attach(self) -> None:
        """Attach to the stream; a job of the consumer, which has nothing in hand meanwhile."""
        self._failures.clear()
        self._stale = False
        self._unanswered = 0
        # From the store, for an attach that failed half-way may have begun an epoch there.
        epoch = self.commits.ledger.epoch()
        self.attachment = self._attacher.attach(epoch, self._retell)
        self._balancer.begin(self.attachment.epoch, self._attacher.key_of(self.attachment.epoch))
        self.letters.note_attach()
        for source in self.sources:
            source.wake()

    def _retell(self, origins: Mapping[str, bytes]) -> None:
        for source in self.sources:
            source.reconcile(origins)

    def balance(self, *, afresh: bool = False) -> None:
        """Take the balance, store it, and attach again when it does not close."""
        if not self._balancer.closes(afresh=afresh):
            self.reattach()

    def balance_now(self) -> None:
        """Take the balance and store it even if it is the same as before; a job."""
        self.balance(afresh=True)

    def _store_balance(self, balance: Balance, epoch: Epoch) -> None:
        self._patiently(lambda: self.commits.put_balance(balance, epoch))


def _announce(inserted: Inserted) -> Commit | None:
    if not inserted.written:
        return None
    kinds = {row.kind for row in inserted.written}
    priority = min(EVENT_TYPES.get(event_type, 3) for _, _, event_type, _ in kinds)
    first, last = inserted.first_sequence, inserted.last_sequence
    return Commit(first, last, len(inserted.written), priority)
