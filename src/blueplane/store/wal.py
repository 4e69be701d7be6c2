"""The size of the -wal file.

Owns the look at it after commits, and the attempt to make it small again.
Promises to cost a stat a second at most while the disk has room, to wait for a reader only for a
moment, and that the -wal does not take the room that its own pages need in the database.
Leaves the moving of pages to SQLite, which does it by itself while no reader holds the file open in
the middle of a statement.
"""

from pathlib import Path
from typing import Final

from blueplane.clock import monotonic_s
from blueplane.errors import StoreError
from blueplane.logs import get
from blueplane.paths import free_bytes
from blueplane.store.connection import BUSY_TIMEOUT_MS, Connection, translated

_log = get("store")

#: Bytes above which the file is too large: SQLite keeps it at a quarter of that by itself.
LARGE_BYTES: Final = 64 * 1024 * 1024
#: Free bytes below which each commit is followed by a look, and the share of them that it may take:
#: once the disk is full, nothing moves from the -wal into a database that would have to grow.
TIGHT_BYTES: Final = LARGE_BYTES
SHARE: Final = 4
#: Seconds between two looks, and between two attempts.
LOOK_S: Final = 1.0
TRY_S: Final = 10.0
#: Milliseconds for which an attempt waits for readers, and the writer with it.
PATIENCE_MS: Final = 100


class Wal:
    """Keeps the -wal of the database at ``path`` small."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(f"{path.name}-wal")
        self._look_s = self._try_s = monotonic_s()
        self._tight = False
        self._large = False

    def tend(self, connection: Connection) -> None:
        """Look, if it is time, and cut the file when it is too large; between two transactions."""
        now_s = monotonic_s()
        if now_s < self._look_s and not self._tight:
            return
        self._look_s = now_s + LOOK_S
        size, free = self._size(), free_bytes(self._path.parent)
        self._tight = free is not None and free < TIGHT_BYTES
        most = min(LARGE_BYTES, free // SHARE) if self._tight and free is not None else LARGE_BYTES
        if size > most and now_s >= self._try_s:
            done = cut(connection)
            self._try_s = now_s + (0.0 if done else LOOK_S if self._tight else TRY_S)
            size = self._size()
        self._note(size)

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def _note(self, size: int) -> None:
        if size > LARGE_BYTES and not self._large:
            _log.warning("wal large", bytes=size, limit=LARGE_BYTES)
        elif size <= LARGE_BYTES and self._large:
            _log.info("wal is small again", bytes=size)
        self._large = size > LARGE_BYTES


def empty_wal(connection: Connection) -> bool:
    """Move the -wal into the database and cut it to nothing; False while a reader holds it."""
    with translated():
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


def cut(connection: Connection) -> bool:
    """Empty the -wal without waiting for long; False when that is not possible now.

    A reader in the middle of a statement keeps it, and so does a disk without room.
    """
    try:
        with translated():
            connection.execute(f"PRAGMA busy_timeout = {PATIENCE_MS}")
            return empty_wal(connection)
    except StoreError as error:
        _log.debug("wal not cut", reason=error)
        return False
    finally:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
