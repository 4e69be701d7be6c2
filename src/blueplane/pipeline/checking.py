"""The daily check of the database's pages.

Owns when it is made: soon after the start, and then once a day.
Promises that what is found is recorded once a check, and that the database goes on to be used.
Leaves the check to ``store/damage.py``, and a database that cannot be used to the writer.
"""

from pathlib import Path
from typing import Final

from blueplane.clock import monotonic_s
from blueplane.pipeline.writer import Writer
from blueplane.store.damage import find_damage

#: Seconds between two checks.
EVERY_S: Final = 86_400.0
#: Seconds after which one is given up: the -wal grows as long as somebody reads.
PATIENCE_S: Final = 30.0


class Checker:
    """Checks one database."""

    def __init__(self, database: Path, writer: Writer) -> None:
        self._database = database
        self._writer = writer
        self._due_s = monotonic_s()

    def check(self) -> None:
        """Check the database if it is time."""
        if monotonic_s() < self._due_s:
            return
        self._due_s = monotonic_s() + EVERY_S
        damage = find_damage(self._database, PATIENCE_S)
        if damage is not None:
            self._writer.ask(lambda: self._writer.commits.note_damage(damage))
