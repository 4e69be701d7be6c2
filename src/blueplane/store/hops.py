"""The hops of an event on its road, with their times.

Owns the names and order of the hops.
Promises numbers as the store has them: nothing is computed but differences, and none that is no
time on the road: what an editor wrote down itself may be years old when it is read.
Leaves how they are shown to whoever shows them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

#: The hops in their order, and the column of ``raw_traces`` that has the time of each.
HOPS: Final = {
    "captured": "captured_ms",
    "enqueued": "enqueued_ms",
    "delivered": "delivered_ms",
    "written": "ingested_ms",
}
#: Sources of what an editor writes down itself: each thing is captured at the time that it names.
_STORES: Final = frozenset({"transcript", "database"})
#: Milliseconds after which such a thing was no news when it was read, but history.
_HISTORY_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Hop:
    """One hop of one event: its time, and the milliseconds since the first and the one before.

    Those are None when the clock was turned back in between: nobody knows how long it took. From
    the capture of history to its reading nothing was on the road.
    """

    hop: str
    at_ms: int
    since_captured_ms: int | None
    since_previous_ms: int | None


def chain(source: str, steps: Sequence[tuple[str, int]]) -> list[Hop]:
    """Return hops, given by name and time in milliseconds since the epoch, with their distances."""
    times = [at for _, at in steps]
    before = [*times[:1], *times]
    found = [
        Hop(name, at, lasted(times[0], at), lasted(previous, at))
        for (name, at), previous in zip(steps, before, strict=False)
    ]
    if not is_history(source, *times[:2]):
        return found
    begin = [replace(hop, since_previous_ms=None) for hop in found[:2]]
    return [replace(hop, since_captured_ms=None) for hop in (*begin, *found[2:])]


def is_history(source: str, captured_ms: int, enqueued_ms: int) -> bool:
    """Whether an event was older than news when it was read from what its editor keeps."""
    return source in _STORES and enqueued_ms - captured_ms > _HISTORY_MS


def written_after(row: Mapping[str, Any]) -> int | None:
    """Return the milliseconds from the capture of a row to its writing; None of history."""
    if is_history(row["source"], row["captured_ms"], row["enqueued_ms"]):
        return None
    return lasted(row["captured_ms"], row["ingested_ms"])


def lasted(begin_ms: int, end_ms: int) -> int | None:
    """Return the milliseconds between two times; None when the clock was turned back meanwhile."""
    return end_ms - begin_ms if end_ms >= begin_ms else None


def hops(row: Mapping[str, Any]) -> list[Hop]:
    """Return the hops of a row of ``raw_traces``."""
    return chain(row["source"], [(name, row[column]) for name, column in HOPS.items()])
