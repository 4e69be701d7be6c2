"""``blueplane rebuild``: figures derived anew from what is stored.

Owns the bar, and what is said at the end.
Promises that it can be broken off at any time: the server goes on, or the next one does.
Leaves the work to the server (``pipeline/rebuilder.py``).
"""

from typing import Final

import click

from blueplane.figures import number
from blueplane.interfaces.cli.acting import acting
from blueplane.interfaces.cli.options import format_option, home_option
from blueplane.interfaces.cli.output import Column, Form, Table, render
from blueplane.interfaces.cli.progress import progress
from blueplane.paths import Home
from blueplane.store.rebuilding import CLEARING

_COLUMNS: Final = (Column("worker", "worker"), Column("events", "events", number, "right"))


@click.command()
@click.option(
    "--worker", "workers", multiple=True, type=click.Choice([*CLEARING]), metavar="NAME",
    help=f"Only of this worker: {', '.join(CLEARING)}; may be repeated.",
)  # fmt: skip
@format_option
@home_option
def rebuild(home: Home, form: Form, *, workers: tuple[str, ...]) -> int:
    """Derive calls, sessions and conversations anew from the stored events.

    Needed after an update that reads events better than before, and when a figure looks wrong.
    Events stay as they are. What came from events that were removed by their age stays, too. Until
    it is done figures are too low.

    Ctrl-C ends the command; the server goes on, and without one the next server does.
    """
    with acting(home) as act, progress() as report:
        answer = act("rebuild", report, workers=list(workers))
    render(Table(_COLUMNS, answer["rows"]), form)
    return 0
