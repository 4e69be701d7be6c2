"""Vectors: what is known of a span of activity, such that two spans together are one.

Owns their form and how they are added up: a vector is a table of whole numbers and of tables like
it, where everything is a sum but what is named ``least`` or ``most``.
Promises percentiles within 1 % of the value (exact below 64), however many spans are added up.
Leaves what is counted to ``measure.py``, and figures to ``catalogue.py``.

A spread keeps values as counts in buckets whose width grows with the value: of every power of two
there are 64, so that the middle of a bucket is never further than 1/128 from what is in it. (The
layout is that of HdrHistogram, http://hdrhistogram.org.)
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any, Final, TypeAlias

Vector: TypeAlias = dict[str, Any]

#: Of a percent: a spread has whole numbers, so it counts shares in these.
HUNDREDTHS: Final = 100
#: Bits of a value that its bucket keeps.
_BITS: Final = 6


def add(vector: Vector, *path: str, amount: int = 1) -> None:
    """Add to the number at a path."""
    *tables, name = path
    for each in tables:
        vector = vector.setdefault(each, {})
    vector[name] = vector.get(name, 0) + amount


def spread(vector: Vector, *path: str, value: int) -> None:
    """Add a value (0 or more) to the spread at a path."""
    for each in path:
        vector = vector.setdefault(each, {})
    value = max(0, value)
    vector["n"] = vector.get("n", 0) + 1
    vector["sum"] = vector.get("sum", 0) + value
    vector["least"] = min(vector.get("least", value), value)
    vector["most"] = max(vector.get("most", value), value)
    add(vector, "in", str(bucket(value)))


def merge(whole: Vector, part: Mapping[str, Any]) -> None:
    """Add a vector to another one."""
    for name, value in part.items():
        if name not in whole:
            whole[name] = _copy(value) if type(value) is dict else value
        elif name == "in" and type(part.get("least")) is int:
            _add_buckets(whole[name], value)
        elif type(value) is dict:
            merge(whole[name], value)
        elif name == "least":
            whole[name] = min(whole[name], value)
        elif name == "most":
            whole[name] = max(whole[name], value)
        else:
            whole[name] += value


def _add_buckets(sums: Vector, others: Mapping[str, int]) -> None:
    """Add the counts of a spread: they are most of a vector, and are nothing but sums."""
    for name, number in others.items():
        if name in sums:
            sums[name] += number
        else:
            sums[name] = number


def _copy(part: Mapping[str, Any]) -> Vector:
    return {name: _copy(each) if type(each) is dict else each for name, each in part.items()}


def merged(parts: Iterable[Mapping[str, Any]]) -> Vector:
    """Return the sum of vectors."""
    whole: Vector = {}
    for part in parts:
        merge(whole, part)
    return whole


def at(vector: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """Return the table at a path; an empty one where there is none."""
    for each in path:
        vector = vector.get(each, {})
    return vector


def total(vector: Mapping[str, Any], *path: str) -> int:
    """Return the number at a path; 0 where nothing was counted."""
    *tables, name = path
    return int(at(vector, *tables).get(name, 0))


def bucket(value: int) -> int:
    """Return the number of the bucket of a value, 0 or more."""
    extra = max(0, value.bit_length() - _BITS - 1)
    return (extra << _BITS) + (value >> extra)


def bounds(number: int) -> tuple[int, int]:
    """Return the least and the largest value of a bucket."""
    extra = max(0, (number >> _BITS) - 1)
    first = number - (extra << _BITS)
    return first << extra, ((first + 1) << extra) - 1


def percentile(values: Mapping[str, Any], percent: float) -> float | None:
    """Return the value of a spread below or at which so many percent lie (nearest rank).

    None for a spread of nothing; never outside of its least and largest value.
    """
    return percentiles(values, (percent,))[0]


def percentiles(values: Mapping[str, Any], percents: Iterable[float]) -> list[float | None]:
    """Return several percentiles of a spread."""
    count, counts = values.get("n", 0), values.get("in", {})
    numbers = sorted(map(int, counts))
    reached = list(accumulate(counts[str(number)] for number in numbers))
    found: list[float | None] = []
    for percent in percents:
        place = bisect_left(reached, max(1, -(-count * percent // 100)))
        found.append(_middle(values, numbers[place]) if count else None)
    return found


def _middle(values: Mapping[str, Any], number: int) -> float:
    first, last = bounds(number)
    return float(min(max((first + last) / 2, values["least"]), values["most"]))


def mean(values: Mapping[str, Any]) -> float | None:
    """Return the mean of a spread; None for one of nothing."""
    return values["sum"] / values["n"] if values.get("n") else None
