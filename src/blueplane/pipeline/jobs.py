"""Something that one thread has another one do.

Owns the work, its answer and the waiting for it.
Promises that what the work raises is the asker's and never harms the thread that does it.
Leaves the order of jobs to the queue that carries them.
"""

from collections.abc import Callable
from threading import Event as Flag
from typing import Generic, TypeVar

T = TypeVar("T")


class Job(Generic[T]):
    """Work for another thread, and its answer."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._cancelled = False
        self._done = Flag()
        self._result: list[T] = []
        self._error: Exception | None = None

    def run(self) -> None:
        """Do it, unless nobody waits for it any more."""
        if not self._cancelled:
            try:
                self._result = [self._work()]
            except Exception as error:  # noqa: BLE001 - handed to the thread that asked
                self._error = error
        self._done.set()

    def cancel(self) -> None:
        """Have nothing done when its turn comes."""
        self._cancelled = True

    def wait(self, timeout_s: float) -> bool:
        """Wait for the answer; False when it is not there in time."""
        return self._done.wait(timeout_s)

    @property
    def error(self) -> Exception | None:
        """What it raised; only after ``run``."""
        return self._error

    def answer(self) -> T:
        """Return the result, or raise the error; only after ``wait``."""
        if self._error is not None:
            raise self._error
        return self._result[0]
