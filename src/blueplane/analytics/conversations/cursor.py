"""Cursor: what its hooks and its databases say of a conversation.

Owns the meaning of each kind of hook and row.
Promises the same keys from both for a tool call, and for the edits of a turn and file.
Leaves joining what has no id, as prompts in the database, to whoever reads it.

Versions before the hooks of all tools have hooks of a shell, of MCP and of reading instead, without
ids; later ones run both for one action. Both are kept, and the reader takes those with ids.
"""

from collections.abc import Mapping
from typing import Any, Final

from blueplane.analytics.conversations import words
from blueplane.analytics.conversations.words import (
    Names,
    Read,
    event_key,
    outcome,
    turn_key,
)
from blueplane.analytics.fields import amount, measured, number, text
from blueplane.clock import MS_PER_MINUTE
from blueplane.store.conversation_tables import (
    BEGIN,
    DENIED,
    END,
    FAILED,
    INTERRUPTED,
    OK,
    CodeChangeFact,
    CompactionFact,
    ContextFact,
    Fact,
    LinesFact,
    ResponseFact,
    SubagentFact,
    ToolCallFact,
    TurnFact,
)
from blueplane.store.derived import DATABASE, HOOK, Trace

_PLATFORM: Final = "cursor"
#: How a turn or a sub-agent ended.
_ENDS: Final = {"completed": OK, "success": OK, "aborted": INTERRUPTED, "cancelled": INTERRUPTED,
                "error": FAILED, "failed": FAILED}  # fmt: skip
#: What the hooks are about that are of one tool only.
_TOOLS: Final = {"beforeShellExecution": "Shell", "afterShellExecution": "Shell",
                 "beforeReadFile": "Read"}  # fmt: skip
#: Types of bubbles.
_QUESTION: Final = 1
_ANSWER: Final = 2
#: Percent that no context is full.
_MOST_PERCENT: Final = 1_000
#: What was decided of a proposed edit.
_DECISIONS: Final = {"accepted": "accepted", "rejected": "rejected"}


# --- hooks ---------------------------------------------------------------------------------------


def _prompt(trace: Trace, _names: Names) -> list[Fact]:
    size = words.measure(trace.payload.get("prompt"))
    return [words.with_prompt(_turn(trace), trace.timestamp_ms, size)]


def _turn(trace: Trace) -> TurnFact:
    key = turn_key(trace)
    return TurnFact(
        event_key(trace) if key is None else key, _PLATFORM, trace.session_id, None,
        trace.project or None, key is not None, HOOK, model=trace.model,
    )  # fmt: skip


def _stop(trace: Trace, _names: Names) -> list[Fact]:
    how = _ENDS.get(text(trace.payload, "status") or "")
    ended = None if how is None else outcome(HOOK, how)
    return [_turn(trace)._replace(ended_ms=trace.timestamp_ms, outcome=ended)]


def _response(trace: Trace, _names: Names) -> list[Fact]:
    chars = words.length(trace.payload.get("text"))
    head = (event_key(trace), _PLATFORM, trace.session_id, turn_key(trace), None, HOOK)
    return [ResponseFact(*head, trace.timestamp_ms, chars, trace.model)]


def _tool_start(trace: Trace, names: Names) -> list[Fact]:
    return [_call(trace, names, hook_started_ms=trace.timestamp_ms)] if trace.tool_use_id else []


def _tool_end(trace: Trace, names: Names) -> list[Fact]:
    if not trace.tool_use_id:
        return []
    payload, how = trace.payload, OK
    if trace.hook_type == "postToolUseFailure":
        how = DENIED if payload.get("failure_type") == "permission_denied" else FAILED
    if payload.get("is_interrupt"):
        how = INTERRUPTED
    return [
        _call(
            trace, names, hook_ended_ms=trace.timestamp_ms, duration_ms=trace.duration_ms,
            outcome=outcome(HOOK, how),
        )
    ]  # fmt: skip


def _call(trace: Trace, names: Names, **values: Any) -> ToolCallFact:  # noqa: ANN401 - fields of the fact
    asked = trace.payload.get("tool_input")
    return ToolCallFact(
        words.tool_key(_PLATFORM, trace.tool_use_id), _PLATFORM, trace.session_id, turn_key(trace),
        None, HOOK, name=trace.tool_name, target=words.target(asked, names), **values,
    )  # fmt: skip


def _specific(trace: Trace, names: Names) -> list[Fact]:
    """Read a hook of one tool, which has no id: its begin, or its end with how long it took."""
    payload, at_ms = trace.payload, trace.timestamp_ms
    ended = trace.hook_type.startswith("after")
    lasted = trace.duration_ms if ended else None
    return [
        ToolCallFact(
            event_key(trace), _PLATFORM, trace.session_id, turn_key(trace), None, HOOK,
            part=END if ended else BEGIN, name=_TOOLS.get(trace.hook_type) or trace.tool_name,
            target=words.target(payload, names),
            hook_started_ms=at_ms - (lasted or 0) if lasted is not None or not ended else None,
            hook_ended_ms=at_ms if ended else None, duration_ms=lasted,
            outcome=outcome(HOOK, OK) if ended else None,
        )
    ]  # fmt: skip


def _edit(trace: Trace, names: Names) -> list[Fact]:
    payload = trace.payload
    file, extension = words.file_number(payload.get("file_path"), names)
    old, new = words.edit_numbers(payload.get("edits"), names)
    return [
        CodeChangeFact(
            event_key(trace), _PLATFORM, trace.session_id, turn_key(trace), None, None, HOOK,
            hook_ms=trace.timestamp_ms, file=file, extension=extension,
            lines_added=trace.lines_added, lines_removed=trace.lines_removed,
            tab=trace.hook_type == "afterTabFileEdit", old_hash=old, new_hash=new,
        )
    ]  # fmt: skip


def _subagent_start(trace: Trace, _names: Names) -> list[Fact]:
    """Read the begin of a sub-agent: it names who called it, and not its own conversation."""
    payload = trace.payload
    call = text(payload, "tool_call_id")
    parent = text(payload, "parent_conversation_id") or trace.session_id
    return [
        SubagentFact(
            event_key(trace), _PLATFORM, parent, turn_key(trace), HOOK, BEGIN,
            tool=None if call is None else words.tool_key(_PLATFORM, call),
            type=text(payload, "subagent_type"), started_ms=trace.timestamp_ms,
        )
    ]  # fmt: skip


def _subagent_stop(trace: Trace, _names: Names) -> list[Fact]:
    """Read the end of a sub-agent: the name of its transcript is its own conversation."""
    payload = trace.payload
    file = text(payload, "agent_transcript_path") or ""
    child = file.replace("\\", "/").rpartition("/")[2].partition(".")[0]
    how = _ENDS.get(text(payload, "status") or "")
    parent = text(payload, "parent_conversation_id") or trace.session_id
    return [
        SubagentFact(
            event_key(trace), _PLATFORM, parent, turn_key(trace), HOOK, END, child=child or None,
            type=text(payload, "subagent_type"), ended_ms=trace.timestamp_ms,
            duration_ms=trace.duration_ms, tool_calls=measured(payload.get("tool_call_count")),
            outcome=None if how is None else outcome(HOOK, how),
        )
    ]  # fmt: skip


def _compaction(trace: Trace, _names: Names) -> list[Fact]:
    payload = trace.payload
    before = measured(payload.get("context_tokens"))
    head = (event_key(trace), _PLATFORM, trace.session_id)
    cause = text(payload, "trigger")
    compaction = CompactionFact(*head, HOOK, BEGIN, trace.timestamp_ms, cause, before)
    return [compaction, *_context(trace, payload.get("context_usage_percent"))]


# --- databases -----------------------------------------------------------------------------------


def _bubble(trace: Trace, _names: Names) -> list[Fact]:
    """Read a bubble: a question, a tool call, or an answer."""
    payload = trace.payload
    used, limit = amount(payload.get("tokensUsed")), amount(payload.get("tokenLimit"))
    facts = _context(trace, 100 * used / limit) if used and limit else []
    key = number("bubble", trace.session_id, text(payload, "bubbleId") or "")
    if payload.get("type") == _QUESTION:
        head = (key, _PLATFORM, trace.session_id, None, trace.project or None, False, DATABASE)
        size = words.measure(payload.get("text"))
        turn = TurnFact(*head, model=trace.model)
        facts.append(words.with_prompt(turn, trace.timestamp_ms, size))
    elif trace.tool_use_id:
        facts.append(_stored_call(trace, payload))
    elif payload.get("type") == _ANSWER and (chars := words.length(payload.get("text"))):
        place = (key, _PLATFORM, trace.session_id, None, None, DATABASE)
        facts.append(ResponseFact(*place, trace.timestamp_ms, chars, trace.model))
    return facts


def _stored_call(trace: Trace, payload: Mapping[str, Any]) -> ToolCallFact:
    how = _ENDS.get(text(payload, "status") or "")
    if payload.get("userDecision") == "rejected":
        how = DENIED
    ended = how is not None and trace.duration_ms is not None
    return ToolCallFact(
        words.tool_key(_PLATFORM, trace.tool_use_id), _PLATFORM, trace.session_id, None, None,
        DATABASE, name=trace.tool_name, stored_started_ms=trace.timestamp_ms,
        stored_ended_ms=trace.timestamp_ms + (trace.duration_ms or 0) if ended else None,
        outcome=None if how is None else outcome(DATABASE, how),
    )  # fmt: skip


def _code_block(trace: Trace, names: Names) -> list[Fact]:
    """Read what became of a proposed edit; the last row that says it holds."""
    payload = trace.payload
    file, extension = words.file_number(payload.get("file_path"), names)
    block = text(payload, "codeblockId") or trace.event_id.hex()
    return [
        CodeChangeFact(
            number("block", trace.session_id, block), _PLATFORM, trace.session_id, turn_key(trace),
            None, None, DATABASE, stored_ms=trace.timestamp_ms, file=file, extension=extension,
            decision=_DECISIONS.get(text(payload, "status") or "", "undecided"),
            decided=trace.sequence,
        )
    ]  # fmt: skip


def _composer(trace: Trace, _names: Names) -> list[Fact]:
    """Read what a conversation says of itself: how full it is, and of whose sub-agent it is."""
    payload = trace.payload
    facts = _context(trace, payload.get("contextUsagePercent"))
    added = measured(payload.get("totalLinesAdded"))
    removed = measured(payload.get("totalLinesRemoved"))
    if added is not None and removed is not None:
        place = (number("lines", trace.session_id), _PLATFORM, trace.session_id)
        facts.append(LinesFact(*place, trace.timestamp_ms, None, added, removed, trace.sequence))
    parent = text(payload, "parent_conversation_id")
    if parent is not None and parent != trace.session_id:
        created_ms = amount(payload.get("createdAt"))
        facts.append(
            SubagentFact(
                number("agent", _PLATFORM, trace.session_id), _PLATFORM, parent, None, DATABASE,
                child=trace.session_id, type=text(payload, "subagent_type"),
                started_ms=None if created_ms is None else min(created_ms, trace.timestamp_ms),
            )
        )  # fmt: skip
    return facts


def _generated(trace: Trace, _names: Names) -> list[Fact]:
    """Read how many lines were written for a request, in files of one kind."""
    payload = trace.payload
    lines = measured(payload.get("items"))
    if lines is None:
        return []
    names = [text(payload, name) or "" for name in ("requestId", "source", "fileExtension")]
    key = number("generated", trace.session_id, trace.model or "", *names)
    return [LinesFact(key, _PLATFORM, trace.session_id, trace.timestamp_ms, lines)]


def _context(trace: Trace, percent: object) -> list[Fact]:
    """Say how full the context is: once a minute, the most of it."""
    if not isinstance(percent, int | float) or isinstance(percent, bool):
        return []
    if not 0 <= percent <= _MOST_PERCENT:
        return []
    minute = number("context", trace.session_id, str(trace.timestamp_ms // MS_PER_MINUTE))
    head = (minute, _PLATFORM, trace.session_id)
    return [ContextFact(*head, trace.timestamp_ms, float(percent))]


READERS: Final[Mapping[tuple[str, str], Read]] = {
    ("hook", "beforeSubmitPrompt"): _prompt,
    ("hook", "afterAgentResponse"): _response,
    ("hook", "stop"): _stop,
    ("hook", "preToolUse"): _tool_start,
    ("hook", "postToolUse"): _tool_end,
    ("hook", "postToolUseFailure"): _tool_end,
    ("hook", "beforeShellExecution"): _specific,
    ("hook", "afterShellExecution"): _specific,
    ("hook", "beforeMCPExecution"): _specific,
    ("hook", "afterMCPExecution"): _specific,
    ("hook", "beforeReadFile"): _specific,
    ("hook", "afterFileEdit"): _edit,
    ("hook", "afterTabFileEdit"): _edit,
    ("hook", "subagentStart"): _subagent_start,
    ("hook", "subagentStop"): _subagent_stop,
    ("hook", "preCompact"): _compaction,
    ("database", "bubbleId"): _bubble,
    ("database", "codeBlockData"): _code_block,
    ("database", "composerData"): _composer,
    ("database", "ai_code_hashes"): _generated,
}
