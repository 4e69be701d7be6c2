"""Whether events are being written, in one word for each reason why not.

Owns the judgement behind ``/readyz``.
Promises words that are fixed: nothing of an error's text is among them.
Leaves how well they are written to the monitors.
"""

from collections.abc import Mapping
from typing import Any, Final

from blueplane.health.check import Moment
from blueplane.health.probes import Probes

#: Seconds for which Redis may be away, and the sources may wait.
PATIENCE_S: Final = 60.0


class Readiness:
    """The readiness of one server, looked at by one thread."""

    def __init__(self, probes: Probes) -> None:
        self._probes = probes
        self._connected_s: float | None = None

    def look(self, moment: Moment) -> tuple[str, ...]:
        """Return why events are not being written: ``store_error``, ``redis_away``, ..."""
        reasons = {
            "store_error": self._probes.store_error() is not None,
            "redis_away": self._away_s(self._probes.redis(), moment) > PATIENCE_S,
            "sources_wait": (self._probes.pressure()["since_s"] or 0.0) > PATIENCE_S,
        }
        return tuple(name for name, holds in reasons.items() if holds)

    def _away_s(self, redis: Mapping[str, Any], moment: Moment) -> float:
        if redis["connected"] or self._connected_s is None:
            self._connected_s = moment.monotonic_s
        return moment.monotonic_s - self._connected_s
