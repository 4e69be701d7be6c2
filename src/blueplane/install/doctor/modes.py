"""Modes that keep their owner out.

Owns the row of such a file or directory, and its fix.
Promises that no mode is changed of a file that a link leads to.
Leaves what others may do to the walk over the home.
"""

import shlex
import stat
from functools import partial
from pathlib import Path

from blueplane.install.doctor.check import Result, fail
from blueplane.paths import is_link


def keeps_out(path: Path, wanted: int, whom: str = "you") -> Result:
    """Return the result of a path whose mode keeps ``whom`` out and is to be ``wanted``."""
    found = stat.S_IMODE(path.stat().st_mode)
    return fail(
        f"{path}: mode {found:04o} keeps {whom} out",
        f"chmod {wanted:o} {shlex.quote(str(path))}",
        None if is_planted(path) else partial(_set, path, wanted),
    )


def is_planted(path: Path) -> bool:
    """Whether it is a link; one to a directory is how somebody moves it to another disk."""
    return is_link(path) and not path.is_dir()


def _set(path: Path, mode: int) -> str:
    path.chmod(mode)
    return f"chmod {mode:o} {path}"
