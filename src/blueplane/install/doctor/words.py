"""How rows read: lists, and commands that help.

Owns how a list is cut short, and the commands that are called otherwise on macOS.
Promises plain text, in one line.
Leaves numbers to ``figures.py``, and tables to the interfaces.
"""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

#: Of a list so many are named.
_NAMED: Final = 3


def listed(names: Sequence[str | Path]) -> str:
    """Return some names in a line, and how many more there are."""
    shown = ", ".join(map(str, names[:_NAMED]))
    more = len(names) - _NAMED
    return f"{shown} and {more:,} more" if more > 0 else shown


def who_uses(path: Path) -> str:
    """Return the command that names the processes which have a file open."""
    return f"{'lsof' if sys.platform == 'darwin' else 'fuser -v'} {shlex.quote(str(path))}"


def who_listens(port: int) -> str:
    """Return the command that names the process which listens on a port."""
    if sys.platform == "darwin":
        return f"lsof -nP -iTCP:{port} -sTCP:LISTEN"
    return f"ss -Hltnp 'sport = :{port}'"


def which_disk(path: Path) -> str:
    """Return the command that names the file system of a path."""
    return f"{'df' if sys.platform == 'darwin' else 'findmnt -T'} {shlex.quote(str(path))}"


def update(package: str) -> str:
    """Return the command that brings a package of the system up to date, or in."""
    return f"brew install {package}" if sys.platform == "darwin" else f"sudo apt install {package}"
