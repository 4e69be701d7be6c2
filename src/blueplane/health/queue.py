"""The queue, judged: what waits in Redis and in the spool, for how long, and who holds it up.

Owns the figures and the thresholds of the component ``queue``.
Promises that what cannot be seen is None, and that nothing in it names a path.
Leaves looking to the probes, and the laws of custody to ``chain.py``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from blueplane.clock import NS_PER_MS
from blueplane.errors import QueueError, StoreError
from blueplane.health.check import Colour, Finding, Moment, Report, State, band
from blueplane.health.private import without_paths
from blueplane.health.probes import Probes
from blueplane.health.window import Window
from blueplane.pipeline.stream import CONSUMER, Sight
from blueplane.store.queries import SERVER_READ_S, reading

#: Seconds over which rates are taken.
RATE_S: Final = 10.0
#: Seconds without anything enqueued or written after which the queue is idle.
IDLE_S: Final = 60.0
#: Seconds without an acknowledgement after which a consumer that holds entries is stuck.
STUCK_S: Final = 30.0
#: Seconds for which a thread may stand still, until orange and until red.
STILL_S: Final = (60.0, 300.0)
#: Seconds for which Redis is away when that is orange, and when it is red.
AWAY_S: Final = (5.0, 60.0)
#: Seconds for which sources wait when that is orange; nothing is lost by it, so it is never red.
WAIT_S: Final = 60.0
#: Milliseconds within which a dead letter is a recent one.
RECENT_MS: Final = 3_600_000
#: Policies under which entries stay, and what a server says that does not tell.
_SAFE_POLICIES: Final = (None, "noeviction", "unknown")
_NEVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class _Rule:
    """From where a figure is yellow, orange and red; the sentence gets it divided by ``unit``."""

    metric: str
    limits: tuple[float, float, float]
    sentence: str
    command: str
    unit: int = 1

    def judge(self, value: float | None) -> Iterator[Finding]:
        """Yield what is wrong with the figure, if anything is."""
        colour = band(value, *self.limits)
        if value is not None and colour:
            sentence = self.sentence.format(value / self.unit)
            yield Finding(self.metric, colour, sentence, self.command)


_WRITER_LOG: Final = "blueplane logs --component writer"
_RULES: Final = (
    _Rule(
        "queue_depth", (1_000, 10_000, 50_001),
        "{:,.0f} messages are in the queue and not written yet", "blueplane health database",
    ),
    _Rule(
        "pending_messages", (100, 1_000, 5_001),
        "{:,.0f} messages were read from the queue and not acknowledged yet", _WRITER_LOG,
    ),
    _Rule(
        "consumer_lag_ms", (5_000, 30_000, 60_001),
        "the oldest message in the queue has waited for {:,.0f} s to be written", _WRITER_LOG, 1000,
    ),
    _Rule(
        "dlq_size", (1, 10, 101),
        "{:,.0f} open in the dead letters: events that could not be written", "blueplane dlq list",
    ),
    _Rule(
        "oldest_spool_age_ms", (5_000, 30_000, 60_001),
        "the oldest event in the spool has waited for {:,.0f} s", "blueplane status", 1000,
    ),
    _Rule(
        "stuck_consumers", (_NEVER, 1, _NEVER),
        f"{{:.0f}} stuck: messages are in hand, and none was acknowledged for {STUCK_S:.0f} s",
        _WRITER_LOG,
    ),
)  # fmt: skip


@dataclass(slots=True)
class _Away:
    """Since when Redis has been away, by the monotonic clock, and why it is."""

    since_s: float | None = None
    reason: str = ""


class QueueMonitor:
    """Looks at the stream, the dead letters and the spool."""

    component = "queue"

    def __init__(self, probes: Probes) -> None:
        self._probes = probes
        self._processed, self._enqueued = Window[int](RATE_S, int), Window[int](RATE_S, int)
        self._away = _Away()
        #: What was enqueued and settled at the last look, and when that last changed.
        self._moves: tuple[int | None, int] | None = None
        self._moved_s = float("-inf")
        #: The oldest entry, and since when it is that.
        self._oldest: tuple[bytes, float] | None = None
        #: By consumer: how many entries it has in hand, and since when it has some, or as many.
        self._holding: dict[str, tuple[int, float]] = {}

    def look(self, moment: Moment) -> Report:
        """Return how the queue is now."""
        redis = self._probes.redis()
        sight = self._observe(redis, moment)
        pressure = self._probes.pressure()
        figures = {
            **self._stream(sight, moment),
            **self._letters(moment),
            **self._spool(moment),
            "sources_wait_s": pressure["since_s"] or 0.0,
            "redis": _redis(redis, sight),
        }
        return Report(
            self.component, figures, tuple(self._findings(figures, pressure, moment)),
            self._state(figures, sight, moment),
        )  # fmt: skip

    def _observe(self, redis: Mapping[str, Any], moment: Moment) -> Sight | None:
        """Return what is in the queue; None while Redis is away, and note since when and why."""
        try:
            sight = self._probes.queue()
        except QueueError as error:
            since_s = moment.monotonic_s if self._away.since_s is None else self._away.since_s
            self._away = _Away(since_s, without_paths(str(redis["trouble"] or error)))
            return None
        self._away = _Away()
        return sight

    # -- figures ---------------------------------------------------------------------------------

    def _stream(self, sight: Sight | None, moment: Moment) -> dict[str, Any]:
        enqueued = sight.enqueued if sight is not None else None
        pending = sight.pending if sight is not None else None
        return {
            "queue_depth": None if sight is None else sight.length,
            "pending_messages": None if pending is None else sum(pending.values()),
            "oldest_pending_age_ms": _pending_age_ms(sight, moment),
            "consumer_count": None if sight is None else sight.consumers,
            "processing_rate_events_per_sec": _rate(
                self._processed, moment, self._probes.measures.settled
            ),
            "enqueue_rate_events_per_sec": _rate(self._enqueued, moment, enqueued),
            "consumer_lag_ms": None if sight is None else self._lag_ms(sight, moment),
            "stuck_consumers": self._stuck(pending, moment),
        }

    def _lag_ms(self, sight: Sight, moment: Moment) -> int:
        """Return the age of the oldest entry; what is ahead of the clock is as old as seen."""
        if sight.oldest is None:
            self._oldest = None
            return 0
        if self._oldest is None or self._oldest[0] != sight.oldest:
            self._oldest = (sight.oldest, moment.monotonic_s)
        seen_ms = int((moment.monotonic_s - self._oldest[1]) * 1000)
        return max(seen_ms, _age_ms(sight.oldest, moment))

    def _stuck(self, pending: Mapping[str, int] | None, moment: Moment) -> int | None:
        """Count consumers that hold entries and acknowledge none."""
        if pending is None:
            return None
        before, now_s = self._holding, moment.monotonic_s
        self._holding = {}
        for name, count in pending.items():
            known, since_s = before.get(name, (count, now_s))
            if name == CONSUMER:  # ours tells when it acknowledged last
                since_s = max(since_s, self._probes.measures.settled_s)
            elif known != count:
                since_s = now_s
            self._holding[name] = (count, since_s)
        return sum(now_s - since_s > STUCK_S for _, since_s in self._holding.values())

    def _letters(self, moment: Moment) -> dict[str, Any]:
        try:
            with reading(self._probes.database, SERVER_READ_S) as reader:
                size = reader.count_open_letters()
                recent = reader.count_open_letters(moment.wall_ms - RECENT_MS) if size else 0
        except StoreError:  # the component database says so
            return {"dlq_size": None, "dlq_recent_entries": None}
        return {"dlq_size": size, "dlq_recent_entries": recent}

    def _spool(self, moment: Moment) -> dict[str, Any]:
        files, occupied, oldest_ns = self._probes.spool()
        age_ms = 0 if oldest_ns is None else max(0, moment.wall_ms - oldest_ns // NS_PER_MS)
        return {"spool_files": files, "spool_bytes": occupied, "oldest_spool_age_ms": age_ms}

    # -- judging ---------------------------------------------------------------------------------

    def _findings(
        self, figures: Mapping[str, Any], pressure: Mapping[str, Any], moment: Moment
    ) -> Iterator[Finding]:
        for rule in _RULES:
            yield from rule.judge(figures[rule.metric])
        yield from self._judge_away(moment)
        yield from self._judge_stillness(moment)
        yield from _judge_policy(figures["redis"]["policy"])
        yield from _judge_waiting(pressure)

    def _judge_away(self, moment: Moment) -> Iterator[Finding]:
        if self._away.since_s is None:
            return
        away_s = moment.monotonic_s - self._away.since_s
        orange_s, red_s = AWAY_S
        if away_s > orange_s:
            colour = Colour.RED if away_s > red_s else Colour.ORANGE
            sentence = f"redis has not been connected for {away_s:,.0f} s: {self._away.reason}"
            yield Finding("redis", colour, sentence, "blueplane logs --level warning")

    def _judge_stillness(self, moment: Moment) -> Iterator[Finding]:
        """A thread that hangs in a call tells nobody: its own figures look as they always did."""
        for name, beat_s in self._probes.beats().items():
            still_s = moment.monotonic_s - beat_s
            orange_s, red_s = STILL_S
            if still_s > orange_s:
                colour = Colour.RED if still_s > red_s else Colour.ORANGE
                sentence = f"the {name} has not moved for {still_s:,.0f} s"
                yield Finding("threads", colour, sentence, "blueplane restart")

    def _state(self, figures: Mapping[str, Any], sight: Sight | None, moment: Moment) -> State:
        """Return ``idle`` when nothing moved for a while, and nothing waits."""
        moves = (sight.enqueued if sight is not None else None, self._probes.measures.settled)
        if self._moves is not None and moves != self._moves:
            self._moved_s = moment.monotonic_s
        self._moves = moves
        waits = sight is None or sight.length or figures["spool_files"]
        return "ok" if waits or moment.monotonic_s - self._moved_s < IDLE_S else "idle"


def _rate(counts: Window[int], moment: Moment, count: int | None) -> float | None:
    """Note a counter and return its rate; None until it was seen twice in a row."""
    if count is None:
        counts.clear()
        return None
    counts.add(moment.monotonic_s, count)
    return round(counts.per_s, 1) if counts.seconds else None


def _age_ms(message_id: bytes, moment: Moment) -> int:
    return max(0, moment.wall_ms - int(message_id.partition(b"-")[0]))


def _pending_age_ms(sight: Sight | None, moment: Moment) -> int | None:
    if sight is None or sight.pending is None:
        return None
    return 0 if sight.oldest_pending is None else _age_ms(sight.oldest_pending, moment)


def _redis(redis: Mapping[str, Any], sight: Sight | None) -> dict[str, Any]:
    """Return what is told of Redis; of one that is away no more than that."""
    if sight is None:
        unknown = dict.fromkeys(("persistence", "policy", "used_memory_bytes"))
        return {"connected": False, "mode": redis["mode"], **unknown}
    return {
        "connected": True,
        "mode": redis["mode"],
        "persistence": redis.get("persistence"),
        "policy": sight.policy or redis.get("policy"),
        "used_memory_bytes": sight.memory,
    }


def _judge_policy(policy: str | None) -> Iterator[Finding]:
    if policy not in _SAFE_POLICIES:
        sentence = f"redis may evict events that are not written yet (maxmemory-policy {policy})"
        command = "redis-cli CONFIG SET maxmemory-policy noeviction"
        yield Finding("redis", Colour.ORANGE, sentence, command)


def _judge_waiting(pressure: Mapping[str, Any]) -> Iterator[Finding]:
    waited_s = pressure["since_s"]
    if waited_s is not None:
        colour = Colour.ORANGE if waited_s > WAIT_S else Colour.YELLOW
        reason = without_paths(str(pressure["reason"]))
        sentence = f"sources have waited for {waited_s:,.0f} s: {reason}"
        yield Finding("sources_wait_s", colour, sentence, "blueplane status")
