"""Reading a captured payload: from the bytes that an editor wrote to one JSON object.

Owns the limits of a payload (depth, finite numbers, 64-bit integers) and the repair of its text.
Promises linear time, no exception but MalformedPayloadError, and no number that silently changed.
Leaves what may be kept of the object to the sanitiser.
"""

import json
import math
import re
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeAlias

import orjson

from blueplane.errors import MalformedPayloadError
from blueplane.event import MAX_INT, is_deep

#: A parsed JSON object. What is in it is whatever an editor wrote: check types before use.
Body: TypeAlias = dict[str, Any]
#: What happened to a payload on its way, counted: ``repaired``, ``big_numbers``, ``truncated``.
Marks: TypeAlias = dict[str, int]

# The rules under which a payload is set aside.
EMPTY: Final = "empty"
ENCODING: Final = "encoding"
NOT_JSON: Final = "not-json"
NOT_AN_OBJECT: Final = "not-an-object"
NOT_FINITE: Final = "not-finite"
DEPTH: Final = "depth"

#: Objects and lists within each other. Real payloads stay below 12.
MAX_DEPTH: Final = 64

_BOM: Final = b"\xef\xbb\xbf"
_UTF16_BOMS: Final = (b"\xff\xfe", b"\xfe\xff")
# An integer beyond 64 bits has at least 19 digits. Mapping every digit to one byte and searching
# for a run of it is ten times faster than a regular expression; the same pass finds the brackets.
_OUTLINE: Final = b"".join(
    b"0" if byte in b"0123456789" else b"[" if byte in b"[{" else b" " for byte in range(256)
)
_LONG_NUMBER: Final = b"0" * 19
_SAFE_DIGITS: Final = 18
# A whole string, closed or cut off, or one bracket. Never backtracks, so it is linear.
_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class BigNumber(str):
    """An integer that 64 bits cannot hold, as the text it arrived as."""

    __slots__ = ()


def parse_payload(raw: bytes) -> tuple[Body, Marks]:
    """Read one JSON object and say what had to be done to it.

    A UTF-8 byte order mark is accepted; of a key that occurs twice the last value counts. Integers
    beyond 64 bits come back as BigNumber. Raises MalformedPayloadError with one of the rules
    ``empty``, ``encoding``, ``not-json``, ``not-an-object``, ``not-finite`` and ``depth``.
    """
    text = raw.removeprefix(_BOM)
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return _read_slowly(text)
    outline = text.translate(_OUTLINE)
    if outline.count(b"[") > MAX_DEPTH and is_deep(value, MAX_DEPTH):
        raise _too_deep()
    if _LONG_NUMBER in outline:
        exact, big_numbers = _load_exactly(text.decode())
        if big_numbers:
            return _as_object(exact), {"big_numbers": big_numbers}
    return _as_object(value), {}


def parse_leniently(raw: bytes) -> tuple[Body, Marks]:
    """Read one JSON object as ``parse_payload`` does; a number that is not finite becomes null.

    Nobody can be asked to write a line anew: the rest of it counts. ``nulled`` counts the numbers.
    """
    try:
        return parse_payload(raw)
    except MalformedPayloadError as error:
        if error.rule != NOT_FINITE:
            raise
    nulled = 0

    def null(_text: str) -> None:
        nonlocal nulled
        nulled += 1

    def read_float(text: str) -> float | None:
        number = float(text)
        if math.isfinite(number):
            return number
        null(text)
        return None

    text = raw.removeprefix(_BOM).decode("utf-8", "replace")
    value, big_numbers = _load_exactly(text, read_float, null)
    marks = {"big_numbers": big_numbers} if big_numbers else {}
    return _as_object(_mend(value)), marks | {"nulled": nulled}


def _as_object(value: object) -> Body:
    if not isinstance(value, dict):
        raise MalformedPayloadError(NOT_AN_OBJECT, f"the payload is a {type(value).__name__}")
    return value


def _too_deep() -> MalformedPayloadError:
    return MalformedPayloadError(DEPTH, f"more than {MAX_DEPTH} levels")


# --- the slow path: what the fast parser refuses -------------------------------------------------


def _read_slowly(text: bytes) -> tuple[Body, Marks]:
    """Read what is not strict JSON in UTF-8, if mending text is enough to make it so."""
    if not text.strip():
        raise MalformedPayloadError(EMPTY, f"{len(text)} bytes")
    if text.startswith(_UTF16_BOMS) or b"\0" in text[:4]:
        raise MalformedPayloadError(ENCODING, "UTF-16 or UTF-32 instead of UTF-8")
    if _nests_deeply(text):
        raise _too_deep()
    decoded = text.decode("utf-8", "replace")
    value, big_numbers = _load_exactly(decoded)
    mended = _mend(value)
    marks = {"big_numbers": big_numbers} if big_numbers else {}
    # Digits by the thousand bring a payload here, too; then its text needs no mending.
    if not big_numbers or mended != value or decoded.encode() != text:
        marks["repaired"] = 1
    return _as_object(mended), marks


def _nests_deeply(text: bytes) -> bool:
    """Count the brackets outside of strings, so that the recursive parser below never recurses."""
    depth = 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif token in b"]}":
            depth -= 1
    return False


def _load_exactly(
    text: str,
    read_float: Callable[[str], float | None] | None = None,
    read_constant: Callable[[str], None] | None = None,
) -> tuple[object, int]:
    """Parse ``text``, at most MAX_DEPTH deep, and count the integers that became BigNumber."""
    big_numbers = 0

    def read_integer(digits: str) -> int | BigNumber:
        nonlocal big_numbers
        if len(digits) <= _SAFE_DIGITS:
            return int(digits)
        if len(digits) <= _SAFE_DIGITS + 2 and abs(number := int(digits)) <= MAX_INT:
            return number
        big_numbers += 1
        return BigNumber(digits)

    try:
        value = json.loads(
            text,
            strict=False,  # raw control characters in strings are let through
            parse_int=read_integer,
            parse_float=read_float or _read_float,
            parse_constant=read_constant or _refuse_constant,
        )
    except json.JSONDecodeError as error:
        # The parser's own message may quote a character of the payload.
        raise MalformedPayloadError(NOT_JSON, f"at character {error.pos}") from None
    return value, big_numbers


def _read_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise MalformedPayloadError(NOT_FINITE, "a number is out of range")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedPayloadError(NOT_FINITE, name)


def _mend(value: object) -> object:
    """Replace what no UTF-8 text can hold: halves of surrogate pairs."""
    if type(value) is str:
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_mend(item) for item in value]
    if isinstance(value, dict):
        return {_SURROGATE.sub("\ufffd", key): _mend(item) for key, item in value.items()}
    return value
