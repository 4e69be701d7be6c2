"""Reports of metrics: every figure of a span, or chosen ones of each of its parts.

Owns which rows a report has, and the names of their fields.
Promises that a figure is made of the same vectors in every report, and None where there is no data.
Leaves figures to ``catalogue.py``, the rollups to ``store/``, how rows look to the interfaces.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, NamedTuple, TypeAlias

from blueplane.analytics.metrics import parts, trends
from blueplane.analytics.metrics.catalogue import Figure, Metric
from blueplane.analytics.metrics.spans import by_month, vector_of
from blueplane.analytics.metrics.vector import Vector, merged, total
from blueplane.analytics.paging import Page
from blueplane.days import date_of, days_of, week_start
from blueplane.store import metric_reports as stored
from blueplane.store.metric_rollups import BoundedScope, days_between
from blueplane.store.reading import Reads

Row: TypeAlias = dict[str, Any]

GROUPS: Final = ("day", "week", "month", "session", "project", "platform", *parts.PARTS)
#: Those that are in the order of time.
IN_ORDER: Final = ("day", "week", "month")
#: Days at the end of a span through which a line goes at most.
LINE_DAYS: Final = 92


class Report(NamedTuple):
    """Rows, what all of them together have, and whether there are more; empty without data."""

    rows: list[Row]
    total: Row
    more: bool = False


def before(scope: BoundedScope) -> BoundedScope:
    """Return the period of the same length that a scope follows on."""
    return scope._replace(first=2 * scope.first - scope.last - 1, last=scope.first - 1)


def overview(
    reader: Reads, scope: BoundedScope, metrics: Iterable[Metric], *, bounded: bool
) -> Report:
    """Return a row for each metric; without bounds there is no period before."""
    line = scope._replace(first=max(scope.first, scope.last - LINE_DAYS + 1))
    days = _days(reader, line)
    now = merged(days.values()) if line == scope else vector_of(reader, scope)
    if not now:
        return Report([], {})
    past = vector_of(reader, before(scope)) if bounded else {}
    metrics = list(metrics)
    # Vector by vector: what several figures of one are made of is then found once.
    figures, figures_before = _figures(metrics, now), _figures(metrics, past)
    figures_of_days = {day: _figures(metrics, vector) for day, vector in days.items()}
    rows = []
    for metric in metrics:
        name, figure = metric.name, figures[metric.name]
        points = trends.known({day: found[name] for day, found in figures_of_days.items()})
        changed = trends.change(metric, figure, figures_before[name])
        rows.append({**_row(metric, figure), **trends.as_fields(changed, points)})
    return Report(rows, _total(now))


def _figures(metrics: Iterable[Metric], vector: Vector) -> dict[str, Figure]:
    return {metric.name: metric.make(vector) for metric in metrics}


def _row(metric: Metric, figure: Figure) -> Row:
    return {
        "category": metric.category,
        "metric": metric.name,
        "unit": metric.unit,
        "value": figure.value,
        "n": figure.n,
        "certainty": metric.certainty,
        "better": metric.better or None,
        "parts": figure.parts,
    }


def _total(vector: Vector) -> Row:
    return {name: total(vector, name) for name in ("sessions", "prompts", "events")}


def _days(reader: Reads, scope: BoundedScope) -> dict[int, Vector]:
    found = days_between(reader, scope, apart=False)
    return {
        day: merged(body for _, body in bodies)
        for day, bodies in groupby(found, lambda each: each[0].span)
    }


# -- groups ----------------------------------------------------------------------------------------

_Named: TypeAlias = tuple[Row, Vector]


def grouped(
    reader: Reads, scope: BoundedScope, by: str, metrics: Sequence[Metric], page: Page
) -> Report:
    """Return a row for each group: the value of each metric, and its n as ``<name>_n``."""
    whole = vector_of(reader, scope)
    if not whole:
        return Report([], {})
    if by == "session":
        found, more = _sessions(reader, scope, page)
    else:
        groups = _parts(whole, by) if by in parts.PARTS else _FIND[by](reader, scope)
        found = page.of(groups)
        more = len(groups) > page.offset + len(found)
        found = found[::-1] if by in IN_ORDER else found
    rows = [{**named, **_values(metrics, vector)} for named, vector in found]
    in_all = {} if by in parts.PARTS else _values(metrics, whole)
    return Report(rows, {**_total(whole), **in_all}, more)


def _values(metrics: Sequence[Metric], vector: Vector) -> Row:
    row: Row = {}
    for metric in metrics:
        figure = metric.make(vector)
        row |= {metric.name: figure.value, f"{metric.name}_n": figure.n}
    return row


def _by_day(reader: Reads, scope: BoundedScope) -> list[_Named]:
    days = _days(reader, scope)
    return [({"day": date_of(day).isoformat()}, days[day]) for day in sorted(days, reverse=True)]


def _by_week(reader: Reads, scope: BoundedScope) -> list[_Named]:
    weeks = _merged((week_start(day), body) for day, body in _days(reader, scope).items())
    return [({"week": date_of(day).isoformat()}, weeks[day]) for day in sorted(weeks, reverse=True)]


def _by_month(reader: Reads, scope: BoundedScope) -> list[_Named]:
    months = _merged((cell.span, body) for cell, body in by_month(reader, scope))
    return [
        ({"month": date_of(days_of(each).start).isoformat()[:7]}, months[each])
        for each in sorted(months, reverse=True)
    ]


def _by_platform(reader: Reads, scope: BoundedScope) -> list[_Named]:
    found = _merged((cell.platform, body) for cell, body in by_month(reader, scope, apart=True))
    return [({"platform": name}, vector) for name, vector in _largest(found)]


def _by_project(reader: Reads, scope: BoundedScope) -> list[_Named]:
    names = stored.projects(reader)
    found = _merged((cell.project, body) for cell, body in by_month(reader, scope, apart=True))
    return [({"project": names.get(each)}, vector) for each, vector in _largest(found)]


def _parts(whole: Vector, by: str) -> list[_Named]:
    return [({by: name}, vector) for name, vector in parts.parts_of(whole, by)]


_FIND: Final[Mapping[str, Callable[[Reads, BoundedScope], list[_Named]]]] = {
    "day": _by_day,
    "week": _by_week,
    "month": _by_month,
    "platform": _by_platform,
    "project": _by_project,
}


def _merged(bodies: Iterable[tuple[Any, Vector]]) -> dict[Any, Vector]:
    found: dict[Any, list[Vector]] = {}
    for key, body in bodies:
        found.setdefault(key, []).append(body)
    return {key: merged(each) for key, each in found.items()}


def _largest(found: Mapping[Any, Vector]) -> list[tuple[Any, Vector]]:
    return sorted(found.items(), key=lambda each: (-total(each[1], "events"), each[0]))


def _sessions(reader: Reads, scope: BoundedScope, page: Page) -> tuple[list[_Named], bool]:
    """Return sessions, the one that was used last first."""
    names = stored.sessions(reader, scope, page.limit + 1 if page.limit else -1, page.offset)
    shown = names[: page.limit or None]
    bodies = stored.bodies_of_sessions(reader, scope, [each.number for each in shown])
    found = [
        (
            {"session_id": each.session_id, "platform": each.platform, "project": each.project},
            merged(bodies[each.number]),
        )
        for each in shown
    ]
    return found, len(names) > len(shown)
