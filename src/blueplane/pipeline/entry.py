"""The fields of a stream entry, read without trust: anybody may have made it.

Owns reading single fields of what may be no event, and how large an entry may be.
Promises never to raise, whatever bytes there are.
Leaves reading a whole event to ``event.py``.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from blueplane.event import MAX_PAYLOAD_BYTES

Fields = Mapping[bytes, bytes]

#: Bytes of an entry, and names and values in it, that are looked at; no event of ours comes near.
MAX_BYTES: Final = 2 * MAX_PAYLOAD_BYTES
MAX_PARTS: Final = 1_000


def by_name(fields: Sequence[bytes]) -> dict[bytes, bytes]:
    """Return the values by their names; a name without a value is left out."""
    return dict(zip(fields[0::2], fields[1::2], strict=False))


def text(fields: Fields, name: bytes) -> str:
    """Return a field as text, "" for one that is missing."""
    return fields.get(name, b"").decode("utf-8", "replace")


def origin(fields: Fields) -> str:
    """Return the origin that an entry names: "" for none, and for one that no source can have."""
    try:
        return fields.get(b"origin", b"").decode()
    except UnicodeDecodeError:
        return ""


def size(fields: Sequence[bytes]) -> int:
    """Return the bytes of an entry."""
    return sum(map(len, fields))


def is_oversized(fields: Sequence[bytes], size_bytes: int) -> bool:
    """Whether an entry of so many bytes is larger than any event can be."""
    return size_bytes > MAX_BYTES or len(fields) > MAX_PARTS


def cut(fields: Sequence[bytes]) -> list[bytes]:
    """Return the beginning of an oversized entry."""
    kept: list[bytes] = []
    room = MAX_BYTES
    for part in fields[:MAX_PARTS]:
        kept.append(part[:room])
        room -= len(kept[-1])
        if not room:
            break
    return kept
