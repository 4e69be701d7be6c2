"""How a command reaches what the server works on: the store, the stream, the spool.

Owns opening each of them to look, and the sentence when there is nothing to open.
Promises to change nothing.
Leaves what to look for to the commands.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from blueplane.config import RedisSettings
from blueplane.errors import NotFoundError, StoreError, UndecodableEntryError
from blueplane.event import Event, decode
from blueplane.paths import Home
from blueplane.pipeline.stream import Stream
from blueplane.store.migrations import STEPS
from blueplane.store.queries import Reader, reading


@contextmanager
def stored(home: Home) -> Iterator[Reader]:
    """Open the database to read.

    Raises NotFoundError when there is none yet, StoreError when it is not of this version.
    """
    if not home.database.exists():
        message = f"{home.database}: no database yet; `blueplane start` makes it"
        raise NotFoundError(message)
    with reading(home.database) as reader:
        found = reader.schema_version()
        if found != len(STEPS):
            newer = "install a newer Blueplane" if found > len(STEPS) else "run `blueplane start`"
            message = f"{home.database}: has schema {found} instead of {len(STEPS)}; {newer}"
            raise StoreError(message)
        yield reader


def uses_private_redis(settings: RedisSettings) -> bool:
    """Say whether the queue is in a server of our own."""
    return settings.mode == "private" or (settings.mode == "auto" and settings.url is None)


def in_stream(
    home: Home, settings: RedisSettings, wanted: Callable[[Event], bool]
) -> list[tuple[str, Event]]:
    """Return the wanted events that are in the stream, each with its message id, oldest first.

    Raises QueueError when Redis cannot be asked.
    """
    url = home.redis_url if uses_private_redis(settings) else str(settings.url)
    stream = Stream(lambda: url, settings.key_prefix)
    try:
        stream.inspect()
        found = ((message_id.decode(), _event(fields)) for message_id, fields in stream.scan())
        return [(name, event) for name, event in found if event is not None and wanted(event)]
    finally:
        stream.close()


def _event(fields: list[bytes] | None) -> Event | None:
    try:
        return decode(fields or [])
    except UndecodableEntryError:
        return None  # nobody can look for what it is; it is about to become a dead letter
