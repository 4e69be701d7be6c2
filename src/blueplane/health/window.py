"""A window of time: what was seen lately of a counter, and how fast that grew.

Owns what is kept: all that was seen in the last so many seconds, and the last thing before them.
Promises a window that begins anew when its counter does: of other things nothing is a growth.
Leaves what is seen, and when a window is long enough to be judged, to the monitors.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Seen(NamedTuple, Generic[T]):
    """What was seen, and when: monotonic seconds."""

    at_s: float
    what: T


class Window(Generic[T]):
    """A window of ``length_s``; ``counter`` finds the counter in what is seen.

    What is seen less than ``every_s`` after what is kept is left out.
    """

    def __init__(self, length_s: float, counter: Callable[[T], int], every_s: float = 0.0) -> None:
        self._length_s = length_s
        self._counter = counter
        self._every_s = every_s
        self._kept: deque[Seen[T]] = deque()

    def __iter__(self) -> Iterator[Seen[T]]:
        return iter(self._kept)

    @property
    def first(self) -> Seen[T]:
        """What is oldest."""
        return self._kept[0]

    @property
    def last(self) -> Seen[T]:
        """What is newest."""
        return self._kept[-1]

    @property
    def whole(self) -> bool:
        """Whether it reaches back as far as it should."""
        return self.first.at_s <= self.last.at_s - self._length_s

    @property
    def growth(self) -> int:
        """By how much the counter grew."""
        return self._counter(self.last.what) - self._counter(self.first.what)

    @property
    def seconds(self) -> float:
        """How long it is by now; 0 until something was seen at two moments."""
        return self.last.at_s - self.first.at_s

    @property
    def per_s(self) -> float:
        """By how much the counter grew a second, in a window that has a length."""
        return self.growth / self.seconds

    def add(self, at_s: float, what: T) -> None:
        """Note what is seen now."""
        kept = self._kept
        if kept and self._counter(what) < self._counter(self.last.what):
            kept.clear()
        if kept and at_s - self.last.at_s < self._every_s:
            return
        kept.append(Seen(at_s, what))
        while len(kept) > 1 and kept[1].at_s <= at_s - self._length_s:
            kept.popleft()

    def clear(self) -> None:
        """Begin anew."""
        self._kept.clear()

    def before(self, at_s: float) -> Seen[T]:
        """Return what was seen last, not after a moment; what is oldest if there is nothing."""
        older = (seen for seen in reversed(self._kept) if seen.at_s <= at_s)
        return next(older, self.first)
