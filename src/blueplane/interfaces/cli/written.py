"""Files that a command writes because an option names them.

Owns what is said of one that is there already, and of one that cannot be written.
Promises that nobody's file is written over unasked.
Leaves what is in them to the commands.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blueplane.errors import UsageError


def check_free(option: str, path: Path, *, force: bool) -> None:
    """Raise UsageError where a file is there already, unless it may be written over.

    What is no file, as a device or a pipe, is there to be written to.
    """
    is_other = path.exists() and not path.is_file()
    if os.path.lexists(path) and not is_other and not force:
        message = f"{option} {path}: is there already; --force writes over it"
        raise UsageError(message)


@contextmanager
def writing(option: str, path: Path) -> Iterator[None]:
    """Raise UsageError for what the system says while the block writes a file."""
    try:
        yield
    except OSError as error:
        message = f"{option} {path}: {error.strerror or error}; name a file in a directory of yours"
        raise UsageError(message) from error
