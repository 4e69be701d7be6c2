"""Whether the database is the one that was left: nothing of it may be missed in silence.

Owns the comparison of a database with the mark outside of it, and the words for what is missing.
Promises that what was let go of, and is in no database any more, is counted as lost, and once.
Leaves opening, and recording the loss, to ``commits.py``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blueplane.store.marker import Mark

#: Sequences by which an announcement may be ahead of the database and still be believed.
MAX_AHEAD: Final = 10_000_000
DAMAGED: Final = "store_damaged"
MISSING: Final = "store_missing"
REPLACED: Final = "store_replaced"
ROLLED_BACK: Final = "store_rolled_back"


@dataclass(frozen=True, slots=True)
class Loss:
    """What a database does not hold any more: messages by number, ``own`` ones among them."""

    kind: str
    settled: int
    own: int
    cause: str


def compare(mark: Mark | None, held: Mark, *, existed: bool, aside: Path | None) -> Loss | None:
    """Say what is missing of what the mark knows; None when nothing is.

    ``existed``: there was something in the file before it was opened; ``aside``: where a damaged
    database is now. A database of another id holds nothing of ours.
    """
    known = mark or Mark(0, 0, 0, 0, 0)
    other = 0 not in (known.store, held.store) and known.store != held.store
    settled = known.settled if other else max(0, known.settled - held.settled)
    own = min(settled, known.own if other else max(0, known.own - held.own))
    if aside is not None:
        cause = f"the database was damaged, is now {aside.name}, and had {_rows(known.rows)}"
        return Loss(DAMAGED, settled, own, cause)
    if other:
        cause = f"another database was put in place of ours, which had {_rows(known.rows)}"
        return Loss(REPLACED, settled, own, cause)
    if not settled:
        return None
    if not existed:
        cause = f"the database was gone or empty, and had {_rows(known.rows)}"
        return Loss(MISSING, settled, own, cause)
    rows = _rows(max(0, known.rows - held.rows))
    return Loss(ROLLED_BACK, settled, own, f"the database is an older one and lacks {rows}")


def rolled_back(count: int, own: int) -> Loss:
    """Say that rows were announced which the database does not have."""
    cause = f"the database is an older one and lacks {_rows(count)} that were announced"
    return Loss(ROLLED_BACK, count, own, cause)


def _rows(number: int) -> str:
    return f"{number:,} row{'' if number == 1 else 's'}"
