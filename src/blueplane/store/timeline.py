"""The order of a conversation: everything that happened in it, by time.

Owns what an entry is, and which entries are of a sub-agent.
Promises each record of a conversation once; what a sub-agent did stands beneath it.
Leaves reading conversations to ``conversations.py``, showing them to the interfaces.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from blueplane.store.conversations import (
    CodeChange,
    Compaction,
    Conversation,
    Response,
    Subagent,
    ToolCall,
    Turn,
    conversation,
)
from blueplane.store.reading import Reads

Record: TypeAlias = Turn | Response | ToolCall | CodeChange | Compaction | Subagent

#: Of what happens at one time: what comes first.
_ORDER: Final[Mapping[type, tuple[int, str]]] = {
    Turn: (0, "prompt"),
    ToolCall: (1, "tool"),
    Subagent: (2, "subagent"),
    CodeChange: (3, "edit"),
    Response: (4, "response"),
    Compaction: (5, "compaction"),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that happened: its ``kind`` in words, and the ``record`` that says all of it.

    ``children`` is what a sub-agent did.
    """

    at_ms: int | None
    kind: str
    record: Record
    children: tuple["Entry", ...] = ()


def timeline(reader: Reads, session_id: str, platform: str = "") -> tuple[Entry, ...]:
    """Return what happened in a conversation, sub-agents with conversations of their own too."""
    whole = conversation(reader, session_id, platform)
    return () if whole is None else _entries(reader, whole, {session_id})


def _entries(reader: Reads, whole: Conversation, above: set[str]) -> tuple[Entry, ...]:
    """Order a conversation; ``above`` are those that it is part of, for ids may go in a circle."""
    agents = {each.child for each in whole.subagents if each.child is not None}
    done: dict[str | None, list[Entry]] = {}
    for record in _records(whole):
        agent = record.agent if record.agent in agents else None
        done.setdefault(agent, []).append(_entry(record))
    main = [
        replace(each, children=_children(reader, whole, each.record, done, above))
        if isinstance(each.record, Subagent)
        else each
        for each in done.get(None, [])
    ]
    return _ordered(main)


def _children(
    reader: Reads,
    whole: Conversation,
    agent: Subagent,
    done: Mapping[str | None, list[Entry]],
    above: set[str],
) -> tuple[Entry, ...]:
    """Return what a sub-agent did: here, or in a conversation of its own."""
    child = agent.child
    if child is None or child in done or child in above:
        return _ordered(done.get(child, []) if child else [])
    own = conversation(reader, child, whole.platform)
    return () if own is None else _entries(reader, own, above | {child})


def _records(whole: Conversation) -> Iterator[Record]:
    yield from whole.turns
    yield from whole.responses
    yield from whole.tool_calls
    yield from whole.code_changes
    yield from whole.compactions
    yield from whole.subagents


def _entry(record: Record) -> Entry:
    return Entry(record.at_ms, _ORDER[type(record)][1], record)


def _ordered(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Order entries by time; those without one stand at the end."""
    return tuple(
        sorted(
            entries,
            key=lambda each: (each.at_ms is None, each.at_ms or 0, _ORDER[type(each.record)][0]),
        )
    )
