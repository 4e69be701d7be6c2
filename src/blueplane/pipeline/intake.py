"""The sources' way into the stream.

Owns the in-flight window: how much may be enqueued and not yet written.
Promises that a source learns of every event whether it is in the stream, and otherwise keeps it.
Leaves the stream to ``stream.py``, and sending again to the sources.
"""

from collections.abc import Sequence
from threading import Event as Flag
from typing import Final

from blueplane import faults
from blueplane.clock import monotonic_s
from blueplane.errors import QueueDetachedError, QueueError, QueueRefusedError
from blueplane.event import Event, encode
from blueplane.pipeline.custody import InFlight
from blueplane.pipeline.stream import Stream
from blueplane.pipeline.writer import Writer

#: Seconds between two looks while the window is full.
WINDOW_POLL_S: Final = 0.02
#: Seconds after which a source gets its events back, to look after other things meanwhile.
WINDOW_PATIENCE_S: Final = 2.0
#: What sources wait for while the writer is behind.
WINDOW_FULL: Final = "the window is full"


class Intake:
    """Appends events for sources, one batch of one source at a time."""

    def __init__(self, stream: Stream, writer: Writer, max_entries: int, max_bytes: int) -> None:
        self._stream = stream
        self._writer = writer
        self._in_flight: InFlight = writer.in_flight
        self.limit(max_entries, max_bytes)
        #: Who has the sources wait until the stream is empty, and for a while after.
        self.holders: set[str] = set()
        #: What a source waited for last, and when.
        self.waits_for = ""
        self.waited_s = float("-inf")

    def limit(self, max_entries: int, max_bytes: int) -> None:
        """Set how much may be in flight."""
        self._max_entries = max_entries
        self._max_bytes = max_bytes

    @property
    def in_flight(self) -> int:
        """How many events are on their way."""
        return max(len(self._in_flight), self._stream.length)

    def origins(self) -> list[str]:
        """Return the origins of all events of ours that are on their way."""
        return self._in_flight.origins()

    @property
    def window(self) -> int:
        """How many may be."""
        return self._max_entries

    @property
    def open(self) -> bool:
        """Whether events can be appended now, the window apart."""
        return self._stream.attached and not self.holders

    def emit(self, events: Sequence[Event], stopping: Flag) -> None:
        """Append events of one source, waiting while the window is full.

        Raises QueueError when they are not known to be in the stream: the source keeps them, and
        is told what is there by the next attach.
        """
        entries = [encode(event) for event in events]
        self._wait_for_room(stopping)
        faults.point("before_append")
        origins = [event.origin for event in events]
        try:
            self._stream.append(events[0].source, entries, origins, self._in_flight.register)
        except QueueRefusedError as error:
            self._note_wait(str(error))
            raise
        faults.point("after_xadd")

    def recover(self, error: QueueError) -> None:
        """Have the stream looked at anew, unless it only refused: then it is as it was."""
        if self._stream.attached and not isinstance(error, QueueRefusedError):
            self._writer.reattach()

    def _wait_for_room(self, stopping: Flag) -> None:
        patience_ends_s = monotonic_s() + WINDOW_PATIENCE_S
        while self.in_flight >= self._max_entries or self._in_flight.bytes >= self._max_bytes:
            self._note_wait(WINDOW_FULL)
            if stopping.wait(WINDOW_POLL_S) or not self._stream.attached:
                raise QueueDetachedError(WINDOW_FULL)
            if monotonic_s() >= patience_ends_s:
                message = f"{WINDOW_FULL}, and the writer does not get on"
                raise QueueRefusedError(message)

    def _note_wait(self, reason: str) -> None:
        self.waits_for, self.waited_s = reason, monotonic_s()
