"""Taking the balance, and storing it for everyone to show.

Owns when both laws are checked, and the snapshot of them.
Promises a snapshot of one instant in which everything that was committed is also acknowledged, and
a new attach when the first law does not close: what vanished is judged there.
Leaves what counts to ``custody.py``; runs in the writer's thread.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from blueplane.clock import monotonic_s
from blueplane.errors import QueueError
from blueplane.logs import get
from blueplane.pipeline.commits import Commits
from blueplane.pipeline.custody import Balance, enqueued
from blueplane.pipeline.dead_letters import DeadLetters
from blueplane.pipeline.stream import Counts, Stream
from blueplane.store.ledger import Epoch

_log = get("custody")

#: Seconds between two looks while something changes, and while nothing does.
EVERY_S: Final = 1.0
IDLE_EVERY_S: Final = 5.0
#: Share of the writer's time that balances may take.
BALANCING: Final = 0.05
#: Seconds for which entries may be in the stream while nothing moves.
STUCK_S: Final = 30.0
#: Seconds after which an unchanged snapshot is stored anew, for its time to stay believable.
REFRESH_S: Final = 300.0


class Balancer:
    """The balance of one server.

    ``waiting`` returns how many events the sources still hold; ``store`` stores a balance with its
    epoch, and may take its time while the store is away.
    """

    def __init__(
        self,
        commits: Commits,
        stream: Stream,
        letters: DeadLetters,
        *,
        waiting: Callable[[], int],
        store: Callable[[Balance, Epoch], None],
    ) -> None:
        self._commits = commits
        self._stream = stream
        self._letters = letters
        self._waiting = waiting
        self._store = store
        self._token = ""
        self._epoch: Epoch | None = None
        self._changed = True
        self._stored: tuple[float, dict[str, object]] = (0.0, {})
        self._moved: tuple[float, tuple[int, int]] = (0.0, (0, 0))
        self.due_s = monotonic_s()

    def begin(self, epoch: Epoch, token: str) -> None:
        """Go on with the epoch that an attach found or began; ``token`` is its key in Redis."""
        self._epoch = epoch
        self._token = token
        self.due_s = monotonic_s()

    def forget(self) -> None:
        """Take no balance until ``begin``, and store that one: the store is another one."""
        self._epoch = None
        self._stored = (0.0, {})

    def note_change(self) -> None:
        """See to it that the balance is taken soon."""
        self._changed = True
        self.due_s = min(self.due_s, monotonic_s() + EVERY_S)

    def closes_when_due(self) -> bool:
        """Take the balance if it is time; see ``closes``."""
        if monotonic_s() < self.due_s:
            return True
        began_s = monotonic_s()
        closes = self.closes()
        ended_s = monotonic_s()
        # Counting what waits in a very large spool takes its time, which the writer lacks.
        pause_s = (ended_s - began_s) / BALANCING
        self.due_s = ended_s + max(pause_s, EVERY_S if self._changed else IDLE_EVERY_S)
        self._changed = False
        return closes

    def closes(self, *, afresh: bool = False) -> bool:
        """Take the balance and store it, ``afresh`` even if the same was stored some seconds ago.

        False when the stream must be looked at anew: it does not answer, it is not the one of our
        epoch, messages vanished from it, or its entries are delivered to nobody. While it is not
        attached there is nothing to take.
        """
        if not self._stream.attached or self._epoch is None:
            return True
        try:
            counts = self._stream.counts()
        except QueueError as error:
            _log.info("no balance", reason=error)
            return False
        balance = self._weigh(self._epoch, counts)
        if counts.epoch != self._token or balance.remainder() != 0:
            same = counts.epoch == self._token
            _log.info("unbalanced", remainder=balance.remainder(), same_epoch=same)
            return False
        if self._is_stuck(counts):
            return False
        self._epoch = replace(
            self._epoch,
            high=max(self._epoch.high, counts.entries_added),
            own_high=max(self._epoch.own_high, sum(counts.enqueued.values())),
        )
        self._keep(balance, self._epoch, afresh=afresh)
        return True

    def _is_stuck(self, counts: Counts) -> bool:
        """Whether entries wait and nothing has moved for long: an attach finds out why."""
        moved_s, before = self._moved
        now_s = monotonic_s()
        here = (counts.entries_added, counts.length)
        if here != before or not counts.length:
            self._moved = (now_s, here)
            return False
        if now_s - moved_s < STUCK_S:
            return False
        self._moved = (now_s, here)
        _log.warning("nothing moves", entries=counts.length, seconds=STUCK_S)
        return True

    def _weigh(self, epoch: Epoch, counts: Counts) -> Balance:
        foreign_before = epoch.settled_at_start - epoch.own_at_start
        foreign_here = counts.entries_added - epoch.base - sum(counts.enqueued.values())
        return Balance(
            totals=self._commits.ledger.totals(),
            enqueued=enqueued(epoch, counts.entries_added),
            in_flight=counts.length,
            foreign=foreign_before + foreign_here,
            dead_letters=self._letters.counts(),
            waiting=self._waiting(),
            own=counts.enqueued,
        )

    def _keep(self, balance: Balance, epoch: Epoch, *, afresh: bool) -> None:
        stored_s, body = self._stored
        now_s = monotonic_s()
        age_s = now_s - stored_s
        if balance.body() != body or age_s >= (IDLE_EVERY_S if afresh else REFRESH_S):
            self._store(balance, epoch)
            self._stored = (now_s, balance.body())
