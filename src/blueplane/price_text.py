"""A price as a person writes it in the configuration.

Owns the form of one line: ``MODEL input=3 output=15 cache_write=3.75 from=2026-01-31``.
Promises whole numbers of pico-dollars a token, and to import little: a status line needs them.
Leaves which price holds to ``analytics/prices.py``.
"""

import re
from datetime import date
from typing import Final, NamedTuple

from blueplane.days import day_of

#: Pico-dollars a token in a dollar for a million tokens.
PICO: Final = 1_000_000
#: Dollars for a million tokens; what is above is somebody's mistake.
MOST_USD: Final = 100_000

_MODEL: Final = re.compile(r"[\w.:@/\[\]-]{1,128}")
_NUMBER: Final = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6})?")
_KINDS: Final = ("input", "output", "cache_write", "cache_write_1h", "cache_read")
_FORM: Final = (
    "write MODEL input=3 output=15, in dollars for a million tokens, and what else there is of"
    " cache_write=3.75 cache_write_1h=6 cache_read=0.3 from=2026-01-31"
)


class Price(NamedTuple):
    """Pico-dollars for a token of each kind."""

    input: int
    output: int
    cache_creation_5m: int
    cache_creation_1h: int
    cache_read: int


class PriceLine(NamedTuple):
    """The price of a model from a day on; None is from ever."""

    model: str
    from_day: int | None
    price: Price


def read_price(text: str) -> PriceLine:
    """Read a line; raise ValueError, which says how one is written.

    What is not said of the cache costs as much as input.
    """
    model, *words = text.split()
    said = dict(_split(word) for word in words)
    if not _MODEL.fullmatch(model) or len(said) < len(words):
        raise ValueError(_FORM)
    from_day = _read_day(said.pop("from")) if "from" in said else None
    if not {"input", "output"} <= said.keys() <= set(_KINDS):
        raise ValueError(_FORM)
    amounts = {kind: _read_amount(said[kind]) for kind in said}
    write = amounts.get("cache_write", amounts["input"])
    price = Price(
        amounts["input"],
        amounts["output"],
        write,
        amounts.get("cache_write_1h", write),
        amounts.get("cache_read", amounts["input"]),
    )
    return PriceLine(model, from_day, price)


def check_price(text: str) -> str | None:
    """Return what is wrong with a line."""
    if not text.strip():
        return _FORM
    try:
        read_price(text)
    except ValueError as error:
        return str(error)
    return None


def _split(word: str) -> tuple[str, str]:
    name, _, value = word.partition("=")
    return name, value


def _read_amount(text: str) -> int:
    if not _NUMBER.fullmatch(text) or float(text) > MOST_USD:
        message = f"{text[:20]!r} is no price: write dollars for a million tokens, as 0.25"
        raise ValueError(message)
    return round(float(text) * PICO)


def _read_day(text: str) -> int:
    try:
        return day_of(date.fromisoformat(text))
    except ValueError:
        message = f"from={text[:20]} is no date: write it as 2026-01-31"
        raise ValueError(message) from None
