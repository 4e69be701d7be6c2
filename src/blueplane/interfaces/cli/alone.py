"""The turns and tool calls that only one witness saw, below ``blueplane health capture``.

Owns how far it looks back, and the lines.
Promises the newest first, with the session to look at.
Leaves why that may be to the findings above it, which the server judged.
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from blueplane.clock import MS_PER_DAY, wall_ms
from blueplane.figures import moment
from blueplane.health.witnesses import DAYS, GRACE_MS
from blueplane.interfaces.cli import visible
from blueplane.interfaces.cli.storage import stored
from blueplane.paths import Home
from blueplane.store.reports import alone

#: How many are shown.
MOST: Final = 10
_SEEN_BY: Final = {"hooks": "hooks only", "stored": "the editor's own store only"}


def found(home: Home) -> list[dict[str, Any]]:
    """Return what only one witness saw of the last days, since there are two."""
    now_ms = wall_ms()
    with stored(home) as reader:
        seen = alone(reader, now_ms - DAYS * MS_PER_DAY, now_ms - GRACE_MS, MOST)
    return [asdict(each) for each in seen]


def lines(home: Home) -> Iterator[str]:
    """Yield them as text; nothing where both saw everything."""
    rows = found(home)
    if rows:
        yield ""
        yield "seen by one witness only, the newest (`blueplane trace SESSION` shows more):"
    for row in rows:
        seen_by = _SEEN_BY[row["seen_by"]]
        yield (
            f"  {moment(row['at_ms'])}  {row['platform']} {row['kind']} by {seen_by},"
            f" session {visible(row['session_id'])}"
        )
