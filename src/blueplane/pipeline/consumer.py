"""The consumer: takes entries off the stream and hands them to the writer as rows.

Owns the one reader of the group, and when to attach to the stream anew.
Promises that its own pending entries come first after every attach, that with the writer behind it
waits instead of gathering, and that what it holds is bounded in bytes, whoever made the entries.
Leaves every commit, and every acknowledgement, to the writer.
"""

from collections.abc import Callable, Sequence
from typing import Final

from blueplane import faults
from blueplane.clock import monotonic_s
from blueplane.errors import (
    BlueplaneError,
    QueueDetachedError,
    QueueError,
    QueueUnavailableError,
    StoreError,
)
from blueplane.logs import get
from blueplane.pipeline.batch import MAX_BATCH, Batch, prepare
from blueplane.pipeline.jobs import Job
from blueplane.pipeline.stream import BLOCK_MS, FEW, Entry, Stream
from blueplane.pipeline.writer import TICK_S, Writer
from blueplane.threads import Backoff, Service

_log = get("consumer")

#: Entries of a batch where nothing more waits.
BATCH: Final = 100
#: Bytes of a batch; only one entry alone may be larger.
BATCH_BYTES: Final = 4 * 1024 * 1024
#: Seconds without a look at the stream's size after which a batch may hold surprises.
STALE_S: Final = 0.05
#: Seconds between two tries to attach: the first delay and the longest.
ATTACH_S: Final = (0.2, 2.0)
#: Seconds that at least pass between two attaches that Redis answers, lest a group that somebody
#: keeps destroying makes a hot loop.
ATTACH_APART_S: Final = 1.0
#: What is the trouble before the first try to attach has ended.
STARTING: Final = "the server has just started"
#: Seconds for which the same trouble is not logged again.
QUIET_S: Final = 60.0


class Consumer(Service):
    """The consumer thread."""

    def __init__(self, stream: Stream, writer: Writer) -> None:
        super().__init__("consumer")
        self.trouble: str | None = STARTING
        self._stream = stream
        self._writer = writer
        self._backoff = Backoff(*ATTACH_S)
        self._attached_s = -ATTACH_APART_S
        #: Entries of one answer, as the bytes of the last one allow; few from a heavy stream.
        self._page = MAX_BATCH
        self._heavy = False
        self._looked_s = 0.0
        self._logged: dict[tuple[str, str], float] = {}

    def stop(self) -> None:
        """Ask the loop to end, and wake it from a read that waits."""
        super().stop()
        self._stream.unblock_reader()

    def loop(self) -> None:
        """Attach, read what is pending, follow what is new; begin again after any error."""
        while not self.stopping.is_set():
            faults.point("consumer_loop")
            self.beat()
            try:
                self._attach()
                self._read_pending()
                self._follow()
            except (QueueError, StoreError) as error:
                self._wait(error)

    def _attach(self) -> None:
        """Have the writer attach, when everything that was handed over is done."""
        early_s = self._attached_s + ATTACH_APART_S - monotonic_s()
        if early_s > 0 and self.stopping.wait(early_s):
            return
        job = Job(self._writer.attach)
        if not self._writer.put(job, self.stopping, self.beat):
            return
        while not job.wait(TICK_S):
            self.beat()
            if self.stopping.is_set() or not self._writer.alive():
                job.cancel()  # the next writer would attach twice
                return
        self._answer(job)
        self._backoff.reset()
        if self.trouble is not None:
            self._say(_log.info, "attached", self.trouble)
        self.trouble = None

    def _answer(self, job: Job[None]) -> None:
        """Take the outcome of an attach; the next one keeps its distance from it."""
        try:
            job.answer()
        except QueueUnavailableError:
            raise
        except QueueError:
            self._attached_s = monotonic_s()
            raise
        self._attached_s = monotonic_s()

    def _read_pending(self) -> None:
        """Hand over what was delivered to us before and never settled."""
        after = b"0"
        self._look()
        while not self.stopping.is_set() and self._stream.attached:
            entries = self._stream.read_history(after, self._page)
            if not entries:
                return
            after = entries[-1][0]
            self._hand_over(self._batch(entries))

    def _follow(self) -> None:
        count = BATCH
        while not self.stopping.is_set() and self._stream.attached:
            batch = self._next_batch(count)
            self.beat()
            full = len(batch) >= count
            count = min(MAX_BATCH, count * 2) if full else max(BATCH, count // 2)
            if len(batch):
                self._hand_over(batch)
            if monotonic_s() - self._looked_s > STALE_S:
                self._look()

    def _next_batch(self, count: int) -> Batch:
        """Read what waits, at most ``count``, in pieces while there may be large ones in it."""
        batch = self._batch(self._stream.read_new(min(count, self._page), BLOCK_MS))
        while 0 < len(batch) < count and batch.bytes < BATCH_BYTES and self._page < count:
            asked = min(count - len(batch), self._page)
            entries = self._stream.read_new(asked, 0)
            batch = batch.joined(self._batch(entries))
            if len(entries) < asked:
                break
        return batch

    def _look(self) -> None:
        """See whether the stream is so large that it must hold a stranger's entries."""
        self._looked_s = monotonic_s()
        self._heavy = self._stream.is_heavy()
        if self._heavy:
            self._page = min(self._page, FEW)

    def _batch(self, entries: Sequence[Entry]) -> Batch:
        """Make a batch; the next piece is as long as the bytes of this one allow."""
        if entries:
            faults.point("after_read")
        whole = [(message_id, fields) for message_id, fields in entries if fields]
        batch = Batch(
            prepare(whole, self._writer.commits.codec),
            [message_id for message_id, fields in entries if not fields],
        )
        average = batch.bytes // max(1, len(batch)) + 1
        self._page = max(1, min(FEW if self._heavy else MAX_BATCH, BATCH_BYTES // average))
        return batch

    def _hand_over(self, batch: Batch) -> None:
        faults.point("in_batch")
        self._writer.put(batch, self.stopping, self.beat)

    def _wait(self, error: BlueplaneError) -> None:
        """Note the trouble, once, and wait before the next try."""
        self._stream.detach()
        trouble = str(error)
        if trouble != self.trouble:
            self.trouble = trouble
            self._say(_log.warning, "not reading", trouble)
        if not isinstance(error, QueueDetachedError):
            self.stopping.wait(self._backoff.next_s())

    def _say(self, log: Callable[..., None], event: str, reason: str) -> None:
        """Log a change of state, unless the same one was logged a moment ago."""
        now_s = monotonic_s()
        self._logged = {key: at for key, at in self._logged.items() if now_s - at < QUIET_S}
        if (event, reason) not in self._logged:
            self._logged[event, reason] = now_s
            log(event, reason=reason)
