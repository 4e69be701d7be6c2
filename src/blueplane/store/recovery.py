"""Taking out of a damaged database what can still be read.

Owns the walk around damaged pages, and the mending of a lost header in a copy.
Promises to leave the damaged database alone, and that what it makes is a whole, checked database of
this version, in which every event can be decoded.
Leaves which database is damaged, and where the new one goes, to ``install/doctor``.

A table is read by its row numbers, up and down, until a page cannot be read; what lies between the
two ends is halved, the widest first, until the bad rows are found. Tables without row numbers are
read from both ends.
"""

import os
import shutil
import sqlite3
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson

from blueplane.errors import StoreBrokenError, StoreError
from blueplane.paths import private_file
from blueplane.store import conversation_tables, metric_rollups, schema, usage_columns
from blueplane.store.codec import load_codec
from blueplane.store.connection import (
    ENDINGS,
    Connection,
    open_reader,
    open_writer,
    transaction,
    translated,
)
from blueplane.store.damage import find_damage
from blueplane.store.ledger import Ledger
from blueplane.store.migrations import migrate
from blueplane.store.wal import empty_wal

#: Ranges of one table that are tried: each bad row costs about two for each time it is halved.
MAX_RANGES: Final = 50_000
#: Rows that are written in one transaction.
_AT_ONCE: Final = 1_000
#: The largest row number that SQLite knows.
_LAST: Final = 2**63 - 1
#: Seconds for the check of what was made.
_CHECK_S: Final = 600.0
#: Every database of ours has SQLite's usual pages.
_PAGE: Final = 4096
#: Bytes of the header, and in it those of the number of pages and of what is free (sqlite.org).
_HEADER: Final = 100
_PAGES: Final = slice(28, 32)
_FREE: Final = slice(32, 40)
#: The first byte after the header: the kind of page that the schema begins with.
_SCHEMA_KINDS: Final = (0x05, 0x0D)
#: Made by migrations, and not by what happened.
_OWN_TABLES: Final = ("schema_version", "sqlite_sequence")
#: Made of events anew when there is no watermark: so they fit the events that are left.
_DERIVED: Final = (
    "calls", "first_hooks", "labels", "sessions", "stretches", "touched", "watermarks", "witnesses",
    *usage_columns.KEYS, *conversation_tables.TABLES.values(), *metric_rollups.MEASURED,
)  # fmt: skip
#: Any of these has rows, or it was not our schema that was read.
_PROOF: Final = ("traces", "custody_totals")


@dataclass(frozen=True, slots=True)
class Taken:
    """What was taken of one table, and how many rows may have been there that cannot be read.

    A number that no row ever had counts, too. None says that nobody knows how many.
    """

    table: str
    rows: int
    unreadable: int | None


def recover(damaged: Path, target: Path) -> list[Taken]:
    """Make a database at ``target``, which must not exist, of what ``damaged`` still has.

    Returns what was taken of each table that has anything. Raises StoreError when nothing can be
    read, or ``target`` cannot be written; then there is no ``target``.
    """
    if target.exists():
        message = f"{target}: is there already; move it away"
        raise StoreError(message)
    made = target.with_name(f"{target.name}.new")
    copy = target.with_name(f"{target.name}.copy")
    _remove(made)  # of an attempt that was killed
    _remove(copy)
    try:
        with closing(_make(made)) as writer:
            _copy(damaged, copy)
            taken = _take_all(copy, made, writer)
            _have_sources_look_again(made, writer)
            empty_wal(writer)
        _check(made)
        made.rename(target)
    except OSError as error:
        message = f"{error.filename or target}: {error.strerror}; nothing was recovered"
        raise StoreError(message) from error
    finally:
        _remove(made)
        _remove(copy)
    return taken


def _have_sources_look_again(target: Path, writer: Connection) -> None:
    """Have every file and store of an editor read anew: what has its row is known by that."""
    with translated(target), transaction(writer):
        writer.execute("UPDATE offsets SET offset = 0, inode = 0")


def _check(target: Path) -> None:
    damage = find_damage(target, _CHECK_S, whole=True)
    if damage is not None:
        raise StoreBrokenError(damage)
    for ending in ENDINGS[1:]:  # empty, and made anew by whoever opens it
        Path(f"{target}{ending}").unlink(missing_ok=True)


def _make(target: Path) -> Connection:
    writer = open_writer(target)
    with translated(target):
        migrate(writer)
        empty_wal(writer)
    return writer


def _copy(damaged: Path, copy: Path) -> None:
    """Copy a database with its -wal; SQLite writes beside what it opens, and the header may go."""
    for ending in ENDINGS[:2]:
        source = Path(f"{damaged}{ending}")
        if ending and not source.exists():
            continue
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with source.open("rb") as bytes_in, private_file(Path(f"{copy}{ending}"), flags) as out:
            shutil.copyfileobj(bytes_in, out)


def _remove(path: Path) -> None:
    for ending in ENDINGS:
        with suppress(OSError):
            Path(f"{path}{ending}").unlink()


# --- the first page -------------------------------------------------------------------------------


def _take_all(copy: Path, target: Path, writer: Connection) -> list[Taken]:
    """Read the copy as it is; else with a header, else with a whole first page, of the target."""
    template = target.read_bytes()[:_PAGE]
    tables = _tables(writer)
    for mend, wanted in (
        (_leave, tables),
        (_mend_header, tables),
        (_mend_page, [table for table in tables if f"TABLE {table} (" in schema.ROAD]),
    ):
        mend(copy, template)
        found: list[Taken] = []
        with suppress(StoreError):
            found = _take_tables(copy, writer, wanted)
        if any(each.rows for each in found if each.table in _PROOF):
            return found
    message = f"{target}: nothing of the damaged database can be read"
    raise StoreBrokenError(message)


def _leave(_copy: Path, _template: bytes) -> None:
    """Read what is there."""


def _mend_header(copy: Path, template: bytes) -> None:
    """Give the copy a header: those of two databases of ours differ in nothing that is needed."""
    with copy.open("r+b") as file:
        page = file.read(_PAGE)
        if len(page) == _PAGE and page[_HEADER] in _SCHEMA_KINDS:
            file.seek(0)
            file.write(_header(template, copy.stat().st_size))


def _mend_page(copy: Path, template: bytes) -> None:
    """Give the copy the schema of a new database: what the first step made lies alike in all."""
    with copy.open("r+b") as file:
        file.write(_header(template, copy.stat().st_size) + template[_HEADER:])


def _header(template: bytes, size: int) -> bytes:
    header = bytearray(template[:_HEADER])
    header[_PAGES] = (size // _PAGE).to_bytes(4, "big")
    header[_FREE] = bytes(8)
    return bytes(header)


# --- the tables -----------------------------------------------------------------------------------


def _tables(writer: Connection) -> list[str]:
    """Return the tables that events fill, that of the events last: it refers to the others."""
    rows = writer.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    names = [name for (name,) in rows if name not in (*_OWN_TABLES, *_DERIVED)]
    return sorted(names, key=lambda name: name == "traces")


def _take_tables(damaged: Path, writer: Connection, tables: Sequence[str]) -> list[Taken]:
    """Take these tables over; raises StoreError when the database cannot even be opened."""
    with translated(damaged), closing(open_reader(damaged)) as reader:
        reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
        taken = [_take(reader, writer, table) for table in tables]
        _keep_sequence(reader, writer)
    return [each for each in taken if each.rows or each.unreadable != 0]


def _take(reader: Connection, writer: Connection, table: str) -> Taken:
    columns = _columns(reader, writer, table)
    if not columns:
        return Taken(table, 0, 0)
    usable = _Events(writer, columns) if table == "traces" else None
    rows = _Rows(reader, table, columns)
    marks = ", ".join("?" * len(columns))
    insert = f"INSERT OR REPLACE INTO {table} ({', '.join(columns)}) VALUES ({marks})"
    walk, kept, refused = iter(rows), 0, 0
    while chunk := list(islice(walk, _AT_ONCE)):
        with transaction(writer):
            for row in chunk:
                try:
                    if usable is not None:
                        usable.check(row)
                    writer.execute(insert, row)
                    kept += 1
                except (StoreError, sqlite3.Error, ValueError, TypeError):
                    refused += 1
    unreadable = None if rows.unreadable is None else rows.unreadable + refused
    return Taken(table, kept, unreadable)


def _columns(reader: Connection, writer: Connection, table: str) -> list[str]:
    """Return the columns that both have; none when the old one has no such table."""
    with suppress(sqlite3.Error):
        had = {row[1] for row in reader.execute(f"PRAGMA table_info({table})")}
        rows = writer.execute(f"PRAGMA table_info({table})")
        return [row[1] for row in rows if row[1] in had]
    return []


def _keep_sequence(reader: Connection, writer: Connection) -> None:
    """Have no number of a row given twice, of those that were lost either."""
    with suppress(sqlite3.Error, ValueError, TypeError):
        query = "SELECT seq FROM sqlite_sequence WHERE name = 'traces'"
        found = reader.execute(query).fetchone()
        with transaction(writer):
            Ledger(writer).skip_to(int(found[0]))


class _Events:
    """Whether the event of a row is whole: to SQLite a bit that flipped in it is no error."""

    def __init__(self, writer: Connection, columns: Sequence[str]) -> None:
        self._codec = load_codec(writer)
        self._places = [columns.index(name) for name in ("event_id", "codec", "event_data")]

    def check(self, row: Sequence[Any]) -> None:
        """Raise StoreError, ValueError or TypeError unless the row can be used."""
        event_id, codec, data = (row[place] for place in self._places)
        if not (isinstance(event_id, bytes) and isinstance(data, bytes)):
            raise TypeError
        orjson.loads(self._codec.decode(codec, data))


class _Rows:
    """The rows of one table that can be read; ``unreadable`` counts those that cannot.

    It is None when nobody knows how many they are.
    """

    def __init__(self, reader: Connection, table: str, columns: Sequence[str]) -> None:
        self._reader = reader
        self._table = table
        self._names = ", ".join(columns)
        self.unreadable: int | None = 0

    def __iter__(self) -> Iterator[Sequence[Any]]:
        try:
            self._reader.execute(f"SELECT rowid FROM {self._table} LIMIT 0")
        except sqlite3.Error:  # it has no row numbers
            return self._by_key()
        return self._by_number()

    def _by_key(self) -> Iterator[Sequence[Any]]:
        """Read from both ends; what comes twice is the same row."""
        query = f"SELECT {self._names} FROM {self._table} ORDER BY 1"
        try:
            yield from self._reader.execute(query)
        except (sqlite3.Error, UnicodeDecodeError):
            self.unreadable = None
            with suppress(sqlite3.Error, UnicodeDecodeError):
                yield from self._reader.execute(f"{query} DESC")

    def _by_number(self) -> Iterator[Sequence[Any]]:
        last = self._last_given()
        # Below the first number all would be of the first page: if that is bad, no end of it.
        waiting, bad = [(0, 1 if last else 0, last or _LAST)], 0
        for _ in range(MAX_RANGES):
            if not waiting:
                break
            _, low, high = heappop(waiting)
            low = yield from self._read(low, high, ascending=True)
            if low <= high:
                high = yield from self._read(low, high, ascending=False)
            if low == high:
                bad += 1
            for part in _halves(low, high):
                # The widest first: what lies around a large hole is found before its bottom is.
                # Without an end the widest are all beyond the last row: then the lowest first.
                heappush(waiting, (part[0] - part[1] if last else part[0], *part))
        self.unreadable = None if waiting else bad
        if last is not None:
            yield from self._read(last + 1, _LAST, ascending=True)  # should the end be wrong

    def _last_given(self) -> int | None:
        """Return the last number that was given to a row; None where nobody knows."""
        with suppress(sqlite3.Error, ValueError, TypeError):
            query = "SELECT seq FROM sqlite_sequence WHERE name = ?"
            last = int(self._reader.execute(query, (self._table,)).fetchone()[0])
            return last if 0 < last < _LAST else None
        return None

    def _read(self, low: int, high: int, *, ascending: bool) -> Generator[Sequence[Any], None, int]:
        """Yield rows until one cannot be read; return what is left: its new low, or new high.

        A new low above ``high``, or a new high below ``low``, says that nothing is left.
        """
        query = (
            f"SELECT rowid, {self._names} FROM {self._table} NOT INDEXED"
            f" WHERE rowid BETWEEN ? AND ? ORDER BY rowid {'ASC' if ascending else 'DESC'}"
        )
        left = low if ascending else high
        try:
            for number, *row in self._reader.execute(query, (low, high)):
                yield row
                left = number + 1 if ascending else number - 1
        except (sqlite3.Error, UnicodeDecodeError):
            return left
        return high + 1 if ascending else low - 1


def _halves(low: int, high: int) -> list[tuple[int, int]]:
    """Return the two parts of a range; none of one that holds a single number, or nothing."""
    middle = (low + high) // 2
    return [(low, middle), (middle + 1, high)] if low < high else []
