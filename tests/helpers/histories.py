"""Many days of work: one story again and again.

Owns telling events again as those of another session at another time.
Promises that every id is another one, so that nothing of two tellings is joined.
Leaves the story to ``stories.py``.
"""

import re
from collections.abc import Iterable
from hashlib import blake2b

from blueplane.clock import NS_PER_MS
from blueplane.event import Event
from helpers.desk import T0_MS, Desk
from helpers.stories import Teller, claude_hooks, cursor_hooks

DAY_MS = 86_400_000
#: Ids that payloads hold themselves.
_IDS = re.compile(rb'"(toolu_|call_|g-|p-|msg_|req_)')


def again(events: Iterable[Event], mark: str, at_ms: int) -> list[Event]:
    """Return events as those of other sessions, of which the first is at a time."""
    later_ms = at_ms - T0_MS
    word = mark.encode()
    return [
        each._replace(
            event_id=blake2b(each.event_id + word, digest_size=16).digest(),
            session_id=f"{mark}-{each.session_id}",
            turn_id=each.turn_id and f"{mark}-{each.turn_id}",
            tool_use_id=each.tool_use_id and f"{mark}-{each.tool_use_id}",
            timestamp_ms=each.timestamp_ms + later_ms,
            captured_ns=each.captured_ns + later_ms * NS_PER_MS,
            payload=_IDS.sub(rb'"\1' + word + b"-", each.payload).replace(
                f'"{each.session_id}"'.encode(), f'"{mark}-{each.session_id}"'.encode()
            ),
        )
        for each in events
    ]


def tell_days(desk: Desk, days: Iterable[int], last_ms: int) -> None:
    """Tell the story of both editors once on each of the days so many before one."""
    for day in days:
        tell_at(desk, str(day), last_ms - day * DAY_MS)
    desk.derive()


def tell_at(desk: Desk, mark: str, at_ms: int) -> None:
    """Write the rows of the story of both editors at a time."""
    desk.write(*again(claude_hooks(Teller()), f"a{mark}", at_ms))
    desk.write(*again(cursor_hooks(Teller(session_id="c")), f"b{mark}", at_ms))
