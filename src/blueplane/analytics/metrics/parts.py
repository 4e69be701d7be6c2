"""Figures of a part of a span: of one tool, model, kind of file, sequence of tools, or sub-agent.

Owns which figures make sense for each kind of part, and those that only such a part has.
Promises that a figure of a tool is made as that of all tools is.
Leaves figures of everything to ``catalogue.py``.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from blueplane.analytics.metrics.catalogue import (
    CATALOGUE,
    OUTCOMES,
    VERDICTS,
    Figure,
    Metric,
    edits,
    files,
)
from blueplane.analytics.metrics.vector import Vector, at, total

#: The kinds of tokens that a model reads.
_READ: Final = ("input_tokens", "cache_creation_tokens", "cache_read_tokens")


def _only(vector: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the one model of a vector has."""
    found: Mapping[str, Any] = next(iter(at(vector, "models").values()), {})
    return found


def _counted(name: str, key: str, unit: str = "count") -> Metric:
    def make(vector: Mapping[str, Any]) -> Figure:
        model = _only(vector)
        return Figure(model.get(key), total(model, "calls"))

    return Metric(name, "models", unit, "exact", "", make)


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


def _plain(name: str, category: str, count: Callable[[Mapping[str, Any]], int]) -> Metric:
    def make(vector: Mapping[str, Any]) -> Figure:
        return Figure(count(vector) or None, count(vector))

    return Metric(name, category, "count", "exact", "", make)


def _times(length: int) -> Metric:
    """Return how often the one sequence of a vector came."""
    table = f"sequences_{length}"
    return _plain("times", "tools", lambda vector: sum(at(vector, table).values()))


def _named(*metrics: Metric) -> dict[str, Metric]:
    return {each.name: each for each in metrics}


def _from_catalogue(*beginnings: str) -> dict[str, Metric]:
    return {name: each for name, each in CATALOGUE.items() if name.startswith(beginnings)}


#: Figures that only a model has, beside those of ``CATALOGUE``.
_OF_MODEL: Final = _named(
    _counted("model_calls", "calls"),
    *(_counted(name, name, "tokens") for name in (_READ[0], "output_tokens", *_READ[1:])),
    Metric("cache_read_share", "models", "share", "exact", "up",
           lambda vector: cache_read_share(_only(vector))),
    Metric("error_rate", "models", "share", "exact", "down", _error_rate),
)  # fmt: skip


class Kind(NamedTuple):
    """A kind of part: the table of a vector that has one for each name, and its figures.

    ``sizes`` are the counts that say how large one is; none where it is a count itself.
    """

    table: str
    metrics: Mapping[str, Metric]
    sizes: tuple[str, ...] = ()


PARTS: Final[Mapping[str, Kind]] = {
    "tool": Kind(
        "tools",
        _from_catalogue(
            "tool_calls", "tool_success_rate", "error_rate", "interruption_rate", "tool_execution_"
        ),
        OUTCOMES,
    ),
    "model": Kind("models", _OF_MODEL, ("calls", "failed")),
    "extension": Kind(
        "changed",
        _named(_plain("files_changed", "code", files), _plain("edits", "code", edits)),
        ("edits",),
    ),
    "pair": Kind("sequences_2", _named(_times(2))),
    "triple": Kind("sequences_3", _named(_times(3))),
    "subagent": Kind("subagents", _from_catalogue("subagent"), OUTCOMES),
    "evidence": Kind(
        "edits", _from_catalogue("acceptance_rate", "partial_rate", "rejection_rate"), VERDICTS
    ),
}


def parts_of(vector: Vector, by: str) -> list[tuple[str | None, Vector]]:
    """Return the names of all parts of a kind with a vector of each, the largest first."""
    table, _, sizes = PARTS[by]
    found = at(vector, table)
    by_size = sorted(found, key=lambda name: (-_size(found[name], sizes), name))
    return [(name or None, {table: {name: found[name]}}) for name in by_size]


def _size(part: Any, sizes: tuple[str, ...]) -> int:  # noqa: ANN401 - a count, or a table of them
    return sum(part.get(name, 0) for name in sizes) if sizes else part
