"""``blueplane hook``: what the hook script does, where there is no ``sh``.

Owns nothing. Promises what the script promises: it prints nothing and exits with 0, always.
Leaves the hand-off to ``capture/handoff.py``.
"""

import contextlib
import sys
from collections.abc import Sequence

import click

from blueplane.capture.handoff import hand_off
from blueplane.paths import default_home


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="PLATFORM HOOK_NAME")
def hook(words: Sequence[str]) -> int:
    """Hand over one event, which is on standard input, to the server.

    The editors run this, or a script that does the same more quickly. It prints nothing and exits
    with 0, whatever happens: an event that cannot be taken must not disturb the editor. Example:

    \b
      blueplane hook claude_code Stop
    """  # noqa: D301 - click wants the character, not its name
    # Even a bug of ours: exit 2 would block the editor, and words would reach the model.
    with contextlib.suppress(Exception):
        platform, name, *_ = [*words, "", ""]
        hand_off(default_home(), platform, name, sys.stdin.buffer)
    return 0
