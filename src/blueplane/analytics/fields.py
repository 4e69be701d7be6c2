"""What workers read out of payloads, whose every value may be of any type.

Owns the reading of one value.
Promises that a value of another type than expected is none.
Leaves what the value means to each worker.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, TypeVar

from blueplane.digests import blake2b
from blueplane.event import MAX_INT

#: More than there is of anything in one event: tokens, lines, characters, milliseconds.
MOST: Final = 10**12

_N = TypeVar("_N", int, float)
#: Ids whose numbers are kept: that of a tool call is asked for by several rows and workers.
_REMEMBERED: Final = 8_192


@lru_cache(_REMEMBERED)
def number(*parts: str) -> int:
    """Return a 64-bit number for an id: what derived tables have for a key."""
    name = "\0".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(name, digest_size=8).digest(), "big", signed=True)


def table(body: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return the object under a key; an empty one where there is none."""
    value = body.get(key)
    return value if type(value) is dict else {}


def text(body: Mapping[str, Any], key: str) -> str | None:
    """Return the text under a key; None where there is none, or an empty one."""
    value = body.get(key)
    return value if type(value) is str and value else None


def amount(value: object) -> int | None:
    """Return a number that a column can hold."""
    return value if type(value) is int and 0 <= value <= MAX_INT else None


def measured(value: object) -> int | None:
    """Return how much there is of something; None for nonsense, which no sum could hold."""
    return value if type(value) is int and 0 <= value <= MOST else None


def cost(value: object) -> float | None:
    """Return an amount of dollars."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if 0 <= value <= MAX_INT else None


def largest(one: _N | None, other: _N | None) -> _N | None:
    """Return the larger of two numbers, each of which may be unknown."""
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)
