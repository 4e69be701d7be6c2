"""Metrics of third parties.

Owns finding them by the entry points of group ``blueplane.metrics``, and what one has to be.
Promises that one which is broken, or takes the name of another, costs only itself and is named; and
to import nothing for them where nobody offers any.
Leaves what a metric is to ``catalogue.py``.

An entry point names a ``Metric`` or several of them; ``make`` gets a vector (``vector.py``), and
returns a ``Figure``.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from math import isfinite
from pathlib import Path
from typing import Any, Final

from blueplane.analytics.metrics.catalogue import CATALOGUE, Figure, Metric

ENTRY_POINTS: Final = "blueplane.metrics"
#: Metrics of all third parties together.
_MOST: Final = 100
#: Characters of what an error says.
_WORDS: Final = 200
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
_CERTAINTIES: Final = ("exact", "estimate", "inferred")
_WAYS: Final = ("", "up", "down")


@dataclass(frozen=True, slots=True)
class Known:
    """All metrics by name.

    ``broken`` says of each that could not be had, or failed, why; ``makers`` of each of another
    package, which one that is.
    """

    metrics: dict[str, Metric]
    broken: dict[str, str]
    makers: dict[str, str]


@cache
def known_metrics() -> Known:
    """Return our metrics and those of others."""
    found = Known(dict(CATALOGUE), {}, {})
    if not _is_offered(sys.path):
        return found
    # Importing it takes a third of the time that a report may take.
    for point in import_module("importlib.metadata").entry_points(group=ENTRY_POINTS):
        try:
            for metric in _checked(point.load()):
                _add(found, metric, point.dist.name)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's module may do anything
            found.broken[point.name] = _words(error)
    return found


def _is_offered(places: Iterable[str]) -> bool:
    """Whether an installed package says that it has metrics."""
    files = (file for place in places for file in Path(place).glob("*.*-info/entry_points.txt"))
    with suppress(OSError):  # whoever may not look has none
        return any(f"[{ENTRY_POINTS}]" in file.read_text("utf-8", "replace") for file in files)
    return False


def _checked(offered: object) -> Iterator[Metric]:
    """Yield what an entry point has; raise TypeError or ValueError for what is no metric."""
    for metric in offered if isinstance(offered, list | tuple) else [offered]:
        if not isinstance(metric, Metric):
            message = f"{type(metric).__name__} is not a Metric"
            raise TypeError(message)
        if not all(_NAME.match(each) for each in (metric.name, metric.category)):
            message = f"{metric.category!r}, {metric.name!r}: write a-z, 0-9 and _"
            raise ValueError(message)
        if metric.certainty not in _CERTAINTIES or metric.better not in _WAYS:
            message = f"{metric.name}: no such certainty, or no such way"
            raise ValueError(message)
        yield metric


def _add(known: Known, metric: Metric, maker: str) -> None:
    name = metric.name
    if name in known.metrics:
        known.broken[name] = "there is a metric of that name already"
    elif len(known.makers) >= _MOST:
        known.broken[name] = f"there are {_MOST} metrics of third parties already"
    else:
        make = _guarded(metric, known.broken)
        known.metrics[name] = replace(metric, unit=str(metric.unit), make=make)
        known.makers[name] = maker


def _guarded(metric: Metric, broken: dict[str, str]) -> Any:  # noqa: ANN401 - a Metric's make
    """Have a metric that fails be unknown."""

    def make(vector: Mapping[str, Any]) -> Figure:
        try:
            figure = metric.make(deepcopy(vector))  # others have figures of it, too
            value = None if figure.value is None else float(figure.value)
            if value is None or isfinite(value):
                return Figure(value, int(figure.n))
            broken[metric.name] = f"{value} is no figure"
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's function may do anything
            broken[metric.name] = _words(error)
        return Figure(None, 0)

    return make


def _words(error: BaseException) -> str:
    """Say what was raised, in as many characters as a note has room for."""
    return f"{type(error).__name__}: {error}"[:_WORDS]
