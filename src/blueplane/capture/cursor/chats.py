"""Chats of Cursor's command line: a directory each, with ``meta.json`` and ``store.db``.

Owns what one says of itself; what was said in it is in its agent's transcript.
Promises one thing for a chat as it is now.
Leaves opening the database to ``database.py``.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from blueplane.capture.cursor.database import Fingerprint, fingerprint, reading
from blueplane.capture.cursor.found import Found, Piece, Reader, noted, pieces
from blueplane.capture.cursor.values import columns, taken, time_ms, word
from blueplane.capture.cursor.workspaces import Store, read_json
from blueplane.capture.parse import Body, parse_leniently
from blueplane.event import Mark

_CHAT: Final = ("schemaVersion", "hasConversation", "title", "name", "mode", "updatedAtMs")


class ChatReader(Reader):
    """Reads what a chat of the command line says of itself."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._meta = store.path / "meta.json"
        self._blobs = store.path / "store.db"

    def look(self) -> Fingerprint | None:
        """Return what changes when the chat does; None when it is gone."""
        meta, blobs = (fingerprint(path) for path in (self._meta, self._blobs))
        if meta is None or blobs is None:
            return meta or blobs
        return meta._replace(size=meta.size + blobs.size, wal_size=blobs.wal_size,
                             wal_mtime_ns=max(blobs.mtime_ns, blobs.wal_mtime_ns))  # fmt: skip

    def read(self, mark: Mark) -> Iterator[Piece]:
        """Yield the chat as it is now."""
        meta = read_json(self._meta)
        values: list[bytes] = []
        if self._blobs.exists():
            with reading(self._blobs) as database:
                values = database.meta()
        things = [read_chat(self._store.path.name, meta, values)] if meta or values else []
        yield from pieces(things, noted(mark, 0))


def read_chat(chat_id: str, meta: Body, values: Sequence[bytes]) -> Found:
    """Read a chat of the command line: ``meta.json``, and the table ``meta`` beside it."""
    body = dict(meta)
    for value in values:
        body = _decoded(value) | body
    began_ms = time_ms(body.get("createdAtMs")) or time_ms(body.get("createdAt"))
    return Found(
        kind="chats.meta",
        session_id=chat_id,
        identity=("chat", chat_id),
        body=taken(body, _CHAT),
        timestamp_ms=time_ms(body.get("updatedAtMs")) or began_ms,
        columns=columns(model=body.get("lastUsedModel")),
        workspace=word(body.get("cwd")),
    )


def _decoded(value: bytes) -> Body:
    """Read the hex of a JSON object; nothing when it is none."""
    try:
        return parse_leniently(bytes.fromhex(value.decode("ascii")))[0]
    except ValueError:
        return {}
