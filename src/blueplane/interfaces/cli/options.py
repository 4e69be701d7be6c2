"""Options that several commands share.

Owns ``--home`` and ``--format``.
Promises that a command gets a ``Home`` and one of two words.
Leaves the reading of the configuration to the command.
"""

from pathlib import Path

import click

from blueplane.paths import Home, default_home, home_at


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
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="For people, or for programs.",
)
