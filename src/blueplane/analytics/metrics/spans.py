"""What can be added up of a span of days, from as few rollups as there can be.

Owns which months and which single days a span is made of.
Promises the same sum as that of all its days.
Leaves the rollups to ``store/metric_rollups.py``, figures to ``catalogue.py``.
"""

from collections.abc import Iterator

from blueplane.analytics.metrics.vector import Vector, merged
from blueplane.days import days_of, month_of
from blueplane.store.metric_rollups import Body, BoundedScope, Cell, days_between, months_between
from blueplane.store.reading import Reads


def vector_of(reader: Reads, scope: BoundedScope) -> Vector:
    """Return the vector of the days of a scope."""
    return merged(body for _, body in by_month(reader, scope))


def by_month(reader: Reads, scope: BoundedScope, *, apart: bool = False) -> list[tuple[Cell, Body]]:
    """Return what makes up the days of a scope; the span of each cell is its month.

    ``apart`` keeps platforms and projects apart.
    """
    months = [month_of(scope.first), month_of(scope.last)]
    if days_of(months[0]).start < scope.first:
        months[0] += 1
    if days_of(months[1]).stop - 1 > scope.last:
        months[1] -= 1
    found = months_between(reader, scope._replace(first=months[0], last=months[1]), apart=apart)
    for part in _outside(scope.first, scope.last, *months):
        days = days_between(
            reader, scope._replace(first=part.start, last=part.stop - 1), apart=apart
        )
        found += [(cell._replace(span=month_of(cell.span)), body) for cell, body in days]
    return found


def _outside(first: int, last: int, first_month: int, last_month: int) -> Iterator[range]:
    """Yield the days of a span that are in none of its whole months."""
    if first_month > last_month:
        yield range(first, last + 1)
        return
    yield range(first, days_of(first_month).start)
    yield range(days_of(last_month).stop, last + 1)
