"""``blueplane stop``: end the server, wherever it was started.

Owns nothing. Promises to come back when it has ended, or to say why it did not.
Leaves the process to ``install/services.py`` and ``install/background.py``.
"""

import os

import click

from blueplane.install import background, services
from blueplane.interfaces.cli.options import home_option
from blueplane.interfaces.cli.running import server_of
from blueplane.lock import is_running
from blueplane.paths import Home


@click.command()
@home_option
def stop(home: Home) -> None:
    """Stop the server: the service, or one in the background or in the foreground.

    It comes back when the server has ended, after 20 s at most. What is not written by then is in
    the spool or in the queue, and the next server goes on with it. A service is started again when
    you log in the next time.
    """
    end(home)


def end(home: Home) -> None:
    """Stop the server, if one runs, and say so."""
    ran = is_running(home)
    service = services.of(home, os.environ)
    if service is not None:
        service.stop()  # also one that the manager is just about to start again
    background.stop(home, server_of(home).asks_to_stop)  # one that somebody else has started
    click.echo("the server has stopped" if ran else "no server runs")
