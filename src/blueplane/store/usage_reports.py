"""What is asked of the usage rollups.

Owns the SELECTs: sums by day, session, hour or what else a row has, of a span of days.
Promises few reads of rollups alone, of months where whole months are asked for, and to import
little: a status line needs them.
Leaves keeping the rollups to ``rollups.py``, prices and totals to ``analytics/usage_report.py``.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from blueplane.days import days_of, month_of
from blueplane.store.usage_columns import VALUES

#: Rows of days; those of months have the first day of each.
_DAYS: Final = "usage_days"
_MONTHS: Final = "(SELECT month AS day, * FROM usage_months)"
#: How rows may be grouped: the table, and what a group is known by.
_GROUPS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "all": (_MONTHS, ()),
    "day": (_DAYS, ("u.day",)),
    "month": (_MONTHS, ("u.day",)),
    "platform": (_MONTHS, ("u.platform",)),
    "model": (_MONTHS, ("m.text",)),
    "project": (_MONTHS, ("p.text",)),
    "branch": (_MONTHS, ("p.text", "b.text")),
    "export": (_DAYS, ("u.day", "u.platform", "p.text", "b.text", "m.text")),
    "hour": ("usage_hours", ("u.platform", "u.hour")),
    "session": ("usage_sessions", ("u.session",)),
    "sessions": ("usage_sessions", ()),
}
#: A day after all others; and less than it is before them.
_NEVER: Final = 10**9
#: What some of which may be asked for, of tables that have it.
_ONLY: Final[Mapping[str, str]] = {"usage_hours": "u.hour", "usage_sessions": "u.session"}
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

    def within(self, days: range) -> range:
        """Return those of some days that are asked for."""
        first = days.start if self.since_day is None else max(days.start, self.since_day)
        stop = days.stop if self.until_day is None else min(days.stop, self.until_day + 1)
        return range(first, max(first, stop))


class Cell(NamedTuple):
    """Sums of calls of one model, of one band, at the same prices; ``group`` is what they are of.

    ``era`` is how many of the given days had come.
    """

    group: tuple[Any, ...]
    model: str | None
    band: int
    era: int
    sums: tuple[int, ...]


class Rates(NamedTuple):
    """How much a token of each kind adds to an amount.

    Those that stay in the cache for an hour are among those written to it, and add the difference.
    """

    input: int = 0
    output: int = 0
    cache_creation: int = 0
    cache_creation_1h: int = 0
    cache_read: int = 0


#: The rates of a model by band and era, by its number; 0 is no model.
RatesOf: TypeAlias = Mapping[int, Mapping[tuple[int, int], Rates]]


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
    """Return the cells of all groups in a scope; ``only`` are sessions, or hours, to be among.

    A group may have several cells that differ in nothing but their sums.
    """
    table, columns = _GROUPS[group]
    parts = spans(scope, eras) if table == _MONTHS else [(table, scope)]
    return [cell for part, of in parts for cell in _cells(reader, (part, columns), of, eras, only)]


def spans(scope: Scope, eras: Sequence[int]) -> list[tuple[str, Scope]]:
    """Return the spans of a scope to be read by months, and those to be read by days.

    By days is what a month has of which not all is asked for, or within which a price changes.
    """
    first = -_NEVER if scope.since_day is None else scope.since_day
    last = _NEVER if scope.until_day is None else scope.until_day
    cuts = {day for day in (first, last + 1, *eras) if first <= day <= last + 1}
    found: list[tuple[str, int, int]] = []
    for month in sorted({month_of(day) for day in cuts if abs(day) < _NEVER}):
        days = days_of(month)
        if not cuts.isdisjoint(days[1:]):
            found.append((_MONTHS, first, days.start - 1))
            found.append((_DAYS, max(first, days.start), min(last, days.stop - 1)))
            first = days.stop
    found.append((_MONTHS, first, last))
    return [
        (table, scope._replace(since_day=since, until_day=until))
        for table, since, until in found
        if since <= until
    ]


def _cells(
    reader: Rows,
    table_columns: tuple[str, Sequence[str]],
    scope: Scope,
    eras: Sequence[int],
    only: Sequence[int],
) -> list[Cell]:
    table, columns = table_columns
    era = _era(eras)
    where, parameters = _where(table, scope)
    if only:
        where.append(f"{_ONLY[table]} IN (SELECT value FROM json_each(:only))")
        parameters["only"] = f"[{', '.join(str(int(each)) for each in only)}]"
    wanted = [*columns, "m.text", "u.band", era]
    rows = reader.rows(
        f"SELECT {', '.join([*wanted, _SUMS])} FROM {table} u {_joins([*wanted, *where])}"
        f"{_all_of(where)} GROUP BY {', '.join(str(n + 1) for n in range(len(wanted)))}",
        parameters,
    )
    at = len(columns)
    return [Cell(row[:at], row[at], row[at + 1], row[at + 2], row[at + 3 :]) for row in rows]


def amount_of(scope: Scope, eras: Sequence[int], rates: RatesOf) -> str:
    """Return the SELECT of what the calls of the session ``s.id`` amount to in a scope.

    It is asked with the fields of the scope.
    """
    where, _ = _where("usage_sessions", scope)
    cases = [f"WHEN {model:d} THEN {_amount(each, eras)}" for model, each in rates.items()]
    return (
        f"SELECT total(CASE u.model {' '.join(cases)} END) FROM usage_sessions u"
        f"{_all_of(['u.session = s.id', *where])}"
    )


def _amount(rates: Mapping[tuple[int, int], Rates], eras: Sequence[int]) -> str:
    """Return what a row of a model amounts to: most have one price, whatever the band and era."""
    sums = {
        place: " + ".join(f"u.{kind}_tokens * {rate:d}" for kind, rate in each._asdict().items())
        for place, each in rates.items()
    }
    if len({*sums.values()}) == 1:
        return next(iter(sums.values()))
    cases = [
        f"WHEN u.band = {band:d} AND {_era(eras)} = {era:d} THEN {amount}"
        for (band, era), amount in sums.items()
    ]
    return f"CASE {' '.join(cases)} END"


def _era(eras: Sequence[int]) -> str:
    return f"({' + '.join(f'(u.day >= {day:d})' for day in eras) or '0'})"


def models(reader: Rows) -> dict[int, str | None]:
    """Return all models by their numbers, and none as 0."""
    found: dict[int, str | None] = {0: None}
    return found | dict(reader.rows("SELECT id, text FROM labels WHERE kind = 'model'"))


def newest_days(reader: Rows, scope: Scope, limit: int) -> list[int]:
    """Return the last days of a scope that have calls, the newest first."""
    where, parameters = _where(_DAYS, scope)
    found = reader.rows(
        f"SELECT DISTINCT u.day FROM {_DAYS} u{_all_of(where)} ORDER BY u.day DESC LIMIT :limit",
        {**parameters, "limit": limit},
    )
    return [day for (day,) in found]


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


def hours(reader: Rows, scope: Scope, since_hour: int = -_NEVER) -> list[tuple[str, int]]:
    """Return platforms with hours (since 1970, UTC) that have calls in a scope, in order."""
    where, parameters = _where("usage_hours", scope)
    return reader.rows(
        "SELECT DISTINCT u.platform, u.hour FROM usage_hours u"
        f"{_all_of([*where, 'u.hour >= :since_hour'])} ORDER BY 1, 2",
        {**parameters, "since_hour": since_hour},
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
