"""A connection to read with, and how long one read may take.

Owns the base of every reader.
Promises that no statement holds the -wal up for longer than its limit, one state for no longer
than its block, and to import little: a command that reads only rollups has to be quick.
Leaves what is asked to ``queries.py``, ``reports.py`` and ``usage_reports.py``.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from blueplane.clock import monotonic_s
from blueplane.errors import StoreUnavailableError
from blueplane.store.connection import Connection, identity, one_state, open_reader, translated

#: Seconds after which a read is given up: a command may have to do with a slow disk.
READ_S: Final = 5.0
#: Instructions of SQLite between two looks at the time; some tenths of a millisecond.
STEPS: Final = 10_000


class Reads:
    """A read-only connection; use it in one thread and close it.

    A call that takes longer than ``limit_s`` is given up with StoreUnavailableError: the -wal grows
    for as long as a statement runs.
    """

    def __init__(self, path: Path, limit_s: float = READ_S) -> None:
        self._path = path
        self._identity = identity(path)
        self._connection: Connection = open_reader(path)
        self._limit_s = limit_s
        self._ends_s = monotonic_s() + limit_s
        self._connection.set_progress_handler(self._is_late, STEPS)

    def moved(self) -> bool:
        """Whether the database of this name is another file by now."""
        return identity(self._path) != self._identity

    def close(self) -> None:
        """Close the connection."""
        self._connection.set_progress_handler(None, 0)  # it refers to us
        self._connection.close()

    @contextmanager
    def one_state(self) -> Iterator[None]:
        """Have all reads of the block see the same rows, whatever is written meanwhile."""
        with translated(), one_state(self._connection):
            yield

    def _is_late(self) -> bool:
        return monotonic_s() > self._ends_s

    @contextmanager
    def _call(self) -> Iterator[None]:
        """Begin the time of a call, and translate its errors."""
        self._ends_s = monotonic_s() + self._limit_s
        try:
            with translated():
                yield
        except StoreUnavailableError as error:
            if not self._is_late():
                raise
            message = (
                f"a read of the database took longer than {self._limit_s:g} s and was given up; "
                "ask again, or for less"
            )
            raise StoreUnavailableError(message) from error

    def schema_version(self) -> int:
        """Return the version of the schema."""
        with self._call():
            return version(self._connection)

    def colour(self) -> tuple[int, str]:
        """Return when health was stored last, and its colour; "" before the first time."""
        found = self.rows("SELECT as_of_ms, json_extract(body, '$.health_status') FROM health")
        return (int(found[0][0]), str(found[0][1] or "")) if found else (0, "")

    def rows(
        self, statement: str, parameters: Sequence[Any] | Mapping[str, Any] = ()
    ) -> list[tuple[Any, ...]]:
        """Return the rows of a SELECT; for the other modules of this package."""
        with self._call():
            return self._connection.execute(statement, parameters).fetchall()


def version(connection: Connection) -> int:
    """Return the schema version of a database: 0 for an empty one."""
    known = connection.execute(
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'schema_version'",
    ).fetchone()
    if known is None:
        return 0
    return int(
        connection.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchone()[0]
    )
