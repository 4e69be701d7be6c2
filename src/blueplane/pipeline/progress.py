"""How far each source is settled.

Owns the marks of sources, while they move: low-water marks of files that are read by byte offset,
and marks that cover a number of events.
Promises that a mark never passes what has no outcome, in whatever order outcomes come, and that it
moves in the transaction of those outcomes or not at all.
Leaves reading, and telling one file from another, to the source.

The origin of a line is ``t:<item>-<generation>:<start>:<end>:<tail>``; the ranges of a file's lines
leave no gap, and ``tail`` stands for what is in the line. A range that is settled before those in
front of it is remembered until they are.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from blueplane.event import Mark
from blueplane.store.offsets import Offsets

#: The source whose origins are ranges of bytes, and what these begin with.
SOURCE: Final = "transcript"
ORIGIN: Final = re.compile(r"t:([0-9a-f]{16}-\d{1,9}):(\d{1,18}):(\d{1,18}):(\d{1,10})\Z")
#: Files whose state is kept in memory when nothing of them is out of order.
MAX_KEPT: Final = 512


@dataclass(slots=True)
class _File:
    """A file: its mark as it was found, up to where it is settled by now, and what is beyond.

    ``tail`` is that of the line that ends at ``low``; ``ahead`` has the ends and tails of ranges
    that are settled out of order, by their start.
    """

    found: Mark
    low: int
    tail: int
    ahead: dict[int, tuple[int, int]] = field(default_factory=dict)

    @property
    def mark(self) -> Mark:
        return replace(self.found, offset=self.low, tail=self.tail)

    def settle(self, start: int, end: int, tail: int) -> None:
        if start != self.low:
            if start > self.low:
                self.ahead[start] = end, tail
            return
        self.low, self.tail = end, tail
        while self.ahead and self.low in self.ahead:
            self.low, self.tail = self.ahead.pop(self.low)


@dataclass(frozen=True, slots=True)
class _Cover:
    """A mark of an item, and the origins it waits for."""

    item: str
    mark: Mark
    origins: frozenset[str]


class _Covers:
    """Marks that are stored with the last outcome of what they cover, one for each source.

    Whoever had no answer asks again, and who was killed reads again from the mark before: so it is
    no harm that nothing of this outlives the process.
    """

    def __init__(self, offsets: Offsets) -> None:
        self._offsets = offsets
        self._waiting: dict[str, _Cover] = {}
        self._staged: dict[str, _Cover] = {}

    def add(self, source: str, cover: _Cover) -> None:
        self._staged = {**self._waiting, source: cover}
        self._store()

    def advance(self, origins: Collection[str]) -> None:
        self._staged = {
            source: replace(cover, origins=cover.origins.difference(origins))
            for source, cover in self._waiting.items()
        }
        self._store()

    def _store(self) -> None:
        for source, cover in self._staged.items():
            if not cover.origins:
                self._offsets.put(source, {cover.item: cover.mark})

    def keep(self) -> None:
        self._waiting = {key: cover for key, cover in self._staged.items() if cover.origins}


class Progress:
    """The marks of one store, in the writer's thread.

    What ``announce``, ``cover`` and ``advance`` do is in the caller's transaction, and holds once
    ``keep`` says that it is durable. A file that nobody has announced has its mark without an
    inode: who reads it then knows that what is beyond the mark may be settled already.
    """

    def __init__(self, offsets: Offsets) -> None:
        self._offsets = offsets
        self._files: dict[str, _File] = {}
        self._staged: dict[str, _File] = {}
        self._covers = _Covers(offsets)

    def forget(self, source: str, items: Collection[str]) -> None:
        """Remove the marks of items, inside the caller's transaction."""
        self._begin(())
        self._offsets.remove(source, items)
        for item in items if source == SOURCE else ():
            self._files.pop(item, None)  # it is read again, should this not be durable

    def announce(self, marks: Mapping[str, Mark]) -> None:
        """Note what files items are, before any of their lines are on the road."""
        self._begin(())
        for item, mark in marks.items():
            file = self._find(item, mark.generation)
            if file.found.generation == mark.generation:
                self._staged[item] = replace(file, found=mark)
        self._store()

    def cover(self, source: str, item: str, mark: Mark, origins: Collection[str]) -> None:
        """Have a mark stored with the last outcome of ``origins``, now if there are none.

        It takes the place of another one of the source that waits.
        """
        self._staged = {}
        self._covers.add(source, _Cover(item, mark, frozenset(origins)))

    def advance(self, origins: Collection[str]) -> None:
        """Move the marks past these origins, inside the caller's transaction."""
        self._begin(origins)
        files: dict[str, _File | None] = {}
        for found in filter(None, map(ORIGIN.match, origins)):
            name, *numbers = found.groups()
            if name not in files:
                files[name] = self._stage(name)
            if file := files[name]:
                file.settle(*map(int, numbers))
        self._store()

    def _begin(self, origins: Collection[str]) -> None:
        self._staged = {}
        self._covers.advance(origins)

    def _store(self) -> None:
        if self._staged:
            marks = {item: file.mark for item, file in self._staged.items()}
            self._offsets.put(SOURCE, marks)

    def keep(self) -> None:
        """Take over what was done: its transaction is durable."""
        self._files |= self._staged
        self._staged = {}
        self._covers.keep()
        if len(self._files) > MAX_KEPT:
            self._files = {item: file for item, file in self._files.items() if file.ahead}

    def _stage(self, name: str) -> _File | None:
        """Return the file of ``<item>-<generation>``; None when another generation is settled."""
        item, _, generation = name.partition("-")
        file = self._staged.get(item)
        if file is None:
            file = self._staged[item] = self._find(item, int(generation))
        return file if file.found.generation == int(generation) else None

    def _find(self, item: str, generation: int) -> _File:
        """Return a copy of what is known of an item that is at least of ``generation``."""
        file = self._files.get(item)
        if file is None:
            mark = self._offsets.get(SOURCE, item) or Mark(0, 0, "", generation)
            file = _File(mark, mark.offset, mark.tail)
        if generation > file.found.generation:
            file = _File(Mark(0, 0, "", generation), 0, 0)
        return replace(file, ahead=dict(file.ahead))
