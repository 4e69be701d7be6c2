"""``blueplane pause``: have the hooks take nothing.

Owns how a pause is put into words.
Promises that it holds at once, whether a server runs or not.
Leaves the pause to ``capture/pausing.py``.
"""

import click

from blueplane.capture.pausing import Pause
from blueplane.capture.pausing import pause as begin
from blueplane.figures import until
from blueplane.interfaces.cli.options import duration_s, home_option
from blueplane.paths import Home


@click.command()
@click.argument("duration", required=False)
@home_option
def pause(home: Home, duration: str | None) -> None:
    """Have the hooks take nothing, until `blueplane resume` or for a while.

    DURATION is 90s (seconds), 30m (minutes), 2h (hours) or 1d (days); a bare number is minutes. It
    holds at once, with or without a server. What was captured before is still written; what a hook
    refuses is counted and not kept. Paused again, the new end counts.
    """
    seconds = None if duration is None else duration_s(duration)
    click.echo(f"capture is {in_words(begin(home, seconds))}; `blueplane resume` ends that")


def in_words(pause: Pause) -> str:
    """Return ``paused`` or ``paused until 14:30``."""
    return "paused" if pause.until_ms is None else f"paused until {until(pause.until_ms)}"
