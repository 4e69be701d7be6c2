"""What every view has to show of the calls of a corpus.

Owns the sums, the days, the blocks and the prices, worked out call by call.
Promises to use nothing of the program: neither its prices nor its calendar.
Leaves asking the views to the command.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Final, NamedTuple

from blueplane.selftest.corpus import HAIKU, HOUR_MS, OPUS, SONNET, Call, Tokens

_BLOCK_MS: Final = 5 * HOUR_MS
_LONG_PROMPT: Final = 200_000


class _Price(NamedTuple):
    """Dollars for a million tokens."""

    input: float
    output: float
    written: float
    written_1h: float
    read: float


_PRICES: Final[Mapping[str, _Price]] = {
    OPUS: _Price(15, 75, 18.75, 30, 1.5),
    SONNET: _Price(3, 15, 3.75, 6, 0.3),
    HAIKU: _Price(1, 5, 1.25, 2, 0.1),
    "gpt-5": _Price(1.25, 10, 1.25, 1.25, 0.125),
}
_LONG: Final = {SONNET: _Price(6, 22.5, 7.5, 12, 0.6)}

_SESSION: Final = ("session_id", "platform", "project")
_CELL: Final = ("day", "platform", "project", "model")
#: Views, by the words of their commands, and what their rows are known by, as far as it follows
#: from a call: what is stored of a branch is a pseudonym, which nobody can foretell.
KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "usage daily": ("day",),
    "usage weekly": ("week",),
    "usage monthly": ("month",),
    "usage session": _SESSION,
    "usage model": ("model",),
    "usage project": ("project",),
    "usage branch": ("project",),
    "usage platform": ("platform",),
    "usage blocks": ("platform", "start_ms"),
    "sessions": _SESSION,
    "export usage": _CELL,
    "export calls": _CELL,
    "export sessions": _SESSION,
}
#: Views that have sessions without calls, too.
_ALL_SESSIONS: Final = ("sessions", "export sessions")
#: Kinds of tokens that are all of them: the others are parts.
WHOLE: Final = ("input_tokens", "output_tokens", "cache_creation_tokens", "cache_read_tokens")
#: The figures of a row that are compared.
FIGURES: Final = ("calls", "final_calls", *(f"{kind}_tokens" for kind in Tokens._fields),
                  "total_tokens", "unpriced_calls", "cost_usd")  # fmt: skip
#: Counts of calls, which a row of one call does not have.
_COUNTS: Final = ("calls", "final_calls", "unpriced_calls")

Row = dict[str, Any]


def rows(view: str, calls: Sequence[Call], silent: Iterable[tuple[str, ...]] = ()) -> list[Row]:
    """Return the rows that a view has to show, in any order; ``silent`` sessions have no calls."""
    group_of, keys = _groups(calls)[view], KEYS[view]
    groups: dict[tuple[Any, ...], list[Call]] = {}
    for call in calls:
        groups.setdefault(group_of(call), []).append(call)
    if view in _ALL_SESSIONS:
        groups |= {session: [] for session in silent}
    return [
        {**dict(zip(keys, group, strict=False)), **total(found)} for group, found in groups.items()
    ]


def figures_of(view: str) -> Sequence[str]:
    """Return the figures that rows of a view have."""
    counted = view != "export calls"
    return [name for name in FIGURES if counted or name not in _COUNTS]


def _groups(calls: Sequence[Call]) -> Mapping[str, Callable[[Call], tuple[Any, ...]]]:
    """Return by what each view groups calls; what is beyond its keys only keeps rows apart."""
    block_of = _blocks(calls)

    def session(call: Call) -> tuple[str, ...]:
        return call.session, call.platform, call.project

    def cell(call: Call) -> tuple[str, ...]:
        return _day(call).isoformat(), call.platform, call.project, call.model

    return {
        "usage daily": lambda call: (_day(call).isoformat(),),
        "usage weekly": lambda call: ((_day(call) - timedelta(_day(call).weekday())).isoformat(),),
        "usage monthly": lambda call: (_day(call).isoformat()[:7],),
        "usage session": session,
        "usage model": lambda call: (call.model,),
        "usage project": lambda call: (call.project,),
        "usage branch": lambda call: (call.project, call.branch),
        "usage platform": lambda call: (call.platform,),
        "usage blocks": lambda call: (call.platform, block_of[call]),
        "sessions": session,
        "export usage": lambda call: (*cell(call), call.branch),
        "export calls": lambda call: (*cell(call), call),
        "export sessions": session,
    }


def total(calls: Iterable[Call]) -> Row:
    """Return the figures of calls; what nobody knows is None."""
    calls = list(calls)
    tokens = {
        f"{kind}_tokens": _sum(getattr(call.tokens, kind) for call in calls)
        for kind in Tokens._fields
    }
    costs = [_pico_usd(call) for call in calls]
    pico_usd = _sum(costs)
    return {
        "calls": len(calls),
        "final_calls": sum(call.final for call in calls),
        **tokens,
        "total_tokens": _sum(tokens[name] for name in WHOLE),
        "unpriced_calls": costs.count(None),
        "cost_usd": None if pico_usd is None else pico_usd / 10**12,
    }


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _pico_usd(call: Call) -> int | None:
    """Return what a call costs, in millionths of a millionth of a dollar."""
    tokens = call.tokens
    read, written = tokens.cache_read or 0, tokens.cache_creation or 0
    price = _PRICES.get(call.model)
    if (tokens.input or 0) + written + read > _LONG_PROMPT:
        price = _LONG.get(call.model, price)
    if price is None or tokens == Tokens():
        return None
    hour = tokens.cache_creation_1h or 0
    amounts = (tokens.input or 0, tokens.output or 0, written - hour, hour, read)
    return sum(amount * round(each * 10**6) for amount, each in zip(amounts, price, strict=True))


def _day(call: Call) -> date:
    return date(*time.localtime(call.at_ms / 1000)[:3])


def _blocks(calls: Iterable[Call]) -> dict[Call, int]:
    """Return when the block of each call begins: the full hour of its first one."""
    found: dict[Call, int] = {}
    begins: dict[str, int] = {}
    for call in sorted(calls, key=lambda call: call.at_ms):
        begin_ms = begins.get(call.platform)
        if begin_ms is None or call.at_ms >= begin_ms + _BLOCK_MS:
            begin_ms = begins[call.platform] = call.at_ms - call.at_ms % HOUR_MS
        found[call] = begin_ms
    return found
