"""What sources ask of the store.

Owns a read connection of its own, for the thread of one source.
Promises answers of the database that is there now, also after it was replaced.
Leaves every write to the writer.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from blueplane.errors import StoreBrokenError
from blueplane.event import Event, Mark, Settlement
from blueplane.pipeline.writer import Writer
from blueplane.store.queries import SERVER_READ_S, Reader

T = TypeVar("T")


class StoreRecords:
    """What one source asks of the store: reads on its own connection, writes by the writer."""

    def __init__(self, path: Path, writer: Writer) -> None:
        self._path = path
        self._writer = writer
        self._reader: Reader | None = None

    def settled(self, events: Sequence[Event]) -> set[str]:
        """Return the origins of those events whose outcome is stored."""
        return self._read(lambda reader: reader.settled(events))

    def _read(self, ask: Callable[[Reader], T]) -> T:
        if self._reader is not None and self._reader.moved():
            self.close()  # what another file says of them does not count
        try:
            if self._reader is None:
                self._reader = Reader(self._path, SERVER_READ_S)
            return ask(self._reader)
        except StoreBrokenError:
            self.close()
            self._writer.suspect_store()
            raise

    def settle(self, outcomes: Sequence[Settlement], passed: Sequence[str] = ()) -> None:
        """Store what became of items that never reached the stream.

        ``passed`` are origins that were found to be settled.
        """
        self._writer.ask(lambda: self._writer.commits.settle(outcomes, passed))

    def marks(self, source: str) -> dict[str, Mark]:
        """Return how far each item of a source is settled."""
        return self._read(lambda reader: reader.marks(source))

    def mark(self, source: str, item: str) -> Mark | None:
        """Return how far one item is settled; None for one that is not known."""
        return self._read(lambda reader: reader.mark(source, item))

    def announce(self, marks: Mapping[str, Mark]) -> None:
        """Store what files items are, before any of their lines are on the road."""
        self._writer.ask(lambda: self._writer.commits.announce(marks))

    def cover(self, source: str, item: str, mark: Mark, origins: Sequence[str]) -> None:
        """Have a mark stored with the last outcome of ``origins``, at once if there are none."""
        self._writer.ask(lambda: self._writer.commits.cover(source, item, mark, origins))

    def close(self) -> None:
        """Close the reader: the last connection to go removes the -wal file."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def refused_offset(self) -> int:
        """Return up to where refusals are counted."""
        return self._writer.ask(self._writer.commits.refused_offset)

    def refuse(self, offset: int, counts: Mapping[str, int]) -> None:
        """Count refusals."""
        self._writer.ask(lambda: self._writer.commits.refuse(offset, counts))
