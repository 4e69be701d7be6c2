"""The road of an event and its two laws, in words.

Owns the names and order of the hops, and how a law reads.
Promises numbers as the store has them: nothing is computed but differences.
Leaves the numbers to the store and the place on the screen to the commands.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from blueplane.health.laws import LAWS, remainder
from blueplane.interfaces.cli.figures import number

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


def law_text(law: str, body: Mapping[str, Any]) -> str:
    """Return a law with every number, and before it whether it closes."""
    terms = dict(body[law])
    whole = LAWS[law]
    left = f"{whole} {number(terms.pop(whole))}"
    right = " + ".join(f"{name.replace('_', ' ')} {number(n)}" for name, n in terms.items())
    open_by = remainder(law, body)
    return f"{f'OPEN by {number(open_by)}' if open_by else 'closed'}: {left} = {right}"
