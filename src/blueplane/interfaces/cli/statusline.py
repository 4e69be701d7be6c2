"""``blueplane statusline``: one line for the status line of an editor.

Owns the command with its options; without any, ``entry.py`` prints the line in less time.
Promises what ``status_line.py`` does.
Leaves the line to it.
"""

import click

from blueplane.interfaces.cli import status_line
from blueplane.interfaces.cli.options import home_option
from blueplane.paths import Home


@click.command()
@home_option
def statusline(home: Home) -> int:
    """Print one line: today, the session, the block of five hours, health.

    For Claude Code put it into settings.json; it hands the session over as JSON
    on standard input, which may be empty:

    \b
    "statusLine": {"type": "command", "command": "blueplane statusline"}

    It never fails: what there is nothing to say of is left out.
    """  # noqa: D301 - click wants the character, not its name
    return status_line.run(home)
