"""The worker itself: from a raw trace to the facts that it says of a conversation.

Owns which rows are looked into, by platform, source and native type.
Promises that a row of any other kind costs one look into a table.
Leaves what a kind of row says to the module of its platform.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Final

from blueplane.analytics.conversations import claude_code, cursor
from blueplane.analytics.conversations.words import Names, Read
from blueplane.analytics.fields import measured
from blueplane.store.conversation_tables import Fact
from blueplane.store.derived import Derived, Trace

_READERS: Final[Mapping[tuple[str, str, str], Read]] = {
    (platform, *kind): read
    for platform, readers in (("claude_code", claude_code.READERS), ("cursor", cursor.READERS))
    for kind, read in readers.items()
}


class Conversations:
    """The worker of conversations; ``names`` hashes what a looser privacy level left in clear."""

    name = "conversations"

    def __init__(self, names: Names) -> None:
        self._names = names

    def read(self, trace: Trace) -> list[Fact] | None:
        """Return what a row says; None when it says nothing of a conversation."""
        read = _READERS.get((trace.platform, trace.source, trace.hook_type))
        if read is None or not trace.session_id:
            return None
        return read(_believable(trace), self._names) or None

    def write(self, tables: Derived, found: Sequence[list[Fact]]) -> None:
        """Store what rows say."""
        tables.add_facts(chain.from_iterable(found))


def _believable(trace: Trace) -> Trace:
    """Leave out what columns hold and no sum could: of nearly every row nothing."""
    told = trace.duration_ms, trace.lines_added, trace.lines_removed
    known = measured(told[0]), measured(told[1]), measured(told[2])
    if known == told:
        return trace
    return trace._replace(duration_ms=known[0], lines_added=known[1], lines_removed=known[2])
