"""What every source of events needs of the road and of the store.

Owns what a source may ask of both: it knows neither Redis nor our database.
Promises nothing of its own; who wires a source gives it something of this shape.
Leaves what else a source asks of the store to that source.
"""

from collections.abc import Sequence
from threading import Event as Flag
from typing import Protocol

from blueplane.errors import QueueError
from blueplane.event import Event, Settlement


class Intake(Protocol):
    """The way into the stream."""

    @property
    def open(self) -> bool:
        """Whether events can be appended now."""

    def emit(self, events: Sequence[Event], stopping: Flag) -> None:
        """Append events; raise QueueError when they are not known to be in the stream."""

    def recover(self, error: QueueError) -> None:
        """See to it that what went wrong is looked into."""


class Outcomes(Protocol):
    """What the store knows of outcomes; every method raises StoreError when it is away."""

    def settled(self, events: Sequence[Event]) -> set[str]:
        """Return the origins of those events whose outcome is stored."""

    def settle(self, outcomes: Sequence[Settlement]) -> None:
        """Store what became of items that never reached the stream."""
