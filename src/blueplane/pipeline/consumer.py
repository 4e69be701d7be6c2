"""The consumer: takes entries off the stream and hands them to the writer as rows.

Owns the one reader of the group, and when to attach to the stream anew.
Promises that its own pending entries come first after every attach, and that with the writer behind
it waits instead of gathering.
Leaves every commit, and every acknowledgement, to the writer.
"""

from collections.abc import Callable, Sequence
from typing import Final

from blueplane import faults
from blueplane.clock import monotonic_s
from blueplane.errors import BlueplaneError, QueueDetachedError, QueueError, StoreError
from blueplane.logs import get
from blueplane.pipeline.batch import Batch, prepare
from blueplane.pipeline.jobs import Job
from blueplane.pipeline.stream import BLOCK_MS, Entry, Stream
from blueplane.pipeline.writer import TICK_S, Writer
from blueplane.threads import Backoff, Service

_log = get("consumer")

#: Entries of a batch: where nothing more waits, and at most, under a backlog.
BATCH: Final = 100
MAX_BATCH: Final = 1_000
#: Seconds between two tries to attach: the first delay and the longest.
ATTACH_S: Final = (0.2, 2.0)
#: Seconds that at least pass between two attaches that succeed, lest a group that somebody keeps
#: destroying makes a hot loop.
ATTACH_APART_S: Final = 1.0
#: Seconds for which the same trouble is not logged again.
QUIET_S: Final = 60.0


class Consumer(Service):
    """The consumer thread."""

    def __init__(self, stream: Stream, writer: Writer) -> None:
        super().__init__("consumer")
        self.trouble: str | None = "not attached yet"
        self._stream = stream
        self._writer = writer
        self._backoff = Backoff(*ATTACH_S)
        self._attached_s = -ATTACH_APART_S
        self._logged: dict[tuple[str, str], float] = {}

    def stop(self) -> None:
        """Ask the loop to end, and wake it from a read that waits."""
        super().stop()
        self._stream.unblock_reader()

    def loop(self) -> None:
        """Attach, read what is pending, follow what is new; begin again after any error."""
        while not self.stopping.is_set():
            faults.point("consumer_loop")
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
        if not self._writer.put(job, self.stopping):
            return
        while not job.wait(TICK_S):
            self.beat()
            if self.stopping.is_set() or not self._writer.alive():
                return
        job.answer()
        self._attached_s = monotonic_s()
        self._backoff.reset()
        if self.trouble is not None:
            self._say(_log.info, "attached", self.trouble)
        self.trouble = None

    def _read_pending(self) -> None:
        """Hand over what was delivered to us before and never settled."""
        after = b"0"
        while not self.stopping.is_set() and self._stream.attached:
            entries = self._stream.read_history(after, MAX_BATCH)
            if not entries:
                return
            after = entries[-1][0]
            self._hand_over(entries)

    def _follow(self) -> None:
        count = BATCH
        while not self.stopping.is_set() and self._stream.attached:
            entries = self._stream.read_new(count, BLOCK_MS)
            self.beat()
            count = min(MAX_BATCH, count * 2) if len(entries) == count else max(BATCH, count // 2)
            if entries:
                self._hand_over(entries)

    def _hand_over(self, entries: Sequence[Entry]) -> None:
        faults.point("after_read")
        whole = [(message_id, fields) for message_id, fields in entries if fields]
        deliveries = prepare(whole, self._writer.commits.codec)
        empty = [message_id for message_id, fields in entries if not fields]
        faults.point("in_batch")
        self._writer.put(Batch(deliveries, empty), self.stopping)

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
