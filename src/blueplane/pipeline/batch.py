"""What the consumer hands to the writer.

Owns the batch, and the making of rows from the entries in it.
Promises that an entry which makes no row costs only itself, and keeps its raw fields; of one that
is larger than any event, the beginning.
Leaves reading entries to the consumer and writing rows to the writer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from blueplane.clock import wall_ms
from blueplane.errors import OversizedEntryError, UndecodableEntryError
from blueplane.pipeline import entry
from blueplane.store.codec import Codec
from blueplane.store.traces import Row, make_rows

#: Entries of a batch at most, under a backlog.
MAX_BATCH: Final = 1_000


class Delivery(NamedTuple):
    """One entry in hand: its raw fields, and the row it makes or the reason why it makes none.

    ``size`` is that of the entry as it was read, in bytes.
    """

    message_id: bytes
    fields: list[bytes]
    row: Row | UndecodableEntryError
    size: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries that were delivered together; ``empty`` ones had been deleted from the stream."""

    deliveries: Sequence[Delivery]
    empty: Sequence[bytes]

    def __len__(self) -> int:
        return len(self.deliveries) + len(self.empty)

    @property
    def bytes(self) -> int:
        """The size of its entries as they were read."""
        return sum([delivery.size for delivery in self.deliveries])

    def joined(self, other: "Batch") -> "Batch":
        """Return both as one."""
        return Batch([*self.deliveries, *other.deliveries], [*self.empty, *other.empty])


def prepare(entries: Sequence[tuple[bytes, list[bytes]]], codec: Codec) -> list[Delivery]:
    """Make a row of each entry, (message id, fields), or note why it makes none."""
    sizes = [entry.size(fields) for _, fields in entries]
    giants = {
        message_id: _oversized(message_id, fields, size)
        for (message_id, fields), size in zip(entries, sizes, strict=True)
        if entry.is_oversized(fields, size)
    }
    sound = [pair for pair in entries if pair[0] not in giants] if giants else entries
    rows = iter(make_rows(sound, wall_ms(), codec))
    return [
        giants.get(message_id) or Delivery(message_id, fields, next(rows), size)
        for (message_id, fields), size in zip(entries, sizes, strict=True)
    ]


def _oversized(message_id: bytes, fields: list[bytes], size: int) -> Delivery:
    kept = entry.cut(fields)
    reason = (
        f"larger than any event: {size} bytes in {len(fields) // 2} fields; truncated, only the"
        f" first {entry.size(kept)} bytes are kept, and it cannot be sent again"
    )
    return Delivery(message_id, kept, OversizedEntryError(reason), size)
