"""``blueplane start``: the server in the background.

Owns nothing. Promises to come back when the server answers, or to say why it does not.
Leaves the process to ``install/background.py``.
"""

import click

from blueplane.errors import AlreadyRunningError, BlueplaneError
from blueplane.install import background
from blueplane.interfaces.cli import visible
from blueplane.interfaces.cli.options import home_option
from blueplane.lock import holder, is_running
from blueplane.paths import Home
from blueplane.server.control import ask

#: Seconds that a server has to answer while it starts; it is asked again.
_ANSWER_S = 6.0


@click.command()
@home_option
def start(home: Home) -> None:
    """Start the server in the background.

    It comes back when the server answers, after 15 s at most, and runs until `blueplane stop`, or
    until the machine goes down. What it prints goes to logs/serve.out in the home directory.
    """
    begin(home)


def begin(home: Home) -> None:
    """Start a server, unless one runs, and say so."""
    if is_running(home):
        _say_running(home)
        return
    try:
        pid = background.start(home, lambda: _pid(home))
    except AlreadyRunningError:
        _say_running(home)
    else:
        click.echo(f"the server runs, pid {pid}; `blueplane stop` stops it")


def _say_running(home: Home) -> None:
    click.echo(visible(f"the server runs already ({holder(home.lock_file)})"))


def _pid(home: Home) -> int | None:
    try:
        answer = ask(home.control_socket, "status", timeout_s=_ANSWER_S)
    except BlueplaneError:
        return None
    return int(answer["pid"])
