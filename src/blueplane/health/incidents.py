"""Incidents: the times in which a component was not green, from the first look to the last.

Owns when one begins, when it ends, and the line of the log for each change of colour.
Promises one incident for a colour that flaps, one that goes on after a restart, and that nobody
waits for the store: what cannot be stored now is kept, up to ``MAX_UNSTORED`` of them.
Leaves storing to the writer, which is told, and showing to the interfaces.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from blueplane.errors import StoreError
from blueplane.health.check import Colour, Moment, Report, Snapshot
from blueplane.logs import get
from blueplane.store.ledger import HealthIncident
from blueplane.store.queries import SERVER_READ_S, reading

_log = get("health")

#: Seconds for which a better colour must hold to be believed.
STEADY_S: Final = 10.0
#: Incidents that wait to be stored; beyond it the oldest ones are given up.
MAX_UNSTORED: Final = 100
#: Seconds between two notifications at least.
NOTIFY_S: Final = 60.0
_KIND: Final = "health:"

Key = tuple[str, int]


@dataclass(slots=True)
class _Course:
    """How a component goes: the colour that was logged, and its incident, None while it is green.

    ``better`` is what it is by now where that is better, since ``better_s`` and ``better_ms``, on
    both clocks; it is believed when it has held.
    """

    colour: Colour = Colour.GREEN
    incident: HealthIncident | None = None
    better: Colour | None = None
    better_s: float = 0.0
    better_ms: int = 0


class Incidents:
    """Follows the colours; a listener of the sampler.

    ``tell`` has work done by the writer without waiting (False: not now), ``store`` is that work.
    ``notify`` shows a person a title and a text; None is never.
    """

    def __init__(
        self,
        database: Path,
        tell: Callable[[Callable[[], object]], bool],
        store: Callable[[Sequence[HealthIncident]], object],
        notify: Callable[[], Callable[[str, str], object] | None] = lambda: None,
    ) -> None:
        self._database = database
        self._tell = tell
        self._store = store
        self._notify = notify
        self._courses: dict[str, _Course] | None = None
        self._unstored: dict[Key, HealthIncident] = {}
        #: What the writer was given and has not answered, and its answers: whether it is stored.
        self._given: tuple[HealthIncident, ...] = ()
        self._answers: deque[bool] = deque(maxlen=1)
        self._told = Colour.GREEN
        self._told_s: float | None = None

    def follow(self, snapshot: Snapshot, moment: Moment) -> None:
        """Take a look up."""
        if self._courses is None:
            self._courses = self._resume()
        if self._courses is not None:
            for name, report in snapshot.reports.items():
                self._step(self._courses.setdefault(name, _Course()), report, moment)
            for name in self._courses.keys() - snapshot.reports.keys():
                self._step(self._courses[name], Report(name, {}), moment)
        self._hand_over()
        self._say(snapshot, moment)

    def _resume(self) -> dict[str, _Course] | None:
        """Go on with the incidents that are open; None while the database cannot be read."""
        try:
            with reading(self._database, SERVER_READ_S) as reader:
                found = reader.open_incidents()
        except StoreError as error:
            _log.debug("incidents not read", reason=error)
            return None
        return {
            each.kind.removeprefix(_KIND): _Course(Colour[each.colour.upper()], each)
            for each in found
        }

    # -- one component ---------------------------------------------------------------------------

    def _step(self, course: _Course, report: Report, moment: Moment) -> None:
        if report.colour >= course.colour:
            course.better = None
            if report.colour > course.colour:
                self._change(course, report)
                self._note(course, report, moment)
            return
        if report.colour != course.better:
            course.better = report.colour
            course.better_s, course.better_ms = moment.monotonic_s, moment.wall_ms
        if moment.monotonic_s - course.better_s >= STEADY_S:
            self._change(course, report)
            course.better = None
            if not report.colour:
                self._end(course)

    def _change(self, course: _Course, report: Report) -> None:
        """Log a change of colour; the worse of the two says how loudly."""
        say = _log.error if Colour.RED in (report.colour, course.colour) else _log.warning
        if report.colour < course.colour:
            say = _log.info
        say(
            "colour", of=report.component, now=report.colour.word, before=course.colour.word,
            reason=_worst(report) or "nothing is wrong any more",
        )  # fmt: skip
        course.colour = report.colour

    def _note(self, course: _Course, report: Report, moment: Moment) -> None:
        """Begin an incident, or have it say what is worse than what it said."""
        known = course.incident
        if known is not None and Colour[known.colour.upper()] >= report.colour:
            return
        started_ms = moment.wall_ms if known is None else known.started_ms
        kind = f"{_KIND}{report.component}"
        course.incident = HealthIncident(kind, started_ms, None, report.colour.word, _worst(report))
        self._keep(course.incident)

    def _end(self, course: _Course) -> None:
        if course.incident is not None:
            ended_ms = max(course.incident.started_ms, course.better_ms)
            self._keep(replace(course.incident, ended_ms=ended_ms))
            course.incident = None

    # -- storing -----------------------------------------------------------------------------------

    def _keep(self, incident: HealthIncident) -> None:
        self._unstored[incident.kind, incident.started_ms] = incident
        while len(self._unstored) > MAX_UNSTORED:
            del self._unstored[next(iter(self._unstored))]

    def _hand_over(self) -> None:
        """Give the writer what is not stored; once it has answered, forget what is."""
        if self._answers:
            if self._answers.pop():
                for each in self._given:
                    key = each.kind, each.started_ms
                    if self._unstored.get(key) is each:
                        del self._unstored[key]
            self._given = ()
        if self._unstored and not self._given:
            given = tuple(self._unstored.values())
            if self._tell(lambda: self._put(given)):
                self._given = given

    def _put(self, given: Sequence[HealthIncident]) -> None:
        """Store; the writer's work."""
        stored = False
        try:
            self._store(given)
            stored = True
        finally:
            self._answers.append(stored)

    # -- telling a person --------------------------------------------------------------------------

    def _say(self, snapshot: Snapshot, moment: Moment) -> None:
        """Notify when everything is worse than was said, and not too often."""
        recent = self._told_s is not None and moment.monotonic_s - self._told_s < NOTIFY_S
        if snapshot.colour <= self._told:
            self._told = self._told if recent else snapshot.colour
            return
        notify = self._notify()
        if notify is not None and not recent:
            self._told, self._told_s = snapshot.colour, moment.monotonic_s
            notify(f"Blueplane: {snapshot.colour.word}", _headline(snapshot.reports))


def _worst(report: Report) -> str:
    """Return what the worst finding says; "" without any."""
    worst = max(report.findings, key=lambda finding: finding.colour, default=None)
    return "" if worst is None else worst.sentence


def _headline(reports: Mapping[str, Report]) -> str:
    worst = max(reports.values(), key=lambda report: report.colour)
    return f"{worst.component}: {_worst(worst)}"
