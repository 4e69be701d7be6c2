"""What is asked of the usage rollups.

Owns the SELECTs: sums by day, session, hour or what else a row has, of a span of days.
Promises one or two reads of rollups alone, and to import little: a status line needs them.
Leaves keeping the rollups to ``rollups.py``, prices and totals to ``analytics/usage_report.py``.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from blueplane.store.usage_columns import VALUES

#: How rows may be grouped: the table, and what a group is known by.
_DAYS: Final = "usage_days"
_GROUPS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "all": (_DAYS, ()),
    "day": (_DAYS, ("u.day",)),
    "platform": (_DAYS, ("u.platform",)),
    "model": (_DAYS, ("m.text",)),
    "project": (_DAYS, ("p.text",)),
    "branch": (_DAYS, ("p.text", "b.text")),
    "hour": ("usage_hours", ("u.platform", "u.hour")),
    "session": ("usage_sessions", ("u.session",)),
}
_JOINS: Final[Mapping[str, str]] = {
    "m": "LEFT JOIN labels m ON m.id = u.model",
    "p": "LEFT JOIN labels p ON p.id = u.project",
    "b": "LEFT JOIN labels b ON b.id = u.branch",
    "s": "JOIN sessions s ON s.id = u.session",
}
_SUMS: Final = ", ".join(f"sum(u.{name})" for name in VALUES)


class Rows(Protocol):
    """A reader of the database."""

    def rows(
        self, statement: str, parameters: Sequence[Any] | Mapping[str, Any] = ()
    ) -> list[tuple[Any, ...]]:
        """Return the rows of a SELECT."""


class Scope(NamedTuple):
    """What is asked for: days from one to another, a platform, a project; None is all."""

    since_day: int | None = None
    until_day: int | None = None
    platform: str | None = None
    project: str | None = None


class Cell(NamedTuple):
    """Sums of calls of one model, of one band, at the same prices; ``group`` is what they are of.

    ``era`` is how many of the given days had come.
    """

    group: tuple[Any, ...]
    model: str | None
    band: int
    era: int
    sums: tuple[int, ...]


class SessionName(NamedTuple):
    """A session by its number, and what is said of it beside its sums."""

    number: int
    session_id: str
    platform: str
    project: str | None
    last_ms: int | None
    reported_cost_usd: float | None


def cells(
    reader: Rows, group: str, scope: Scope, eras: Sequence[int], only: Sequence[int] = ()
) -> list[Cell]:
    """Return the cells of all groups in a scope; ``only`` are sessions, or hours, to be among."""
    table, columns = _GROUPS[group]
    era = " + ".join(f"(u.day >= {day:d})" for day in eras) or "0"
    where, parameters = _where(table, scope)
    if only:
        where.append(f"{columns[-1]} IN ({', '.join(str(int(each)) for each in only)})")
    wanted = [*columns, "m.text", "u.band", era]
    rows = reader.rows(
        f"SELECT {', '.join([*wanted, _SUMS])} FROM {table} u {_joins([*wanted, *where])}"
        f"{_all_of(where)} GROUP BY {', '.join(str(n + 1) for n in range(len(wanted)))}",
        parameters,
    )
    at = len(columns)
    return [Cell(row[:at], row[at], row[at + 1], row[at + 2], row[at + 3 :]) for row in rows]


def sessions(reader: Rows, scope: Scope, limit: int, offset: int = 0) -> list[SessionName]:
    """Return sessions with calls in a scope, the one that was used last first."""
    where, parameters = _where("usage_sessions", scope)
    found = reader.rows(
        "SELECT s.id, s.session_id, s.platform, q.text, s.last_ms, s.reported_cost_usd"
        " FROM sessions s LEFT JOIN labels q ON q.id = s.project"
        f" WHERE EXISTS (SELECT 1 FROM usage_sessions u {_joins(where, known='s')}"
        f"{_all_of([*where, 'u.session = s.id'])})"
        " ORDER BY s.last_ms DESC LIMIT :limit OFFSET :offset",
        {**parameters, "limit": limit, "offset": offset},
    )
    return [SessionName(*row) for row in found]


def session_number(reader: Rows, session_id: str) -> int | None:
    """Return the number of a session; None for one that is not known."""
    found = reader.rows(
        "SELECT id FROM sessions WHERE session_id = ? ORDER BY last_ms DESC LIMIT 1", (session_id,)
    )
    return int(found[0][0]) if found else None


def hours(reader: Rows, scope: Scope) -> list[tuple[str, int]]:
    """Return platforms with hours (since 1970, UTC) that have calls in a scope, in order."""
    where, parameters = _where("usage_hours", scope)
    return reader.rows(
        f"SELECT DISTINCT u.platform, u.hour FROM usage_hours u{_all_of(where)} ORDER BY 1, 2",
        parameters,
    )


def hours_before(reader: Rows, platform: str, hour: int, limit: int) -> list[int]:
    """Return hours of a platform that have calls, up to one, the latest first."""
    found = reader.rows(
        "SELECT DISTINCT hour FROM usage_hours WHERE platform = ? AND hour <= ?"
        " ORDER BY hour DESC LIMIT ?",
        (platform, hour, limit),
    )
    return [each for (each,) in found]


def platforms(reader: Rows) -> list[str]:
    """Return the platforms that have sessions."""
    found = reader.rows("SELECT DISTINCT platform FROM sessions ORDER BY platform")
    return [name for (name,) in found]


def projects(reader: Rows) -> list[str]:
    """Return the projects that have calls."""
    return [
        name
        for (name,) in reader.rows(
            "SELECT text FROM labels WHERE kind = 'project'"
            " AND id IN (SELECT project FROM usage_days) ORDER BY text"
        )
    ]


def _where(table: str, scope: Scope) -> tuple[list[str], dict[str, Any]]:
    platform = "s.platform" if table == "usage_sessions" else "u.platform"
    conditions = {
        "since_day": "u.day >= :since_day",
        "until_day": "u.day <= :until_day",
        "platform": f"{platform} = :platform",
        "project": (
            "u.project = (SELECT id FROM labels WHERE kind = 'project' AND text = :project)"
        ),
    }
    asked = {name: value for name, value in scope._asdict().items() if value is not None}
    return [conditions[name] for name in asked], asked


def _joins(wanted: Sequence[str], known: str = "") -> str:
    text = " ".join(wanted)
    return " ".join(join for name, join in _JOINS.items() if name != known and f"{name}." in text)


def _all_of(where: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(where)}" if where else ""
