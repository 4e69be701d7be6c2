"""Rows of raw traces: making them from events, and inserting them once.

Owns the compact form of a row and the interning of its strings.
Promises that an insert is idempotent by ``event_id`` and says of every row what became of it.
Leaves counting to ``custody.py`` and the transaction to the writer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, NamedTuple

from blueplane.clock import NS_PER_MS
from blueplane.errors import UndecodableEntryError
from blueplane.event import (
    COLUMNS,
    read_captured,
    read_event_id,
    read_object,
    read_timestamp,
    read_values,
)
from blueplane.store.codec import Codec
from blueplane.store.connection import Connection

#: Interned strings that are kept in memory; one is about 150 bytes.
MAX_CACHED_NAMES: Final = 10_000
#: Parameters of one statement: SQLite before 3.32 took 999.
MAX_PARAMETERS: Final = 900

Kind = tuple[str, str, str, str]

#: Rows of one INSERT. SQLite runs a statement without Python's lock: inserting many rows at once
#: lets the consumer decode the next batch meanwhile, where a statement a row would make the two
#: threads hand the lock to and fro a thousand times a batch.
ROWS_AT_ONCE: Final = 64

_ROW: Final = f"({', '.join('?' * 21)})"


def _insert(rows: int) -> str:
    return f"""
INSERT INTO traces (
    event_id, kind, session, workspace, captured_ns, timestamp_lag, message_lag, message_number,
    delivered_lag, ingested_lag, model, tool, duration_ms, input_tokens, output_tokens,
    cache_read_tokens, cache_creation_tokens, lines_added, lines_removed, codec, event_data)
VALUES {', '.join([_ROW] * rows)}
ON CONFLICT (event_id) DO NOTHING"""


_INSERT_ONE: Final = _insert(1)
_INSERT_MANY: Final = _insert(ROWS_AT_ONCE)


class Row(NamedTuple):
    """A row in the making: everything but the interned ids and the time of the commit.

    ``kind`` is (platform, source, event_type, hook_type); ``columns`` are those of
    ``event.COLUMNS`` in their order. A tuple, for there are tens of thousands a second.
    """

    message_id: str
    event_id: bytes
    kind: Kind
    session_id: str
    workspace_hash: str
    captured_ns: int
    timestamp_ms: int
    delivered_ms: int
    columns: Sequence[Any]
    origin: str
    codec: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A row whose ``event_id`` was already there under another message.

    ``same_origin``: the same captured item was sent twice. ``differs``: other content.
    """

    row: Row
    same_origin: bool
    differs: bool


@dataclass(frozen=True, slots=True)
class Inserted:
    """What became of a batch: new rows, duplicates, and redeliveries of what was written."""

    written: Sequence[Row]
    duplicates: Sequence[Duplicate]
    redelivered: Sequence[Row]
    first_sequence: int
    last_sequence: int


def make_rows(
    entries: Sequence[tuple[bytes, list[bytes]]],
    delivered_ms: int,
    codec: Codec,
) -> list[Row | UndecodableEntryError]:
    """Make a row of each entry, (message id, fields), or the error that says why there is none."""
    drafts: list[tuple[Any, ...] | UndecodableEntryError] = []
    texts: list[tuple[str, bytes]] = []
    for message_id, fields in entries:
        try:
            draft, text = _read_entry(message_id, fields, delivered_ms)
        except UndecodableEntryError as error:
            drafts.append(error)
        except UnicodeDecodeError:
            drafts.append(UndecodableEntryError("a text field is not UTF-8"))
        else:
            drafts.append(draft)
            texts.append((draft[2][1], text))
    encoded = iter(codec.encode_many(texts))
    return [
        draft if isinstance(draft, UndecodableEntryError) else Row(*draft, *next(encoded))
        for draft in drafts
    ]


def _read_entry(
    message_id: bytes,
    fields: list[bytes],
    delivered_ms: int,
) -> tuple[tuple[Any, ...], bytes]:
    """Return a row's parts up to ``origin``, and the text of its event_data."""
    (
        _, event_id, platform, source, hook_type, event_type, session_id,
        timestamp, captured_at, workspace_hash, payload, metadata, origin,
    ) = read_values(fields)  # fmt: skip
    if not (payload.startswith(b"{") and payload.endswith(b"}")):
        read_object("payload", payload)
    draft = (
        message_id.decode(),
        read_event_id(event_id),
        (platform.decode(), source.decode(), event_type.decode(), hook_type.decode()),
        session_id.decode(),
        workspace_hash.decode(),
        read_captured(captured_at),
        read_timestamp(timestamp),
        delivered_ms,
        _read_columns(metadata),
        origin.decode(),
    )
    return draft, b'{"metadata":%b,"payload":%b}' % (metadata, payload)


def _read_columns(metadata: bytes) -> Sequence[Any]:
    if metadata == b"{}":
        return _NO_COLUMNS
    found = read_object("metadata", metadata)
    columns = tuple(map(found.get, COLUMNS))
    if tuple(map(type, columns)) not in _GOOD_TYPES:
        _check_types(columns)
    return columns


_NO_COLUMNS: Final = (None,) * len(COLUMNS)
#: Combinations of types that were checked: there are few, and each row has one of them.
_GOOD_TYPES: Final[set[tuple[type, ...]]] = set()


def _check_types(columns: Sequence[object]) -> None:
    for (name, wanted), value in zip(COLUMNS.items(), columns, strict=True):
        if value is not None and type(value) is not wanted:
            message = f"field metadata.{name}: {type(value).__name__} instead of {wanted.__name__}"
            raise UndecodableEntryError(message)
    _GOOD_TYPES.add(tuple(map(type, columns)))


class Traces:
    """Inserts rows through the one write connection."""

    def __init__(self, connection: Connection, codec: Codec) -> None:
        self._connection = connection
        self._codec = codec
        self._names: dict[str, int] = {}
        self._kinds: dict[Kind, int] = {}

    def forget_interned(self) -> None:
        """Drop the cache of interned ids: after a rollback some of them do not exist."""
        self._names.clear()
        self._kinds.clear()

    def insert(self, rows: Sequence[Row], ingested_ms: int) -> Inserted:
        """Insert ``rows`` inside the caller's transaction."""
        if len(self._names) > MAX_CACHED_NAMES:
            self._names.clear()
        before = self._last_sequence()
        changes = self._connection.total_changes
        parameters = [self._parameters(row, ingested_ms) for row in rows]
        interned = self._connection.total_changes - changes
        whole = len(parameters) - len(parameters) % ROWS_AT_ONCE
        for start in range(0, whole, ROWS_AT_ONCE):
            many = chain.from_iterable(parameters[start : start + ROWS_AT_ONCE])
            self._connection.execute(_INSERT_MANY, tuple(many))
        self._connection.executemany(_INSERT_ONE, parameters[whole:])
        added = self._connection.total_changes - changes - interned
        last = before + added
        if added == len(rows):
            return Inserted(rows, (), (), before + 1, last)
        return self._sort_out(rows, before, last)

    def _last_sequence(self) -> int:
        found = self._connection.execute(
            "SELECT seq FROM sqlite_sequence WHERE name = 'traces'",
        ).fetchone()
        return int(found[0]) if found else 0

    def _parameters(self, row: Row, ingested_ms: int) -> tuple[object, ...]:
        captured_ms = row.captured_ns // NS_PER_MS
        message_ms, _, message_number = row.message_id.partition("-")
        model, tool, *numbers = row.columns
        return (
            row.event_id,
            self._kinds.get(row.kind) or self._intern_kind(row.kind),
            self._name(row.session_id),
            self._name(row.workspace_hash),
            row.captured_ns,
            row.timestamp_ms - captured_ms,
            int(message_ms) - captured_ms,
            int(message_number),
            row.delivered_ms - captured_ms,
            ingested_ms - captured_ms,
            self._name(model),
            self._name(tool),
            *numbers,
            row.codec,
            row.data,
        )

    def _name(self, text: str | int | None) -> int | None:
        if not text:
            return None
        return self._names.get(text) or self._intern_name(text)  # type: ignore[call-overload,no-any-return]

    def _intern_name(self, text: str) -> int:
        self._connection.execute(
            "INSERT INTO names (text) VALUES (?) ON CONFLICT DO NOTHING",
            (text,),
        )
        found = self._connection.execute("SELECT id FROM names WHERE text = ?", (text,)).fetchone()
        self._names[text] = int(found[0])
        return int(found[0])

    def _intern_kind(self, kind: Kind) -> int:
        self._connection.execute(
            "INSERT INTO kinds (platform, source, event_type, hook_type) VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            kind,
        )
        found = self._connection.execute(
            "SELECT id FROM kinds"
            " WHERE platform = ? AND source = ? AND event_type = ? AND hook_type = ?",
            kind,
        ).fetchone()
        self._kinds[kind] = int(found[0])
        return int(found[0])

    def _sort_out(self, rows: Sequence[Row], before: int, last: int) -> Inserted:
        """Tell new rows, duplicates and redeliveries apart; only when there was a conflict."""
        stored = {
            bytes(event_id): (sequence, f"{message_ms}-{number}", captured_ns, codec, data)
            for event_id, sequence, captured_ns, message_ms, number, codec, data in self._stored(
                [row.event_id for row in rows],
            )
        }
        written: list[Row] = []
        duplicates: list[Duplicate] = []
        redelivered: list[Row] = []
        for row in rows:
            sequence, message_id, captured_ns, codec, data = stored[row.event_id]
            if message_id != row.message_id:
                same_origin = captured_ns == row.captured_ns
                differs = self._codec.decode(codec, data) != self._codec.decode(row.codec, row.data)
                duplicates.append(Duplicate(row, same_origin, differs))
            elif sequence > before:
                written.append(row)
            else:
                redelivered.append(row)
        return Inserted(written, duplicates, redelivered, before + 1, last)

    def _stored(self, event_ids: list[bytes]) -> Iterable[tuple[bytes, int, int, int, int, int, bytes]]:
        for start in range(0, len(event_ids), MAX_PARAMETERS):
            chunk = event_ids[start : start + MAX_PARAMETERS]
            marks = ",".join("?" * len(chunk))
            yield from self._connection.execute(
                "SELECT event_id, sequence, captured_ns, captured_ns / 1000000 + message_lag,"
                f" message_number, codec, event_data FROM traces WHERE event_id IN ({marks})",  # noqa: S608
                chunk,
            )
