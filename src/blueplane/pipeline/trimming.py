"""Memory that a burst of events leaves behind.

Owns when it is given back to the system: once rows were written, and none came between two looks,
so that whatever follows from them is done, too.
Promises to do nothing where the allocator has no such call (glibc has).
Leaves the page cache of the database to the writer's thread.
"""

import ctypes
import gc

from blueplane.pipeline.writer import Writer


class Trimmer:
    """Gives memory back; the allocator would keep it."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._seen = self._trimmed = 0
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)

    def trim(self) -> None:
        """Trim when there were rows since the last time, and none since the last look."""
        before, self._seen = self._seen, self._writer.written
        quiet = self._seen == before and not len(self._writer.in_flight)
        if self._trim is not None and quiet and self._seen != self._trimmed:
            self._trimmed = self._seen
            self._writer.ask(self._writer.commits.shrink)
            gc.collect()
            self._trim(0)
