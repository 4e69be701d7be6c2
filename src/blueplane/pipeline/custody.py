"""Custody: what counts as what, and whether the sums close.

Owns the two laws, the list of what is in flight, and the judgement of messages that vanished.
Promises that every count is made in the transaction of what it counts, by id where ids are known.
Leaves the transactions to ``commits.py`` and the talking to Redis to ``attach.py``.

    messages:  enqueued = written + duplicate + dead_lettered + in_flight + recovered + lost
    events:    captured = written + duplicate + dead_lettered + filtered + quarantined + refused
                          + waiting

A *message* is one entry of the stream, an *event* what a source captured. A source may send an
event twice, and an entry may come from nobody we know (*foreign*): that one counts in the first law
only.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from threading import Lock
from typing import Final

from blueplane.clock import NS_PER_MS
from blueplane.event import Settlement
from blueplane.pipeline.stream import Counts
from blueplane.store.ledger import Epoch, Hook
from blueplane.store.letters import Letter
from blueplane.store.traces import LETTER_ORIGIN, Duplicate, Kind, Row

#: What ends a message, by the names of the cumulative counters.
MESSAGE_OUTCOMES: Final = ("written", "duplicate", "dead_lettered", "recovered", "lost")
#: What ends an event before, or instead of, a row.
EVENT_OUTCOMES: Final = ("written", "duplicate", "filtered", "quarantined", "refused")
_LETTER: Final = LETTER_ORIGIN.decode()
_kind_of, _origin_of = attrgetter("kind"), attrgetter("origin")


def letter_origin(message_id: str) -> str:
    """Return the origin of the message that retries the letter of ``message_id``."""
    return _LETTER + message_id


def is_letter(origin: str) -> bool:
    """Whether a message came from a retried dead letter."""
    return origin.startswith(_LETTER)


def letter_id(origin: str) -> str:
    """Return the message id of the letter that ``letter_origin`` names."""
    return origin.removeprefix(_LETTER)


class InFlight:
    """The messages of our own sources that have an id and no outcome yet.

    Appending and settling are different threads, and a message may be settled before the answer to
    its append was read: such an id is remembered until it is registered.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: dict[bytes, tuple[str, int]] = {}
        self._settled_early: set[bytes] = set()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._known)

    def register(
        self,
        message_ids: Sequence[bytes],
        origins: Sequence[str],
        sizes: Sequence[int],
    ) -> None:
        """Note messages that were appended."""
        with self._lock:
            for message_id, origin, size in zip(message_ids, origins, sizes, strict=True):
                if message_id in self._settled_early:
                    self._settled_early.discard(message_id)
                    continue
                self._known[message_id] = (origin, size)
                self.bytes += size

    def settle(self, message_ids: Iterable[bytes]) -> None:
        """Note messages of our own that have their outcome."""
        with self._lock:
            take = self._known.pop
            for message_id in message_ids:
                known = take(message_id, None)
                if known is None:
                    self._settled_early.add(message_id)
                else:
                    self.bytes -= known[1]
            if not self._known:
                self._known = {}  # an emptied one keeps the room of its largest moment

    def replace(self, found: Mapping[bytes, tuple[str, int]]) -> None:
        """Take what is in the stream, (origin, size) by id, as the truth."""
        with self._lock:
            self._settled_early.clear()
            self._known = dict(found)
            self.bytes = sum(size for _, size in found.values())

    def origins(self) -> list[str]:
        """Return the origins, oldest first."""
        with self._lock:
            return [origin for origin, _ in self._known.values()]

    def ids(self) -> list[bytes]:
        """Return the ids, oldest first."""
        with self._lock:
            return list(self._known)


# --- counting, inside the transaction of what is counted ------------------------------------------


@dataclass(slots=True)
class Tally:
    """Amounts to add to the cumulative counters, to those of the minute and to those of hooks.

    ``hooks_ms`` has the time of the last execution of each hook that is counted.
    """

    totals: Counter[str] = field(default_factory=Counter)
    minutes: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    hooks: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    hooks_ms: dict[Hook, int] = field(default_factory=dict)

    def message(self, platform: str, source: str, outcome: str, *, own: bool) -> None:
        """Count one message."""
        self.totals[f"messages.{outcome}"] += 1
        self.totals["messages.own"] += own
        self.minutes[platform, source, outcome] += 1

    def event(self, outcome: str, *, captured: bool = True) -> None:
        """Count one event; ``captured`` unless it was counted as captured before."""
        self.totals[f"events.{outcome}"] += 1
        self.totals["events.captured"] += captured

    def hook(self, hook: Hook, outcome: str, at_ms: int, count: int = 1) -> None:
        """Count executions of a hook that ``succeeded`` or ``failed``, the last of them then."""
        self.hooks[(*hook, outcome)] += count
        self.hooks_ms[hook] = max(at_ms, self.hooks_ms.get(hook, 0))

    def written(self, rows: Sequence[Row]) -> None:
        """Count new rows that no retried letter stands behind."""
        kinds = own_kinds = Counter(map(_kind_of, rows))
        own = rows
        if not all(map(_origin_of, rows)):
            own = [row for row in rows if row.origin]
            own_kinds = Counter(map(_kind_of, own))
        for (platform, source, *_), count in kinds.items():
            self.minutes[platform, source, "written"] += count
        self.totals["messages.written"] += len(rows)
        for name in ("messages.own", "events.captured", "events.written"):
            self.totals[name] += len(own)
        last_ns: dict[Kind, int] = {}
        for row in reversed(own):  # they come in about this order
            if len(last_ns) == len(own_kinds):
                break
            last_ns.setdefault(row.kind, row.captured_ns)
        for kind, captured_ns in last_ns.items():
            self._hook_of(kind, captured_ns, own_kinds[kind])

    def _hook_of(self, kind: Kind, captured_ns: int, count: int = 1) -> None:
        """Count hooks that brought events of ours, whatever became of these."""
        platform, source, _, hook_type = kind
        if source == "hook":
            self.hook((platform, hook_type), "succeeded", captured_ns // NS_PER_MS, count)

    def settled(self, item: Settlement, now_ms: int) -> None:
        """Count an event that never reached the stream."""
        self.event(item.outcome)
        self.minutes[item.platform, item.source, item.outcome] += 1
        if item.source == "hook":
            outcome = "succeeded" if item.outcome == "filtered" else "failed"
            self.hook((item.platform, item.hook_type), outcome, now_ms)

    def duplicate(self, duplicate: Duplicate) -> None:
        """Count a duplicate that no retried letter stands behind.

        A source sends an item again only when its entry left the stream without an outcome: the
        second message of one item is a copy that somebody else made.
        """
        platform, source, *_ = duplicate.row.kind
        own = bool(duplicate.row.origin) and not duplicate.same_origin
        self.message(platform, source, "duplicate", own=own)
        if own:
            self.event("duplicate")
            self._hook_of(duplicate.row.kind, duplicate.row.captured_ns)

    def retried(self, row: Row, outcome: str, letter: Letter | None) -> None:
        """Count the outcome of a letter's new message; its event was captured long ago."""
        platform, source, *_ = row.kind
        self.message(platform, source, outcome, own=True)
        if letter is not None and letter.origin:
            self.event(outcome, captured=False)

    def dead_lettered(self, letter: Letter, *, own: bool, retried: bool) -> None:
        """Count a new dead letter; of events the open letter itself is the count."""
        self.message(letter.platform, letter.source, "dead_lettered", own=own)
        if letter.origin and not retried:
            self.totals["events.captured"] += 1
            kind = (letter.platform, letter.source, "", letter.hook_type)
            self._hook_of(kind, letter.captured_ns or 0)


# --- the laws -------------------------------------------------------------------------------------


def settled(totals: Mapping[str, int]) -> int:
    """Return how many messages ever had an outcome."""
    return sum(totals.get(f"messages.{outcome}", 0) for outcome in MESSAGE_OUTCOMES)


@dataclass(frozen=True, slots=True)
class Balance:
    """Both laws at one instant; ``waiting`` are events that a source still holds."""

    totals: Mapping[str, int]
    enqueued: int
    in_flight: int
    foreign: int
    dead_letters: Mapping[str, int]
    waiting: int
    #: Of this epoch, by source: how many messages it enqueued.
    own: Mapping[str, int] = field(default_factory=dict)

    def messages(self) -> dict[str, int]:
        """Return the numbers of the first law."""
        outcomes = {name: self.totals.get(f"messages.{name}", 0) for name in MESSAGE_OUTCOMES}
        return {"enqueued": self.enqueued, **outcomes, "in_flight": self.in_flight}

    def events(self) -> dict[str, int]:
        """Return the numbers of the second law."""
        outcomes = {name: self.totals.get(f"events.{name}", 0) for name in EVENT_OUTCOMES}
        return {
            "captured": self.totals.get("events.captured", 0) + self.waiting,
            **outcomes,
            "dead_lettered": self.dead_letters["dead_lettered"]
            + self.totals.get("events.letters_expired", 0),
            "waiting": self.waiting + self.dead_letters["waiting"],
        }

    def remainder(self) -> int:
        """Return how many messages were enqueued and are neither settled nor in the stream."""
        return self.enqueued - settled(self.totals) - self.in_flight

    def body(self) -> dict[str, object]:
        """Return the snapshot as it is stored and shown."""
        messages, events = self.messages(), self.events()
        whole = sum(events.values()) - events["captured"] == events["captured"]
        shown = ("captured", "filtered", "quarantined", "refused", "waiting")
        return {
            **messages,
            "foreign": self.foreign,
            **{name: events[name] for name in shown},
            "balanced": self.remainder() == 0 and whole,
            "messages": messages,
            "events": events,
            "open_dead_letters": self.dead_letters["open"],
        }


def enqueued(epoch: Epoch, entries_added: int) -> int:
    """Return how many messages were ever enqueued: everything before the epoch is settled."""
    return epoch.settled_at_start + entries_added - epoch.base


def arrivals(balance: Balance, before: Mapping[str, int], seen: Mapping[str, int]) -> Tally:
    """Count what was enqueued, and captured, since the balance whose body is ``before``.

    ``seen`` are the counters by source up to where they are counted. What no source of ours is
    known to have enqueued, foreign messages among it, has no name.
    """
    enqueued = balance.enqueued - before.get("enqueued", 0)
    own = {source: count - seen.get(source, 0) for source, count in balance.own.items()}
    if sum(own.values()) > enqueued or min(own.values(), default=0) < 0:
        own = {}  # the counters are of a time that was not counted by source
    tally = Tally()
    for source, count in own.items():
        tally.minutes["", source, "enqueued"] += count
    tally.minutes["", "", "enqueued"] += enqueued - sum(own.values())
    captured = balance.events()["captured"] - before.get("captured", 0)
    tally.minutes["", "", "captured"] += captured
    return tally


# --- messages that vanished -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Found:
    """The stream as an attach finds it, without entries whose outcome is stored already.

    ``own`` maps the ids of our own sources' entries to (origin, size); ``sources`` counts them.
    ``happened`` is what the server is known to have done since it was last seen (``Deeds.since``).
    """

    counts: Counts
    length: int
    own: Mapping[bytes, tuple[str, int]]
    sources: Mapping[str, int]
    happened: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an attach concludes.

    ``recovered`` messages of our own vanished and are sent again by their sources, ``lost`` ones
    were foreign. ``ids`` names those that are known. ``turn`` says that the epoch is over.
    """

    turn: bool
    recovered: int
    lost: int
    ids: tuple[str, ...]
    cause: str

    @property
    def broken(self) -> bool:
        """Whether any message vanished."""
        return bool(self.recovered or self.lost)


def unaccounted(epoch: Epoch, totals: Mapping[str, int], found: Found) -> tuple[int, int]:
    """Return how many messages of this epoch, and of ours, have no outcome and no place."""
    here = settled(totals) - epoch.settled_at_start
    own_here = totals.get("messages.own", 0) - epoch.own_at_start
    own_added = sum(found.counts.enqueued.values())
    remainder = found.counts.entries_added - epoch.base - here - found.length
    return max(0, remainder), max(0, own_added - own_here - len(found.own))


def judge(
    epoch: Epoch, token: str, totals: Mapping[str, int], in_flight: list[bytes], found: Found
) -> Verdict:
    """Compare what must be in the stream with what is.

    Nothing is in hand: every message that was delivered is settled. What must have been enqueued in
    this epoch is at least what was seen of the counter, and what is settled, in the stream or known
    to have been there: a server that lost the end of its log counts less than that.
    """
    here = settled(totals) - epoch.settled_at_start
    own_here = totals.get("messages.own", 0) - epoch.own_at_start
    same = found.counts.epoch == token
    length, own_length = (found.length, len(found.own)) if same else (0, 0)
    missing = [key for key in in_flight if key not in found.own]
    ids = tuple(key.decode() for key in missing)
    known = max(epoch.high - epoch.base, here + length + len(missing))
    added = found.counts.entries_added - epoch.base
    goes_on = same and added >= known
    if goes_on:
        remainder = added - here - length
        own_added = sum(found.counts.enqueued.values())
        cause = _explain_gap(found.happened)
    else:
        remainder = known - here - length
        own_added = epoch.own_high
        cause = _explain_loss(found.happened, same=same)
    remainder = max(0, remainder)
    unnamed = own_added - own_here - own_length
    own = min(remainder, max(len(missing), unnamed))
    return Verdict(not goes_on, own, remainder - own, ids, cause)


def _explain_gap(happened: frozenset[str]) -> str:
    if "trimmed" in happened:
        return "entries were trimmed by something else (XTRIM)"
    return "entries were deleted or trimmed by something else"


def _explain_loss(happened: frozenset[str], *, same: bool) -> str:
    """Say why a stream is not what it was; ``same``: its epoch's key is there."""
    if "evicted" in happened:
        return "redis evicted the stream: its memory was full, and its policy not noeviction"
    if "flushed" in happened:
        return "redis was flushed by something else (FLUSHALL or FLUSHDB)"
    if "stayed" in happened:
        return "the stream was deleted by something else"
    if same:
        return "redis lost the end of its log"
    if "restarted" in happened:
        return "redis came back without the stream"
    return "redis lost the stream"
