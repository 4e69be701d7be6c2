"""How far the items of sources are settled: the table ``offsets``.

Owns every statement on that table.
Promises only what its caller's transaction promises: nothing here begins or commits.
Leaves what an offset means to the source, and when one moves to ``pipeline/progress.py``.
"""

from collections.abc import Collection, Mapping
from typing import Final

from blueplane.event import Mark
from blueplane.store.connection import Connection

_COLUMNS: Final = "offset, inode, fingerprint, generation, born_ms, tail"


class Offsets:
    """The marks of all sources, through one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self, source: str) -> dict[str, Mark]:
        """Return the marks of a source by item."""
        rows = self._connection.execute(
            f"SELECT item, {_COLUMNS} FROM offsets WHERE source = ?", (source,)
        )
        return {item: Mark(*rest) for item, *rest in rows}

    def get(self, source: str, item: str) -> Mark | None:
        """Return the mark of one item."""
        found = self._connection.execute(
            f"SELECT {_COLUMNS} FROM offsets WHERE source = ? AND item = ?", (source, item)
        ).fetchone()
        return Mark(*found) if found else None

    def older(self, source: str, before_ms: int) -> list[str]:
        """Return the items of a source that are from before a time."""
        rows = self._connection.execute(
            "SELECT item FROM offsets WHERE source = ? AND born_ms < ?", (source, before_ms)
        )
        return [item for (item,) in rows]

    def remove(self, source: str, items: Collection[str]) -> None:
        """Remove the marks of items."""
        self._connection.executemany(
            "DELETE FROM offsets WHERE source = ? AND item = ?", [(source, item) for item in items]
        )

    def put(self, source: str, marks: Mapping[str, Mark]) -> None:
        """Set marks by item."""
        self._connection.executemany(
            f"INSERT OR REPLACE INTO offsets (source, item, {_COLUMNS})"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (source, item, mark.offset, mark.inode, mark.fingerprint, mark.generation,
                 mark.born_ms, mark.tail)
                for item, mark in marks.items()
            ],
        )  # fmt: skip
