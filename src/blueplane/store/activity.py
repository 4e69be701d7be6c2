"""What happened in a session, as its figures need it.

Owns the reading of a session by its number: its conversation, and its calls to models by day.
Promises nothing but what the derived tables say at one moment.
Leaves the conversation to ``conversations.py``, what follows for a figure to ``analytics/metrics``.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from blueplane.store.conversations import Conversation, conversation
from blueplane.store.reading import Reads

_SESSION: Final = (
    "SELECT platform, session_id, coalesce(project, 0), ended_ms IS NOT NULL, started_ms,"
    " coalesce(max(last_ms, ended_ms), last_ms, ended_ms) FROM sessions WHERE id = ?"
)
_CALLS: Final = (
    "SELECT d.day, m.text, sum(d.calls), "
    + ", ".join(
        f"iif(sum(d.{kind}_known), sum(d.{kind}_tokens), NULL)"
        for kind in ("input", "output", "cache_creation", "cache_read")
    )
    + " FROM usage_sessions d LEFT JOIN labels m ON m.id = d.model"
    " WHERE d.session = ? GROUP BY d.day, d.model ORDER BY d.day, m.text"
)


class Calls(NamedTuple):
    """Calls of a session to a model on a local day; the tokens of a kind may be unknown."""

    day: int
    model: str | None
    calls: int
    input: int | None
    output: int | None
    cache_creation: int | None
    cache_read: int | None


@dataclass(frozen=True, slots=True)
class Activity:
    """All of a session; ``project`` is the number of its project, or 0.

    ``ended`` says whether its editor sent its end; ``first_ms`` and ``last_ms`` are of its events.
    """

    project: int
    ended: bool
    talk: Conversation
    calls: tuple[Calls, ...]
    first_ms: int | None = None
    last_ms: int | None = None


def read_activity(reader: Reads, session: int) -> Activity | None:
    """Return what happened in a session, by its number; None when there is no such session."""
    found = reader.rows(_SESSION, (session,))
    if not found:
        return None
    platform, session_id, project, ended, *span = found[0]
    talk = conversation(reader, session_id, platform)
    if talk is None:
        return None
    calls = tuple(Calls(*row) for row in reader.rows(_CALLS, (session,)))
    return Activity(project, bool(ended), talk, calls, *span)
