"""Rows of conversations that were changed in place, where nothing else tells of it.

Owns going round through all rows of conversations, a few at a time, and what each of them was.
Promises bounded work at each step, 8 bytes of memory for a row, and no work once it has gone round
after the last change.
Leaves what the rows say to ``conversations.py``.

The first round only learns what the rows are: what was captured before, and is gone from our store
by the user's will, must not come back. So what was changed in place while nobody looked is missed.
"""

from pathlib import Path
from typing import Final

from blueplane.capture.cursor.database import BUBBLE, Database, reading
from blueplane.digests import blake2b

#: Rows of a step, and bytes of them after which it ends; values that are read at once.
ROWS: Final = 100
BYTES: Final = 256 * 1024
_AT_ONCE: Final = 10
_DIGEST_BYTES: Final = 8


class Rotation:
    """Goes round through one database."""

    def __init__(self, path: Path) -> None:
        self._path = path
        #: Digests of the rows of each group, in the round before and in this one.
        self._before: dict[str, bytes] = {}
        self._now: dict[str, bytes] = {}
        #: The group in hand: what its rows were, None if nobody knows, and what they are.
        self._group = ""
        self._known: frozenset[bytes] | None = None
        self._digests = bytearray()
        #: The last key that was looked at in this round.
        self._after = ""
        #: Rounds that are to be gone, with the one in hand.
        self.owed = 0

    def owe(self) -> None:
        """Go round: something changed. A round in hand may have passed it."""
        self.owed = 2 if self._after else 1

    def step(self) -> list[str]:
        """Look at some rows; return the keys of those that are not what they were.

        Raises EditorDatabaseError.
        """
        if not self.owed:
            return []
        with reading(self._path) as database:
            rows = self._read(database)
        if not rows:
            self._end_round()
        return [key for key, digest in rows if self._differs(key, digest)]

    def _read(self, database: Database) -> list[tuple[str, bytes]]:
        keys = database.keys(self._after, ROWS)
        rows: list[tuple[str, bytes]] = []
        size = 0
        for start in range(0, len(keys), _AT_ONCE):
            for row in database.values(keys[start : start + _AT_ONCE]):
                rows.append((row.key, _digest(row.key, row.value)))
                size += len(row.value)
            if size > BYTES:
                break
        return sorted(rows)

    def _differs(self, key: str, digest: bytes) -> bool:
        self._enter(_group_of(key))
        self._digests += digest
        self._after = key
        return self._known is not None and digest not in self._known

    def _enter(self, group: str) -> None:
        if group == self._group:
            return
        self._leave()
        before = self._before.get(group)
        self._group = group
        self._known = None if before is None else frozenset(_cut(before))

    def _leave(self) -> None:
        if self._group:
            self._now[self._group] = bytes(self._digests)
        self._group = ""
        self._digests.clear()

    def _end_round(self) -> None:
        self._leave()
        self._before, self._now = self._now, {}
        self._after = ""
        self.owed -= 1


def _group_of(key: str) -> str:
    """Return what the keys of a conversation's bubbles begin with; all composers are one group."""
    return key[: key.find(":", len(BUBBLE))] if key.startswith(BUBBLE) else "composers"


def _digest(key: str, value: bytes) -> bytes:
    return blake2b(b"%b\0%b" % (key.encode(), value), digest_size=_DIGEST_BYTES).digest()


def _cut(digests: bytes) -> list[bytes]:
    starts = range(0, len(digests), _DIGEST_BYTES)
    return [digests[start : start + _DIGEST_BYTES] for start in starts]
