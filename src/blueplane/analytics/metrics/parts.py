"""Figures of a part of a span: of one tool, or of one model.

Owns which figures make sense for a tool and for a model, and those that only a model has.
Promises that a figure of a tool is made as that of all tools is.
Leaves figures of everything to ``catalogue.py``.
"""

from collections.abc import Mapping
from typing import Any, Final

from blueplane.analytics.metrics.catalogue import CATALOGUE, OUTCOMES, Figure, Metric
from blueplane.analytics.metrics.vector import Vector, at, total

#: The kinds of tokens that a model reads.
_READ: Final = ("input_tokens", "cache_creation_tokens", "cache_read_tokens")


def _only(vector: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the one model of a vector has."""
    found: Mapping[str, Any] = next(iter(at(vector, "models").values()), {})
    return found


def _counted(name: str, key: str, unit: str = "count", better: str = "") -> Metric:
    def make(vector: Mapping[str, Any]) -> Figure:
        model = _only(vector)
        return Figure(model.get(key), total(model, "calls"))

    return Metric(name, "models", unit, "exact", better, make)


def cache_read_share(model: Mapping[str, Any]) -> Figure:
    """Return how much of what a model read came out of the cache; n is its calls."""
    whole = sum(total(model, name) for name in _READ)
    part = model.get("cache_read_tokens")
    return Figure(part / whole if whole and part is not None else None, total(model, "calls"))


def _error_rate(vector: Mapping[str, Any]) -> Figure:
    """Return how many of the tools that a model called failed."""
    model = _only(vector)
    n = total(model, "executed")
    return Figure(total(model, "failed") / n if n else None, n)


#: Figures that only a model has, beside those of ``CATALOGUE``.
OF_MODEL: Final = {
    each.name: each
    for each in (
        _counted("model_calls", "calls"),
        *(_counted(name, name, "tokens") for name in (_READ[0], "output_tokens", *_READ[1:])),
        Metric("cache_read_share", "models", "share", "exact", "up",
               lambda vector: cache_read_share(_only(vector))),
        Metric("error_rate", "models", "share", "exact", "down", _error_rate),
    )
}  # fmt: skip
OF_TOOL: Final = {
    name: each
    for name, each in CATALOGUE.items()
    if name in {"tool_calls", "tool_success_rate", "error_rate", "interruption_rate"}
    or name.startswith("tool_execution_")
}
#: The table of a vector that has a part for each name, its figures, and what says how large it is.
PARTS: Final[Mapping[str, tuple[str, Mapping[str, Metric], tuple[str, ...]]]] = {
    "tool": ("tools", OF_TOOL, OUTCOMES),
    "model": ("models", OF_MODEL, ("calls", "failed")),
}


def parts_of(vector: Vector, kind: str) -> list[tuple[str | None, Vector]]:
    """Return the names of tools or models with a vector of each, the most used first."""
    table, _, sizes = PARTS[kind]
    found = at(vector, table)
    by_size = sorted(found, key=lambda name: (-sum(found[name].get(s, 0) for s in sizes), name))
    return [(name or None, {table: {name: found[name]}}) for name in by_size]
