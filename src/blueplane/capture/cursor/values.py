"""Values of Cursor's stores, whatever their type.

Owns the small readers of JSON that may have any shape.
Promises that what is not of the type that is asked for is nothing, and no error.
Leaves which keys there are to who reads a store.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from blueplane.capture.parse import Body, parse_leniently
from blueplane.clock import parse_iso_ms

#: Times are believed between the years 2000 and 2100.
_EARLIEST_MS: Final = 946_684_800_000
_LATEST_MS: Final = 4_102_444_800_000
#: Keys of one object that we do not know, and are kept.
_MAX_UNKNOWN: Final = 32


def taken(body: Mapping[str, Any], keys: Sequence[str]) -> Body:
    """Return those of ``keys`` that say something."""
    return {key: body[key] for key in keys if body.get(key) not in (None, "", [], {})}


def counted(body: Mapping[str, Any], keys: Sequence[str]) -> Body:
    """Return the numbers among ``keys``, and how many items the others have."""
    kept: Body = {}
    for key in keys:
        value = body.get(key)
        if type(value) in (int, float):
            kept[key] = value
        elif isinstance(value, (list, dict)) and value:
            kept[key] = len(value)
    return kept


def unknown(body: Mapping[str, Any], known: frozenset[str]) -> Body:
    """Return what we know nothing of: numbers and flags, of anything else its size."""
    kept: Body = {}
    for key in sorted(body.keys() - known)[:_MAX_UNKNOWN]:
        value = body[key]
        if isinstance(value, str) and value:
            kept[key] = {"chars": len(value)}
        elif isinstance(value, (list, dict)) and value:
            kept[key] = {"items": len(value)}
        elif type(value) in (int, float, bool) and value:
            kept[key] = value
    return kept


def columns(**values: object) -> dict[str, object]:
    """Return those that say something."""
    return {name: value for name, value in values.items() if value not in (None, "")}


def as_object(value: object) -> Body:
    """Return an object, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def objects(value: object) -> list[Body]:
    """Return the objects of a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def word(value: object) -> str:
    """Return a text, "" for anything else."""
    return value if type(value) is str else ""


def number(value: object) -> float | None:
    """Return a number, also one that is written as text."""
    try:
        return float(value) if isinstance(value, (str, int, float)) else None
    except ValueError:
        return None


def time_ms(value: object) -> int:
    """Return a time in ms since the epoch, however it is written; 0 for none to be believed."""
    moment = 0
    if type(value) is str:
        try:
            number = value.isdecimal() and len(value) <= len(str(_LATEST_MS))
            moment = int(value) if number else parse_iso_ms(value)
        except (ValueError, OverflowError):
            return 0
    elif isinstance(value, (int, float)) and _EARLIEST_MS <= value <= _LATEST_MS:
        moment = int(value)
    return moment if _EARLIEST_MS <= moment <= _LATEST_MS else 0


def parse_list(value: bytes) -> list[Body]:
    """Parse a list of objects by the rules for payloads."""
    body, _ = parse_leniently(b'{"list":' + value + b"}")
    return objects(body["list"])
