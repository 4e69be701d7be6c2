"""Figures of today in Redis, for whoever watches.

Owns the keys ``metric:{category}:{name}`` and the channel ``metric:updates``, all behind
``redis.key_prefix``.
Promises to touch no key of the stream, a connection a call, and keys that go by themselves.
Leaves to ``analytics/metrics/today.py`` which figures there are.

Without the module TimeSeries a key is a hash: ``value``, ``n``, ``unit``, ``certainty``, ``day``
(local, as 2026-01-31) and ``at_ms``. With it a key is a series with the labels ``blueplane``,
``category`` and ``metric``. A message on the channel is JSON: ``day``, ``at_ms``, and ``figures``,
the new values of those that changed, by ``category:name``; null is a figure that is not known.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import orjson

from blueplane.clock import MS_PER_DAY
from blueplane.pipeline.link import Command, Link, has_series, require

#: How long a hash and how long a series is kept.
HASH_MS: Final = 2 * MS_PER_DAY
SERIES_MS: Final = 7 * MS_PER_DAY
#: Seconds until a silent server counts as gone: whoever writes has other things to do.
TIMEOUT_S: Final = 1.0
CHANNEL: Final = "metric:updates"
_FIELDS: Final = ("value", "n", "unit", "certainty", "day", "at_ms")


@dataclass(frozen=True, slots=True)
class Current:
    """A figure as it is; ``value`` is None when it is not known."""

    category: str
    name: str
    unit: str
    certainty: str
    value: float | None
    n: int


class MetricLog:
    """The figures of one home; one thread writes them."""

    def __init__(self, find_url: Callable[[], str], prefix: str = "") -> None:
        self._find_url = find_url
        self._prefix = prefix
        #: What was told last, by category and name.
        self._told: dict[str, float | None] = {}

    def write(self, day: str, at_ms: int, figures: Sequence[Current]) -> None:
        """Write the figures of a day and tell of changes; QueueError when not all were written."""
        values = {f"{each.category}:{each.name}": each.value for each in figures}
        changed = {name: value for name, value in values.items() if value != self._told.get(name)}
        with closing(Link(self._find_url(), TIMEOUT_S)) as link:
            link.connect()
            kept = self._series if has_series(link) else self._hashes
            commands = list(kept(day, at_ms, figures))
            if changed:
                told = {"day": day, "at_ms": at_ms, "figures": changed}
                commands.append(("PUBLISH", f"{self._prefix}{CHANNEL}", orjson.dumps(told)))
            require(link.pipeline(commands))
        self._told = values

    def _key(self, figure: Current) -> str:
        return f"{self._prefix}metric:{figure.category}:{figure.name}"

    def _hashes(self, day: str, at_ms: int, figures: Sequence[Current]) -> Iterator[Command]:
        for each in figures:
            key = self._key(each)
            if each.value is None:
                yield ("HDEL", key, *_FIELDS)
                continue
            yield (
                "HSET", key, "value", repr(each.value), "n", each.n, "unit", each.unit,
                "certainty", each.certainty, "day", day, "at_ms", at_ms,
            )  # fmt: skip
            yield ("PEXPIRE", key, HASH_MS)

    def _series(self, _day: str, at_ms: int, figures: Sequence[Current]) -> Iterator[Command]:
        for each in figures:
            if each.value is not None:
                yield (
                    "TS.ADD", self._key(each), at_ms, repr(each.value),
                    "RETENTION", SERIES_MS, "ON_DUPLICATE", "LAST",
                    "LABELS", "blueplane", f"{self._prefix}metric", "category", each.category,
                    "metric", each.name,
                )  # fmt: skip
