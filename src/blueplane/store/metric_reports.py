"""What is asked of the rollups of metrics beside their sums.

Owns the SELECTs for the days that have any, names, and pages of sessions.
Promises few reads by key or of months alone, and to import little: reports have to be quick.
Leaves sums of days and months to ``metric_rollups.py``, figures to ``analytics/metrics``.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from blueplane.store.metric_rollups import Body, BoundedScope, unpacked
from blueplane.store.reading import Reads

_PROJECT: Final = "(SELECT id FROM labels WHERE kind = 'project' AND text = ?4)"
_WITHIN: Final = (
    "f.span BETWEEN ?1 AND ?2 AND (?3 IS NULL OR f.platform = ?3)"
    f" AND (?4 IS NULL OR f.project = {_PROJECT})"
)


class SessionName(NamedTuple):
    """A session by its number, and what it is called."""

    number: int
    session_id: str
    platform: str
    project: str | None


def days(reader: Reads) -> range:
    """Return the days from the first to the last one of which something was measured."""
    ((first, last),) = reader.rows("SELECT min(span), max(span) FROM daily_rollups")
    return range(0) if first is None else range(first, last + 1)


def platforms(reader: Reads) -> list[str]:
    """Return the platforms of which something was measured."""
    found = reader.rows(
        "SELECT DISTINCT platform FROM monthly_rollups WHERE project >= 0 ORDER BY platform"
    )
    return [name for (name,) in found]


def projects(reader: Reads) -> dict[int, str]:
    """Return the projects of which something was measured, by number."""
    found = reader.rows(
        "SELECT id, text FROM labels WHERE kind = 'project'"
        " AND id IN (SELECT project FROM monthly_rollups) ORDER BY text"
    )
    return dict(found)


def sessions(reader: Reads, scope: BoundedScope, limit: int, offset: int) -> list[SessionName]:
    """Return sessions that have a part of a scope, the one that was used last first."""
    found = reader.rows(
        "SELECT s.id, s.session_id, s.platform, p.text FROM sessions s"
        " LEFT JOIN labels p ON p.id = s.project"
        f" WHERE EXISTS (SELECT 1 FROM session_figures f WHERE f.session = s.id AND {_WITHIN})"
        " ORDER BY s.last_ms DESC LIMIT ?5 OFFSET ?6",
        (*scope, limit, offset),
    )
    return [SessionName(*row) for row in found]


def bodies_of_sessions(
    reader: Reads, scope: BoundedScope, numbers: Sequence[int]
) -> dict[int, list[Body]]:
    """Return what sessions have of the days of a scope."""
    found: dict[int, list[Body]] = {number: [] for number in numbers}
    wanted = ", ".join(str(int(number)) for number in numbers)
    for number, body in reader.rows(
        f"SELECT f.session, f.body FROM session_figures f WHERE f.session IN ({wanted})"
        f" AND {_WITHIN}",
        scope,
    ):
        found[number].append(unpacked(body))
    return found
