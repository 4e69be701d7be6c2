"""What a figure is made of: its formula, the numbers that went in, and the records behind them.

Owns how a figure of ``usage`` is taken apart into calls, one of ``metrics`` into sessions, and one
of a session into tool calls, edits or prompts.
Promises that what the parts add up to is reckoned from the parts alone, beside what reports show.
Leaves the rows of a record to ``evidence.py``, files to the interfaces.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import nlargest
from operator import add, itemgetter
from typing import Any, Final, NamedTuple, TypeAlias

from blueplane.analytics.export import call_id, cell_of
from blueplane.analytics.metrics.catalogue import CATALOGUE
from blueplane.analytics.metrics.formulas import Formula, formula
from blueplane.analytics.metrics.measure import judged, measure, moments_of, outcome_of
from blueplane.analytics.metrics.spans import vector_of
from blueplane.analytics.metrics.vector import Vector, merge, merged
from blueplane.analytics.prices import PriceTable
from blueplane.analytics.usage_report import Priced, figures
from blueplane.store import exporting, metric_reports, usage_reports
from blueplane.store.activity import Activity, read_activity
from blueplane.store.conversations import Conversation
from blueplane.store.exporting import CallRow
from blueplane.store.metric_rollups import BoundedScope, bodies_of_session
from blueplane.store.queries import Reader
from blueplane.store.usage_columns import VALUES
from blueplane.store.usage_reports import Cell, Scope

Row: TypeAlias = dict[str, Any]
#: Sums over calls by model, band and era.
_Sums: TypeAlias = dict[tuple[str | None, int, int], tuple[int, ...]]

_COST: Final = (
    "tokens of each kind x the price of the model on the day; 1-hour cache writes at their own"
)
#: Figures of usage, in words.
USAGE: Final[Mapping[str, str]] = {
    "calls": "number of calls, each counted once across all files",
    "final_calls": "number of calls of which the end was seen",
    "input_tokens": "sum over calls of the most input tokens that any line of the call says",
    "output_tokens": "sum over calls of the most output tokens that any line of the call says",
    "cache_creation_tokens": "sum over calls of the tokens written to the cache",
    "cache_creation_5m_tokens": "sum over calls of the tokens written to the cache for 5 minutes",
    "cache_creation_1h_tokens": "sum over calls of the tokens written to the cache for an hour",
    "cache_read_tokens": "sum over calls of the tokens read from the cache",
    "total_tokens": "input + output + cache creation + cache read tokens",
    "cost_usd": _COST,
    "unpriced_calls": "number of calls whose model has no price, or that say no tokens",
    "reported_cost_usd": "sum over calls of what the editor says it cost",
}
_TOKENS: Final = ("input_tokens", "output_tokens", "cache_creation_tokens", "cache_read_tokens")


@dataclass(frozen=True, slots=True)
class Explained:
    """A figure: what reports show, its formula, the numbers that went in, and its parts.

    ``again`` is the figure reckoned from all parts, of which ``rows`` are the largest. ``records``
    says what they are.
    """

    value: float | None
    again: float | None
    unit: str
    certainty: str
    words: str
    inputs: Mapping[str, float | None]
    records: str
    rows: list[Row]
    parts: int


class Wanted(NamedTuple):
    """Of what a figure is wanted: a scope, or a session by its number, or a model of either."""

    scope: Scope
    session: int | None = None
    model: str | None = None
    limit: int = 0


# -- usage -----------------------------------------------------------------------------------------


def explain_usage(reader: Reader, name: str, wanted: Wanted, prices: PriceTable) -> Explained:
    """Take a figure of usage apart into calls."""
    priced = Priced(prices)
    shown = figures(_cells(reader, wanted, priced), priced)
    sums: _Sums = {}
    found = _weighed(_calls(reader, wanted, priced, sums), _weight_of(name, priced))
    largest = nlargest(wanted.limit or exporting.PAGE, found, key=itemgetter(0))
    again = figures((Cell((), *key, each) for key, each in sums.items()), priced)
    inputs = [each for each in ("calls", *_TOKENS) if each != name]
    return Explained(
        shown[name],
        again[name],
        "USD" if name.endswith("usd") else "count",
        "estimate" if name == "cost_usd" else "exact",
        USAGE[name],
        {each: again[each] for each in inputs},
        "calls",
        [_part(call, figures([cell], priced)[name]) for _, (call, cell) in largest],
        again["calls"],
    )


def _cells(reader: Reader, wanted: Wanted, priced: Priced) -> list[Cell]:
    """Return what the rollups have."""
    group, only = ("all", []) if wanted.session is None else ("session", [wanted.session])
    found = usage_reports.cells(reader, group, wanted.scope, priced.eras, only)
    return [cell for cell in found if wanted.model in {None, cell.model}]


def _calls(
    reader: Reader, wanted: Wanted, priced: Priced, sums: _Sums
) -> Iterator[tuple[CallRow, Cell]]:
    """Yield the calls, and add them up."""
    for call in exporting.calls(reader, wanted.scope, wanted.session):
        if wanted.model not in {None, call.model}:
            continue
        cell = cell_of(call, priced)
        key = cell.model, cell.band, cell.era
        sums[key] = tuple(map(add, sums[key], cell.sums)) if key in sums else cell.sums
        yield call, cell


def _weighed(
    calls: Iterable[tuple[CallRow, Cell]], weight: Callable[[Cell], float]
) -> Iterator[tuple[tuple[float, int], tuple[CallRow, Cell]]]:
    """Yield calls with what is compared of them."""
    for call, cell in calls:
        yield (weight(cell), call.timestamp_ms), (call, cell)


def _weight_of(name: str, priced: Priced) -> Callable[[Cell], float]:
    """Return what tells how large a figure of a call is; all its figures would take far longer."""
    if name == "cost_usd":
        return lambda cell: priced.pico_usd(cell) or 0
    if name in VALUES:
        place = VALUES.index(name)
        return lambda cell: cell.sums[place]
    return lambda cell: figures([cell], priced)[name] or 0


def _part(call: CallRow, value: float | None) -> Row:
    return {
        "call_id": call_id(call.message, call.request), "at_ms": call.timestamp_ms,
        "session_id": call.session_id, "model": call.model, "value": value,
    }  # fmt: skip


# -- metrics ---------------------------------------------------------------------------------------


def explain_metric(reader: Reader, name: str, wanted: Wanted) -> Explained:
    """Take a figure of the catalogue apart, into sessions or what happened in one."""
    found = formula(name)
    if wanted.session is None:
        return _of_span(reader, name, found, wanted)
    shown = merged(body for _, body in bodies_of_session(reader, wanted.session))
    activity = read_activity(reader, wanted.session)
    again = merged(measure(activity).values()) if activity is not None else {}
    rows = _records(activity, found.records) if activity is not None else []
    kept = rows[: wanted.limit or None]
    return _explained(name, found, _Vectors(shown, again), _Parts(found.records, kept, len(rows)))


def _of_span(reader: Reader, name: str, found: Formula, wanted: Wanted) -> Explained:
    scope = wanted.scope
    days = scope.within(metric_reports.days(reader))
    bounded = BoundedScope(days.start, days.stop - 1, scope.platform, scope.project)
    shown = vector_of(reader, bounded) if days else {}
    again: Vector = {}
    rows: dict[str, Row] = {}
    for _, session_id, body in exporting.figures_of_sessions(reader, scope):
        merge(again, body)
        row = rows.setdefault(session_id, {"session_id": session_id})
        for key, count in found.inputs(body).items():
            row[key] = row.get(key, 0) + count
    some = [row for row in rows.values() if any(_numbers(row))]
    kept = nlargest(wanted.limit or len(some), some, key=lambda row: tuple(_numbers(row)))
    return _explained(name, found, _Vectors(shown, again), _Parts("sessions", kept, len(some)))


def _numbers(row: Row) -> list[int]:
    return [value for key, value in row.items() if key != "session_id"]


class _Vectors(NamedTuple):
    """What reports make a figure of, and the same reckoned from the parts."""

    shown: Vector
    again: Vector


class _Parts(NamedTuple):
    """What the parts of a figure are, those that are kept, and how many there are."""

    records: str
    rows: list[Row]
    number: int


def _explained(name: str, found: Formula, vectors: _Vectors, parts: _Parts) -> Explained:
    metric = CATALOGUE[name]
    shown, again = (metric.make(vector).value for vector in vectors)
    return Explained(
        shown, again, metric.unit, metric.certainty, found.words, found.inputs(vectors.again),
        *parts,
    )  # fmt: skip


def _records(activity: Activity, kind: str) -> list[Row]:
    """Return what happened in a session, of a kind, and what became of it."""
    last_ms = max(moments_of(activity.talk), default=0)
    head = {"session_id": activity.talk.session_id}
    make = _MAKERS.get(kind)
    return [] if make is None else [{**head, **row} for row in make(activity.talk, last_ms)]


def _tool_calls(talk: Conversation, last_ms: int) -> Iterator[Row]:
    for each in talk.tool_calls:
        yield {
            "key": each.key, "at_ms": each.started_ms, "what": each.name,
            "outcome": outcome_of(each, last_ms), "took_ms": each.took_ms,
        }  # fmt: skip


def _code_changes(talk: Conversation, last_ms: int) -> Iterator[Row]:
    for each in sorted(judged(talk, last_ms), key=lambda each: each.change.at_ms):
        change = each.change
        yield {
            "key": change.tool, "at_ms": change.at_ms, "what": change.extension,
            "outcome": each.verdict, "lines_added": change.lines_added,
            "lines_removed": change.lines_removed,
        }  # fmt: skip


def _turns(talk: Conversation, _last_ms: int) -> Iterator[Row]:
    for each in talk.turns:
        if each.prompt_ms is not None and each.agent is None:
            response_ms = None if each.first_ms is None else each.first_ms - each.prompt_ms
            yield {
                "key": None, "at_ms": each.prompt_ms, "what": "prompt", "chars": each.prompt_chars,
                "response_ms": response_ms,
            }  # fmt: skip


_MAKERS: Final[Mapping[str, Callable[[Conversation, int], Iterator[Row]]]] = {
    "tool_calls": _tool_calls,
    "code_changes": _code_changes,
    "turns": _turns,
}
