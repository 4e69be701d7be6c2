"""Usage rollups: sums over calls by day, month, session and hour, so that a report reads few rows.

Owns every change of the tables of ``usage_columns.KEYS``.
Promises that they always are the sums over the calls that the view ``counted_calls`` shows: who
changes calls says which ones, and what the view shows of those before and after is the difference.
Leaves the calls to ``derived.py`` and ``derived_erasure.py``, reading to ``usage_reports.py``.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import add, itemgetter, sub
from typing import Any, Final, TypeAlias

import orjson

from blueplane.clock import MS_PER_HOUR
from blueplane.days import month_start, zone
from blueplane.store.connection import Connection
from blueplane.store.metric_rollups import touch, touch_all
from blueplane.store.reading import Reads
from blueplane.store.usage_columns import BANDS, KEYS, KINDS, VALUES

#: What the sums are of calls.
_SUMS: Final[Mapping[str, str]] = {
    "calls": "count(*)",
    "final_calls": "sum(final)",
    **{f"{kind}_tokens": f"coalesce(sum({kind}_tokens), 0)" for kind in KINDS},
    **{f"{kind}_known": f"count({kind}_tokens)" for kind in KINDS},
    "reported_nano_usd": "coalesce(sum(CAST(round(reported_cost_usd * 1e9) AS INTEGER)), 0)",
    "reported_known": "count(reported_cost_usd)",
}

#: A call of a transcript is one request; what a hook of Cursor tells of is a whole turn, whose
#: prompts nobody knows.
_PROMPT: Final = (
    "iif(platform = 'claude_code', coalesce(input_tokens, 0) + coalesce(cache_creation_tokens, 0)"
    " + coalesce(cache_read_tokens, 0), 0)"
)
#: Hours that keep a time before 1970 above 0, where division rounds down.
_SHIFT: Final = 10**8
#: What the rows of all tables are made of. A label that is missing is 0: NULL is in no key.
_CELL: Final[Mapping[str, str]] = {
    "session": "session",
    "day": "local_day(timestamp_ms)",
    "hour": f"(timestamp_ms + {_SHIFT * MS_PER_HOUR}) / {MS_PER_HOUR} - {_SHIFT}",
    "platform": "platform",
    "model": "coalesce(model, 0)",
    "project": "coalesce(project, 0)",
    "branch": "coalesce(branch, 0)",
    "band": " + ".join(f"({_PROMPT} > {limit})" for limit in BANDS),
}
_CELLS: Final = (
    f"SELECT {', '.join([*_CELL.values(), *map(_SUMS.__getitem__, VALUES)])}"
    " FROM counted_calls {where}"
    f" GROUP BY {', '.join(str(number) for number in range(1, len(_CELL) + 1))}"
)
_OF_MESSAGES: Final = "WHERE message IN (SELECT value FROM json_each(?))"

#: In the table ``cursors``: the time zone whose days these are.
_ZONE: Final = "usage_zone"

#: What a sum is of, in order; the month follows from the day.
_PLACES: Final = (*_CELL, "month")
_SESSION: Final = _PLACES.index("session")
_DAY: Final = _PLACES.index("day")

_Sums: TypeAlias = tuple[int, ...]
_Cells: TypeAlias = dict[tuple[Any, ...], _Sums]


@dataclass(frozen=True, slots=True)
class _Table:
    """How a table is written: add to a row, and remove it when it is of no call any more."""

    key_of: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    put: str
    tidy: str


def _table(name: str, key: Sequence[str]) -> _Table:
    columns = (*key, *VALUES)
    return _Table(
        itemgetter(*map(_PLACES.index, key)),
        f"INSERT INTO {name} VALUES ({', '.join('?' * len(columns))}) {adding(key)}",
        f"DELETE FROM {name} WHERE {' AND '.join(f'{each} = ?' for each in key)} AND calls = 0",
    )


def adding(key: Sequence[str]) -> str:
    """Return the end of an INSERT that adds to what is there."""
    sums = ", ".join(f"{name} = {name} + excluded.{name}" for name in VALUES)
    return f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {sums}"


_TABLES: Final = [_table(name, key) for name, key in KEYS.items()]


def is_elsewhere(reader: Reads) -> bool:
    """Say whether the machine is in another time zone than the one whose days these are."""
    found = reader.rows("SELECT value FROM cursors WHERE name = ?", (_ZONE,))
    return found not in ([], [(zone(),)])


class Rollups:
    """The rollups, through the write connection and in its caller's transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @contextmanager
    def following(self, messages: Iterable[int]) -> Iterator[None]:
        """Follow what the block changes of calls: only of these messages, but of all their calls.

        Where the machine is in another time zone by now all days are others: all is made anew.
        """
        if self._is_moved():
            yield
            self.rebuild()
            return
        touched = orjson.dumps(list(messages)).decode()
        before = self._cells(_OF_MESSAGES, touched)
        yield
        after = self._cells(_OF_MESSAGES, touched)
        changed = _difference(before, after)
        self._add(changed)
        touch(self._connection, {cell[_SESSION] for cell in changed})

    def follow_machine(self) -> None:
        """Make all of them anew if the machine is in another time zone by now."""
        if self._is_moved():
            self.rebuild()

    def rebuild(self) -> None:
        """Make all of them anew from the calls."""
        for name in KEYS:
            self._connection.execute(f"DELETE FROM {name}")
        self._connection.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?)", (_ZONE, zone()))
        self._add(self._cells(""))
        touch_all(self._connection)

    def _is_moved(self) -> bool:
        found = self._connection.execute("SELECT value FROM cursors WHERE name = ?", (_ZONE,))
        return bool(found.fetchone() != (zone(),))

    def _cells(self, where: str, *parameters: str) -> _Cells:
        width = len(_CELL)
        rows = self._connection.execute(_CELLS.format(where=where), parameters)
        return {(*row[:width], month_start(row[_DAY])): row[width:] for row in rows}

    def _add(self, cells: _Cells) -> None:
        for table in _TABLES:
            rows: _Cells = {}
            for cell, sums in cells.items():
                key = table.key_of(cell)
                rows[key] = tuple(map(add, rows[key], sums)) if key in rows else sums
            self._connection.executemany(table.put, [(*key, *sums) for key, sums in rows.items()])
            self._connection.executemany(table.tidy, rows)


def _difference(before: _Cells, after: _Cells) -> _Cells:
    nothing = (0,) * len(VALUES)
    sums = {
        cell: tuple(map(sub, after.get(cell, nothing), before.get(cell, nothing)))
        for cell in before.keys() | after.keys()
    }
    return {cell: each for cell, each in sums.items() if any(each)}
