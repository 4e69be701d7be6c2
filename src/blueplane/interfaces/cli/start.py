"""``blueplane start``: the server as a service, or, without one, in the background.

Owns nothing. Promises to come back when the server answers, or to say why it does not.
Leaves the process to ``install/services.py`` and ``install/background.py``.
"""

import os

import click

from blueplane.errors import AlreadyRunningError
from blueplane.install import background, services
from blueplane.interfaces.cli import visible
from blueplane.interfaces.cli.options import home_option
from blueplane.interfaces.cli.running import server_of
from blueplane.lock import holder, is_running
from blueplane.paths import Home


@click.command()
@home_option
def start(home: Home) -> None:
    """Start the server: as a service, if that is installed, else in the background.

    It comes back when the server answers, after 15 s at most. In the background the server runs
    until `blueplane stop`, or until the machine goes down; a service is started again after that.
    What it prints goes to logs/serve.out in the home directory.
    """
    begin(home)


def begin(home: Home) -> None:
    """Start a server, unless one runs, and say so."""
    if is_running(home):
        _say_running(home)
        return
    service, server = services.of(home, os.environ), server_of(home)
    try:
        if service is None:
            pid, how = background.start(home, server.pid), ""
        else:
            pid, how = services.start(service, home, server.pid), f" under {service.kind}"
    except AlreadyRunningError:
        _say_running(home)
    else:
        click.echo(f"the server runs{how}, pid {pid}; `blueplane stop` stops it")


def _say_running(home: Home) -> None:
    click.echo(visible(f"the server runs already ({holder(home.lock_file)})"))
