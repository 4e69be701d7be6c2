"""What is found in Cursor's stores, and how it is handed on.

Owns the records that every reader makes, and what a mark notes beside its offset.
Promises pieces of bounded size, and a mark only behind what it stands for.
Leaves finding to the readers, and which pieces are new to the monitor: the same content may come
by again.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple, TypeAlias

import orjson

from blueplane.capture.cursor.database import Fingerprint, fingerprint
from blueplane.capture.cursor.workspaces import Store
from blueplane.capture.parse import Body, Marks
from blueplane.clock import wall_ms
from blueplane.digests import blake2b
from blueplane.errors import MalformedPayloadError
from blueplane.event import Mark

#: Things that are handed on together.
CHUNK: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Something that was found: ``body`` is what the sanitiser is asked about.

    ``identity`` names the item, whose versions differ in content; ``timestamp_ms`` is 0 where
    Cursor noted none. ``size`` is in bytes, ``marks`` say what had to be done to the text.
    """

    kind: str
    session_id: str
    identity: tuple[str, ...]
    body: Body
    timestamp_ms: int = 0
    columns: Mapping[str, Any] = field(default_factory=dict)
    turn_id: str = ""
    tool_use_id: str = ""
    workspace: str = ""
    size: int = 0
    marks: Marks = field(default_factory=dict)
    #: The id that a bubble has itself, which need not be that of its key.
    own_id: str | None = None


@dataclass(frozen=True, slots=True)
class Broken:
    """A value that cannot be read; ``digest`` tells its versions apart."""

    kind: str
    identity: tuple[str, ...]
    digest: str
    rule: str
    size: int


Thing: TypeAlias = Found | Broken


class Piece(NamedTuple):
    """Things that were found, and the mark behind them where there is one."""

    things: Sequence[Thing]
    mark: Mark | None = None


class Reader(ABC):
    """Finds what is new in one store; every method raises EditorDatabaseError."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def look(self) -> Fingerprint | None:
        """Return what changes when the store does; None when it is gone."""
        return fingerprint(self._store.path)

    @abstractmethod
    def read(self, mark: Mark) -> Iterator[Piece]:
        """Yield what came after a mark; one without a fingerprint is the beginning."""

    def recheck(self, _mark: Mark) -> Iterator[Piece]:
        """Yield some of what may have changed unseen before a mark; nothing in most stores."""
        yield from ()


def digest(data: bytes) -> str:
    """Tell two values apart, in memory only."""
    return blake2b(data, digest_size=8).hexdigest()


def pieces(things: Sequence[Thing], mark: Mark) -> Iterator[Piece]:
    """Yield things in pieces, the last with the mark."""
    for start in range(0, len(things), CHUNK):
        yield Piece(things[start : start + CHUNK])
    yield Piece((), mark)


def notes_of(mark: Mark) -> dict[str, Any]:
    """Read what a mark notes beside its offset."""
    notes = orjson.loads(mark.fingerprint) if mark.fingerprint else {}
    return notes if isinstance(notes, dict) else {}


def noted(mark: Mark, offset: int, **notes: object) -> Mark:
    """Return the mark behind what was found, with its notes."""
    text = orjson.dumps(notes, option=orjson.OPT_SORT_KEYS).decode()
    return replace(mark, offset=offset, fingerprint=text)


def since(noted_ms: int) -> int:
    """Return a noted time; 0 when it lies ahead, for the clock was wrong when it was noted."""
    return noted_ms if noted_ms <= wall_ms() else 0


def latest(noted_ms: int, times_ms: Iterable[int]) -> int:
    """Return the newest time to note: one that lies ahead would hide all until then."""
    now_ms = wall_ms()
    return max(noted_ms, *(each for each in times_ms if each <= now_ms), 0)


def broken(kind: str, name: str, value: bytes, error: MalformedPayloadError) -> Broken:
    """Note a value of which nothing can be read."""
    return Broken(kind, (kind, name), digest(value), error.rule, len(value))
