"""``blueplane pause``: have the hooks take nothing.

Owns how a duration is written, and how a pause is put into words.
Promises that it holds at once, whether a server runs or not.
Leaves the pause to ``capture/pausing.py``.
"""

import re
from typing import Final

import click

from blueplane.capture.pausing import MAX_S, Pause
from blueplane.capture.pausing import pause as begin
from blueplane.errors import UsageError
from blueplane.interfaces.cli.figures import until
from blueplane.interfaces.cli.options import home_option
from blueplane.paths import Home

_DURATION: Final = re.compile(r"([0-9]{1,9})([smhd]?)")
_SECONDS: Final = {"s": 1, "": 60, "m": 60, "h": 3600, "d": 86_400}


@click.command()
@click.argument("duration", required=False)
@home_option
def pause(home: Home, duration: str | None) -> None:
    """Have the hooks take nothing, until `blueplane resume` or for a while.

    DURATION is 90s, 30m, 2h or 1d; a bare number is minutes. It holds at once, with or without a
    server. What was captured before is still written; what a hook refuses is counted and not kept.
    Paused again, the new end counts.
    """
    seconds = None if duration is None else _seconds(duration)
    click.echo(f"capture is {in_words(begin(home, seconds))}; `blueplane resume` ends that")


def in_words(pause: Pause) -> str:
    """Return ``paused`` or ``paused until 14:30``."""
    return "paused" if pause.until_ms is None else f"paused until {until(pause.until_ms)}"


def _seconds(duration: str) -> int:
    written = _DURATION.fullmatch(duration.lower())
    seconds = int(written[1]) * _SECONDS[written[2]] if written else 0
    if not 0 < seconds <= MAX_S:
        message = f"{duration!r} is no duration: write 90s, 30m, 2h or 1d, at most 365d"
        raise UsageError(message)
    return seconds
