"""Signals that end a command which has a server of its own.

Owns what they do meanwhile.
Promises that each of them ends the command as Ctrl-C does, and that a server which is starting or
stopping is not broken off.
Leaves the exit code to ``main.py``.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ending:
    """Whether somebody wants the command to end."""

    def __init__(self) -> None:
        self._number = 0
        self._heeded = False

    def note(self, number: int, _frame: FrameType | None) -> None:
        """Handle a signal: a first one is heeded at once, if any is."""
        first, self._number = not self._number, number
        if first and self._heeded:
            raise KeyboardInterrupt(number)

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Raise KeyboardInterrupt within the block, with the number of the signal."""
        self._heeded = True
        try:
            if self._number:
                raise KeyboardInterrupt(self._number)
            yield
        finally:
            self._heeded = False


@contextmanager
def ending() -> Iterator[Ending]:
    """Put off signals for the block, but for those that are ignored, as by ``nohup``."""
    end = Ending()
    before = {number: signal.getsignal(number) for number in _ENDING}
    handled = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in handled:
        signal.signal(number, end.note)
    try:
        yield end
    finally:
        for number in handled:
            signal.signal(number, before[number])
