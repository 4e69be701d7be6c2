"""Today's figures, told as soon as they change.

Owns when today's figures are made, and trying again when they could not be told.
Promises at most one telling a call, which somebody makes once a second, and that a store or a Redis
that is away costs one line of the log.
Leaves figures to ``catalogue.py``, Redis to ``pipeline/metric_log.py``.
"""

from pathlib import Path
from threading import Event as Flag
from typing import Final

from blueplane.analytics.metrics.additions import known_metrics
from blueplane.analytics.metrics.spans import vector_of
from blueplane.clock import monotonic_s, wall_ms
from blueplane.days import date_of, today
from blueplane.errors import BlueplaneError
from blueplane.logs import get
from blueplane.pipeline.metric_log import Current, MetricLog
from blueplane.store.metric_rollups import BoundedScope
from blueplane.store.queries import SERVER_READ_S, reading
from blueplane.threads import Backoff

_log = get("metrics")

#: Seconds before it is tried again: the first and the longest.
_RETRY_S: Final = (2.0, 60.0)


class Today:
    """What tells today's figures."""

    def __init__(self, database: Path, log: MetricLog) -> None:
        self._database = database
        self._log = log
        self._changed = Flag()
        self._backoff = Backoff(*_RETRY_S)
        self._due_s = 0.0
        self._failing = False

    def wake(self) -> None:
        """Say that something was measured; any thread may."""
        self._changed.set()

    def tell(self) -> None:
        """Tell today's figures if something was measured since the last time."""
        if not self._changed.is_set() or monotonic_s() < self._due_s:
            return
        self._changed.clear()
        try:
            self._write()
        except BlueplaneError as error:
            if not self._failing:
                _log.info("figures wait", reason=error)
            self._failing = True
            self._due_s = monotonic_s() + self._backoff.next_s()
            self._changed.set()
        else:
            self._failing = False
            self._backoff.reset()

    def _write(self) -> None:
        day = today()
        with reading(self._database, SERVER_READ_S) as reader:
            vector = vector_of(reader, BoundedScope(day, day))
        figures = []
        for metric in known_metrics().metrics.values():
            found = metric.make(vector)
            words = (metric.category, metric.name, metric.unit, metric.certainty)
            figures.append(Current(*words, found.value, found.n))
        self._log.write(date_of(day).isoformat(), wall_ms(), figures)
