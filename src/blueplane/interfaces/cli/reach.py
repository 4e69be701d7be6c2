"""How a command reaches the stream.

Owns opening it to look.
Promises to change nothing.
Leaves what to look for to the commands.
"""

from collections.abc import Callable

from blueplane.config import RedisSettings
from blueplane.errors import UndecodableEntryError
from blueplane.event import Event, decode
from blueplane.paths import Home
from blueplane.pipeline.stream import Stream


def in_stream(
    home: Home, settings: RedisSettings, wanted: Callable[[Event], bool]
) -> list[tuple[str, Event]]:
    """Return the wanted events that are in the stream, each with its message id, oldest first.

    Raises QueueError when Redis cannot be asked.
    """
    url = home.redis_url if settings.private else str(settings.url)
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
