"""Backpressure: whether the sources wait, why, and since when.

Owns that state, and the two lines of the log with which it begins and ends.
Promises to tell a slow database from one that is away, and either from a Redis that takes nothing.
Leaves the waiting itself to ``intake.py`` and to the sources; is looked at once a second.
"""

from collections.abc import Callable
from typing import Any, Final

from blueplane.clock import monotonic_s
from blueplane.logs import get
from blueplane.pipeline.intake import WINDOW_FULL, Intake
from blueplane.pipeline.stream import Stream
from blueplane.pipeline.writer import Writer

_log = get("intake")

#: Seconds for which the sources must have waited before it is worth a word.
BRIEF_S: Final = 1.5
#: Seconds without a wait after which they flow again: the window fills and empties by turns.
CALM_S: Final = 5.0


class Pressure:
    """The state of one server.

    ``backlog`` returns how many events the sources hold, ``trouble`` why Redis is away.
    """

    def __init__(
        self,
        intake: Intake,
        stream: Stream,
        writer: Writer,
        *,
        backlog: Callable[[], int],
        trouble: Callable[[], str | None],
    ) -> None:
        self._intake = intake
        self._stream = stream
        self._writer = writer
        self._backlog = backlog
        self._trouble = trouble
        self._since_s: float | None = None
        self._reason: str | None = None

    def look(self) -> None:
        """Note whether the sources wait now, and say so when that has changed."""
        now_s = monotonic_s()
        waited_s = 0.0 if self._closed() else now_s - self._intake.waited_s
        if waited_s >= CALM_S:
            if self._reason is not None and self._since_s is not None:
                _log.info("backpressure", state="off", seconds=now_s - self._since_s - waited_s)
            self._since_s = self._reason = None
            return
        if self._since_s is None:
            self._since_s = now_s - waited_s
        if self._reason is not None:
            self._reason = self._why()
        elif now_s - waited_s - self._since_s >= BRIEF_S:
            self._reason = self._why()
            _log.warning("backpressure", state="on", reason=self._reason)

    def _closed(self) -> bool:
        """Whether the sources hold events, and do not even try."""
        shut = not self._intake.open or self._writer.store_error is not None
        return shut and self._backlog() > 0

    def _why(self) -> str:
        if self._writer.store_error is not None:
            return f"the database cannot be written: {self._writer.store_error}"
        if not self._stream.attached:
            return f"redis is away: {self._trouble() or 'it does not answer yet'}"
        if self._intake.holders:
            return f"held back for a moment: {', '.join(sorted(self._intake.holders))}"
        if self._intake.waits_for != WINDOW_FULL:
            return self._intake.waits_for
        batches = self._writer.measures.batches
        last = f": a commit of {batches[-1].rows} took {batches[-1].ms:.0f} ms" if batches else ""
        return f"the database is slow{last}"

    def status(self) -> dict[str, Any]:
        """Return ``state``, ``reason``, ``since_s``, and the events on their way and at most."""
        since_s, reason = self._since_s, self._reason
        waits = since_s is not None and reason is not None
        return {
            "state": "sources wait" if waits else "none",
            "reason": reason,
            "since_s": round(monotonic_s() - since_s, 1) if waits and since_s is not None else None,
            "in_flight": self._intake.in_flight,
            "window": self._intake.window,
        }
