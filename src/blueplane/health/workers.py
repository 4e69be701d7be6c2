"""The workers: how far each is behind the rows, and whether it runs.

Owns the figures of the component ``workers``, their thresholds and their sentences.
Promises that a worker is judged from the day on which it has a watermark, or says that it is there.
Leaves what a worker does to the worker.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from blueplane.health.check import Colour, Finding, Moment, Report, State, band
from blueplane.health.probes import Probes, WorkerState
from blueplane.health.window import Window
from blueplane.store.queries import SERVER_READ_S, Reader, reading

#: Seconds over which a rate is taken.
WINDOW_S: Final = 10.0
#: Rows to go at which yellow, orange and red begin: more than so many.
BACKLOG: Final = (10_001, 50_001, 100_001)


class _Progress(NamedTuple):
    """Where a worker is: rows to go, and for how many milliseconds the first of them waits."""

    watermark: int | None
    backlog: int | None
    lag_ms: int | None


class WorkersMonitor:
    """The monitor of the workers."""

    component = "workers"

    def __init__(self, probes: Probes) -> None:
        self._probes = probes
        self._marks: dict[str, Window[int]] = {}

    def look(self, moment: Moment) -> Report:
        """Return what is found now.

        Raises StoreError when the database cannot be read.
        """
        states = self._probes.workers()
        with reading(self._probes.database, SERVER_READ_S) as reader:
            progress = _progress(reader, states, moment.wall_ms)
            underived = reader.count_underived()
        self._marks = {name: self._marks.get(name, Window(WINDOW_S, int)) for name in progress}
        figures = {
            name: self._figures(name, found, states.get(name), moment.monotonic_s)
            for name, found in progress.items()
        }
        findings = [each for name, found in figures.items() for each in _findings(name, found)]
        findings += _letters(underived)
        return Report(self.component, figures, findings, _state(figures, findings))

    def _figures(
        self, name: str, found: _Progress, state: WorkerState | None, now_s: float
    ) -> dict[str, Any]:
        return {
            "running": state.running if state else None,
            "watermark": found.watermark,
            "backlog": found.backlog,
            "processed_per_sec": self._rate(name, found.watermark, now_s),
            "failures": state.failures if state else None,
            "last_error": state.last_error if state else None,
            "lag_ms": found.lag_ms,
        }

    def _rate(self, name: str, watermark: int | None, now_s: float) -> float | None:
        """Rows a second; None until known, and while a worker begins from zero again."""
        if watermark is None:
            return None
        marks = self._marks[name]
        marks.add(now_s, watermark)
        return round(marks.per_s, 2) if marks.whole else None


def _progress(
    reader: Reader, states: Mapping[str, WorkerState], now_ms: int
) -> dict[str, _Progress]:
    marks = reader.watermarks()
    last = reader.last_sequence()
    found = dict.fromkeys(states, _Progress(None, None, None))
    for name, mark in sorted(marks.items()):
        written_ms = reader.written_after(mark)
        lag_ms = 0 if written_ms is None else max(0, now_ms - written_ms)
        found[name] = _Progress(mark, max(0, last - mark), lag_ms)
    return found


def _state(figures: Mapping[str, Mapping[str, Any]], findings: list[Finding]) -> State:
    if not figures:
        return "not installed"
    busy = any(each["backlog"] or each["processed_per_sec"] for each in figures.values())
    return "ok" if busy or findings else "idle"


def _letters(underived: int) -> list[Finding]:
    if not underived:
        return []
    sentence = f"nothing could be derived from {underived:,} of the stored events"
    return [Finding("underived", Colour.YELLOW, sentence, "blueplane dlq list")]


def _findings(name: str, figures: Mapping[str, Any]) -> Iterator[Finding]:
    if figures["running"] is False:
        sentence = f"the worker {name} does not run"
        yield Finding(f"{name}.running", Colour.ORANGE, sentence, "blueplane logs")
    colour = band(figures["backlog"], *BACKLOG)
    if colour:
        sentence = f"the worker {name} is {figures['backlog']:,} rows behind"
        yield Finding(f"{name}.backlog", colour, sentence, "blueplane top")
