"""The chain of custody: whether everything that was enqueued has an outcome, and which.

Owns the figures of the component ``chain``, what makes it degraded or broken, and the words for it.
Promises the stored numbers as they are, a rate only of what had its time, and ids of messages as
the only names.
Leaves counting to ``pipeline/custody.py``; a window is an hour by the wall clock.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Final

from blueplane.clock import iso_utc
from blueplane.event import STORED_SOURCES
from blueplane.health.check import Colour, Finding, Moment, Report, State
from blueplane.health.laws import LAWS, remainder
from blueplane.health.probes import Probes
from blueplane.health.window import Window
from blueplane.refusal import Refusal
from blueplane.store.queries import (
    SERVER_READ_S,
    LetterGroup,
    OutcomeCount,
    Reader,
    Vanished,
    reading,
)

#: Milliseconds of the window, and of no event after which nothing is going on.
HOUR_MS: Final = 3_600_000
IDLE_MS: Final = 300_000
#: Seconds for which an entry may be in the stream and not yet count as one without an outcome.
GRACE_S: Final = 30.0
#: Breaks that are listed, ids or ranges of ids of one, and platforms with their sources.
MAX_BREAKS: Final = 20
MAX_IDS: Final = 50
MAX_SOURCES: Final = 50

#: The outcomes of a message that count as success, and those that do not.
_GOOD: Final = ("written", "duplicate", "recovered")
_BAD: Final = ("dead_lettered", "lost")
#: Why messages are gone that were in the database, by the kind of the incident.
_CAUSES: Final = {
    "store_damaged": "the database was damaged, and a new one was begun",
    "store_missing": "the database was gone or empty",
    "store_replaced": "another database was put in place of ours",
    "store_rolled_back": "the database was replaced by an older one",
}
_STATUS: Final = {Colour.GREEN: "healthy", Colour.YELLOW: "degraded", Colour.RED: "broken"}
_EXPLAIN: Final = "blueplane health chain"
_STATUS_COMMAND: Final = "blueplane status"


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the database says; ``balance`` is None before the first."""

    balance: Mapping[str, Any] | None
    hour: Sequence[OutcomeCount]
    ever: Sequence[OutcomeCount]
    vanished: Vanished
    breaks: Sequence[Mapping[str, Any]]
    letters: Sequence[LetterGroup]
    refused: Mapping[str, int]

    @property
    def dead_letters(self) -> int:
        """How many are open."""
        return sum(group.count for group in self.letters)


class ChainMonitor:
    """The monitor of the chain of custody."""

    component = "chain"

    def __init__(self, probes: Probes) -> None:
        self._probes = probes
        #: How many messages had ever been enqueued, as the balance said.
        self._enqueued = Window[int](GRACE_S, int)
        #: The breaks of the window, and what had vanished when they were read: ids are many.
        self._breaks: Sequence[Mapping[str, Any]] = ()
        self._vanished: Vanished | None = None

    def look(self, moment: Moment) -> Report:
        """Return what is found now; raises StoreError while the database cannot be read."""
        with reading(self._probes.database, SERVER_READ_S) as reader:
            facts = self._read(reader, moment.wall_ms)
        totals = _by_outcome(facts.hour)
        findings = tuple(_findings(facts, totals))
        status = _STATUS[max((each.colour for each in findings), default=Colour.GREEN)]
        figures = {
            "chain_status": status,
            **_last_hour(totals),
            "messages_in_dlq": facts.dead_letters,
            "in_flight": None if facts.balance is None else facts.balance["in_flight"],
            "recovered_last_hour": facts.vanished.recovered,
            "chain_break_count": facts.vanished.count,
            "last_chain_break_timestamp": _iso(facts.vanished.last_ms),
            "success_rate": _rate(totals, self._late(moment.monotonic_s, facts.balance)),
            "balance": facts.balance,
            "breaks": facts.breaks,
            "dead_letters": [_letters(group) for group in facts.letters],
            "refused": {
                each.word: facts.refused[each] for each in Refusal if each in facts.refused
            },
            "last_hour": _by_source(facts.hour),
            "since_start": _by_source(facts.ever),
        }
        return Report(self.component, figures, findings, _state(facts, moment.wall_ms, findings))

    def _read(self, reader: Reader, now_ms: int) -> _Facts:
        # A clock that was set back a little hides nothing; one that was years ahead is over.
        since_ms, until_ms = now_ms - HOUR_MS, now_ms + HOUR_MS
        balance = reader.balance()
        vanished = reader.vanished(since_ms, until_ms)
        if vanished != self._vanished:
            self._breaks = _breaks(reader, since_ms, until_ms)
            self._vanished = vanished
        return _Facts(
            balance=None if balance is None else balance.shown(now_ms),
            hour=reader.outcomes_between(since_ms, until_ms),
            ever=reader.outcomes(),
            vanished=vanished,
            breaks=self._breaks,
            letters=reader.letter_groups(),
            refused=reader.refused(),
        )

    def _late(self, now_s: float, balance: Mapping[str, Any] | None) -> int:
        """Return how many entries are surely in the stream for longer than the grace age.

        Entries leave in the order in which they came, or later: those that are there, less all that
        came within the grace age.
        """
        if balance is None:
            return 0
        self._enqueued.add(now_s, balance["enqueued"])  # fewer are those of another database
        late: int = balance["in_flight"] - self._enqueued.growth
        return max(0, late) if self._enqueued.whole else 0


def _state(facts: _Facts, now_ms: int, findings: Sequence[Finding]) -> State:
    last_ms = max((each.last_ms for each in facts.hour), default=0)
    waits = facts.balance is not None and (facts.balance["in_flight"] or facts.balance["waiting"])
    return "ok" if findings or waits or now_ms - last_ms < IDLE_MS else "idle"


# --- figures ------------------------------------------------------------------------------------


def _by_outcome(rows: Sequence[OutcomeCount]) -> Counter[str]:
    totals: Counter[str] = Counter()
    for row in rows:
        totals[row.outcome] += row.count
    return totals


def _last_hour(totals: Mapping[str, int]) -> dict[str, int]:
    # What was captured falls when somebody removes files that wait.
    return {
        "messages_captured_last_hour": max(0, totals["captured"]),
        "messages_enqueued_last_hour": max(0, totals["enqueued"]),
        "messages_written_last_hour": totals["written"],
        "duplicates_last_hour": totals["duplicate"],
        "filtered_last_hour": totals["filtered"],
        "quarantined_last_hour": totals["quarantined"],
        "refused_last_hour": totals["refused"],
    }


def _rate(totals: Mapping[str, int], late: int) -> float | None:
    """Return the share of success among the messages that have an outcome, or should have."""
    good = sum(totals[outcome] for outcome in _GOOD)
    judged = good + sum(totals[outcome] for outcome in _BAD) + late
    return good / judged if judged else None


def _by_source(rows: Sequence[OutcomeCount]) -> list[dict[str, Any]]:
    """Return every outcome by platform and source, None where one is not known; most first."""
    found: dict[tuple[str, str], Counter[str]] = {}
    for row in rows:
        found.setdefault((row.platform, row.source), Counter())[row.outcome] += row.count
    most = sorted(found.items(), key=lambda item: (-item[1].total(), item[0]))[:MAX_SOURCES]
    return [
        {"platform": platform or None, "source": source or None, **counts}
        for (platform, source), counts in most
    ]


def _letters(group: LetterGroup) -> dict[str, Any]:
    body = asdict(group)
    first_ms, last_ms = body.pop("first_ms"), body.pop("last_ms")
    return {**body, "first": iso_utc(first_ms), "last": iso_utc(last_ms)}


def _breaks(reader: Reader, since_ms: int, until_ms: int) -> list[dict[str, Any]]:
    """Return the newest breaks between two times, as they are shown."""
    found = reader.incidents(since_ms, MAX_BREAKS)
    return [_break(each) for each in found if each["count"] and each["started_ms"] <= until_ms]


def _break(found: Mapping[str, Any]) -> dict[str, Any]:
    names = ranges(found["ids"])
    return {
        "kind": found["kind"],
        "at": iso_utc(found["started_ms"]),
        "count": found["count"],
        "recovered": found["recovered"],
        "lost": found["count"] - found["recovered"],
        "cause": _cause(found),
        "ids": names[:MAX_IDS],
        "more_ids": max(0, len(names) - MAX_IDS),
        "command": _command(found),
    }


def _cause(found: Mapping[str, Any]) -> str:
    # What is stored of a database names files.
    return str(_CAUSES.get(found["kind"], found["cause"]))


def _command(found: Mapping[str, Any]) -> str:
    if found["kind"] in _CAUSES:
        return _STATUS_COMMAND
    return "blueplane logs --component custody"


def ranges(ids: Sequence[str]) -> list[str]:
    """Return message ids in order, those that follow directly on each other as ``first..last``."""
    order = sorted(_parts(each) for each in set(ids))
    starts = [
        place
        for place, (before, after) in enumerate(pairwise(order), 1)
        if after != (before[0], before[1] + 1)
    ]
    bounds = pairwise([0, *starts, len(order)]) if order else []
    return [_range(order[first], order[end - 1]) for first, end in bounds]


def _parts(message_id: str) -> tuple[int, int]:
    milliseconds, _, number = message_id.partition("-")
    return int(milliseconds), int(number)


def _range(first: tuple[int, int], last: tuple[int, int]) -> str:
    named = f"{first[0]}-{first[1]}"
    return named if first == last else f"{named}..{last[0]}-{last[1]}"


def _iso(ms: int | None) -> str | None:
    return None if ms is None else iso_utc(ms)


# --- what is wrong ------------------------------------------------------------------------------


def _findings(facts: _Facts, totals: Mapping[str, int]) -> Iterator[Finding]:
    yield from _break_findings(facts)
    yield from _law_findings(facts.balance)
    if facts.letters:
        groups = ", ".join(f"{each.count:,} {each.error_class}" for each in facts.letters)
        sentence = f"{_count(facts.dead_letters, 'event')} could not be written: {groups}"
        yield Finding("messages_in_dlq", Colour.YELLOW, sentence, "blueplane dlq list")
    in_place = sum(
        each.count
        for each in facts.hour
        if each.outcome == "quarantined" and each.source in STORED_SOURCES
    )
    if aside := totals["quarantined"] - in_place:
        found = _count(aside, "event")
        sentence = f"{found} could not be read in the last hour, and are in quarantine"
        yield Finding("quarantined_last_hour", Colour.YELLOW, sentence, _STATUS_COMMAND)
    if in_place:
        found = _count(in_place, "entry", "entries")
        sentence = f"{found} of editors' own files could not be read; they stay where they are"
        command = "blueplane backfill --malformed"
        yield Finding("quarantined_last_hour", Colour.GREEN, sentence, command)


def _break_findings(facts: _Facts) -> Iterator[Finding]:
    lost = facts.vanished.count - facts.vanished.recovered
    if lost:
        worst = [each for each in facts.breaks if each["lost"]]
        sentence = f"{_count(lost, 'message')} lost in the last hour{_because(worst)}"
        command = worst[0]["command"] if worst else _EXPLAIN
        yield Finding("chain_break_count", Colour.RED, sentence, command)
    if facts.vanished.recovered:
        mended = [each for each in facts.breaks if each["recovered"]]
        gone = _count(facts.vanished.recovered, "message")
        sentence = f"{gone} vanished in the last hour, and came again{_because(mended)}"
        yield Finding("chain_break_count", Colour.YELLOW, sentence, _EXPLAIN)


def _because(breaks: Sequence[Mapping[str, Any]]) -> str:
    return "".join(f": {each['cause']}" for each in breaks[:1])


def _law_findings(balance: Mapping[str, Any] | None) -> Iterator[Finding]:
    if balance is None:
        return
    for law in LAWS:
        missing = remainder(law, balance)
        if missing:
            sentence = f"the law of {law} does not close: {missing:+,} without an outcome"
            yield Finding("balance", Colour.RED, sentence, _STATUS_COMMAND)


def _count(number: int, thing: str, things: str = "") -> str:
    return f"{number:,} {thing if number == 1 else things or f'{thing}s'}"
