"""``blueplane scrub``: bring what is stored down to the present privacy level.

Owns the question before, and what is said after.
Promises that nothing is changed before a person has said yes.
Leaves the changing to the server (``pipeline/eraser.py``).
"""

import os
from typing import Final

import click

from blueplane.config import load
from blueplane.figures import number
from blueplane.interfaces.cli.acting import acting
from blueplane.interfaces.cli.asking import confirm
from blueplane.interfaces.cli.options import format_option, home_option
from blueplane.interfaces.cli.output import Column, Form, Table, render
from blueplane.interfaces.cli.progress import progress
from blueplane.paths import Home

_COLUMNS: Final = (Column("what", "what"), Column("changed", "changed", number, "right"))


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@format_option
@home_option
def scrub(home: Home, form: Form, *, yes: bool) -> int:
    """Bring what is stored down to the present privacy level.

    What was captured at a looser level loses what `privacy.level` and `privacy.hash_project_names`
    do not let pass now, in the database, the dead letters and redis. That cannot be undone.

    \b
    Exit codes:
      0  done
      1  something may be left: the notes say what
    """  # noqa: D301 - click wants the character, not its name
    privacy = load(home, os.environ).privacy
    names = " with hashed project names" if privacy.hash_project_names else ""
    with acting(home) as act:
        if not yes:
            confirm(f"bring everything down to {privacy.level}{names}, for good?")
        act("reload")  # what is asked about is what is done
        with progress() as report:
            answer = act("scrub", report)
    render(Table(_COLUMNS, answer["rows"]), form)
    for note in answer["notes"]:
        click.echo(f"blueplane: {note}", err=True)
    return int(bool(answer["notes"]))
