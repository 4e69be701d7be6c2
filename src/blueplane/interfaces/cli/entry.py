"""Where the process starts: one command apart, that of every line of an editor's status.

Owns which command that is.
Promises that it imports no library for command lines, which takes longer than all that it does.
Leaves every other command line, and that command's own with options, to ``main.py``.
"""

import sys

from blueplane.interfaces.cli.lazy import load


def main() -> int:
    """Run the command line of the process; return the exit code."""
    if sys.argv[1:] == ["statusline"]:
        return int(load("status_line", "main")())
    return int(load("main", "main")())
