"""What the consumer hands to the writer.

Owns the batch, and the making of rows from the entries in it.
Promises that an entry which makes no row costs only itself, and keeps its raw fields.
Leaves reading entries to the consumer and writing rows to the writer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from blueplane.clock import wall_ms
from blueplane.errors import UndecodableEntryError
from blueplane.store.codec import Codec
from blueplane.store.traces import Row, make_rows


class Delivery(NamedTuple):
    """One entry in hand: its raw fields, and the row it makes or the reason why it makes none."""

    message_id: bytes
    fields: list[bytes]
    row: Row | UndecodableEntryError


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries that were delivered together; ``empty`` ones had been deleted from the stream."""

    deliveries: Sequence[Delivery]
    empty: Sequence[bytes]


def prepare(entries: Sequence[tuple[bytes, list[bytes]]], codec: Codec) -> list[Delivery]:
    """Make a row of each entry, (message id, fields), or note why it makes none."""
    rows = make_rows(entries, wall_ms(), codec)
    return [
        Delivery(message_id, fields, row)
        for (message_id, fields), row in zip(entries, rows, strict=True)
    ]
