"""Rollups of metrics: what can be added up, by session and day, by day, and by month.

Owns the tables ``touched``, ``session_figures``, ``session_summaries``, ``daily_rollups`` and
``monthly_rollups``: every statement that changes them, and what is read to keep them.
Promises that a day is the sum of its sessions and a month that of its days, for each platform and
project and for all of them; and that a session is measured again after whatever was derived of it.
Leaves what is added up, and how, to ``analytics/metrics``; here it is a body, compressed.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

import orjson
import zstandard

from blueplane.store.connection import Connection
from blueplane.store.reading import Reads

Body: TypeAlias = dict[str, Any]

#: Tables of what was measured.
MEASURED: Final = ("session_figures", "daily_rollups", "monthly_rollups", "session_summaries")
_LEVEL: Final = 3
#: Stands for all platforms and projects; no project has this number.
_WHOLE: Final = ("", -1)


class Cell(NamedTuple):
    """What a rollup is of: a day or a month, a platform, and the number of a project, or 0.

    The ``whole`` of a day or a month is of all platforms and projects, which most reports are of.
    """

    span: int
    platform: str
    project: int

    @property
    def whole(self) -> "Cell":
        """Return the whole that this is a part of."""
        return Cell(self.span, *_WHOLE)


class BoundedScope(NamedTuple):
    """Days or months, both ends included; of one platform, or of the project with a name."""

    first: int
    last: int
    platform: str | None = None
    project: str | None = None


class SessionFigures(NamedTuple):
    """What can be added up of a session on a day."""

    session: int
    cell: Cell
    body: Body


class SessionSummary(NamedTuple):
    """What sessions are looked for by, of a whole session.

    ``tool_calls`` are all, ``executed`` those that were let run; of edits those are ``decided``
    that came to anything. ``productivity`` is None when unknown.
    """

    session: int
    duration_ms: int
    prompts: int
    tool_calls: int
    executed: int
    failed: int
    accepted: int
    decided: int
    productivity: float | None


@dataclass(frozen=True, slots=True)
class Measured:
    """Sessions that were measured, with the versions in which they were touched.

    A day or a month of which nothing is left has no body.
    """

    versions: Mapping[int, int]
    sessions: Sequence[SessionFigures]
    summaries: Sequence[SessionSummary]
    days: Mapping[Cell, Body | None]
    months: Mapping[Cell, Body | None]


def touch(connection: Connection, sessions: Iterable[int]) -> None:
    """Have sessions measured again, within the transaction that changed what is derived of them."""
    connection.executemany(
        "INSERT INTO touched VALUES (?, 1)"
        " ON CONFLICT (session) DO UPDATE SET version = version + 1",
        [(session,) for session in sessions],
    )


def begin_measuring_anew(connection: Connection) -> None:
    """Take away everything that was measured, and have every session measured again."""
    for table in MEASURED:
        connection.execute(f"DELETE FROM {table}")
    touch_all(connection)


def touch_all(connection: Connection) -> None:
    """Have every session measured again."""
    connection.execute(
        "INSERT INTO touched SELECT id, 1 FROM sessions WHERE true"
        " ON CONFLICT (session) DO UPDATE SET version = version + 1"
    )


class TouchedError(Exception):
    """A session was touched after it was measured: what was measured is not stored."""


def put_measured(connection: Connection, measured: Measured) -> None:
    """Store what was measured; raises TouchedError."""
    marks = ", ".join("?" * len(measured.versions))
    keys = tuple(measured.versions)
    found = connection.execute(
        f"SELECT session, version FROM touched WHERE session IN ({marks})", keys
    )
    if dict(found) != measured.versions:
        raise TouchedError
    for table in ("session_figures", "session_summaries", "touched"):
        connection.execute(f"DELETE FROM {table} WHERE session IN ({marks})", keys)
    pack = _packing()
    connection.executemany(
        "INSERT INTO session_figures VALUES (?, ?, ?, ?, ?)",
        [(each.session, *each.cell, pack(each.body)) for each in measured.sessions],
    )
    connection.executemany(
        f"INSERT INTO session_summaries VALUES ({', '.join('?' * len(SessionSummary._fields))})",
        measured.summaries,
    )
    for table, bodies in (("daily_rollups", measured.days), ("monthly_rollups", measured.months)):
        packed = [(*cell, pack(body)) for cell, body in bodies.items() if body is not None]
        _put(connection, table, packed, [cell for cell, body in bodies.items() if body is None])


def _put(
    connection: Connection, table: str, packed: Sequence[tuple[Any, ...]], gone: Sequence[Cell]
) -> None:
    connection.executemany(
        f"DELETE FROM {table} WHERE span = ? AND platform = ? AND project = ?",
        gone,
    )
    connection.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?, ?)", packed)


def touched(reader: Reads, limit: int) -> dict[int, int]:
    """Return sessions that are to be measured, with their versions."""
    found = reader.rows("SELECT session, version FROM touched ORDER BY session LIMIT ?", (limit,))
    return dict(found)


def cells_of(reader: Reads, sessions: Collection[int]) -> set[Cell]:
    """Return the days of which sessions have a part."""
    marks = ", ".join("?" * len(sessions))
    found = reader.rows(
        f"SELECT DISTINCT span, platform, project FROM session_figures WHERE session IN ({marks})",
        tuple(sessions),
    )
    return {Cell(*row) for row in found}


def body_of_day(reader: Reads, cell: Cell) -> list[Body]:
    """Return what all sessions have of a day, in a list of one; none where nobody has anything."""
    return _body(reader, "daily_rollups", cell)


def body_of_month(reader: Reads, cell: Cell) -> list[Body]:
    """Return what all days have of a month, in a list of one; none where no day has anything."""
    return _body(reader, "monthly_rollups", cell)


def _body(reader: Reads, table: str, cell: Cell) -> list[Body]:
    found = reader.rows(
        f"SELECT body FROM {table} WHERE span = ? AND platform = ? AND project = ?", cell
    )
    return [unpacked(body) for (body,) in found]


def bodies_of_day(reader: Reads, cell: Cell, without: Collection[int]) -> list[Body]:
    """Return what sessions, but for some, have of a day."""
    found = reader.rows(
        "SELECT session, body FROM session_figures WHERE span = ? AND platform = ? AND project = ?",
        cell,
    )
    unpack = _unpacking()
    return [unpack(body) for session, body in found if session not in without]


def bodies_of_month(
    reader: Reads, days: range, cell: Cell, without: Collection[Cell]
) -> list[Body]:
    """Return what days, but for some, have of a month."""
    found = reader.rows(
        "SELECT span, platform, project, body FROM daily_rollups"
        " WHERE span BETWEEN ? AND ? AND platform = ? AND project = ?",
        (days.start, days.stop - 1, cell.platform, cell.project),
    )
    unpack = _unpacking()
    return [unpack(row[3]) for row in found if Cell(*row[:3]) not in without]


def parts_of_day(reader: Reads, day: int, without: Collection[Cell]) -> list[Body]:
    """Return what platforms and projects, but for some, have of a day."""
    found = reader.rows(
        "SELECT span, platform, project, body FROM daily_rollups WHERE span = ?", (day,)
    )
    left_out = {*without, Cell(day, *_WHOLE)}
    unpack = _unpacking()
    return [unpack(row[3]) for row in found if Cell(*row[:3]) not in left_out]


def days_between(reader: Reads, scope: BoundedScope, *, apart: bool) -> list[tuple[Cell, Body]]:
    """Return what days of a scope have, ``apart`` by platform and project or in the fewest rows."""
    return _between(reader, "daily_rollups", scope, apart=apart)


def months_between(reader: Reads, scope: BoundedScope, *, apart: bool) -> list[tuple[Cell, Body]]:
    """Return what months of a scope have, as ``days_between``."""
    return _between(reader, "monthly_rollups", scope, apart=apart)


def _between(
    reader: Reads, table: str, scope: BoundedScope, *, apart: bool
) -> list[tuple[Cell, Body]]:
    whole = not apart and (scope.platform, scope.project) == (None, None)
    found = reader.rows(
        f"SELECT span, platform, project, body FROM {table} WHERE span BETWEEN ?1 AND ?2"
        f" AND {'platform = ?5 AND project = ?6' if whole else 'project != ?6'}"
        " AND (?3 IS NULL OR platform = ?3) AND (?4 IS NULL OR project ="
        " (SELECT id FROM labels WHERE kind = 'project' AND text = ?4))"
        " ORDER BY span, platform, project",
        (*scope, *_WHOLE),
    )
    unpack = _unpacking()
    return [(Cell(*row[:3]), unpack(row[3])) for row in found]


def bodies_of_session(reader: Reads, session: int) -> list[tuple[int, Body]]:
    """Return what a session has of each of its days."""
    found = reader.rows(
        "SELECT span, body FROM session_figures WHERE session = ? ORDER BY span", (session,)
    )
    unpack = _unpacking()
    return [(span, unpack(body)) for span, body in found]


# Making a compressor, or what undoes its work, takes several times as long as a body does.


def _packing() -> Callable[[Body], bytes]:
    """Return what makes bytes of a body, the same of the same one."""
    compress = zstandard.ZstdCompressor(_LEVEL).compress
    return lambda body: compress(orjson.dumps(body, option=orjson.OPT_SORT_KEYS))


def _unpacking() -> Callable[[bytes], Body]:
    """Return what makes a body of bytes."""
    decompress = zstandard.ZstdDecompressor().decompress
    return lambda body: orjson.loads(decompress(body))


def unpacked(body: bytes) -> Body:
    """Return the body of a row."""
    return _unpacking()(body)
