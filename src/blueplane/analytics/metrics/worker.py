"""The worker ``metrics``: what can be added up of sessions, by day and by month.

Owns which sessions are measured next, and which days and months change with them.
Promises that a portion is measured and stored as a whole or not at all, so that measuring again
gives the same; that a session which cannot be measured costs only itself; and that a day, or a
month, that sessions had no part of is only added to, however many others have one.
Leaves what is counted to ``measure.py``, the statements to ``store/metric_rollups.py``.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from blueplane.analytics.metrics.measure import measure
from blueplane.analytics.metrics.summary import summarised
from blueplane.analytics.metrics.vector import Vector, merged
from blueplane.analytics.worker import Step
from blueplane.days import days_of, month_of
from blueplane.errors import StoreError
from blueplane.logs import get
from blueplane.store.activity import read_activity
from blueplane.store.metric_rollups import (
    Cell,
    Measured,
    SessionFigures,
    SessionSummary,
    bodies_of_day,
    bodies_of_month,
    body_of_day,
    body_of_month,
    cells_of,
    parts_of_day,
    touched,
)
from blueplane.store.queries import Reader

_log = get("metrics")

#: Sessions that are measured at once.
PORTION: Final = 50


class Metrics:
    """The worker of metrics; it follows the others."""

    name = "metrics"

    def next(self, reader: Reader) -> Step | None:
        """Measure the next sessions; one that cannot be measured has no figures."""
        versions = touched(reader, PORTION)
        if not versions:
            return None
        sessions: list[SessionFigures] = []
        summaries: list[SessionSummary] = []
        errors: list[Exception] = []
        for session in versions:
            try:
                found = _measured(reader, session)
                summaries += summarised(session, [each.body for each in found])
                sessions += found
            except StoreError:
                raise
            except Exception as error:  # noqa: BLE001 - one session costs only itself
                _log.error("session not measured", session=session, error=type(error).__name__)
                errors.append(error)
        new, old = _parts(sessions), cells_of(reader, versions)
        days = _days(reader, versions, old, new)
        old |= {cell.whole for cell in old}
        new |= _wholes(new)
        days |= _whole_days(reader, old, new, days)
        months = _months(reader, old, new, days)
        measured = Measured(versions, sessions, summaries, days, months)
        return Step(lambda tables: tables.put_measured(measured), errors)


def _measured(reader: Reader, session: int) -> list[SessionFigures]:
    """Measure a session."""
    activity = read_activity(reader, session)
    if activity is None:
        return []
    cells = {
        Cell(day, activity.talk.platform, activity.project): vector
        for day, vector in measure(activity).items()
    }
    return [SessionFigures(session, cell, vector) for cell, vector in cells.items()]


def _parts(sessions: Collection[SessionFigures]) -> dict[Cell, Vector]:
    """Add up what the sessions have of each day."""
    found: defaultdict[Cell, list[Vector]] = defaultdict(list)
    for each in sessions:
        found[each.cell].append(each.body)
    return {cell: _added_up(bodies) for cell, bodies in found.items()}


def _days(
    reader: Reader, versions: Collection[int], old: Collection[Cell], new: Mapping[Cell, Vector]
) -> dict[Cell, Vector | None]:
    """Add up every day that the sessions had an old part of, or have a new one of."""
    days: dict[Cell, Vector | None] = {}
    for cell in sorted({*old, *new}):
        rest = bodies_of_day(reader, cell, versions) if cell in old else body_of_day(reader, cell)
        days[cell] = _sum([*rest, *([new[cell]] if cell in new else [])])
    return days


def _wholes(parts: Mapping[Cell, Vector]) -> dict[Cell, Vector]:
    """Add up parts of all platforms and projects."""
    found: defaultdict[Cell, list[Vector]] = defaultdict(list)
    for cell, body in parts.items():
        found[cell.whole].append(body)
    return {cell: _added_up(bodies) for cell, bodies in found.items()}


def _whole_days(
    reader: Reader,
    old: Collection[Cell],
    new: Mapping[Cell, Vector],
    days: Mapping[Cell, Vector | None],
) -> dict[Cell, Vector | None]:
    """Add up the whole of every day of which a part changed."""
    changed = _wholes({cell: body for cell, body in days.items() if body})
    wholes: dict[Cell, Vector | None] = {}
    for cell in sorted({each.whole for each in days}):
        if cell in old:
            rest, part = parts_of_day(reader, cell.span, days), changed.get(cell)
        else:
            rest, part = body_of_day(reader, cell), new[cell]
        wholes[cell] = _sum([*rest, *([part] if part else [])])
    return wholes


def _months(
    reader: Reader,
    old: Collection[Cell],
    new: Mapping[Cell, Vector],
    days: Mapping[Cell, Vector | None],
) -> dict[Cell, Vector | None]:
    """Add up every month that the days are of."""
    changed = {_month(cell) for cell in old}
    parts: defaultdict[Cell, list[Vector]] = defaultdict(list)
    for cell, body in days.items():
        part = body if _month(cell) in changed else new[cell]
        parts[_month(cell)] += [part] if part else []
    months: dict[Cell, Vector | None] = {}
    for month, bodies in parts.items():
        if month in changed:
            rest = bodies_of_month(reader, days_of(month.span), month, days)
        else:
            rest = body_of_month(reader, month)
        months[month] = _sum([*rest, *bodies])
    return months


def _month(day: Cell) -> Cell:
    return day._replace(span=month_of(day.span))


def _sum(bodies: Sequence[Vector]) -> Vector | None:
    return _added_up(bodies) if bodies else None


def _added_up(bodies: Sequence[Vector]) -> Vector:
    """Return a sum that nobody changes: one body is itself, for most days are of one session."""
    return merged(bodies) if len(bodies) > 1 else bodies[0]
