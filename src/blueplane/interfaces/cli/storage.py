"""The database as most commands read it.

Owns which reader that is.
Promises to import nothing of Redis: such a command starts quickly.
Leaves the opening to ``opening.py``, what to look for to the commands.
"""

from contextlib import AbstractContextManager

from blueplane.interfaces.cli.opening import opened
from blueplane.paths import Home
from blueplane.store.queries import Reader


def stored(home: Home) -> AbstractContextManager[Reader]:
    """Open the database to read, and raise as ``opened`` does."""
    return opened(home, Reader)
