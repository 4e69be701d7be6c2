"""``blueplane restart``: stop the server and start it again.

Owns nothing. Promises what ``stop`` and ``start`` promise, and to stop no server when the settings
are wrong: none would start again. Leaves the rest to them.
"""

import os

import click

from blueplane.config import load
from blueplane.interfaces.cli.options import home_option
from blueplane.interfaces.cli.start import begin
from blueplane.interfaces.cli.stop import end
from blueplane.paths import Home


@click.command()
@home_option
def restart(home: Home) -> None:
    """Stop the server and start it again, in the background.

    When the settings are wrong, it says so and stops nothing.
    """
    load(home, os.environ)
    end(home)
    begin(home)
