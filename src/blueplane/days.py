"""Days as people have them: from midnight to midnight in the machine's time zone.

Owns the number of a day (days since 1970 by the local calendar), and what a time zone is told by.
Promises that two zones with the same number have had the same days since 1970, up to 2037.
Leaves which days are asked for, and how they are written, to the reports.
"""

import time
from calendar import monthrange
from datetime import date
from functools import lru_cache
from typing import Final

from blueplane.clock import wall_ms
from blueplane.digests import blake2b

_S_PER_DAY: Final = 86_400
_MONTHS: Final = 12
#: What separates the numbers of days from those that ``date`` has.
_EPOCH: Final = date(1970, 1, 1).toordinal()
#: Seconds between two looks at a zone's offset, and until when: none changes and is back in a week.
_STEP_S: Final = 7 * _S_PER_DAY
_LAST_S: Final = 2**31


def local_day(at_ms: int) -> int:
    """Return the day of a moment."""
    at_s = at_ms // 1000
    return (at_s + time.localtime(at_s).tm_gmtoff) // _S_PER_DAY


def today() -> int:
    """Return the day that it is."""
    return local_day(wall_ms())


def day_of(when: date) -> int:
    """Return the number of a date."""
    return when.toordinal() - _EPOCH


def date_of(day: int) -> date:
    """Return the date of a day; the first or the last that there is for one beyond them."""
    return date.fromordinal(min(max(day + _EPOCH, 1), date.max.toordinal()))


def month_of(day: int) -> int:
    """Return the number of a day's month: months since the year 0."""
    when = date_of(day)
    return when.year * _MONTHS + when.month - 1


def week_start(day: int) -> int:
    """Return the Monday of a day's week: 1970 began on a Thursday."""
    return day - (day + 3) % 7


def days_of(month: int) -> range:
    """Return the days of a month."""
    year, place = month // _MONTHS, month % _MONTHS + 1
    first = day_of(date(year, place, 1))
    return range(first, first + monthrange(year, place)[1])


@lru_cache(1024)
def month_start(day: int) -> int:
    """Return the first day of a day's month."""
    return days_of(month_of(day)).start


def zone() -> int:
    """Return a number for the machine's time zone as it is now; it may have been changed."""
    time.tzset()
    return _number(time.tzname, time.timezone, time.altzone)


@lru_cache(4)
def _number(*_names: object) -> int:
    """Look at the offsets once for each zone: that takes some milliseconds."""
    offsets = [time.localtime(at_s).tm_gmtoff for at_s in range(0, _LAST_S, _STEP_S)]
    digest = blake2b(repr(offsets).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
