"""A supervised thread.

Owns the life of one thread: start, stop flag, join, and the error that ended it.
Promises one catch-all, here, so that everything below a loop may simply raise.
Leaves restarting, and giving up, to the daemon.
"""

import os
import random
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from blueplane.clock import monotonic_s
from blueplane.logs import get

_log = get("threads")

#: Of a thread that gives way. More, and it would hold up the others on a busy machine: it has
#: Python's lock in turn with them.
NICE: Final = 5


class Service(ABC):
    """One named loop in a thread of its own; it can be started again after it died."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stopping = threading.Event()
        self.error: Exception | None = None
        self.beat_s = monotonic_s()
        #: Whether it does something that may take as long as it likes.
        self.at_length = False
        self._thread: threading.Thread | None = None

    @abstractmethod
    def loop(self) -> None:
        """Run until ``stopping`` is set; whatever is raised ends the thread and is reported."""

    def start(self) -> None:
        """Start the thread, or start it anew after it died."""
        self.error = None
        self._thread = threading.Thread(target=self._main, name=self.name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask the loop to end; it is not waited for."""
        self.stopping.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end of the thread; True when it has ended."""
        if self._thread is not None:
            self._thread.join(timeout_s)
        return not self.alive()

    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def beat(self) -> None:
        """Note that the loop went round: ``beat_s`` is the last sign of life."""
        self.beat_s = monotonic_s()

    @contextmanager
    def unhurried(self) -> Iterator[None]:
        """Have nobody take the loop for hung within the block; only the thread itself may."""
        self.at_length = True
        try:
            yield
        finally:
            self.beat()
            self.at_length = False

    def _main(self) -> None:
        try:
            self.loop()
        except Exception as error:  # noqa: BLE001 - the one catch-all: the daemon decides
            self.error = error
            _log.error("died", thread=self.name, error=error)


def be_nice() -> None:
    """Have the calling thread give way to other programs, where a thread alone can do that."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(OSError):  # refused, in some sandboxes
            now = os.getpriority(os.PRIO_PROCESS, thread)
            os.setpriority(os.PRIO_PROCESS, thread, max(now, NICE))


class Backoff:
    """Delays that double up to a cap, with jitter, until ``reset``."""

    def __init__(self, first_s: float, cap_s: float) -> None:
        self._first_s = first_s
        self._cap_s = cap_s
        self._next_s = first_s

    def reset(self) -> None:
        """Begin again with the first delay."""
        self._next_s = self._first_s

    def next_s(self) -> float:
        """Return the next delay in seconds: between half of the nominal one and all of it."""
        nominal = self._next_s
        self._next_s = min(self._cap_s, nominal * 2)
        return nominal * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
