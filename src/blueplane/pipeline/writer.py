"""The writer: batches become rows, and only then are let go.

Owns the one thread that commits, and the order of every commit: begin, rows, counters, COMMIT, then
announce, acknowledge, remove, release.
Promises that nothing is acknowledged or released before its outcome is durable, that a failing
event costs only itself, and that a failing store costs only time.
Leaves the statements to ``commits.py``, what counts to ``custody.py``, reading to the consumer.
"""

import queue
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from threading import Event as Flag
from typing import Any, Final, NamedTuple, Protocol

import orjson

from blueplane import faults
from blueplane.clock import monotonic_s, wall_ms
from blueplane.errors import (
    QueueError,
    QueueRefusedError,
    RowRefusedError,
    StoreUnavailableError,
    UndecodableEntryError,
)
from blueplane.event import EVENT_TYPES, Event, decode
from blueplane.logs import get
from blueplane.pipeline.attach import Attacher, Attachment
from blueplane.pipeline.commits import Commits
from blueplane.pipeline.custody import Balance, InFlight, enqueued, is_letter, letter_origin, read_origin
from blueplane.pipeline.stream import Commit, Counts, Stream
from blueplane.store.ledger import Epoch
from blueplane.store.letters import Letter
from blueplane.store.traces import Inserted, Row, make_rows
from blueplane.threads import Backoff, Service

_log = get("writer")

#: Batches and jobs that wait for the writer; beyond it the consumer and the sources wait.
INBOX: Final = 4
#: Seconds between two snapshots of the balance while something changes, and while nothing does.
BALANCE_S: Final = 1.0
IDLE_BALANCE_S: Final = 5.0
#: Seconds after which an unchanged snapshot is stored anew, for its time to stay believable.
BALANCE_REFRESH_S: Final = 300.0
#: Seconds before a failing event is tried again: the first delay and the longest.
RETRY_S: Final = (0.05, 1.0)
#: The same for a store that fails.
STORE_RETRY_S: Final = (0.1, 5.0)
#: Seconds between two looks at the stop flag while the inbox is empty or the store is away.
TICK_S: Final = 0.5
#: Letters that are sent again at once.
LETTERS_AT_ONCE: Final = 200


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


class Delivery(NamedTuple):
    """One entry in hand: its raw fields, and the row it makes or the reason why it makes none."""

    message_id: bytes
    fields: list[bytes]
    row: Row | UndecodableEntryError


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries that were delivered together; ``empty`` ones had been deleted from the stream."""

    deliveries: Sequence[Delivery]
    empty: Sequence[bytes]


class Job:
    """Something another thread wants done by the writer, and its answer."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._done = Flag()
        self._result: Any = None
        self._error: Exception | None = None

    def run(self) -> None:
        """Do it; what it raises is the asker's."""
        try:
            self._result = self._work()
        except Exception as error:  # noqa: BLE001 - handed to the thread that asked
            self._error = error
        self._done.set()

    def cancel(self) -> None:
        """Have nothing done when its turn comes: nobody waits for it any more."""
        self._work = lambda: None

    def wait(self, timeout_s: float) -> bool:
        """Wait for the answer; False when it is not there in time."""
        return self._done.wait(timeout_s)

    def answer(self) -> Any:
        """Return the result or raise the error."""
        if self._error is not None:
            raise self._error
        return self._result


class _StoppedError(Exception):
    """The writer was asked to stop while it waited for the store: what is in hand stays pending."""


@dataclass(slots=True)
class _Failure:
    """An event that failed: how often, and when it is tried again (None = being dead-lettered)."""

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
        self.attachment: Attachment | None = None
        self.store_error: str | None = None
        #: Rows that this process wrote.
        self.written = 0
        self.inbox: queue.Queue[Batch | Job] = queue.Queue(INBOX)
        self._attacher = attacher
        self._max_retries = max_retries
        self._epoch: Epoch | None = commits.ledger.epoch()
        self._failures: dict[bytes, _Failure] = {}
        self._letter_counts: dict[str, int] | None = None
        self._letters_wait = True
        self._changed = True
        self._balance_due_s = monotonic_s()
        self._stored: tuple[float, dict[str, object]] = (0.0, {})

    # -- for other threads -----------------------------------------------------------------------

    def put(self, item: Batch | Job, stopping: Flag) -> bool:
        """Hand over a batch or a job, waiting for room; False when ``stopping`` came first."""
        while not stopping.is_set():
            if self._offer(item):
                return True
        return False

    def ask(self, work: Callable[[], Any], timeout_s: float = 30.0) -> Any:
        """Have ``work`` done between two batches and return what it returns.

        Raises what it raises, and StoreUnavailableError when the writer has no time for it, or the
        store is away: a thread that asks must stay able to do what needs no store, and to stop.
        """
        job = Job(work)
        put = False
        deadline = monotonic_s() + timeout_s
        while monotonic_s() < deadline and self.alive() and self.store_error is None:
            if not put:
                put = self._offer(job)
            elif job.wait(TICK_S):
                return job.answer()
        job.cancel()
        away = f"the store is away: {self.store_error}" if self.store_error else None
        message = away or f"the writer did not get to it in {timeout_s:.0f} s; ask again later"
        raise StoreUnavailableError(message)

    def _offer(self, item: Batch | Job) -> bool:
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

    def backlog(self) -> int:
        """Return how many entries are in the stream, or in hand."""
        return self.stream.length + len(self._failures) + self.inbox.qsize()

    def reattach(self) -> None:
        """Have the consumer attach again: something about the stream is not as it should be."""
        if self.stream.attached:
            self.stream.detach()
            self.stream.unblock_reader()

    # -- the loop --------------------------------------------------------------------------------

    def loop(self) -> None:
        """Take batches and jobs until asked to stop, and then what is left of them."""
        try:
            while not (self.stopping.is_set() and self.inbox.empty()):
                faults.point("writer_loop")
                self.beat()
                self._take(self._patience_s())
                self._retry_due()
                self._send_letters()
                self._balance_when_due()
            self.balance()
        except _StoppedError:
            _log.warning("stopped while the store was away", reason=self.store_error)

    def _patience_s(self) -> float:
        """Seconds to wait for the next item: until the next thing that is due."""
        due = [failure.due_s for failure in self._failures.values()]
        due.append(self._balance_due_s)
        return min(IDLE_BALANCE_S, max(0.0, min(due) - monotonic_s()))

    def _take(self, patience_s: float) -> None:
        try:
            item = self.inbox.get_nowait()
        except queue.Empty:
            self._finish()
            try:
                item = self.inbox.get(timeout=patience_s)
            except queue.Empty:
                return
        if isinstance(item, Job):
            item.run()
            self._note_change()
        else:
            self._take_batch(item)

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
        try:
            inserted = self._patiently(lambda: self.commits.write(rows))
        except RowRefusedError as error:
            if len(ready) == 1:
                self._fail(ready[0], error)
                return
            half = len(ready) // 2
            self._write(ready[:half])
            self._write(ready[half:])
            return
        self._let_go(inserted, [delivery.message_id for delivery in ready], rows)

    def _let_go(
        self, inserted: Inserted, message_ids: Sequence[bytes], rows: Sequence[Row]
    ) -> None:
        """Announce, acknowledge, remove and release what was committed, in this order."""
        faults.point("after_commit")
        self._note_change()
        self.written += len(inserted.written)
        self._settle(message_ids, _announce(inserted))
        faults.point("after_ack")
        if self._failures:
            for message_id in message_ids:
                self._failures.pop(message_id, None)
        origins = [row.origin for row in rows]
        self._release(message_ids, origins)
        if any(map(is_letter, origins)):
            self._letter_counts = None

    def _settle(self, message_ids: Sequence[bytes], commit: Commit | None) -> None:
        """Acknowledge; when Redis cannot, the entries come again and are known by their ids."""
        if not self.stream.attached:
            return  # the next attach takes out what is done; a frozen server is not asked in vain
        try:
            self.stream.settle(message_ids, commit)
        except QueueError as error:
            _log.warning("ack failed", entries=len(message_ids), reason=error)
            self.reattach()

    def _finish(self) -> None:
        """Learn whether the last acknowledgement was taken."""
        try:
            self.stream.finish()
        except QueueError as error:
            _log.warning("ack failed", reason=error)
            self.reattach()

    def _release(self, message_ids: Sequence[bytes], origins: Sequence[str]) -> None:
        if not all(origins):
            own = [
                (key, origin) for key, origin in zip(message_ids, origins, strict=True) if origin
            ]
            message_ids, origins = [key for key, _ in own], [origin for _, origin in own]
        self.in_flight.settle(message_ids)
        faults.point("before_release")
        for source in self.sources:
            source.release(origins)

    def _patiently(self, work: Callable[[], Any]) -> Any:
        """Do ``work`` again and again while the store is away."""
        backoff = Backoff(*STORE_RETRY_S)
        while True:
            try:
                result = work()
            except StoreUnavailableError as error:
                if self.store_error is None:
                    _log.error("store failed", reason=error)
                self.store_error = str(error)
                self.beat()
                if self.stopping.wait(backoff.next_s()):
                    raise _StoppedError from error
            except RowRefusedError:
                self.store_error = None  # it has answered
                raise
            else:
                if self.store_error is not None:
                    _log.info("store is back", after=self.store_error)
                self.store_error = None
                return result

    # -- failures and dead letters -----------------------------------------------------------------

    def _fail(self, delivery: Delivery, error: Exception) -> None:
        """Count a failure of one event; after ``max_retries`` of them it is a dead letter."""
        before = self._failures.get(delivery.message_id)
        failure = _Failure(delivery, before.count + 1 if before else 1, 0.0)
        self._failures[delivery.message_id] = failure
        if failure.count < self._max_retries:
            first_s, cap_s = RETRY_S
            delay_s = min(cap_s, first_s * 2**failure.count)
            failure.due_s = monotonic_s() + delay_s
            _log.info("retry", message=delivery.message_id.decode(), failures=failure.count)
            return
        self._dead_letter(delivery, failure.count, error)
        self._failures.pop(delivery.message_id, None)

    def _retry_due(self) -> None:
        now_s = monotonic_s()
        for failure in [f for f in self._failures.values() if f.due_s <= now_s]:
            message_id, fields, _ = failure.delivery
            self._take_batch(Batch(prepare([(message_id, fields)], self.commits), ()))

    def _dead_letter(self, delivery: Delivery, failures: int, error: Exception) -> None:
        letter = make_letter(delivery, failures, error)
        self._patiently(lambda: self.commits.dead_letter(letter))
        faults.point("in_dlq")
        _log.warning(
            "dead letter",
            message=letter.message_id,
            source=letter.source,
            reason=letter.reason,
        )
        self._note_change()
        self._letter_counts = None
        self._settle([delivery.message_id], None)
        self._mirror({letter.message_id: letter.reason}, ())
        self._release([delivery.message_id], [_origin(delivery)])

    def retry_letters(self, message_ids: Sequence[str]) -> list[str]:
        """Send dead letters again; a job. Returns the ids of those that were open."""
        changed: list[str] = self.commits.retry(message_ids)
        faults.point("after_retry_commit")
        self._letter_counts = None
        self._letters_wait = bool(changed) or self._letters_wait
        self._mirror({}, changed)
        return changed

    def drop_letters(self, message_ids: Sequence[str]) -> list[str]:
        """Give dead letters up; a job. Returns the ids of those that were open."""
        changed: list[str] = self.commits.drop(message_ids)
        self._letter_counts = None
        self._mirror({}, changed)
        return changed

    def _mirror(self, opened: Mapping[str, str], closed: Sequence[str]) -> None:
        if not self.stream.attached:
            return  # the next attach writes the mirror anew
        try:
            self.stream.mirror_dead_letters(opened, closed)
        except QueueRefusedError as error:
            _log.info("mirror waits", reason=error)
        except QueueError:
            self.reattach()

    def _send_letters(self) -> None:
        """Append retried letters that are not in the stream: the letter is their source."""
        if not self._letters_wait or not self.stream.attached:
            return
        sent = set(self.in_flight.origins())
        waiting = self.commits.letters.waiting(len(sent) + LETTERS_AT_ONCE)
        letters = [letter for letter in waiting if letter_origin(letter.message_id) not in sent]
        try:
            for letter in letters[:LETTERS_AT_ONCE]:
                self._send_letter(letter)
        except QueueRefusedError as error:
            _log.debug("letters wait", reason=error)
            return
        except QueueError as error:
            _log.warning("letters wait", reason=error)
            self.reattach()
            return
        self._letters_wait = len(letters) > LETTERS_AT_ONCE

    def _send_letter(self, letter: Letter) -> None:
        origin = letter_origin(letter.message_id)
        fields = with_origin(unpack_fields(letter.raw), origin)
        self.stream.append(letter.source, [fields], [origin], self.in_flight.register)

    # -- attaching and the balance -----------------------------------------------------------------

    def attach(self) -> None:
        """Attach to the stream; a job of the consumer, which has nothing in hand meanwhile."""
        self._failures.clear()
        # From the store, for an attach that failed half-way may have begun an epoch there.
        self._epoch = self.commits.ledger.epoch()
        self.attachment = self._attacher.attach(self._epoch, self._retell)
        self._epoch = self.attachment.epoch
        self._letters_wait = True
        self._balance_due_s = monotonic_s()
        for source in self.sources:
            source.wake()

    def _retell(self, origins: Mapping[str, bytes]) -> None:
        for source in self.sources:
            source.reconcile(origins)

    def _balance_when_due(self) -> None:
        now_s = monotonic_s()
        if now_s < self._balance_due_s:
            return
        self.balance()
        self._balance_due_s = monotonic_s() + (BALANCE_S if self._changed else IDLE_BALANCE_S)
        self._changed = False

    def _note_change(self) -> None:
        """See to it that the balance is taken soon."""
        self._changed = True
        self._balance_due_s = min(self._balance_due_s, monotonic_s() + BALANCE_S)

    def balance_now(self) -> None:
        """Take the balance and store it even if it is the same as before; a job."""
        self._stored = (0.0, {})
        self.balance()

    def balance(self) -> None:
        """Take the balance and store it; attach again when it does not close.

        It can be taken only while attached: what was committed is then acknowledged as well.
        """
        if not self.stream.attached or self._epoch is None:
            return
        try:
            counts = self.stream.counts()
        except QueueError:
            self.reattach()
            return
        token = f"{self._attacher.home_id}:{self._epoch.token}"
        balance = self._weigh(self._epoch, counts)
        if counts.epoch != token or balance.remainder() != 0:
            _log.info("unbalanced", remainder=balance.remainder(), epoch=counts.epoch == token)
            self.reattach()
            return
        self._epoch = replace(
            self._epoch,
            high=max(self._epoch.high, counts.entries_added),
            own_high=max(self._epoch.own_high, sum(counts.enqueued.values())),
        )
        self._store_balance(balance, self._epoch)

    def _weigh(self, epoch: Epoch, counts: Counts) -> Balance:
        if self._letter_counts is None:
            self._letter_counts = self.commits.letters.counts()
        return Balance(
            totals=self.commits.ledger.totals(),
            enqueued=enqueued(epoch, counts.entries_added),
            in_flight=counts.length,
            foreign=epoch.settled_at_start
            - epoch.own_at_start
            + counts.entries_added
            - epoch.base
            - sum(counts.enqueued.values()),
            dead_letters=self._letter_counts,
            waiting=sum(source.waiting() for source in self.sources),
        )

    def _store_balance(self, balance: Balance, epoch: Epoch) -> None:
        stored_s, body = self._stored
        now_s = monotonic_s()
        if balance.body() == body and now_s - stored_s < BALANCE_REFRESH_S:
            return
        self._patiently(lambda: self.commits.put_balance(balance, epoch))
        self._stored = (now_s, balance.body())


# --- entries and letters --------------------------------------------------------------------------


def prepare(entries: Sequence[tuple[bytes, list[bytes]]], commits: Commits) -> list[Delivery]:
    """Make a row of each entry, or note why it makes none."""
    rows = make_rows(entries, wall_ms(), commits.codec)
    return [
        Delivery(message_id, fields, row)
        for (message_id, fields), row in zip(entries, rows, strict=True)
    ]


def _announce(inserted: Inserted) -> Commit | None:
    if not inserted.written:
        return None
    priority = min(EVENT_TYPES.get(row.kind[2], 3) for row in inserted.written)
    first, last = inserted.first_sequence, inserted.last_sequence
    return Commit(first, last, len(inserted.written), priority)


def make_letter(delivery: Delivery, failures: int, error: Exception) -> Letter:
    """Make the dead letter of an entry, with as much of its envelope as can be read."""
    event = _event_of(delivery)
    table = dict(zip(delivery.fields[0::2], delivery.fields[1::2], strict=False))
    cause = error.__cause__ or error
    return Letter(
        message_id=delivery.message_id.decode(),
        event_id=event.event_id if event else None,
        captured_ns=event.captured_ns if event else None,
        origin=_origin(delivery),
        platform=_text(table.get(b"platform")),
        source=_text(table.get(b"source")),
        hook_type=_text(table.get(b"hook_type")),
        raw=pack_fields(delivery.fields),
        reason=str(error),
        error_class=type(cause).__name__,
        failures=failures,
        hop="written" if isinstance(delivery.row, Row) else "delivered",
    )


def _event_of(delivery: Delivery) -> Event | None:
    try:
        return decode(delivery.fields)
    except UndecodableEntryError:
        return None


def _origin(delivery: Delivery) -> str:
    table = dict(zip(delivery.fields[0::2], delivery.fields[1::2], strict=False))
    return read_origin(table.get(b"origin"))


def _text(field: bytes | None) -> str:
    return (field or b"").decode("utf-8", "replace")


def pack_fields(fields: Sequence[bytes]) -> bytes:
    """Pack the fields of an entry: JSON, a list of texts in base64, byte for byte what it held."""
    return orjson.dumps([b64encode(field).decode() for field in fields])


def unpack_fields(raw: bytes) -> list[bytes]:
    """Return the fields of an entry from what ``pack_fields`` made."""
    return [b64decode(field) for field in orjson.loads(raw)]


def with_origin(fields: list[bytes], origin: str) -> list[bytes]:
    """Return the fields with ``origin`` in place of what was there."""
    kept = [
        part
        for name, value in zip(fields[0::2], fields[1::2], strict=False)
        if name != b"origin"
        for part in (name, value)
    ]
    return [*kept, b"origin", origin.encode()]
