"""The worker ``sessions``: when people were at work in a session, and what it belongs to.

Owns which rows are evidence of a session, and what they say of it.
Promises the time of events only: rows without one of their own say that a session was, not when.
Leaves joining the rows of several batches to ``store/derived.py``, and the end of a session that
nobody announced to ``store/endings.py``.

A session is a conversation with an agent. Windows of an editor, and our own canary, are none.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

from blueplane.analytics.fields import cost, largest, text
from blueplane.event import line_id
from blueplane.store.derived import WITNESSES, Derived, SessionFacts, Trace
from blueplane.store.endings import IDLE_MS

#: What of an editor's own store happened at the time that its row has.
_DATED: Final = {
    "transcript": frozenset({"user", "assistant", "system", "attachment", "progress"}),
    "database": frozenset({"bubbleId", "composerData", "composerHeaders", "aiService.generations"}),
}
#: Events at which nobody is at work.
_REST: Final = frozenset({"session_end", "notification"})
#: Our own events.
_OURS: Final = "blueplane"


class Sessions:
    """The worker of sessions."""

    name = "sessions"

    def read(self, trace: Trace) -> list[SessionFacts] | None:
        """Return what a row says of sessions; None when it is of none."""
        witness = WITNESSES.get(trace.source)
        if witness is None or trace.platform == _OURS or not trace.session_id:
            return None
        payload = trace.payload
        facts = SessionFacts(
            trace.platform,
            trace.session_id,
            witness,
            trace.workspace_hash or None,
            trace.project or None,
            text(payload, "gitBranch") or text(payload, "git_branch"),
        )
        if _is_dated(trace):
            facts.stretches.append((trace.timestamp_ms, trace.timestamp_ms))
        if trace.source == "hook":
            _note_ends(facts, trace)
        if trace.source == "transcript":
            _note_line(facts, trace, payload)
        return [facts, *_note_family(facts, trace, payload)]

    def write(self, tables: Derived, found: Sequence[list[SessionFacts]]) -> None:
        """Store what rows say, those of one session together."""
        sessions: dict[tuple[str, str], SessionFacts] = {}
        for facts in chain.from_iterable(found):
            whole = sessions.setdefault((facts.platform, facts.session_id), facts)
            if whole is not facts:
                _join(whole, facts)
        for whole in sessions.values():
            whole.stretches = _stretches(whole.stretches)
            tables.add_session(whole)


def _is_dated(trace: Trace) -> bool:
    """Whether somebody, or the agent, was at work at the time that a row has."""
    if trace.source == "hook":
        return trace.event_type not in _REST
    return trace.hook_type in _DATED[trace.source]


def _note_ends(facts: SessionFacts, trace: Trace) -> None:
    """Note how a session begins or ends, as the editor says."""
    if trace.event_type == "session_end":
        facts.ends.append((trace.timestamp_ms, text(trace.payload, "reason") or ""))
    elif trace.event_type == "session_start":
        how = text(trace.payload, "source") or ""
        if how != "compact":
            facts.begun = trace.timestamp_ms, how
        if how == "resume":
            facts.resumed_ms = trace.timestamp_ms


def _note_line(facts: SessionFacts, trace: Trace, payload: Mapping[str, Any]) -> None:
    """Note which line a line follows on, and what the whole session cost until then."""
    if trace.hook_type == "cost-state":
        facts.reported_cost_usd = cost(payload.get("totalCostUSD"))
    facts.lines.add(trace.event_id)
    after = text(payload, "parentUuid")
    if after is not None and not payload.get("isSidechain"):
        facts.follows[trace.sequence] = line_id(after)


def _note_family(
    facts: SessionFacts, trace: Trace, payload: Mapping[str, Any]
) -> Iterator[SessionFacts]:
    """Note of whose sub-agent the session is; yield another one of which that is known.

    Cursor names the parent where a sub-agent starts, and the sub-agent where it stops, by the file
    of its transcript.
    """
    parent = text(payload, "parent_conversation_id")
    if trace.platform == "cursor" and trace.event_type == "subagent_stop":
        file = text(payload, "agent_transcript_path") or ""
        child = file.replace("\\", "/").rpartition("/")[2].partition(".")[0]
        if child and child != (parent or trace.session_id):
            yield SessionFacts(trace.platform, child, parent_id=parent or trace.session_id)
    elif parent != trace.session_id:
        facts.parent_id = parent


def _join(whole: SessionFacts, later: SessionFacts) -> None:
    """Add what a later row says, as the table would have it."""
    whole.evidence |= later.evidence
    whole.workspace_hash = whole.workspace_hash or later.workspace_hash
    whole.project = whole.project or later.project
    whole.branch = whole.branch or later.branch
    whole.parent_id = whole.parent_id or later.parent_id
    if later.begun is not None and (whole.begun is None or later.begun[0] < whole.begun[0]):
        whole.begun = later.begun
    whole.resumed_ms = largest(whole.resumed_ms, later.resumed_ms)
    whole.reported_cost_usd = largest(whole.reported_cost_usd, later.reported_cost_usd)
    whole.ends += later.ends
    whole.stretches += later.stretches
    whole.lines |= later.lines
    whole.follows |= later.follows


def _stretches(points: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join times between which less than ``IDLE_MS`` lies."""
    joined: list[tuple[int, int]] = []
    for started_ms, last_ms in sorted(points):
        if joined and started_ms - joined[-1][1] <= IDLE_MS:
            joined[-1] = joined[-1][0], max(joined[-1][1], last_ms)
        else:
            joined.append((started_ms, last_ms))
    return joined
