"""Options that several commands share.

Owns ``--home`` and ``--format``, and how a duration is written.
Promises that a command gets a ``Home``, one of two words, and seconds.
Leaves the reading of the configuration to the command.
"""

import re
from pathlib import Path
from typing import Final

import click

from blueplane.errors import UsageError
from blueplane.interfaces.cli.near import OneOf
from blueplane.paths import Home, default_home, home_at

_DURATION: Final = re.compile(r"([0-9]{1,9})([smhd]?)")
_SECONDS: Final = {"s": 1, "": 60, "m": 60, "h": 3600, "d": 86_400}
_LONGEST_S: Final = 365 * 86_400


def _to_home(_context: click.Context, _option: click.Parameter, value: Path | None) -> Home:
    return default_home() if value is None else home_at(value.absolute())


home_option = click.option(
    "--home",
    type=click.Path(file_okay=False, readable=False, path_type=Path),
    callback=_to_home,
    help="Home directory; BLUEPLANE_HOME or ~/.blueplane if not given.",
)

format_option = click.option(
    "--format",
    "form",
    type=OneOf(["table", "json"]),
    default="table",
    show_default=True,
    help="For people, or for programs.",
)


def duration_s(text: str) -> int:
    """Return the seconds of ``90s``, ``30m``, ``2h`` or ``1d``; a bare number is minutes.

    Raises UsageError for anything else, for nothing, and for more than a year.
    """
    written = _DURATION.fullmatch(text.lower())
    seconds = int(written[1]) * _SECONDS[written[2]] if written else 0
    if not 0 < seconds <= _LONGEST_S:
        message = f"{text!r} is no duration: write 90s, 30m (minutes), 2h or 1d, at most 365d"
        raise UsageError(message)
    return seconds
