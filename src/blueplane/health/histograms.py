"""Times as histograms: of batches, and of the road from capture to row.

Owns what of ``Measures`` becomes a histogram.
Promises counts that only grow, each bucket with all below it.
Leaves writing them down to whoever shows them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from blueplane.pipeline.measures import Measures

#: Of the buckets, the exponents: up to 2**n milliseconds. A minute is about 2**16.
EXPONENTS: Final = range(17)


@dataclass(frozen=True, slots=True)
class Histogram:
    """``buckets`` maps an upper bound in seconds to how many were below it; ``sum_s`` is of all."""

    buckets: Mapping[float, int]
    count: int
    sum_s: float


def batch_seconds(measures: Measures) -> Histogram:
    """Return how long batches took to be durable."""
    return _histogram(dict(measures.batch_ms), measures.batch_sum_ms)


def road_seconds(measures: Measures) -> Histogram:
    """Return how long events took from their capture to their row."""
    return _histogram(dict(measures.road_ms), measures.road_sum_ms)


def _histogram(counts: Mapping[int, int], sum_ms: float) -> Histogram:
    """Make one of counts by the bits of whole milliseconds: n bits are less than 2**n."""
    below = accumulate(counts.get(exponent, 0) for exponent in EXPONENTS)
    buckets = {2**n / 1000: count for n, count in zip(EXPONENTS, below, strict=True)}
    return Histogram(buckets, sum(counts.values()), sum_ms / 1000)
