"""Memory that a burst of events leaves behind.

Owns when it is given back to the system: once rows were written, and none is in flight any more.
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
        self._seen = 0
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)

    def trim(self) -> None:
        """Trim when there were rows since the last time, and are none in flight now."""
        written = self._writer.written
        if self._trim is not None and written != self._seen and not len(self._writer.in_flight):
            self._seen = written
            self._writer.ask(self._writer.commits.shrink)
            gc.collect()
            self._trim(0)
