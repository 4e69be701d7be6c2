"""Threads that died: which of them are started again, when, and when it is enough.

Owns how many deaths are too many, and how long to wait before a start.
Promises that a thread that only looks or shows costs nothing but itself, however often it dies.
Leaves what a thread had in hand to the writer, ending the server to ``daemon.py``.
"""

from collections.abc import Callable, Collection
from threading import Event as Flag
from typing import Final

from blueplane.clock import monotonic_s
from blueplane.logs import get
from blueplane.threads import Backoff, Service

_log = get("main")

#: Deaths of threads within a window of seconds after which the service manager takes over.
MAX_DEATHS: Final = 5
DEATH_WINDOW_S: Final = 600.0
#: Seconds before a dead thread is started again: the first and the longest.
RESTART_S: Final = (0.1, 10.0)
#: Seconds at least between two starts of a thread that no event needs.
ONLOOKER_S: Final = 10.0


class Revival:
    """Starts dead threads again; ``onlookers`` are those that no event needs.

    ``reattach`` is called before any other starts: whatever it had in hand is pending in the
    stream or still with its source. ``stopping`` says that nothing is to start any more.
    """

    def __init__(
        self, onlookers: Collection[Service], reattach: Callable[[], None], stopping: Flag
    ) -> None:
        self._onlookers = onlookers
        self._reattach = reattach
        self._stopping = stopping
        self._backoff = Backoff(*RESTART_S)
        #: When (monotonic seconds) threads died that events need, within the window.
        self.deaths: list[float] = []
        #: By thread: before when (monotonic seconds) it is not started again.
        self._due_s: dict[str, float] = {}

    def revive(self, service: Service) -> bool:
        """Start a thread that died again; False when threads die too often."""
        if service.alive():
            return True
        if service in self._onlookers:
            self._revive_onlooker(service)
            return True
        now_s = monotonic_s()
        self.deaths = [at for at in self.deaths if now_s - at < DEATH_WINDOW_S] + [now_s]
        if len(self.deaths) >= MAX_DEATHS:
            _log.error("giving up", deaths=len(self.deaths))
            return False
        if self._stopping.wait(self._backoff.next_s()):
            return True
        self._reattach()
        service.start()
        _log.warning("restarted", thread=service.name, deaths=len(self.deaths))
        return True

    def _revive_onlooker(self, service: Service) -> None:
        now_s = monotonic_s()
        if now_s >= self._due_s.get(service.name, now_s):
            self._due_s[service.name] = now_s + ONLOOKER_S
            service.start()
            _log.warning("restarted", thread=service.name)
