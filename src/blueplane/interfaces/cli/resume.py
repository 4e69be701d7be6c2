"""``blueplane resume``: have the hooks take events again.

Owns nothing. Promises that it holds at once. Leaves the pause to ``capture/pausing.py``.
"""

import click

from blueplane.capture.pausing import resume as end
from blueplane.interfaces.cli.options import home_option
from blueplane.paths import Home


@click.command()
@home_option
def resume(home: Home) -> None:
    """Have the hooks take events again.

    It holds at once, with or without a server. What was refused meanwhile does not come back.
    """
    click.echo("capture goes on" if end(home) else "capture was not paused")
