"""What time it is, for whoever deletes by age.

Owns a time of our own, which follows the wall clock while that moves as the time that passes does.
Promises that a jump which nothing explains is believed only after the server has run for a day with
the clock steady: until then both times are kept, and what is to go must be old by both.
Leaves storing it to retention.
"""

from dataclasses import dataclass, replace
from typing import Final

from blueplane.clock import MS_PER_DAY

#: Milliseconds by which the wall clock may be off between two looks: it is set, and drifts.
JUMP_MS: Final = 5 * 60_000
#: Milliseconds between two servers that are believed: nobody knows how long none ran.
STOP_MS: Final = 31 * MS_PER_DAY
#: Milliseconds of a running server with a steady clock after which that clock is right.
STEADY_MS: Final = MS_PER_DAY


@dataclass(frozen=True, slots=True)
class Belief:
    """One look at the clocks: what the wall clock said, and what time we take it to be.

    ``steady_ms`` is for how long the wall clock has been steady since its last jump.
    """

    wall_ms: int
    time_ms: int
    steady_ms: int = STEADY_MS

    @property
    def oldest_ms(self) -> int:
        """What is old counted from here is old by both clocks."""
        return min(self.wall_ms, self.time_ms)

    @property
    def newest_ms(self) -> int:
        """What lies behind this lies ahead of both clocks."""
        return max(self.wall_ms, self.time_ms)

    @property
    def sure(self) -> bool:
        """Whether both clocks are one."""
        return self.steady_ms >= STEADY_MS


def begin(before: Belief, wall_ms: int) -> Belief:
    """Return the first look of a server; ``before`` was the last one of the server before it."""
    gone_ms = wall_ms - before.wall_ms
    if -JUMP_MS <= gone_ms <= STOP_MS:
        return replace(before, wall_ms=wall_ms, time_ms=before.time_ms + gone_ms)
    return Belief(wall_ms, before.time_ms, 0)


def follow(before: Belief, wall_ms: int, elapsed_ms: int, awake_ms: int) -> Belief:
    """Return the next look, so long after the one before, and awake for so much of it."""
    moved_ms = wall_ms - before.wall_ms
    if abs(moved_ms - elapsed_ms) > JUMP_MS:
        return Belief(wall_ms, before.time_ms + elapsed_ms, 0)
    steady_ms = min(STEADY_MS, before.steady_ms + awake_ms)
    sure = steady_ms >= STEADY_MS
    return Belief(wall_ms, wall_ms if sure else before.time_ms + moved_ms, steady_ms)
