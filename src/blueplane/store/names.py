"""Interned texts: finding those that no row uses any more, and removing them.

Owns which columns of ``traces`` refer to ``names``, and every removal from that table.
Promises that a name which a row uses stays, also one that a row came to use meanwhile.
Leaves interning to ``traces.py``, and transactions to ``pipeline/commits.py``.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from blueplane.store.connection import Connection, translated

#: Sequences of one look at which names rows use.
_SPAN: Final = 5_000
#: The largest sequence there can be.
_LAST: Final = 2**63 - 1
#: The ids that the rows after a sequence use, up to another.
_USED: Final = " UNION ".join(
    f"SELECT {column} FROM traces WHERE sequence > ?1 AND sequence <= ?2 AND {column} IS NOT NULL"
    for column in ("session", "workspace", "project", "turn", "model", "tool")
)


class Names:
    """The names that were there at a moment, and which of them rows use: a bit each."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.last: int
        self._after: int
        self._highest: int
        with translated():
            self._highest, self._after, self.last = connection.execute(
                "SELECT (SELECT coalesce(max(id), 0) FROM names),"
                " (SELECT coalesce(min(sequence), 1) - 1 FROM traces),"
                " (SELECT coalesce(max(sequence), 0) FROM traces)"
            ).fetchone()
        self._used = bytearray(self._highest // 8 + 1)

    def look(self) -> bool:
        """Look at the next rows; False when all up to ``last`` were seen."""
        upto = min(self._after + _SPAN, self.last)
        with translated():
            for (number,) in used_names(self._connection, self._after, upto):
                self._used[number // 8] |= 1 << number % 8
        self._after = upto
        return upto < self.last

    def unused(self) -> list[int]:
        """Return the ids that no row up to ``last`` uses."""
        with translated():
            found = self._connection.execute("SELECT id FROM names WHERE id <= ?", (self._highest,))
            return [number for (number,) in found if not self._used[number // 8] >> number % 8 & 1]


def used_names(connection: Connection, after: int, upto: int = _LAST) -> Iterator[tuple[int]]:
    """Yield the ids of names that the rows after a sequence use, up to another or to the end."""
    return connection.execute(_USED, (after, upto))


def remove_names(connection: Connection, names: Sequence[int], after: int) -> None:
    """Remove names, less those that rows after a sequence use; inside the caller's transaction."""
    used = {number for (number,) in used_names(connection, after)}
    connection.executemany(
        "DELETE FROM names WHERE id = ?", [(number,) for number in names if number not in used]
    )


def remove_unused_names(connection: Connection) -> None:
    """Remove all that no row uses, in one look; inside the caller's transaction."""
    connection.execute(f"DELETE FROM names WHERE id NOT IN ({_USED})", (0, _LAST))
