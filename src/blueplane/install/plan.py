"""A plan: steps that are shown before any is done, and done in their order.

Owns the record of a step, doing a plan, and saying how far it came.
Promises that a step which is done is known as done, whatever interrupts the next one, and that what
is left is said in the words in which it was planned.
Leaves what the steps are to ``setup.py`` and ``removal.py``; a plan that was interrupted is
completed by making it again: it has what is left.
"""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from blueplane import faults
from blueplane.errors import BlueplaneError

#: What people and service managers end a program with.
_INTERRUPTS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _nothing() -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Step:
    """One step: of which part it is, what it does, and to which file.

    ``is_needed()`` looks again at each call. ``diff()`` is what ``act()`` does to a text file.
    """

    part: str
    what: str
    act: Callable[[], None]
    is_needed: Callable[[], bool]
    path: Path | None = None
    diff: Callable[[], str] = field(default=_nothing)


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps that are needed, what was found on the machine, and what else is to be said.

    ``problems`` are what could not be planned: the rest goes on without it.
    """

    steps: tuple[Step, ...]
    found: tuple[tuple[str, str], ...] = ()
    remarks: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class Run:
    """Doing the steps of a plan; ``done`` and ``left`` are right at any moment."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.done: list[Step] = []
        self.left = list(steps)

    def go(self, told: Callable[[Step], None]) -> None:
        """Do all steps, and tell of each that is done; raises what a step raises."""
        while self.left:
            faults.point("install_step")
            step = self.left[0]
            if step.is_needed():
                step.act()
            with undisturbed():
                self.done.append(self.left.pop(0))
            told(step)
        faults.point("install_step")

    def settle(self) -> None:
        """After an interruption, find out on which side of it the step in hand is."""
        with suppress(BlueplaneError):  # who knows: it is looked at again by the next plan
            if self.left and not self.left[0].is_needed():
                self.done.append(self.left.pop(0))


@contextmanager
def undisturbed() -> Iterator[None]:
    """Have Ctrl-C wait until the block, which takes milliseconds, is through."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
