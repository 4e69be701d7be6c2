"""Figures for people: numbers, durations, ages, sizes and moments.

Owns how each of them looks, the same everywhere.
Promises a dash for what is unknown, and to import nothing heavy: the server shows figures, too.
Leaves where they stand to the commands.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from blueplane.clock import MS_PER_DAY, MS_PER_HOUR, MS_PER_MINUTE, wall_ms

#: What stands for a value that is not known.
UNKNOWN: Final = "–"  # noqa: RUF001 - an en dash, on purpose

_SIZES: Final = ((1 << 40, "TB"), (1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB"))
_THOUSANDS: Final = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))
_CENT: Final = 0.01
_NEAR: Final = timedelta(minutes=10)
_SECOND_MS: Final = 1000
_AGES: Final = ((MS_PER_DAY, "d"), (MS_PER_HOUR, "h"), (MS_PER_MINUTE, "min"), (_SECOND_MS, "s"))


def shown(value: object) -> str:
    """Show a value as it is; None is unknown, bytes are hex digits."""
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value.hex() if isinstance(value, bytes) else str(value)


def number(value: float | None) -> str:
    """Show a number with thousands separated; two decimals at most."""
    if value is None:
        return UNKNOWN
    text = f"{value:,.2f}"
    return text.rstrip("0").rstrip(".")


def percent(share: float | None) -> str:
    """Show a share of 1: ``99.5 %``; only the whole is ``100 %``."""
    if share is None:
        return UNKNOWN
    shown_share = round(share * 100, 2)
    return f"{number(min(shown_share, 99.99) if share < 1 else shown_share)} %"


def brief_percent(share: float) -> str:
    """Show a share of 1 without decimals: only the whole is ``100%``, only nothing ``0%``."""
    rounded = round(share * 100)
    return f"{min(max(rounded, 1), 99) if 0 < share < 1 else rounded}%"


def milliseconds(value: float | None) -> str:
    """Show a duration given in milliseconds: ``3.2 ms``, ``1.5 s``, ``2 min``, ``3 h``, ``4 d``."""
    if value is None:
        return UNKNOWN
    for step, unit in _AGES:
        if abs(value) >= step:
            return f"{number(value / step)} {unit}"
    return f"{number(value)} ms"


def brief_duration(value: float) -> str:
    """Show a duration given in milliseconds, in at most five characters: ``42 s``, ``1.5 h``."""
    if value < MS_PER_MINUTE:
        return f"{value // _SECOND_MS:.0f} s"
    minutes = f"{value // MS_PER_MINUTE:.0f} m"
    return minutes if value < MS_PER_HOUR else f"{value / MS_PER_HOUR:,.1f} h"


def age(value: float | None) -> str:
    """Show how long ago something was, given in milliseconds: ``3 s ago``, ``now``, ``in 2 h``."""
    if value is None:
        return UNKNOWN
    if abs(value) < _SECOND_MS:
        return "now"
    return f"{lasting(value)} ago" if value > 0 else f"in {lasting(-value)}"


def lasting(value: float) -> str:
    """Show for how long something has lasted, given in milliseconds: ``3 s``, ``2 h``."""
    for step, unit in _AGES:
        if value >= step:
            return f"{int(value // step)} {unit}"
    return "less than 1 s"


def size(value: float | None) -> str:
    """Show a number of bytes: ``512 B``, ``1.5 MB`` (of 1,048,576 bytes)."""
    if value is None:
        return UNKNOWN
    for step, unit in _SIZES:
        if abs(value) >= step:
            return f"{value / step:.1f} {unit}"
    return f"{value:.0f} B"


def count(value: int, thing: str) -> str:
    """Show how many things there are: ``1 event``, ``1,200 events``."""
    return f"{number(value)} {thing}{'' if value == 1 else 's'}"


def moment(value: int | None) -> str:
    """Show milliseconds since the epoch in local time: ``2026-11-20 07:16:35.123``."""
    if value is None:
        return UNKNOWN
    at = datetime.fromtimestamp(value // 1000, UTC).astimezone()
    return f"{at:%Y-%m-%d %H:%M:%S}.{value % 1000:03d}"


def until(value: int) -> str:
    """Show an end, in milliseconds since the epoch: ``14:30``, with the date if not today's.

    With seconds when it is less than ten minutes away.
    """
    now = datetime.fromtimestamp(wall_ms() // 1000, UTC).astimezone()
    at = datetime.fromtimestamp(value // 1000, UTC).astimezone()
    if at.date() != now.date():
        return f"{at:%Y-%m-%d %H:%M}"
    return f"{at:%H:%M:%S}" if at - now < _NEAR else f"{at:%H:%M}"


def tokens(value: float | None) -> str:
    """Show a number of tokens, at most four figures: ``999``, ``12.35 k``, ``4.571 M``."""
    if value is None:
        return UNKNOWN
    rounded = float(f"{value:.4g}")
    for step, unit in _THOUSANDS:
        if abs(rounded) >= step:
            scaled = rounded / step
            places = max(0, 4 - len(str(int(abs(scaled)))))
            return f"{scaled:.{places}f} {unit}"
    return f"{value:.0f}"


def dollars(value: float | None) -> str:
    """Show money: ``$0.08``, ``$1,234.50``, ``<$0.01``."""
    if value is None:
        return UNKNOWN
    return "<$0.01" if 0 < value < _CENT / 2 else f"${value:,.2f}"
