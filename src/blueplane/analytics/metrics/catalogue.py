"""The catalogue of figures: what each one is called, and how it follows from a vector.

Owns every figure of section 3 of the metrics' definition, one declared function each.
Promises None for a figure without data, never 0 and never 1; and with each its size of sample.
Leaves vectors to ``measure.py``, and how figures look to the interfaces.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import log
from typing import Any, Final, TypeAlias

from blueplane.analytics.metrics.vector import HUNDREDTHS, at, mean, merged, percentiles, total
from blueplane.clock import MS_PER_HOUR, MS_PER_MINUTE

_Vector: TypeAlias = Mapping[str, Any]

_SECOND_MS: Final = 1_000
#: Calls of tools that a productivity score needs at least.
_ENOUGH: Final = 5
#: Net lines an hour that are worth all of their points.
_LINES_PER_H: Final = 200
#: The figures of a spread beside its mean: those that it has as they are, and percentiles.
_ENDS: Final = {"min": "least", "max": "most"}
_PERCENTILES: Final = {"p50": 50, "p95": 95, "p99": 99}
#: What may become of a call of a tool, and what an edit may come to.
OUTCOMES: Final = ("ok", "failed", "denied", "interrupted", "open")
VERDICTS: Final = ("accepted", "provisional", "modified", "rejected", "undecided")


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of a span: ``value`` is None when unknown, ``n`` what it was made of.

    ``parts`` are named figures that it was added up from.
    """

    value: float | None
    n: int
    parts: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Metric:
    """A kind of figure; ``unit`` is ``ms``, ``s``, ``share`` (of 1), ``percent``, ``count``, ...

    ``certainty`` is ``exact``, ``estimate`` (a percentile within 1 %) or ``inferred`` (by a rule).
    ``better`` says which way is better, ``up`` or ``down``, where one is.
    """

    name: str
    category: str
    unit: str
    certainty: str
    better: str
    make: Callable[[_Vector], Figure]


CATALOGUE: Final[dict[str, Metric]] = {}


def metric(
    name: str, category: str, unit: str, certainty: str = "exact", better: str = ""
) -> Callable[[Callable[[_Vector], Figure]], Callable[[_Vector], Figure]]:
    """Declare the function below it as a metric."""

    def declare(make: Callable[[_Vector], Figure]) -> Callable[[_Vector], Figure]:
        CATALOGUE[name] = Metric(name, category, unit, certainty, better, make)
        return make

    return declare


def _share(part: float, whole: int) -> Figure:
    return Figure(part / whole if whole else None, whole)


def _rate(count: float, span_ms: int, unit_ms: int) -> Figure:
    return Figure(count * unit_ms / span_ms if span_ms else None, round(count))


def _spread_figures(values: _Vector, divisor: float) -> dict[str, Figure]:
    """Return the mean, the least, the most and the percentiles of a spread."""
    parts = dict(zip(_PERCENTILES, percentiles(values, _PERCENTILES.values()), strict=True))
    ends = {which: values.get(name) for which, name in _ENDS.items()}
    n = values.get("n", 0)
    return {
        which: Figure(None if value is None else value / divisor, n)
        for which, value in {"avg": mean(values), **ends, **parts}.items()
    }


def _declare_spread(
    name: str, category: str, unit: str, find: Callable[[_Vector], _Vector], divisor: float = 1
) -> None:
    """Declare the figures of a spread; ``name`` has a place for which of them it is."""
    last: list[tuple[_Vector, dict[str, Figure]]] = []

    def found(vector: _Vector) -> dict[str, Figure]:
        # All of them are asked of one vector after the other, and are made in one go.
        known = last[0] if last and last[0][0] is vector else None
        if known is None:
            known = (vector, _spread_figures(find(vector), divisor))
            last[:] = [known]
        return known[1]

    for which in ("avg", *_ENDS, *_PERCENTILES):

        def make(vector: _Vector, which: str = which) -> Figure:
            return found(vector)[which]

        metric(name.format(which), category, unit, "estimate" if which[0] == "p" else "exact")(make)


# -- latency ---------------------------------------------------------------------------------------


def tool_spread(vector: _Vector) -> _Vector:
    """Return how long calls of all tools took."""
    return merged(tool.get("ms", {}) for tool in at(vector, "tools").values())


_declare_spread("tool_execution_{}_ms", "latency", "ms", tool_spread)
_declare_spread("response_time_{}_ms", "latency", "ms", lambda vector: at(vector, "response_ms"))
_declare_spread(
    "session_duration_{}_s", "latency", "s", lambda vector: at(vector, "session_ms"), _SECOND_MS
)

# -- throughput ------------------------------------------------------------------------------------


@metric("events_per_s", "throughput", "per second")
def _events_per_s(vector: _Vector) -> Figure:
    return _rate(total(vector, "events"), total(vector, "active_ms"), _SECOND_MS)


@metric("tools_per_min", "throughput", "per minute")
def _tools_per_min(vector: _Vector) -> Figure:
    return _rate(executed(vector), total(vector, "active_ms"), MS_PER_MINUTE)


@metric("lines_per_h", "throughput", "per hour")
def _lines_per_h(vector: _Vector) -> Figure:
    if not total(vector, "lines_known"):
        return Figure(None, 0)
    return _rate(total(vector, "lines_added"), total(vector, "active_ms"), MS_PER_HOUR)


@metric("files_per_session", "throughput", "count")
def _files_per_session(vector: _Vector) -> Figure:
    return _share(files(vector), total(vector, "sessions"))


@metric("prompts_per_session", "throughput", "count")
def _prompts_per_session(vector: _Vector) -> Figure:
    return _share(total(vector, "prompts"), total(vector, "sessions"))


# -- errors ----------------------------------------------------------------------------------------


def outcomes(vector: _Vector) -> dict[str, int]:
    """Return how many calls of tools had which outcome."""
    tools = at(vector, "tools").values()
    return {name: sum(tool.get(name, 0) for tool in tools) for name in OUTCOMES}


def executed(vector: _Vector) -> int:
    """Return how many calls of tools were executed, whatever came of it."""
    found = outcomes(vector)
    return found["ok"] + found["failed"] + found["interrupted"]


@metric("error_rate", "errors", "share", better="down")
def _error_rate(vector: _Vector) -> Figure:
    return _share(outcomes(vector)["failed"], executed(vector))


@metric("interruption_rate", "errors", "share", better="down")
def _interruption_rate(vector: _Vector) -> Figure:
    return _share(outcomes(vector)["interrupted"], executed(vector))


@metric("recovery_rate", "errors", "share", better="up")
def _recovery_rate(vector: _Vector) -> Figure:
    return _share(total(vector, "recovered"), outcomes(vector)["failed"])


# -- acceptance ------------------------------------------------------------------------------------


def verdicts(vector: _Vector) -> dict[str, int]:
    """Return how many edits came to what, by whatever evidence."""
    kinds = at(vector, "edits").values()
    return {name: sum(kind.get(name, 0) for kind in kinds) for name in VERDICTS}


def decided(vector: _Vector) -> int:
    """Return how many edits came to anything."""
    found = verdicts(vector)
    return sum(found.values()) - found["undecided"]


@metric("acceptance_rate", "acceptance", "share", "inferred", "up")
def _acceptance_rate(vector: _Vector) -> Figure:
    found = verdicts(vector)
    return _share(found["accepted"] + found["provisional"], decided(vector))


@metric("partial_rate", "acceptance", "share", "inferred")
def _partial_rate(vector: _Vector) -> Figure:
    return _share(verdicts(vector)["modified"], decided(vector))


@metric("rejection_rate", "acceptance", "share", "inferred", "down")
def _rejection_rate(vector: _Vector) -> Figure:
    return _share(verdicts(vector)["rejected"], decided(vector))


@metric("true_accept_rate", "acceptance", "share", better="up")
def _true_accept_rate(vector: _Vector) -> Figure:
    """Lines that were added less those taken away, of those generated; Cursor alone tells."""
    return _share(total(vector, "lines_kept"), total(vector, "lines_generated"))


# -- tools -----------------------------------------------------------------------------------------


@metric("tool_calls", "tools", "count")
def _tool_calls(vector: _Vector) -> Figure:
    count = sum(outcomes(vector).values())
    return Figure(count or None, count)


@metric("tool_success_rate", "tools", "share", better="up")
def _tool_success_rate(vector: _Vector) -> Figure:
    return _share(outcomes(vector)["ok"], executed(vector))


@metric("tool_diversity", "tools", "share")
def _tool_diversity(vector: _Vector) -> Figure:
    """Entropy of the tools that were called, as a share of what as many could have."""
    counts = [
        count
        for tool in at(vector, "tools").values()
        if (count := sum(tool.get(name, 0) for name in OUTCOMES))
    ]
    n = sum(counts)
    if not n:
        return Figure(None, 0)
    entropy = -sum(count / n * log(count / n) for count in counts)
    return Figure(entropy / log(len(counts)) if len(counts) > 1 else 0.0, n)


# -- code ------------------------------------------------------------------------------------------


def files(vector: _Vector) -> int:
    """Return how many files were changed, each once for a session."""
    return sum(kind.get("files", 0) for kind in at(vector, "changed").values())


def edits(vector: _Vector) -> int:
    """Return how many edits there were."""
    return sum(kind.get("edits", 0) for kind in at(vector, "changed").values())


def _lines(vector: _Vector, *names: str) -> Figure:
    known = total(vector, "lines_known")
    first, *rest = (total(vector, name) for name in names)
    return Figure(first - sum(rest) if known else None, known)


@metric("lines_added", "code", "count")
def _lines_added(vector: _Vector) -> Figure:
    return _lines(vector, "lines_added")


@metric("lines_removed", "code", "count")
def _lines_removed(vector: _Vector) -> Figure:
    return _lines(vector, "lines_removed")


@metric("lines_net", "code", "count")
def _lines_net(vector: _Vector) -> Figure:
    return _lines(vector, "lines_added", "lines_removed")


@metric("churn_rate", "code", "share", better="down")
def _churn_rate(vector: _Vector) -> Figure:
    return _share(total(vector, "edited_again"), edits(vector))


@metric("new_file_share", "code", "share")
def _new_file_share(vector: _Vector) -> Figure:
    return _share(total(vector, "files_created"), files(vector))


# -- rhythm ----------------------------------------------------------------------------------------

_declare_spread("prompt_gap_{}_ms", "rhythm", "ms", lambda vector: at(vector, "prompt_gap_ms"))
_declare_spread("think_time_{}_ms", "rhythm", "ms", lambda vector: at(vector, "think_ms"))
_declare_spread("prompt_chars_{}", "rhythm", "count", lambda vector: at(vector, "prompt_chars"))
_declare_spread("prompt_words_{}", "rhythm", "count", lambda vector: at(vector, "prompt_words"))


@metric("active_ratio", "rhythm", "share")
def _active_ratio(vector: _Vector) -> Figure:
    span_ms = total(vector, "span_ms")
    n = total(vector, "events")
    return Figure(total(vector, "active_ms") / span_ms if span_ms else None, n)


# -- context ---------------------------------------------------------------------------------------


@metric("compactions_per_h", "context", "per hour")
def _compactions_per_h(vector: _Vector) -> Figure:
    return _rate(total(vector, "compactions"), total(vector, "active_ms"), MS_PER_HOUR)


_declare_spread(
    "compaction_gap_{}_ms", "context", "ms", lambda vector: at(vector, "compaction_gap_ms")
)
_declare_spread(
    "context_usage_{}_percent", "context", "percent", lambda vector: at(vector, "context_percent"),
    HUNDREDTHS,
)  # fmt: skip

# -- models and sub-agents -------------------------------------------------------------------------


@metric("model_switches_per_session", "models", "count")
def _model_switches(vector: _Vector) -> Figure:
    if not total(vector, "answers_with_model"):
        return Figure(None, 0)
    return _share(total(vector, "model_switches"), total(vector, "sessions"))


@metric("subagents", "models", "count")
def _subagents(vector: _Vector) -> Figure:
    count = sum(sum(kind.get(name, 0) for name in OUTCOMES) for kind in _kinds(vector))
    return Figure(count or None, count)


@metric("subagent_success_rate", "models", "share", better="up")
def _subagent_success(vector: _Vector) -> Figure:
    ended = sum(kind.get(name, 0) for kind in _kinds(vector) for name in OUTCOMES[:-1])
    return _share(sum(kind.get("ok", 0) for kind in _kinds(vector)), ended)


_declare_spread(
    "subagent_duration_{}_ms", "models", "ms",
    lambda vector: merged(kind.get("ms", {}) for kind in _kinds(vector)),
)  # fmt: skip


def _kinds(vector: _Vector) -> Iterable[_Vector]:
    return at(vector, "subagents").values()


# -- productivity ----------------------------------------------------------------------------------


@metric("productivity_score", "productivity", "points", "inferred", "up")
def _productivity(vector: _Vector) -> Figure:
    """50 + 25 success - 15 (errors + interruptions) + 10 ended normally + 10 net lines an hour."""
    n = executed(vector)
    if n < _ENOUGH:
        return Figure(None, n)
    found = outcomes(vector)
    span_ms = total(vector, "active_ms")
    net = total(vector, "lines_added") - total(vector, "lines_removed")
    speed = net * MS_PER_HOUR / span_ms / _LINES_PER_H if span_ms else 0.0
    ended = _share(total(vector, "sessions_ended"), total(vector, "sessions")).value or 0.0
    parts = {
        "base": 50.0,
        "success": 25 * found["ok"] / n,
        "errors": -15 * (found["failed"] + found["interrupted"]) / n,
        "ended": 10 * ended,
        "lines": 10 * min(max(speed, 0.0), 1.0),
    }
    return Figure(min(max(sum(parts.values()), 0.0), 100.0), n, parts)


def figures(vector: _Vector, names: Iterable[str] = ()) -> dict[str, Figure]:
    """Return figures of a vector by their names; all of them when none is asked for."""
    return {name: CATALOGUE[name].make(vector) for name in names or CATALOGUE}
