"""The text that has a shell complete our commands.

Owns nothing but the way to it.
Promises a text that starts no program until somebody presses the key.
Leaves where it is put to ``install/completion.py``, and the answers to ``main.py``.
"""

from click.shell_completion import ShellComplete, get_completion_class

from blueplane.install.completion import Shell
from blueplane.interfaces.cli.main import COMPLETE, blueplane


def completion_text(shell: Shell) -> str:
    """Return what a shell is to read."""
    kind = get_completion_class(shell)
    if kind is None:
        raise ValueError(shell)
    # Not the method of the class: for bash it would run bash to learn its version.
    return ShellComplete.source(kind(blueplane, {}, "blueplane", COMPLETE))
