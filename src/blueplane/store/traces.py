"""Rows of raw traces: making them from events, and inserting them once.

Owns the compact form of a row and the interning of its strings.
Promises that an insert is idempotent by ``event_id``, and tells new rows from duplicates.
Leaves counting to ``pipeline/custody.py`` and the transaction to the writer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain, repeat
from operator import sub
from typing import Any, Final, NamedTuple

import orjson

from blueplane.clock import NS_PER_MS
from blueplane.errors import StoreBrokenError, StoreError, UndecodableEntryError
from blueplane.event import (
    COLUMNS,
    COLUMNS_ONLY,
    read_captured,
    read_event_id,
    read_object,
    read_text,
    read_texts,
    read_timestamp,
    read_values,
)
from blueplane.store.codec import Codec
from blueplane.store.connection import Connection
from blueplane.store.forgotten import any_forgotten, forgotten

#: Begins the origin of a message that a dead letter sent again; its message id follows.
LETTER_ORIGIN: Final = b"dlq:"
#: Interned strings that are kept in memory; one is about 150 bytes.
MAX_CACHED_NAMES: Final = 10_000
#: Metadata texts whose columns are kept in memory; one is about 300 bytes.
MAX_CACHED_COLUMNS: Final = 2_000
#: Parameters of one statement: SQLite before 3.32 took 999.
MAX_PARAMETERS: Final = 900
#: When a row was written, in milliseconds since the epoch.
INGESTED_MS: Final = f"(captured_ns / {NS_PER_MS} + message_lag + delivered_lag + ingested_lag)"
#: The message of a row, and what of it is compared with that of another one.
_MESSAGE_ID: Final = f"(t.captured_ns / {NS_PER_MS} + t.message_lag) || '-' || t.message_number"
_CONTENT: Final = ", ".join(
    "m.text" if name == "model" else f"t.{name}" for name in (*COLUMNS_ONLY, "codec", "event_data")
)

Kind = tuple[str, str, str, str]

#: Rows of one INSERT. SQLite runs a statement without Python's lock: inserting many rows at once
#: lets the consumer decode the next batch meanwhile, where a statement a row would make the two
#: threads hand the lock to and fro a thousand times a batch.
ROWS_AT_ONCE: Final = 256

_TEXT: Final = b'{"metadata":%b,"payload":%b}'
_ROW: Final = f"({', '.join('?' * 24)})"


def _insert(rows: int) -> str:
    return f"""
INSERT INTO traces (
    event_id, kind, session, workspace, project, turn, tool_use_id, captured_ns, timestamp_lag,
    message_lag, message_number, delivered_lag, ingested_lag, model, tool, duration_ms,
    input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens, lines_added,
    lines_removed, codec, event_data)
VALUES {", ".join([_ROW] * rows)}
ON CONFLICT (event_id) DO NOTHING"""


_INSERT_ONE: Final = _insert(1)
_INSERT_MANY: Final = _insert(ROWS_AT_ONCE)


class Row(NamedTuple):
    """A row in the making: everything but the interned ids and the time of the commit.

    ``kind`` is (platform, source, event_type, hook_type); ``model`` and what follows it up to
    ``origin`` are ``event.COLUMNS``. There are tens of thousands a second: rows are tuples, and
    batches of them are handled by columns, so that the loops run inside the interpreter.
    """

    message_id: str
    event_id: bytes
    kind: Kind
    session_id: str
    workspace_hash: str
    project: str
    turn_id: str
    tool_use_id: str
    captured_ns: int
    timestamp_ms: int
    delivered_ms: int
    model: str | None
    tool_name: str | None
    duration_ms: int | None
    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_creation_tokens: int | None
    lines_added: int | None
    lines_removed: int | None
    origin: str
    codec: int
    data: bytes


_FIRST_NUMBER: Final = Row._fields.index("duration_ms")
_ORIGIN: Final = Row._fields.index("origin")


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
    """What became of a batch; rows that are in neither were written before, and count nothing."""

    written: Sequence[Row]
    duplicates: Sequence[Duplicate]
    first_sequence: int
    last_sequence: int


def make_rows(
    entries: Sequence[tuple[bytes, list[bytes]]],
    delivered_ms: int,
    codec: Codec,
) -> list[Row | UndecodableEntryError]:
    """Make a row of each entry, (message id, fields), or the error that says why there is none."""
    if not entries:
        return []
    try:
        return list(_read_entries(entries, delivered_ms, codec))
    except UndecodableEntryError as error:
        if len(entries) == 1:
            return [error]
        return [row for entry in entries for row in make_rows([entry], delivered_ms, codec)]


def _read_entries(
    entries: Sequence[tuple[bytes, list[bytes]]],
    delivered_ms: int,
    codec: Codec,
) -> Iterable[Row]:
    """Make the rows of entries that are all events; raise UndecodableEntryError if one is not."""
    (
        _, event_ids, platforms, sources, hook_types, event_types, session_ids, timestamps,
        captured, workspaces, projects, turns, tool_uses, payloads, metadata, origins,
    ) = zip(*[read_values(fields) for _, fields in entries], strict=True)  # fmt: skip
    for payload, origin in zip(payloads, origins, strict=True):
        # Our own sources send nothing but JSON; what a dead letter sends again may be anything.
        if not origin or origin.startswith(LETTER_ORIGIN):
            read_object("payload", payload)
    kind_parts = list(zip(platforms, sources, event_types, hook_types, strict=True))
    kinds = {parts: tuple(map(read_text, parts)) for parts in set(kind_parts)}
    columns, rests = zip(*map(_read_columns, metadata), strict=True)
    texts = list(map(_TEXT.__mod__, zip(rests, payloads, strict=True)))
    return map(
        Row._make,
        zip(
            read_texts([message_id for message_id, _ in entries]),
            map(read_event_id, event_ids),
            map(kinds.__getitem__, kind_parts),
            read_texts(session_ids),
            read_texts(workspaces),
            read_texts(projects),
            read_texts(turns),
            read_texts(tool_uses),
            map(read_captured, captured),
            map(read_timestamp, timestamps),
            repeat(delivered_ms, len(entries)),
            *zip(*columns, strict=True),
            read_texts(origins),
            *zip(*_encode(codec, sources, texts), strict=True),
            strict=True,
        ),
    )


def _encode(codec: Codec, sources: Sequence[bytes], texts: list[bytes]) -> list[tuple[int, bytes]]:
    """Encode texts of several sources, each with the dictionary of its own."""
    encoded = {
        source: iter(
            codec.encode(
                read_text(source),
                [text for text, of in zip(texts, sources, strict=True) if of == source],
            ),
        )
        for source in set(sources)
    }
    return [next(encoded[source]) for source in sources]


@lru_cache(MAX_CACHED_COLUMNS)
def _read_columns(metadata: bytes) -> tuple[tuple[Any, ...], bytes]:
    """Read the columns of a row, and what else is to be stored of the metadata.

    Many events have the same metadata to the letter.
    """
    values = read_object("metadata", metadata)
    columns = tuple(map(values.get, COLUMNS))
    for (name, wanted), value in zip(COLUMNS.items(), columns, strict=True):
        if value is not None and type(value) is not wanted:
            message = f"field metadata.{name}: {type(value).__name__} instead of {wanted.__name__}"
            raise UndecodableEntryError(message)
    rest = {name: value for name, value in values.items() if name not in COLUMNS_ONLY}
    return columns, metadata if len(rest) == len(values) else orjson.dumps(rest)


def event_text(metadata: bytes, payload: bytes) -> bytes:
    """Return the text of ``event_data``: what is a column of the row is not repeated in it."""
    return _TEXT % (_read_columns(metadata)[1], payload)


def whole_text(text: bytes, columns: Sequence[str | int | None]) -> bytes:
    """Put ``COLUMNS_ONLY`` of a row back into the text that was stored of it."""
    pairs = zip(COLUMNS_ONLY, columns, strict=True)
    known = {name: value for name, value in pairs if value is not None}
    if not known:
        return text
    event = orjson.loads(text)
    event["metadata"] |= known
    return orjson.dumps(event, option=orjson.OPT_SORT_KEYS)


class Traces:
    """Inserts rows through the one write connection."""

    def __init__(self, connection: Connection, codec: Codec) -> None:
        self._connection = connection
        self._codec = codec
        #: Whether anything was forgotten that may come again; None while nobody looked.
        self._forgets: bool | None = None
        self._names: dict[str | None, int | None] = {}
        self._kinds: dict[Kind, int] = {}
        #: Another object whenever the id of a name may mean something else than before.
        self.interning = object()
        self.forget_interned()

    def forget_interned(self) -> None:
        """Drop what is kept in memory of the tables, after a rollback or when rows are removed."""
        self._forgets = None
        self._names = {"": None, None: None}
        self._kinds = {}
        self.interning = object()

    def insert(self, rows: Sequence[Row], ingested_ms: int) -> Inserted:
        """Insert ``rows`` inside the caller's transaction; what was forgotten is a duplicate."""
        gone = self._forgotten(rows)
        if not gone:
            return self._insert(rows, ingested_ms)
        inserted = self._insert([row for row in rows if row.event_id not in gone], ingested_ms)
        again = [
            Duplicate(row, same_origin=False, differs=False) for row in rows if row.event_id in gone
        ]
        return replace(inserted, duplicates=[*inserted.duplicates, *again])

    def _forgotten(self, rows: Sequence[Row]) -> set[bytes]:
        if self._forgets is None:
            self._forgets = any_forgotten(self._connection)
        if not self._forgets:
            return set()
        return forgotten(self._connection, [row.event_id for row in rows])

    def _insert(self, rows: Sequence[Row], ingested_ms: int) -> Inserted:
        if not rows:
            last = self._last_sequence()
            return Inserted((), (), last, last)
        if len(self._names) > MAX_CACHED_NAMES:
            self.forget_interned()
        before = self._last_sequence()
        changes = self._connection.total_changes
        parameters = self._parameters(rows, ingested_ms)
        interned = self._connection.total_changes - changes
        whole = len(parameters) - len(parameters) % ROWS_AT_ONCE
        for start in range(0, whole, ROWS_AT_ONCE):
            many = chain.from_iterable(parameters[start : start + ROWS_AT_ONCE])
            self._connection.execute(_INSERT_MANY, tuple(many))
        self._connection.executemany(_INSERT_ONE, parameters[whole:])
        added = self._connection.total_changes - changes - interned
        if added == len(rows):
            return Inserted(rows, (), before + 1, before + added)
        return self._sort_out(rows, before)

    def _last_sequence(self) -> int:
        found = self._connection.execute(
            "SELECT seq FROM sqlite_sequence WHERE name = 'traces'",
        ).fetchone()
        return int(found[0]) if found else 0

    def _parameters(self, rows: Sequence[Row], ingested_ms: int) -> list[tuple[object, ...]]:
        of: Any = Row._make(zip(*rows, strict=True))  # each field is the column of all rows
        captured_ms = [captured_ns // NS_PER_MS for captured_ns in of.captured_ns]
        message_ids = [message_id.split("-") for message_id in of.message_id]
        message_ms = [int(parts[0]) for parts in message_ids]
        return list(
            zip(
                of.event_id,
                self._kind_ids(of.kind),
                self._name_ids(of.session_id),
                self._name_ids(of.workspace_hash),
                self._name_ids(of.project),
                self._name_ids(of.turn_id),
                [tool_use_id or None for tool_use_id in of.tool_use_id],
                of.captured_ns,
                map(sub, of.timestamp_ms, captured_ms),
                map(sub, message_ms, captured_ms),
                [int(parts[1]) for parts in message_ids],
                map(sub, of.delivered_ms, message_ms),
                [ingested_ms - at for at in of.delivered_ms],
                self._name_ids(of.model),
                self._name_ids(of.tool_name),
                *of[_FIRST_NUMBER:_ORIGIN],
                of.codec,
                of.data,
                strict=True,
            ),
        )

    def _name_ids(self, texts: Iterable[str | None]) -> Iterable[int | None]:
        for text in set(texts).difference(self._names):
            self._intern_name(text)
        return map(self._names.__getitem__, texts)

    def _kind_ids(self, kinds: Iterable[Kind]) -> Iterable[int]:
        for kind in set(kinds).difference(self._kinds):
            self._intern_kind(kind)
        return map(self._kinds.__getitem__, kinds)

    def _intern_name(self, text: str | None) -> None:
        self._connection.execute(
            "INSERT INTO names (text) VALUES (?) ON CONFLICT DO NOTHING",
            (text,),
        )
        found = self._connection.execute("SELECT id FROM names WHERE text = ?", (text,)).fetchone()
        self._names[text] = int(found[0])

    def _intern_kind(self, kind: Kind) -> None:
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

    def _sort_out(self, rows: Sequence[Row], before: int) -> Inserted:
        """Tell new rows, duplicates and repetitions apart; only when there was a conflict."""
        stored = {
            bytes(event_id): (sequence, message_id, captured_ns, content)
            for event_id, sequence, captured_ns, message_id, *content in self._stored(
                [row.event_id for row in rows],
            )
        }
        written: list[Row] = []
        duplicates: list[Duplicate] = []
        for row in rows:
            if row.event_id not in stored:
                message = "the index of event ids names a row that is not there"
                raise StoreBrokenError(message)
            sequence, message_id, captured_ns, content = stored[row.event_id]
            if message_id != row.message_id:
                same_origin = captured_ns == row.captured_ns
                differs = self._differs(content, row)
                duplicates.append(Duplicate(row, same_origin, differs))
            elif sequence > before:
                written.append(row)
        # A row that conflicts uses up a sequence, too.
        sequences = [stored[row.event_id][0] for row in written] or [before]
        return Inserted(written, duplicates, min(sequences), max(sequences))

    def _differs(self, content: Sequence[Any], row: Row) -> bool:
        *columns, codec, data = content
        if columns != [getattr(row, name) for name in COLUMNS_ONLY]:
            return True
        try:
            return self._codec.decode(codec, data) != self._codec.decode(row.codec, row.data)
        except StoreError:
            return True  # the stored one is damaged: it must not hold up what comes after it

    def _stored(self, event_ids: list[bytes]) -> Iterable[Sequence[Any]]:
        """Read rows by their event ids; not as the view shows them, which lacks damaged ones."""
        for start in range(0, len(event_ids), MAX_PARAMETERS):
            chunk = event_ids[start : start + MAX_PARAMETERS]
            marks = ",".join("?" * len(chunk))
            yield from self._connection.execute(
                f"SELECT t.event_id, t.sequence, t.captured_ns, {_MESSAGE_ID}, {_CONTENT}"
                " FROM traces t LEFT JOIN names m ON m.id = t.model"
                f" WHERE t.event_id IN ({marks})",
                chunk,
            )
