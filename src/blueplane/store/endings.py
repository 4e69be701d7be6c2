"""When a session ended.

Owns when one that nobody ended counts as ended, and whether to believe an end that was told.
Promises to import nothing but the standard library.
Leaves the times of sessions to the tables.
"""

from typing import Final

#: Milliseconds without an event after which a session has ended.
IDLE_MS: Final = 30 * 60_000
#: Milliseconds for which what belongs to a session may come after its end.
_TRAILING_MS: Final = 5_000


def end_of(
    last_ms: int | None, ended_ms: int | None, reason: str | None, now_ms: int
) -> tuple[int | None, str | None]:
    """Return when a session ended, and by what.

    By the event that its editor sent, unless it went on after it, or had been idle before.
    """
    if last_ms is None:
        return ended_ms, reason
    if ended_ms is not None and last_ms - _TRAILING_MS <= ended_ms <= last_ms + IDLE_MS:
        return ended_ms, reason
    return (last_ms, "idle") if now_ms - last_ms > IDLE_MS else (None, None)
