"""What is asked of the list of sessions.

Owns the SELECTs: which sessions are in a scope and have certain figures, in which order.
Promises that the calls of the sessions of a scope are all calls of the scope; and to import little.
Leaves what was measured to ``metric_rollups.py``, tokens to ``usage_reports.py``.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from blueplane.store.endings import end_of
from blueplane.store.usage_reports import RatesOf, Rows, Scope, amount_of

_ACCEPTANCE: Final = "(m.accepted * 1.0 / nullif(m.decided, 0))"
#: Orders, all of them with what is most first.
ORDERS: Final[Mapping[str, str]] = {
    "last": "s.last_ms",
    "start": "s.started_ms",
    "duration": "m.duration_ms",
    "prompts": "m.prompts",
    "tools": "m.tool_calls",
    "errors": "m.failed",
    "acceptance": _ACCEPTANCE,
    "productivity": "m.productivity",
}
_FROM: Final = " FROM sessions s LEFT JOIN session_summaries m ON m.session = s.id"
_PROJECT: Final = "(SELECT id FROM labels WHERE kind = 'project' AND text = :project)"
#: Characters of an id of which at least so many have to fit for it to be a near one.
_NEAR: Final = 4
_LAST_CHARACTER: Final = chr(0x10FFFF)


class Figures(NamedTuple):
    """What sessions must have to be listed, shares of 1; one without the figure has it not."""

    min_acceptance: float | None = None
    max_acceptance: float | None = None
    min_productivity: float | None = None
    with_errors: bool = False


class Wanted(NamedTuple):
    """Which sessions are wanted, in which of ``ORDERS``; a limit of -1 is all."""

    scope: Scope = Scope()
    figures: Figures = Figures()
    order: str = "last"
    limit: int = -1
    offset: int = 0


class Listed(NamedTuple):
    """A session in the list.

    ``ended_by`` is the reason that its editor gave, ``idle``, ``open`` while it lasts. What was not
    measured is None.
    """

    number: int
    session_id: str
    platform: str
    project: str | None
    parent_id: str | None
    started_ms: int | None
    last_ms: int | None
    ended_by: str | None
    duration_ms: int | None
    prompts: int | None
    tool_calls: int | None
    failed: int | None
    acceptance_rate: float | None
    productivity_score: float | None


class Sums(NamedTuple):
    """What the figures of sessions add up to."""

    sessions: int
    duration_ms: int | None
    prompts: int | None
    tool_calls: int | None
    failed: int | None
    acceptance_rate: float | None


class Known(NamedTuple):
    """A session by its number, with the name that it has."""

    number: int
    session_id: str
    platform: str


def listed(reader: Rows, wanted: Wanted, now_ms: int) -> list[Listed]:
    """Return the sessions of a page."""
    where, parameters = _where(wanted)
    return _page(reader, wanted, f"{where} ORDER BY {ORDERS[wanted.order]}", parameters, now_ms)


def dearest(
    reader: Rows, wanted: Wanted, eras: Sequence[int], rates: RatesOf, now_ms: int
) -> list[Listed]:
    """Return the sessions of a page of which the calls of the scope amount to most."""
    where, parameters = _where(wanted)
    amount = amount_of(wanted.scope, eras, rates)
    rest = f"{where} ORDER BY ({amount}) DESC, s.last_ms"
    return _page(reader, wanted, rest, parameters, now_ms)


def _page(
    reader: Rows, wanted: Wanted, rest: str, parameters: Mapping[str, Any], now_ms: int
) -> list[Listed]:
    page = {"limit": wanted.limit, "offset": wanted.offset}
    rest = f"{rest} DESC, s.id DESC LIMIT :limit OFFSET :offset"
    return _read(reader, rest, {**parameters, **page}, now_ms)


def by_number(reader: Rows, numbers: Sequence[int], now_ms: int) -> list[Listed]:
    """Return sessions by their numbers, in that order."""
    where = " WHERE s.id IN (SELECT value FROM json_each(:numbers))"
    found = _read(reader, where, {"numbers": _json(numbers)}, now_ms)
    places = {number: place for place, number in enumerate(numbers)}
    return sorted(found, key=lambda each: places[each.number])


def numbers(reader: Rows, wanted: Wanted) -> list[int]:
    """Return the numbers of all sessions."""
    where, parameters = _where(wanted)
    found = reader.rows(f"SELECT s.id{_FROM}{where}", parameters)
    return [number for (number,) in found]


def sums(reader: Rows, wanted: Wanted) -> Sums:
    """Return what the figures of all sessions add up to."""
    where, parameters = _where(wanted)
    found = reader.rows(
        "SELECT count(*), sum(m.duration_ms), sum(m.prompts), sum(m.tool_calls), sum(m.failed),"
        f" sum(m.accepted) * 1.0 / nullif(sum(m.decided), 0){_FROM}{where}",
        parameters,
    )
    return Sums(*found[0])


def _read(reader: Rows, rest: str, parameters: Mapping[str, Any], now_ms: int) -> list[Listed]:
    found = reader.rows(
        "SELECT s.id, s.session_id, s.platform, (SELECT text FROM labels WHERE id = s.project),"
        " s.parent_id, s.started_ms, s.last_ms, m.duration_ms, m.prompts, m.tool_calls, m.failed,"
        f" {_ACCEPTANCE}, m.productivity, s.ended_ms, s.end_reason{_FROM}{rest}",
        parameters,
    )
    return [_listed(row, now_ms) for row in found]


def _listed(row: Sequence[Any], now_ms: int) -> Listed:
    *known, ended_ms, reason = row
    started_ms, last_ms = known[5:7]
    ended_by = end_of(last_ms, ended_ms, reason, now_ms)[1]
    if ended_by is None and started_ms is not None:
        ended_by = "open"
    values = [*known[:7], ended_by, *known[7:]]
    return Listed(*values)


def _where(wanted: Wanted) -> tuple[str, dict[str, Any]]:
    """Return the conditions, and what they are asked with."""
    scope, figures = wanted.scope, wanted.figures
    conditions = {
        "min_acceptance": f"{_ACCEPTANCE} >= :min_acceptance",
        "max_acceptance": f"{_ACCEPTANCE} <= :max_acceptance",
        "min_productivity": "m.productivity >= :min_productivity",
    }
    asked = {
        name: value
        for name, value in {**scope._asdict(), **figures._asdict()}.items()
        if value is not None and name != "with_errors"
    }
    where = [_in_scope(scope), *(conditions[name] for name in asked if name in conditions)]
    where += ["s.platform = :platform"] if scope.platform is not None else []
    where += ["m.failed > 0"] if figures.with_errors else []
    return f" WHERE {' AND '.join(where)}", asked


def _in_scope(scope: Scope) -> str:
    """Return what is true of a session in the days and the project of a scope.

    What was measured of a session has a part for each day with calls, so that only those that are
    to be measured have to be looked up among the calls; and the ones of another project.
    """
    span = [
        f"{{0}} {sign} :{name}"
        for sign, name in ((">=", "since_day"), ("<=", "until_day"))
        if getattr(scope, name) is not None
    ]
    project = [f"{{1}} = {_PROJECT}"] if scope.project is not None else []
    if not span and not project:
        return "(s.evidence OR EXISTS (SELECT 1 FROM usage_sessions WHERE session = s.id))"
    measured = " AND ".join([*span, *project]).format("f.span", "f.project")
    called = " AND ".join([*span, *project]).format("u.day", "u.project")
    if not project:
        called = f"u.session IN (SELECT session FROM touched) AND {called}"
    return (
        f"s.id IN (SELECT f.session FROM session_figures f WHERE {measured}"
        f" UNION SELECT u.session FROM usage_sessions u WHERE {called})"
    )


# --- one session ----------------------------------------------------------------------------------


def newest(reader: Rows) -> Known | None:
    """Return the session that was used last; None when there is none."""
    found = reader.rows(
        "SELECT id, session_id, platform FROM sessions WHERE evidence"
        " ORDER BY last_ms DESC, id DESC LIMIT 1"
    )
    return Known(*found[0]) if found else None


def beginning(reader: Rows, prefix: str, limit: int) -> list[Known]:
    """Return sessions whose ids begin so, one that is called exactly so before all others."""
    found = reader.rows(
        "SELECT id, session_id, platform FROM sessions"
        " WHERE platform IN (SELECT DISTINCT platform FROM sessions)"
        " AND session_id BETWEEN :prefix AND :last"
        " ORDER BY session_id = :prefix DESC, last_ms DESC LIMIT :limit",
        {"prefix": prefix, "last": prefix + _LAST_CHARACTER, "limit": limit},
    )
    return [Known(*row) for row in found]


def nearest(reader: Rows, name: str) -> str | None:
    """Return the id that begins most like a name; None when none does."""
    for length in range(len(name) - 1, _NEAR - 1, -1):
        found = beginning(reader, name[:length], 1)
        if found:
            return found[0].session_id
    return None


def _json(numbers: Sequence[int]) -> str:
    return f"[{', '.join(map(str, numbers))}]"
