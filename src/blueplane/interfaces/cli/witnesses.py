"""What both witnesses saw, hooks and what the editor stores, below ``blueplane health capture``.

Owns the table by day, how far it looks back for what only one of them saw, and the lines of that.
Promises the newest first, with the session to look at, in 80 columns.
Leaves why that may be to the findings above it, which the server judged.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any, Final

from blueplane.clock import MS_PER_DAY, wall_ms
from blueplane.figures import moment, number, percent
from blueplane.health.witnesses import DAYS, GRACE_MS
from blueplane.interfaces.cli import visible
from blueplane.interfaces.cli.storage import stored
from blueplane.paths import Home
from blueplane.store.reports import alone

#: How many are shown.
MOST: Final = 10
_SEEN_BY: Final = {"hooks": "hooks only", "stored": "the editor's own store only"}
_HEAD: Final = ("day", "editor", "what", "both", "hooks only", "store only", "hooks", "store")
_ROW: Final = "  {:<10}  {:<11}  {:<4}{:>8}{:>11}{:>11}{:>9}{:>9}"


def found(home: Home) -> list[dict[str, Any]]:
    """Return what only one witness saw of the last days, since there are two."""
    now_ms = wall_ms()
    with stored(home) as reader:
        seen = alone(reader, now_ms - DAYS * MS_PER_DAY, now_ms - GRACE_MS, MOST)
    return [asdict(each) for each in seen]


def lines(home: Home, coverage: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield both as text; nothing before the first hook, and where both saw everything."""
    if coverage:
        yield from ("", "turns and tool calls, by hooks and by what the editor stores:")
        yield _ROW.format(*_HEAD)
    yield from map(_day, coverage)
    rows = found(home)
    if rows:
        yield ""
        yield "seen by one witness only, the newest (`blueplane trace SESSION` shows more):"
    for (platform, session_id), group in groupby(rows, _session):
        yield f"  {platform}, session {visible(session_id)}"
        for row in group:
            yield f"    {moment(row['at_ms'])}  {row['kind']}, by {_SEEN_BY[row['seen_by']]}"


def _session(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["platform"], row["session_id"]


def _day(day: Mapping[str, Any]) -> str:
    counts = (number(day[name]) for name in ("both", "hooks_only", "stored_only"))
    shares = (percent(day[name]) for name in ("hooks_rate", "stored_rate"))
    return _ROW.format(day["day"], day["platform"], day["kind"], *counts, *shares)
