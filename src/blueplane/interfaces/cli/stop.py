"""``blueplane stop``: end the server, wherever it was started.

Owns nothing. Promises to come back when it has ended, or to say why it did not.
Leaves the process to ``install/background.py``.
"""

import click

from blueplane.errors import BlueplaneError
from blueplane.install import background
from blueplane.interfaces.cli.options import home_option
from blueplane.paths import Home
from blueplane.server.control import ask

#: Seconds that a server has to answer; then its process gets a signal.
_ANSWER_S = 5.0


@click.command()
@home_option
def stop(home: Home) -> None:
    """Stop the server, in the background or in the foreground.

    It comes back when the server has ended, after 20 s at most. What is not written by then is in
    the spool or in the queue, and the next server goes on with it.
    """
    end(home)


def end(home: Home) -> None:
    """Stop the server, if one runs, and say so."""
    stopped = background.stop(home, lambda: _agrees(home))
    click.echo("the server has stopped" if stopped else "no server runs")


def _agrees(home: Home) -> bool:
    try:
        ask(home.control_socket, "stop", timeout_s=_ANSWER_S)
    except BlueplaneError:
        return False
    return True
