"""The fields of a stream entry, read without trust: anybody may have made it.

Owns reading single fields of what may be no event.
Promises never to raise, whatever bytes there are.
Leaves reading a whole event to ``event.py``.
"""

from collections.abc import Mapping, Sequence

Fields = Mapping[bytes, bytes]


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
