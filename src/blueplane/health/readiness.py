"""Whether events are being written, in one word for each reason why not.

Owns the judgement behind ``/readyz``.
Promises words that are fixed: nothing of an error's text is among them.
Leaves how well they are written to the monitors.
"""

from collections.abc import Mapping
from typing import Any, Final

from blueplane.health.check import Moment
from blueplane.health.probes import Probes

#: Seconds for which Redis may be away, the sources may wait, and the writer may settle nothing.
PATIENCE_S: Final = 60.0


class Readiness:
    """The readiness of one server, looked at by one thread."""

    def __init__(self, probes: Probes) -> None:
        self._probes = probes
        self._connected_s: float | None = None
        #: What was settled at the last look, and when that changed, or nothing waited.
        self._settled = -1
        self._moved_s = 0.0

    def look(self, moment: Moment) -> tuple[str, ...]:
        """Return why events are not being written: ``store_error``, ``redis_away``, ..."""
        reasons = {
            "store_error": self._probes.store_error() is not None,
            "redis_away": self._away_s(self._probes.redis(), moment) > PATIENCE_S,
            "writer_stands_still": self._still_s(moment) > PATIENCE_S,
            "sources_wait": (self._probes.pressure()["since_s"] or 0.0) > PATIENCE_S,
        }
        return tuple(name for name, holds in reasons.items() if holds)

    def _still_s(self, moment: Moment) -> float:
        """Seconds for which something waited for the writer, and nothing was settled."""
        settled = self._probes.measures.settled
        if settled != self._settled or not self._probes.backlog():
            self._settled, self._moved_s = settled, moment.monotonic_s
        return moment.monotonic_s - self._moved_s

    def _away_s(self, redis: Mapping[str, Any], moment: Moment) -> float:
        if redis["connected"] or self._connected_s is None:
            self._connected_s = moment.monotonic_s
        return moment.monotonic_s - self._connected_s
