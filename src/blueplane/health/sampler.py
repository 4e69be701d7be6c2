"""The health thread: a look at everything, once a second.

Owns the last snapshot.
Promises that whoever wants to know gets it from memory, and that a monitor that fails costs only
its own figures.
Leaves judging to the monitors; storing, history and incidents to its listeners.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from blueplane.clock import monotonic_s, wall_ms
from blueplane.errors import BlueplaneError
from blueplane.health.check import Colour, Finding, Moment, Report, Snapshot
from blueplane.logs import get
from blueplane.threads import Service

_log = get("health")

#: Seconds between two looks.
EVERY_S: Final = 1.0


class Monitor(Protocol):
    """Judges one component."""

    component: str

    def look(self, moment: Moment) -> Report:
        """Return what is found now."""


class Sampler(Service):
    """The health thread; every listener is told of each snapshot, in order."""

    def __init__(
        self,
        monitors: Sequence[Monitor],
        listeners: Sequence[Callable[[Snapshot, Moment], None]] = (),
    ) -> None:
        super().__init__("health")
        self._monitors = monitors
        self._listeners = listeners
        self.snapshot = Snapshot(wall_ms())

    def loop(self) -> None:
        """Look until asked to stop; a look that took long is not made up for."""
        while not self.stopping.is_set():
            self.beat()
            self.take()
            self.stopping.wait(EVERY_S)

    def take(self) -> Snapshot:
        """Look at everything now, publish it and tell the listeners."""
        moment = Moment(wall_ms(), monotonic_s())
        reports = {each.component: _look(each, moment) for each in self._monitors}
        self.snapshot = Snapshot(moment.wall_ms, reports)
        for listener in self._listeners:
            listener(self.snapshot, moment)
        return self.snapshot


def _look(monitor: Monitor, moment: Moment) -> Report:
    try:
        return monitor.look(moment)
    except BlueplaneError as error:
        _log.debug("no look", component=monitor.component, reason=error)
        unseen = Finding("look", Colour.ORANGE, f"cannot be looked at: {error}", "blueplane logs")
        return Report(monitor.component, {}, (unseen,))
