"""The kill loop: lives of a server, each ended at a fault point or at any moment.

Owns what a life needs for a point to be passed at all, and the count of what was really killed.
Promises that a round ends with a dead server, or fails and says which point was never reached.
Leaves the verdict to the oracle.
"""

import contextlib
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final

from blueplane.errors import BlueplaneError
from helpers.oracle import STREAM, Oracle, count_rows, open_letters, written_messages
from helpers.redis_server import RedisServer
from helpers.server import Server
from helpers.waiting import wait_until

#: Seconds for a life to reach its end.
LIFE_S: Final = 30.0
#: Makes every event of a life fail until it is a dead letter.
POISON: Final = "mid_batch:raise=OverflowError@1+"
#: Points on the road of every event: passed again and again while events come.
ROAD: Final = (
    "after_read_file",
    "before_append",
    "after_xadd",
    "after_read",
    "in_batch",
    "after_begin",
    "mid_batch",
    "before_commit",
    "after_commit",
    "after_ack",
    "before_release",
    "mid_release",
    "spooler_loop",
    "writer_loop",
)
#: A life passes these at most this often; the last passes may need more than a life gives.
MOST_PASSES: Final = 4


@dataclass(slots=True)
class KillLoop:
    """Kills one server again and again; ``killed`` counts at which point it really happened.

    ``redelivered`` counts entries that were in the stream although their row was written. With
    another ``action`` than ``kill`` a life ends with the exit code ``code`` instead.
    """

    server: Server
    oracle: Oracle
    random: Random
    redis: RedisServer | None = None
    action: str = "kill"
    code: int = -signal.SIGKILL
    passes: int = 0
    killed: Counter[str] = field(default_factory=Counter)
    redelivered: int = 0

    def die_at(self, point: str, passes: int = 0) -> None:
        """Live until the fault point ``point`` kills, at its pass number ``passes`` or at any."""
        self.passes = passes
        ARRANGEMENTS[point](self, point)
        self.killed[point] += 1
        if point in ("after_commit", "after_begin", "mid_batch"):
            self.redelivered += self._count_redelivered()

    def die_anywhere(self) -> None:
        """Live for some events, and be killed in the middle of whatever is done then."""
        before = self._written()
        self.server.start()
        self.oracle.issue_some(self.random.randrange(1, 30))
        if self.random.random() < 0.5:
            self.server.wait_running()  # with its tables
            wait_until(lambda: self._written() > before, LIFE_S, "something is written")
            self.oracle.issue_some(self.random.randrange(1, 30))
        self.server.kill()
        self.killed["anywhere"] += 1

    def lose_redis(self) -> None:
        """Live through the death of Redis, or die with it."""
        self.server.start_ready()
        self.oracle.issue_some(self.random.randrange(1, 20))
        self.kill_redis()
        self.oracle.issue_some(self.random.randrange(1, 10))
        if self.random.random() < 0.5:
            self.server.kill()
            self.revive_redis()
        else:
            self.revive_redis()
            self.server.wait_ready()
            self.server.kill()
        self.killed["redis"] += 1

    def flush_redis(self) -> None:
        """Live through a FLUSHALL."""
        assert self.redis is not None
        self.server.start_ready()
        self.oracle.issue_some(20)
        self.redis.flush()
        self.oracle.issue_some(20)
        self.server.kill()
        self.killed["flush"] += 1

    def kill_redis(self) -> None:
        """Kill Redis, whosever it is."""
        if self.redis is not None:
            self.redis.kill()
        else:
            wait_until(self.server.kill_redis, LIFE_S, "the private redis is killed")

    def revive_redis(self) -> None:
        """Start Redis again; a private one is the server's business."""
        if self.redis is not None:
            self.redis.start()
            self.redis.wait_loaded()

    def live_until_killed(self, faults: str, feed: Callable[[], None], most: int = 60) -> None:
        """Start with ``faults`` and call ``feed`` now and then until the server is dead."""
        self.server.start(faults)
        fed = 0

        def dead() -> bool:
            nonlocal fed
            if not self.server.alive():
                return True
            if fed < most:
                feed()
                fed += 1
            return False

        wait_until(dead, LIFE_S, f"{faults} kills the server")
        code = self.server.wait()
        assert code == self.code, f"{faults} ends it with {code}: {self.server.log()[-2000:]}"

    def _written(self) -> int:
        home = self.oracle.home
        return count_rows(home) if home.database.exists() else 0

    def _count_redelivered(self) -> int:
        if self.redis is None:
            return 0
        entries = self.redis.command("XRANGE", STREAM, "-", "+")
        return len({key.decode() for key, _ in entries} & written_messages(self.oracle.home))


# --- what a life needs for each point -----------------------------------------------------------


def _on_the_road(loop: KillLoop, point: str) -> None:
    passes = loop.passes or loop.random.randrange(1, MOST_PASSES + 1)
    loop.oracle.issue_some(loop.random.randrange(6))
    loop.live_until_killed(f"{point}:{loop.action}@{passes}", lambda: loop.oracle.issue_some(1))


def _at_attach(loop: KillLoop, point: str) -> None:
    loop.oracle.issue_some(3)
    loop.live_until_killed(f"{point}:{loop.action}", lambda: None)


def _with_bad_files(loop: KillLoop, point: str) -> None:
    passes = loop.passes or loop.random.randrange(1, 3)
    loop.oracle.issue_some(2)

    def next_when_done() -> None:  # those that wait together are one settlement
        if not any(loop.oracle.home.spool.iterdir()):
            loop.oracle.issue_bad()

    loop.live_until_killed(f"{point}:{loop.action}@{passes}", next_when_done, 1_000)


def _with_poison(loop: KillLoop, point: str) -> None:
    loop.oracle.issue(2)
    passes = loop.passes or loop.random.randrange(1, 3)
    loop.live_until_killed(f"{POISON},{point}:{loop.action}@{passes}", lambda: None)


def _with_letters(loop: KillLoop, point: str) -> None:
    if not loop.oracle.home.database.exists() or not open_letters(loop.oracle.home):
        loop.server.start_ready(POISON)
        loop.oracle.issue(2)
        wait_until(lambda: open_letters(loop.oracle.home), LIFE_S, "a dead letter is open")
        loop.server.kill()
    letters = open_letters(loop.oracle.home)

    def retry() -> None:
        with contextlib.suppress(BlueplaneError):
            loop.server.ask("dlq.retry", ids=letters)

    loop.live_until_killed(f"{point}:{loop.action}", retry, 1_000)


def _with_another_epoch(loop: KillLoop, point: str) -> None:
    if loop.redis is not None:
        loop.redis.flush()
    loop.oracle.issue_some(5)
    loop.live_until_killed(f"{point}:{loop.action}", lambda: None)


ARRANGEMENTS: Final[dict[str, Callable[[KillLoop, str], None]]] = {
    **dict.fromkeys(ROAD, _on_the_road),
    "consumer_loop": _at_attach,
    "after_settlement": _with_bad_files,
    "in_dlq": _with_poison,
    "after_retry_commit": _with_letters,
    "after_epoch_commit": _with_another_epoch,
    "after_epoch_set": _with_another_epoch,
}
