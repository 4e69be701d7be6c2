"""The worker ``witnesses``: who saw a turn or a tool call, the hooks or the editor's own store.

Owns by what a turn and a tool call are known to both.
Promises one row for each, whoever saw it first; none of what an editor stored before the first
hook, for then there was one witness only.
Leaves what it means that only one saw it to ``health/witnesses.py``.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from blueplane.analytics.fields import number, table, text
from blueplane.store.derived import HOOK, TOOL, TURN, WITNESSES, Derived, Sighting, Trace

#: Blocks of a message that have the id of a tool call, and under which key.
_BLOCKS: Final = {"tool_use": "id", "tool_result": "tool_use_id"}
#: What stands before an id when its number is made.
_PREFIXES: Final = {TURN: "turn", TOOL: "tool"}


class Seen(NamedTuple):
    """What the source of a row saw: ids of turns and tool calls, with their kinds."""

    sequence: int
    platform: str
    session_id: str
    at_ms: int
    witness: int
    things: list[tuple[int, str]]


class Witnesses:
    """The worker of witnesses."""

    name = "witnesses"

    def read(self, trace: Trace) -> Seen | None:
        """Return what the source of a row saw; None when it is no witness of anything."""
        witness = WITNESSES.get(trace.source)
        if witness is None or not trace.session_id:
            return None
        things = [(TURN, trace.turn_id), *((TOOL, each) for each in _tool_calls(trace))]
        known = [thing for thing in things if thing[1]]
        head = (trace.sequence, trace.platform, trace.session_id, trace.timestamp_ms)
        return Seen(*head, witness, known) if known else None

    def write(self, tables: Derived, found: Sequence[Seen]) -> None:
        """Store what was seen, each thing once for each witness."""
        hooks = (each for each in found if each.witness == HOOK)
        first = tables.first_hooks((each.platform, each.sequence, each.at_ms) for each in hooks)
        sightings: dict[tuple[int, int], Sighting] = {}
        for each in found:
            if each.witness == HOOK or _is_after(each, first):
                for one in _sightings(each):
                    known = sightings.setdefault((one.key, one.seen), one)
                    if one.at_ms < known.at_ms:
                        sightings[one.key, one.seen] = known._replace(at_ms=one.at_ms)
        tables.add_sightings(sightings.values())


def _is_after(seen: Seen, first: Mapping[str, tuple[int, int]]) -> bool:
    """Whether a row was written, and what it says happened, after the first hook."""
    sequence, at_ms = first.get(seen.platform, (seen.sequence, 0))
    return seen.sequence > sequence and seen.at_ms >= at_ms


def _sightings(seen: Seen) -> Iterator[Sighting]:
    for kind, name in seen.things:
        key = number(_PREFIXES[kind], seen.platform, name)
        yield Sighting(key, kind, seen.platform, seen.session_id, seen.at_ms, seen.witness)


def _tool_calls(trace: Trace) -> Iterator[str]:
    """Yield the ids of tool calls; a line with several has them in its blocks."""
    if trace.tool_use_id:
        yield trace.tool_use_id
    elif trace.source == "transcript" and trace.hook_type in {"assistant", "user"}:
        blocks = table(trace.payload, "message").get("content")
        if isinstance(blocks, dict):  # the sanitiser's form of a long list
            blocks = blocks.get("first")
        for block in blocks if isinstance(blocks, list) else ():
            if isinstance(block, dict) and (key := _BLOCKS.get(text(block, "type") or "")):
                yield text(block, key) or ""
