"""Time, in one place.

Owns the clocks of the program: ``wall`` for what is stored, ``monotonic`` for every interval, and
``elapsed`` to judge the wall clock by.
Promises that nothing else asks the operating system for the time, so a test can turn either clock.
Leaves calendars and time zones to the reports.
"""

import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
MS_PER_MINUTE = 60_000
MS_PER_HOUR = 60 * MS_PER_MINUTE
MS_PER_DAY = 24 * MS_PER_HOUR
#: Linux stops its other clock while it sleeps; macOS does not.
_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def wall_ns() -> int:
    """Nanoseconds since the Unix epoch; may jump in either direction."""
    return time.time_ns()


def wall_ms() -> int:
    """Milliseconds since the Unix epoch; may jump in either direction."""
    return time.time_ns() // NS_PER_MS


def monotonic_s() -> float:
    """Seconds of a clock that never goes back; for intervals, deadlines and backoff only."""
    return time.monotonic()


def elapsed_s() -> float:
    """Seconds of a clock that never goes back, and goes on while the machine sleeps."""
    return time.clock_gettime(_BOOT)


def iso_utc(ms: int) -> str:
    """ISO 8601 in UTC with milliseconds, ``2026-11-20T06:16:35.123Z``.

    Raises ValueError for a year outside 1-9999.
    """
    return f"{_iso_second(ms // 1000)}.{ms % 1000:03d}Z"


@lru_cache(256)
def _iso_second(seconds: int) -> str:
    """Events come in bursts: most of them share their second with the one before."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()[:-6]
    except (OverflowError, OSError) as error:
        message = f"no calendar date for {seconds} s"
        raise ValueError(message) from error


def parse_iso_ms(text: str) -> int:
    """Milliseconds since the epoch of an ISO 8601 time; one without a zone is taken as UTC.

    Raises ValueError when ``text`` is not such a time.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MILLISECOND
