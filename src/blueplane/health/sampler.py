"""The health thread: a look at everything, once a second.

Owns the last snapshot.
Promises that whoever wants to know gets it from memory, and that a monitor that fails costs only
its own figures.
Leaves judging to the monitors; storing, history and incidents to its listeners.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeAlias

from blueplane.clock import monotonic_s, wall_ms
from blueplane.errors import BlueplaneError
from blueplane.health.check import Colour, Finding, Moment, Report, Snapshot
from blueplane.logs import get
from blueplane.threads import Service

_log = get("health")

#: Told of every snapshot.
Listener: TypeAlias = Callable[[Snapshot, Moment], None]

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
        listeners: Sequence[Listener] = (),
    ) -> None:
        super().__init__("health")
        self._monitors = monitors
        self._listeners = listeners
        self.snapshot = Snapshot(wall_ms())
        self._failing: set[str] = set()

    def loop(self) -> None:
        """Look until asked to stop; a look that took long is not made up for."""
        while not self.stopping.is_set():
            self.beat()
            self.take()
            self.stopping.wait(EVERY_S)

    def take(self) -> Snapshot:
        """Look at everything now, publish it and tell the listeners."""
        moment = Moment(wall_ms(), monotonic_s())
        reports = {each.component: self._look(each, moment) for each in self._monitors}
        self.snapshot = Snapshot(moment.wall_ms, reports)
        for listener in self._listeners:
            self._tell(listener, moment)
        return self.snapshot

    def _look(self, monitor: Monitor, moment: Moment) -> Report:
        try:
            report = monitor.look(moment)
        except BlueplaneError as error:
            _log.debug("no look", component=monitor.component, reason=error)
            return _unseen(monitor, "blueplane status")
        except Exception as error:  # noqa: BLE001 - a figure is no reason to end what captures
            self._fail(monitor.component, error)
            return _unseen(monitor, "blueplane logs")
        self._failing.discard(monitor.component)
        return report

    def _tell(self, listener: Listener, moment: Moment) -> None:
        name = getattr(listener, "__qualname__", "listener")
        try:
            listener(self.snapshot, moment)
        except Exception as error:  # noqa: BLE001 - nor is what is done with figures
            self._fail(name, error)
        else:
            self._failing.discard(name)

    def _fail(self, name: str, error: Exception) -> None:
        """Log a failure once, until it is over."""
        if name not in self._failing:
            self._failing.add(name)
            _log.error("failed", part=name, error=error)


def _unseen(monitor: Monitor, command: str) -> Report:
    sentence = f"{monitor.component} cannot be looked at"
    return Report(monitor.component, {}, (Finding("look", Colour.ORANGE, sentence, command),))
