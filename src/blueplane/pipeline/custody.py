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
from threading import Lock
from typing import Final

from blueplane.pipeline.stream import Counts
from blueplane.store.ledger import Epoch
from blueplane.store.letters import Letter
from blueplane.store.traces import LETTER_ORIGIN, Duplicate, Row

#: What ends a message, by the names of the cumulative counters.
MESSAGE_OUTCOMES: Final = ("written", "duplicate", "dead_lettered", "recovered", "lost")
#: What ends an event before, or instead of, a row.
EVENT_OUTCOMES: Final = ("written", "duplicate", "filtered", "quarantined", "refused")
_LETTER: Final = LETTER_ORIGIN.decode()


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
    """Amounts to add to the cumulative counters and to those of the minute."""

    totals: Counter[str] = field(default_factory=Counter)
    minutes: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def message(self, platform: str, source: str, outcome: str, *, own: bool) -> None:
        """Count one message."""
        self.totals[f"messages.{outcome}"] += 1
        self.totals["messages.own"] += own
        self.minutes[platform, source, outcome] += 1

    def event(self, outcome: str, *, captured: bool = True) -> None:
        """Count one event; ``captured`` unless it was counted as captured before."""
        self.totals[f"events.{outcome}"] += 1
        self.totals["events.captured"] += captured

    def written(self, rows: Sequence[Row]) -> None:
        """Count new rows that no retried letter stands behind."""
        for (platform, source, *_), count in Counter([row.kind for row in rows]).items():
            self.minutes[platform, source, "written"] += count
        own = sum([bool(row.origin) for row in rows])
        self.totals["messages.written"] += len(rows)
        for name in ("messages.own", "events.captured", "events.written"):
            self.totals[name] += own

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


# --- messages that vanished -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Found:
    """The stream as an attach finds it, without entries whose outcome is stored already.

    ``own`` maps the ids of our own sources' entries to (origin, size); ``sources`` counts them.
    """

    counts: Counts
    length: int
    own: Mapping[bytes, tuple[str, int]]
    sources: Mapping[str, int]


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
        cause = "entries were deleted or trimmed by something else"
    else:
        remainder = known - here - length
        own_added = epoch.own_high
        cause = "redis lost the end of its log" if same else "redis lost the stream"
    remainder = max(0, remainder)
    unnamed = own_added - own_here - own_length
    own = min(remainder, max(len(missing), unnamed))
    return Verdict(not goes_on, own, remainder - own, ids, cause)
