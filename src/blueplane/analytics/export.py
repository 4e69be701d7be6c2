"""What can be exported: each kind with its columns, and its rows one after the other.

Owns the names and types of columns, and what a row of each kind is.
Promises figures by the same formulas as reports, so that the rows of any kind add up to what
``usage`` and ``metrics`` show; and rows that are made as they are asked for.
Leaves the SELECTs to ``store/exporting.py``, files and forms to the interfaces.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

from blueplane.analytics.metrics.catalogue import CATALOGUE
from blueplane.analytics.metrics.catalogue import figures as metric_figures
from blueplane.analytics.prices import PriceTable
from blueplane.analytics.usage_report import Priced, figures
from blueplane.days import date_of, local_day
from blueplane.store import exporting, metric_reports, usage_reports
from blueplane.store.conversations import Conversation, conversation
from blueplane.store.exporting import CallRow, SessionRow
from blueplane.store.metric_rollups import BoundedScope, days_between
from blueplane.store.queries import Reader
from blueplane.store.usage_columns import KINDS
from blueplane.store.usage_reports import Cell, Scope

Row: TypeAlias = dict[str, Any]

#: Days whose rollups are read at once.
_DAYS: Final = 31
TEXT, INT, FLOAT, BOOL = "text", "int", "float", "bool"

_USAGE: Final[Mapping[str, str]] = {
    "calls": INT, "final_calls": INT, **{f"{kind}_tokens": INT for kind in KINDS},
    "total_tokens": INT, "cost_usd": FLOAT, "unpriced_calls": INT, "reported_cost_usd": FLOAT,
}  # fmt: skip
_SEEN: Final[Mapping[str, str]] = {"seen_by": TEXT, "joined_by": TEXT, "turn": INT, "agent": TEXT}
_OF_SESSION: Final[Mapping[str, str]] = {"session_id": TEXT, "platform": TEXT, "project": TEXT}


class Source(NamedTuple):
    """Where rows are from, and which ones are wanted."""

    reader: Reader
    scope: Scope
    prices: PriceTable


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of export: its columns with their types, and its rows."""

    columns: Mapping[str, str]
    rows: Callable[[Source], Iterator[Row]]


# -- usage -----------------------------------------------------------------------------------------


def _usage(source: Source) -> Iterator[Row]:
    """Yield a row for each day, platform, project, branch and model."""
    priced = Priced(source.prices)
    for part in _parts(exporting.days_of_usage(source.reader), source.scope):
        scope = source.scope._replace(since_day=part.start, until_day=part.stop - 1)
        groups: dict[tuple[Any, ...], list[Cell]] = {}
        for cell in usage_reports.cells(source.reader, "export", scope, priced.eras):
            groups.setdefault(cell.group, []).append(cell)
        for group, cells in groups.items():
            day, platform, project, branch, model = group
            yield {
                "day": date_of(day).isoformat(), "platform": platform, "project": project,
                "branch": branch, "model": model, **figures(cells, priced),
            }  # fmt: skip


def cell_of(call: CallRow, priced: Priced) -> Cell:
    """Return a call as a rollup of one call."""
    sums = (
        1, int(call.final), *[each or 0 for each in call.tokens],
        *[int(each is not None) for each in call.tokens],
        call.reported_nano_usd or 0, int(call.reported_nano_usd is not None),
    )  # fmt: skip
    return Cell((), call.model, call.band, bisect_right(priced.eras, call.day), sums)


def call_id(message: int, request: int) -> str:
    """Return the name of a call by its key: that of the view ``usage``."""
    return "".join(f"{part & (1 << 64) - 1:016x}" for part in (message, request))


def _calls(source: Source) -> Iterator[Row]:
    priced = Priced(source.prices)
    for call in exporting.calls(source.reader, source.scope):
        yield {
            "call_id": call_id(call.message, call.request),
            "timestamp_ms": call.timestamp_ms,
            "day": date_of(call.day).isoformat(),
            **{name: getattr(call, name) for name in _CALL_PLACE},
            "final": call.final,
            **figures([cell_of(call, priced)], priced),
        }


_CALL_PLACE: Final = (
    "session_id", "platform", "project", "parent_session_id", "agent_id", "branch", "model"
)  # fmt: skip


def _parts(days: range, scope: Scope) -> Iterator[range]:
    """Cut the days of a scope into parts."""
    wanted = scope.within(days)
    for start in wanted[::_DAYS]:
        yield range(start, min(wanted.stop, start + _DAYS))


# -- sessions --------------------------------------------------------------------------------------


def _sessions(source: Source) -> Iterator[Row]:
    """Yield the sessions that have calls, or anything else, in the scope."""
    priced = Priced(source.prices)
    for page in exporting.session_pages(source.reader, source.scope.platform):
        cells: dict[int, list[Cell]] = {}
        numbers = [each.number for each in page]
        for cell in usage_reports.cells(
            source.reader, "session", source.scope, priced.eras, numbers
        ):
            cells.setdefault(cell.group[0], []).append(cell)
        for each in page:
            if each.number in cells or _fits(each, source.scope):
                row = {name: getattr(each, name) for name in _SESSION}
                yield {**row, **figures(cells.get(each.number, []), priced)}


_SESSION: Final[Mapping[str, str]] = {
    **_OF_SESSION, "branch": TEXT, "parent_id": TEXT, "continues": TEXT, "started_ms": INT,
    "last_ms": INT, "ended_ms": INT, "end_reason": TEXT,
}  # fmt: skip


def _fits(session: SessionRow, scope: Scope) -> bool:
    """Whether a session is of the project and of any of the days of a scope."""
    if scope.project is not None and session.project != scope.project:
        return False
    begins, ends = session.started_ms, session.last_ms
    if scope.since_day is not None and (ends is None or local_day(ends) < scope.since_day):
        return False
    return scope.until_day is None or (begins is not None and local_day(begins) <= scope.until_day)


# -- conversations ---------------------------------------------------------------------------------


def _of_talks(name: str, columns: Mapping[str, str]) -> Callable[[Source], Iterator[Row]]:
    """Return what yields one kind of records of conversations."""
    switches = [each for each, kind in columns.items() if kind == BOOL]

    def rows(source: Source) -> Iterator[Row]:
        for session, talk in _talks(source):
            head = {each: getattr(session, each) for each in _OF_SESSION}
            for place, record in enumerate(getattr(talk, name)):
                if _is_within(record.at_ms, source.scope):
                    known = {each: getattr(record, each) for each in columns}
                    known |= {
                        each: None if known[each] is None else bool(known[each])
                        for each in switches
                    }
                    yield {**known, **head, "number": place, "seen_by": " ".join(record.seen_by)}

    return rows


def _talks(source: Source) -> Iterator[tuple[SessionRow, Conversation]]:
    for page in exporting.session_pages(source.reader, source.scope.platform):
        for session in page:
            if _fits(session, source.scope):
                talk = conversation(source.reader, session.session_id, session.platform)
                if talk is not None:
                    yield session, talk


def _is_within(at_ms: int | None, scope: Scope) -> bool:
    first, last = scope.since_day, scope.until_day
    if first is None and last is None:
        return True
    return at_ms is not None and (
        (first is None or first <= local_day(at_ms)) and (last is None or local_day(at_ms) <= last)
    )


def _talk_kind(name: str, columns: Mapping[str, str]) -> Kind:
    own = {**columns, **_SEEN}
    head = {**_OF_SESSION, "number": INT}
    return Kind({**head, **own}, _of_talks(name, own))


# -- metrics ---------------------------------------------------------------------------------------


def _metrics(source: Source) -> Iterator[Row]:
    """Yield each figure of each day, platform and project."""
    names = exporting.projects(source.reader)
    scope = source.scope
    for part in _parts(metric_reports.days(source.reader), scope):
        bounded = BoundedScope(part.start, part.stop - 1, scope.platform, scope.project)
        for cell, body in days_between(source.reader, bounded, apart=True):
            head = {
                "day": date_of(cell.span).isoformat(), "platform": cell.platform,
                "project": names.get(cell.project),
            }  # fmt: skip
            yield from ({**head, **row} for row in _figures(body))


def _figures(body: Mapping[str, Any]) -> Iterable[Row]:
    for name, figure in metric_figures(body).items():
        metric = CATALOGUE[name]
        yield {
            "category": metric.category, "metric": name, "value": figure.value,
            "unit": metric.unit, "n": figure.n, "certainty": metric.certainty,
        }  # fmt: skip


KINDS_OF_EXPORT: Final[Mapping[str, Kind]] = {
    "usage": Kind(
        {**dict.fromkeys(("day", "platform", "project", "branch", "model"), TEXT), **_USAGE}, _usage
    ),
    "calls": Kind(
        {
            "call_id": TEXT, "timestamp_ms": INT, "day": TEXT,
            **dict.fromkeys(_CALL_PLACE, TEXT), "final": BOOL,
            **{name: kind for name, kind in _USAGE.items() if not name.endswith("calls")},
        },
        _calls,
    ),
    "sessions": Kind({**_SESSION, **_USAGE}, _sessions),
    "turns": _talk_kind(
        "turns",
        {
            "prompt_ms": INT, "prompt_chars": INT, "prompt_words": INT, "prompt_lines": INT,
            "first_ms": INT, "last_ms": INT, "ended_ms": INT, "outcome": TEXT, "model": TEXT,
            "responses": INT, "response_chars": INT, "tool_calls": INT,
        },
    ),
    "tools": _talk_kind(
        "tool_calls",
        {
            "key": INT, "name": TEXT, "target": INT, "started_ms": INT, "ended_ms": INT,
            "latency_ms": INT, "duration_ms": INT, "outcome": TEXT,
        },
    ),
    "changes": _talk_kind(
        "code_changes",
        {
            "tool": INT, "at_ms": INT, "file": INT, "extension": TEXT, "lines_added": INT,
            "lines_removed": INT, "created": BOOL, "tab": BOOL, "decision": TEXT,
        },
    ),
    "metrics": Kind(
        {
            "day": TEXT, "platform": TEXT, "project": TEXT, "category": TEXT, "metric": TEXT,
            "value": FLOAT, "unit": TEXT, "n": INT, "certainty": TEXT,
        },
        _metrics,
    ),
}  # fmt: skip
