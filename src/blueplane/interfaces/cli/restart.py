"""``blueplane restart``: stop the server and start it again.

Owns nothing. Promises what ``stop`` and ``start`` promise. Leaves all of it to them.
"""

import click

from blueplane.interfaces.cli.options import home_option
from blueplane.interfaces.cli.start import begin
from blueplane.interfaces.cli.stop import end
from blueplane.paths import Home


@click.command()
@home_option
def restart(home: Home) -> None:
    """Stop the server and start it again, in the background."""
    end(home)
    begin(home)
