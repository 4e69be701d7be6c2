"""The rollups of usage, and what they must be: plain sums over the view of calls.

Owns reading both with words in place of numbers.
Promises to sum in Python, call by call, with days from ``zoneinfo``: nothing of the program's.
Leaves comparing to the tests.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from blueplane.store.connection import Connection
from blueplane.store.usage_columns import KEYS, KINDS, LABELS, VALUES

EPOCH = datetime(1970, 1, 1).toordinal()  # noqa: DTZ001 - a date of the calendar
TOKENS = tuple(f"{kind}_tokens" for kind in KINDS)
COLUMNS = (
    "session_id", "timestamp_ms", "platform", "model", "project", "branch", "final",
    "reported_cost_usd", *TOKENS,
)  # fmt: skip

Rollups = dict[str, list[tuple[Any, ...]]]


def shown(connection: Connection) -> Rollups:
    """Return the rollups, with words in place of the numbers of labels and sessions."""
    label = "coalesce((SELECT text FROM labels l WHERE l.id = u.{0}), '')"
    words = {each: label.format(each) for each in LABELS}
    words["session"] = "(SELECT session_id FROM sessions s WHERE s.id = u.session)"
    return {
        table: sorted(
            connection.execute(
                f"SELECT {', '.join(words.get(each, each) for each in (*key, *VALUES))}"
                f" FROM {table} u"
            )
        )
        for table, key in KEYS.items()
    }


def plain(connection: Connection, zone: str) -> Rollups:
    """Return what the rollups must be, of the view of calls."""
    found = connection.execute(f"SELECT {', '.join(COLUMNS)} FROM usage")
    calls = [dict(zip(COLUMNS, row, strict=True)) for row in found]
    return {table: _summed(calls, key, ZoneInfo(zone)) for table, key in KEYS.items()}


def _summed(
    calls: Sequence[dict[str, Any]], key: Sequence[str], zone: ZoneInfo
) -> list[tuple[Any, ...]]:
    rows: dict[tuple[Any, ...], list[int]] = {}
    for call in calls:
        facts = _facts(call, zone)
        sums = rows.setdefault(tuple(facts[each] for each in key), [0] * len(VALUES))
        for index, name in enumerate(VALUES):
            sums[index] += facts[name]
    return sorted((*cell, *sums) for cell, sums in rows.items())


def _facts(call: dict[str, Any], zone: ZoneInfo) -> dict[str, Any]:
    moment = datetime.fromtimestamp(call["timestamp_ms"] // 1000, UTC)
    day = moment.astimezone(zone).date()
    prompt = sum(call[f"{kind}_tokens"] or 0 for kind in ("input", "cache_creation", "cache_read"))
    return {
        "session": call["session_id"], "platform": call["platform"],
        "day": day.toordinal() - EPOCH,
        "month": day.replace(day=1).toordinal() - EPOCH,
        "hour": call["timestamp_ms"] // 3_600_000,
        "band": sum(prompt > most for most in (100_000, 200_000))
        if call["platform"] == "claude_code" else 0,
        **{each: call[each] or "" for each in LABELS},
        "calls": 1, "final_calls": call["final"],
        **{each: call[each] or 0 for each in TOKENS},
        **{f"{kind}_known": call[f"{kind}_tokens"] is not None for kind in KINDS},
        "reported_nano_usd": round((call["reported_cost_usd"] or 0) * 1e9),
        "reported_known": call["reported_cost_usd"] is not None,
    }  # fmt: skip
