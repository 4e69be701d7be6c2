"""Dead letters: what could not be written, why, and what becomes of it.

Owns the making of a letter, its retry and drop, and its mirror in Redis.
Promises that a letter keeps the raw fields of its entry byte for byte (of one that is larger than
any event, the beginning), and that a retried one is sent until its new message has an outcome: the
letter is then the source of its event.
Leaves counting to ``custody.py``; runs in the writer's thread.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import orjson

from blueplane import faults
from blueplane.errors import (
    OversizedEntryError,
    QueueError,
    QueueRefusedError,
    UndecodableEntryError,
)
from blueplane.event import Event, decode
from blueplane.logs import get
from blueplane.pipeline import entry
from blueplane.pipeline.batch import Delivery
from blueplane.pipeline.commits import Commits
from blueplane.pipeline.custody import InFlight, letter_origin
from blueplane.pipeline.stream import Stream
from blueplane.store.letters import Letter
from blueplane.store.traces import Row

_log = get("letters")

#: Letters that are sent again at once.
AT_ONCE: Final = 200
#: Messages in flight at which none is.
MAX_IN_FLIGHT: Final = 20_000


class DeadLetters:
    """The dead letters of one server.

    ``reattach`` is called when the stream is not as it should be.
    """

    def __init__(
        self,
        commits: Commits,
        stream: Stream,
        in_flight: InFlight,
        reattach: Callable[[], None],
    ) -> None:
        self._commits = commits
        self._stream = stream
        self._in_flight = in_flight
        self._reattach = reattach
        self._counts: dict[str, int] | None = None
        self._some_wait = True

    def counts(self) -> dict[str, int]:
        """Return how many letters are open, dead-lettered and waiting (``Letters.counts``)."""
        if self._counts is None:
            self._counts = self._commits.letters.counts()
        return self._counts

    def note_change(self) -> None:
        """Count anew: letters were opened or settled."""
        self._counts = None

    def note_attach(self) -> None:
        """Look for letters to send: those in flight may be gone with the stream."""
        self._some_wait = True

    def retry(self, message_ids: Sequence[str]) -> list[str]:
        """Have open letters sent again; return the ids of those that were open."""
        changed = self._commits.retry(message_ids)
        faults.point("after_retry_commit")
        self._some_wait = bool(changed) or self._some_wait
        self.note_change()
        self.mirror({}, changed)
        return changed

    def drop(self, message_ids: Sequence[str]) -> list[str]:
        """Give open letters up; return the ids of those that were open."""
        changed = self._commits.drop(message_ids)
        self.note_change()
        self.mirror({}, changed)
        return changed

    def send_waiting(self) -> None:
        """Append retried letters that are not in the stream."""
        if not self._some_wait or not self._stream.attached:
            return
        sent = set(self._in_flight.origins())
        if len(sent) >= MAX_IN_FLIGHT:
            return  # they are a source like any other, and wait as the others do
        waiting = self._commits.letters.waiting(len(sent) + AT_ONCE)
        unsent = [message_id for message_id in waiting if letter_origin(message_id) not in sent]
        try:
            for message_id in unsent[:AT_ONCE]:
                letter = self._commits.letters.get(message_id)
                if letter is not None:
                    self._send(letter)
        except QueueRefusedError as error:
            _log.debug("letters wait", reason=error)
        except QueueError as error:
            _log.warning("letters wait", reason=error)
            self._reattach()
        else:
            self._some_wait = len(unsent) > AT_ONCE

    def _send(self, letter: Letter) -> None:
        origin = letter_origin(letter.message_id)
        fields = fields_of(letter)
        if fields is None:  # it waits, and the others go on
            _log.error("letter cannot be read", message=letter.message_id)
            return
        sent = with_origin(fields, origin)
        self._stream.append(letter.source, [sent], [origin], self._in_flight.register)

    def mirror(self, opened: Mapping[str, str], closed: Sequence[str]) -> None:
        """Bring the mirror in Redis up to date; the next attach writes it anew in any case."""
        if not self._stream.attached:
            return
        try:
            self._stream.mirror_dead_letters(opened, closed)
        except QueueRefusedError as error:
            _log.info("mirror waits", reason=error)
        except QueueError:
            self._reattach()

    def mirror_anew(self) -> None:
        """Have the mirror hold what is open and nothing else; raise QueueError when it cannot."""
        opened = self._commits.letters.open_reasons()
        self._stream.mirror_dead_letters(opened, (), replace=True)


def make_letter(delivery: Delivery, failures: int, error: Exception) -> Letter:
    """Make the dead letter of an entry, with as much of its envelope as can be read."""
    event = _event_of(delivery)
    fields = entry.by_name(delivery.fields)
    return Letter(
        message_id=delivery.message_id.decode(),
        event_id=event.event_id if event else None,
        captured_ns=event.captured_ns if event else None,
        origin=origin_of(delivery),
        platform=entry.text(fields, b"platform"),
        source=entry.text(fields, b"source"),
        hook_type=entry.text(fields, b"hook_type"),
        raw=pack_fields(delivery.fields),
        reason=str(error),
        error_class=type(error.__cause__ or error).__name__,
        failures=failures,
        hop="written" if isinstance(delivery.row, Row) else "delivered",
    )


def origin_of(delivery: Delivery) -> str:
    """Return the origin of an entry, "" when no source of ours sent it."""
    if isinstance(delivery.row, OversizedEntryError):
        return ""
    return entry.origin(entry.by_name(delivery.fields))


def _event_of(delivery: Delivery) -> Event | None:
    try:
        return decode(delivery.fields)
    except UndecodableEntryError:
        return None


def pack_fields(fields: Sequence[bytes]) -> bytes:
    """Pack the fields of an entry: JSON, a list of texts in base64, byte for byte what it held."""
    return orjson.dumps([b64encode(field).decode() for field in fields])


def unpack_fields(raw: bytes) -> list[bytes]:
    """Return the fields of an entry from what ``pack_fields`` made."""
    return [b64decode(field) for field in orjson.loads(raw)]


def fields_of(letter: Letter) -> list[bytes] | None:
    """Return the fields of a letter; None when its row is damaged, and nobody can read them."""
    try:
        return unpack_fields(letter.raw)
    except (TypeError, ValueError):
        return None


def with_origin(fields: list[bytes], origin: str) -> list[bytes]:
    """Return the fields with ``origin`` in place of what was there."""
    kept = [
        part
        for name, value in zip(fields[0::2], fields[1::2], strict=False)
        if name != b"origin"
        for part in (name, value)
    ]
    return [*kept, b"origin", origin.encode()]
