"""Breakdowns: what a vector says of each tool, model, kind of file, sequence and sub-agent.

Owns the rows of section 3 of the metrics' definition that are one for each name.
Promises the same counts as the figures of all names together; None for what is unknown, the name
of what nobody named among it; the most frequent row first.
Leaves figures to ``catalogue.py``, vectors to ``measure.py``.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from blueplane.analytics.metrics.catalogue import OUTCOMES, spread_figures
from blueplane.analytics.metrics.vector import at

Row: TypeAlias = dict[str, Any]
_Vector: TypeAlias = Mapping[str, Any]

_TOKENS: Final = ("input_tokens", "output_tokens", "cache_creation_tokens", "cache_read_tokens")
_VERDICTS: Final = ("accepted", "provisional", "modified", "rejected", "undecided")


def tools(vector: _Vector) -> list[Row]:
    """Return how often each tool was called, what became of it, and how long it took."""
    found = at(vector, "tools")
    whole = sum(_calls(tool) for tool in found.values())
    rows = [
        {"tool": name or None, "calls": _calls(tool), "share": _share(_calls(tool), whole),
         **_outcomes(tool), **_rates(tool), **_times(tool)}
        for name, tool in found.items()
    ]  # fmt: skip
    return _ordered(rows, "calls", "tool")


def models(vector: _Vector) -> list[Row]:
    """Return calls, tokens and errors of each model; errors are those of tools that it called."""
    rows = [
        {"model": name or None, "calls": model.get("calls"),
         **{kind: model.get(kind) for kind in _TOKENS},
         "executed": model.get("executed", 0), "failed": model.get("failed", 0),
         "error_rate": _share(model.get("failed", 0), model.get("executed", 0))}
        for name, model in at(vector, "models").items()
    ]  # fmt: skip
    return _ordered(rows, "calls", "model")


def extensions(vector: _Vector) -> list[Row]:
    """Return how many files of each kind were changed, each once for a session, and how often."""
    rows = [
        {"extension": name or None, "files": kind.get("files", 0), "edits": kind.get("edits", 0)}
        for name, kind in at(vector, "changed").items()
    ]
    return _ordered(rows, "files", "extension")


def pairs(vector: _Vector) -> list[Row]:
    """Return which two tools were called one after the other, and how often."""
    return _sequences(at(vector, "sequences_2"))


def triples(vector: _Vector) -> list[Row]:
    """Return which three tools were called one after the other, and how often."""
    return _sequences(at(vector, "sequences_3"))


def _sequences(found: _Vector) -> list[Row]:
    whole = sum(found.values())
    rows = [
        {"sequence": name, "count": count, "share": _share(count, whole)}
        for name, count in found.items()
    ]
    return _ordered(rows, "count", "sequence")


def subagents(vector: _Vector) -> list[Row]:
    """Return how many sub-agents of each type there were, how they ended, how long they took."""
    rows = [
        {"type": name or None, "count": _calls(kind), **_outcomes(kind),
         "success_rate": _share(kind.get("ok", 0), _calls(kind) - kind.get("open", 0)),
         **_times(kind)}
        for name, kind in at(vector, "subagents").items()
    ]  # fmt: skip
    return _ordered(rows, "count", "type")


def evidence(vector: _Vector) -> list[Row]:
    """Return what edits came to by each kind of evidence: ``explicit`` or ``inferred``."""
    rows = [
        {"evidence": name, "edits": sum(kind.values()),
         **{verdict: kind.get(verdict, 0) for verdict in _VERDICTS}}
        for name, kind in at(vector, "edits").items()
    ]  # fmt: skip
    return _ordered(rows, "edits", "evidence")


#: By what there is a row for each of.
BREAKDOWNS: Final[Mapping[str, Callable[[_Vector], list[Row]]]] = {
    "tool": tools,
    "model": models,
    "extension": extensions,
    "pair": pairs,
    "triple": triples,
    "subagent": subagents,
    "evidence": evidence,
}


def _calls(counts: _Vector) -> int:
    return sum(counts.get(name, 0) for name in OUTCOMES)


def _outcomes(counts: _Vector) -> Row:
    return {name: counts.get(name, 0) for name in OUTCOMES}


def _rates(counts: _Vector) -> Row:
    executed = sum(counts.get(name, 0) for name in ("ok", "failed", "interrupted"))
    names = {"success_rate": "ok", "error_rate": "failed", "interruption_rate": "interrupted"}
    return {rate: _share(counts.get(name, 0), executed) for rate, name in names.items()}


def _times(counts: _Vector) -> Row:
    found = spread_figures(at(counts, "ms"))
    return {f"{name}_ms": figure.value for name, figure in found.items()}


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _ordered(rows: list[Row], count: str, name: str) -> list[Row]:
    return sorted(rows, key=lambda row: (-(row[count] or 0), row[name] or ""))
