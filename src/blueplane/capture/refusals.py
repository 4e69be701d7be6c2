"""What the hooks did not take: they note each refusal in a file, and it is counted here.

Owns how far that file was read.
Promises that a letter counts once, whatever is killed: count and offset are stored together.
Leaves the meaning of a letter to ``refusal.py`` and the storing to the records.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from blueplane.paths import is_link
from blueplane.refusal import Refusal

_LETTERS: Final = frozenset(Refusal)


class Counts(Protocol):
    """Where refusals are counted; raises StoreError when the store is away."""

    def refused_offset(self) -> int:
        """Return up to where the hooks' refusals are counted."""

    def refuse(self, offset: int, counts: Mapping[str, int]) -> None:
        """Count refusals by reason, up to ``offset``."""


@dataclass(frozen=True, slots=True)
class Refusals:
    """The file in which hooks note what they refused, a letter each."""

    path: Path
    counts: Counts

    def count(self) -> None:
        """Count the letters that hooks appended since the last time; raise OSError, StoreError."""
        if is_link(self.path):
            self.path.unlink()  # what hooks append would be another file's
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            return
        offset = self.counts.refused_offset()
        if size == offset:
            return
        start = offset if size > offset else 0
        with self.path.open("rb") as letters:
            letters.seek(start)
            new = letters.read(size - start)  # hooks append meanwhile: those are of the next time
        counts = Counter(letter for letter in new.decode("ascii", "replace") if letter in _LETTERS)
        self.counts.refuse(size, dict(counts))
