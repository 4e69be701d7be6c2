"""What sources ask of the store.

Owns a read connection of its own, for the thread of one source.
Promises answers of the database that is there now, also after it was replaced.
Leaves every write to the writer.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from blueplane.errors import StoreBrokenError
from blueplane.event import Event, Settlement
from blueplane.pipeline.writer import Writer
from blueplane.store.queries import SERVER_READ_S, Reader


class StoreRecords:
    """What the spooler asks of the store: reads on its own connection, writes by the writer."""

    def __init__(self, path: Path, writer: Writer) -> None:
        self._path = path
        self._writer = writer
        self._reader: Reader | None = None

    def settled(self, events: Sequence[Event]) -> set[str]:
        """Return the origins of those events whose outcome is stored."""
        if self._reader is not None and self._reader.moved():
            self.close()  # what another file says of them does not count
        try:
            if self._reader is None:
                self._reader = Reader(self._path, SERVER_READ_S)
            return self._reader.settled(events)
        except StoreBrokenError:
            self.close()
            self._writer.suspect_store()
            raise

    def settle(self, outcomes: Sequence[Settlement]) -> None:
        """Store what became of files that never reached the stream."""
        self._writer.ask(lambda: self._writer.commits.settle(outcomes))

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
