"""How a command opens the database to look.

Owns the sentence when there is nothing to open, or nothing that this version can read.
Promises to change nothing, and to import nothing of Redis: such a command starts quickly.
Leaves what to look for to the commands.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from blueplane.errors import NotFoundError, StoreError
from blueplane.paths import Home
from blueplane.store.migrations import STEPS
from blueplane.store.queries import Reader, reading


@contextmanager
def stored(home: Home) -> Iterator[Reader]:
    """Open the database to read.

    Raises NotFoundError when there is none yet, StoreError when it is not of this version.
    """
    if not home.database.exists():
        message = f"{home.database}: no database yet; `blueplane start` makes it"
        raise NotFoundError(message)
    with reading(home.database) as reader:
        found = reader.schema_version()
        if found != len(STEPS):
            newer = "install a newer Blueplane" if found > len(STEPS) else "run `blueplane start`"
            message = f"{home.database}: has schema {found} instead of {len(STEPS)}; {newer}"
            raise StoreError(message)
        yield reader
