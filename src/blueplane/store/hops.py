"""The hops of an event on its road, with their times.

Owns the names and order of the hops.
Promises numbers as the store has them: nothing is computed but differences.
Leaves how they are shown to whoever shows them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

#: The hops in their order, and the column of ``raw_traces`` that has the time of each.
HOPS: Final = {
    "captured": "captured_ms",
    "enqueued": "enqueued_ms",
    "delivered": "delivered_ms",
    "written": "ingested_ms",
}


@dataclass(frozen=True, slots=True)
class Hop:
    """One hop of one event: its time, and the milliseconds since the first and the one before.

    Those are None when the clock was turned back in between: nobody knows how long it took.
    """

    hop: str
    at_ms: int
    since_captured_ms: int | None
    since_previous_ms: int | None


def chain(steps: Sequence[tuple[str, int]]) -> list[Hop]:
    """Return hops, given by name and time in milliseconds since the epoch, with their distances."""
    times = [at for _, at in steps]
    before = [*times[:1], *times]
    return [
        Hop(name, at, lasted(times[0], at), lasted(previous, at))
        for (name, at), previous in zip(steps, before, strict=False)
    ]


def lasted(begin_ms: int, end_ms: int) -> int | None:
    """Return the milliseconds between two times; None when the clock was turned back meanwhile."""
    return end_ms - begin_ms if end_ms >= begin_ms else None


def hops(row: Mapping[str, Any]) -> list[Hop]:
    """Return the hops of a row of ``raw_traces``."""
    return chain([(name, row[column]) for name, column in HOPS.items()])
