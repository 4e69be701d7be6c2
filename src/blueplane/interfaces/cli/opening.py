"""How a command opens the database to look.

Owns the sentence when there is nothing to open, or nothing that this version can read.
Promises to change nothing, one state of the database for one answer, and to import little: a
report starts quickly.
Leaves what to look for to the reader and the commands.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TypeVar

from blueplane.errors import NotFoundError, StoreBrokenError, StoreError
from blueplane.paths import Home
from blueplane.store.reading import Reads
from blueplane.store.schema import VERSION

_Kind = TypeVar("_Kind", bound=Reads)


@contextmanager
def opened(home: Home, kind: type[_Kind]) -> Iterator[_Kind]:
    """Open the database with a kind of reader.

    Raises NotFoundError when there is none yet, StoreError when it is not of this version or
    damaged.
    """
    if not home.database.exists():
        message = f"{home.database}: no database yet; `blueplane start` makes it"
        raise NotFoundError(message)
    with _damage_named(home), closing(kind(home.database)) as reader:
        found = reader.schema_version()
        if found != VERSION:
            newer = "install a newer Blueplane" if found > VERSION else "run `blueplane start`"
            message = f"{home.database}: has schema {found} instead of {VERSION}; {newer}"
            raise StoreError(message)
        yield reader


@contextmanager
def _damage_named(home: Home) -> Iterator[None]:
    """Say of a damaged database where it is, and what to do."""
    try:
        yield
    except StoreBrokenError as error:
        where = "" if str(home.database) in str(error) else f"{home.database}: "
        message = f"{where}{error}; `blueplane doctor` says what helps"
        raise StoreBrokenError(message) from error


@contextmanager
def opened_once(home: Home, kind: type[_Kind]) -> Iterator[_Kind]:
    """Open it for one answer, whose rows and totals are of the same moment; raises the same."""
    with opened(home, kind) as reader, reader.one_state():
        yield reader
