"""The mark: what the database last held, kept outside of it.

Owns ``telemetry.mark`` beside the database, a few numbers and nothing of any event.
Promises that a mark is whole or the one before it, and never ahead of what is durable.
Leaves it to ``pipeline/continuity.py`` to say what it means that the database holds less.
"""

import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import orjson

from blueplane.paths import private_file, staged_file

#: Bytes that are read; a mark is some hundred.
MAX_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Mark:
    """What a database holds.

    ``store`` is its random id, 0 before it has one. ``settled`` messages have an outcome, ``own``
    of them were of our own sources, ``rows`` are there to be read, ``sequence`` is the newest.
    """

    store: int
    settled: int
    own: int
    rows: int
    sequence: int


def mark_file(database: Path) -> Path:
    """Return where the mark of a database is."""
    return database.with_suffix(".mark")


def read_mark(database: Path) -> Mark | None:
    """Return the mark of a database, None when there is none that can be read."""
    with suppress(OSError, ValueError, TypeError):
        with private_file(mark_file(database), os.O_RDONLY | os.O_NONBLOCK) as file:
            mark = Mark(**orjson.loads(file.read(MAX_BYTES) or b""))
        if all(type(value) is int and value >= 0 for value in asdict(mark).values()):
            return mark
    return None


def write_mark(database: Path, mark: Mark) -> None:
    """Replace the mark; where that fails the old one stays, which says less and nothing wrong."""
    path = mark_file(database)
    # Not synced: it is written with every batch, and what a power cut takes of it says less, too.
    with suppress(OSError), staged_file(path) as (staged, file):
        file.write(orjson.dumps(mark))
        file.flush()
        staged.replace(path)
