"""Claude Code: what its hooks and the lines of its transcripts say of a conversation.

Owns the meaning of each kind of hook and line.
Promises the same keys from both for a turn, a tool call, an edit and a sub-agent that have an id.
Leaves joining what has none to whoever reads it.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from blueplane.analytics.conversations import words
from blueplane.analytics.conversations.words import (
    Names,
    Read,
    event_key,
    outcome,
    turn_key,
)
from blueplane.analytics.fields import measured, number, table, text
from blueplane.analytics.usage import SYNTHETIC
from blueplane.store.conversation_tables import (
    BEGIN,
    DENIED,
    END,
    FAILED,
    INTERRUPTED,
    NOTE,
    OK,
    CodeChangeFact,
    CompactionFact,
    Fact,
    ResponseFact,
    SubagentFact,
    ToolCallFact,
    TurnFact,
)
from blueplane.store.derived import HOOK, TRANSCRIPT, Trace

_PLATFORM: Final = "claude_code"
#: Tools that edit a file.
_EDITORS: Final = frozenset({"Edit", "MultiEdit", "Write", "NotebookEdit"})
#: What the result of such a tool has in a transcript, which does not name the tool there.
_EDITED: Final = ("newString", "edits", "content", "new_source")
#: Lines of a user with one of these are nobody's prompt.
_NO_PROMPT: Final = ("isMeta", "isCompactSummary", "isVisibleInTranscriptOnly", "wrapper")


# --- hooks ---------------------------------------------------------------------------------------


def _turn(trace: Trace, witness: int) -> TurnFact:
    key = turn_key(trace)
    return TurnFact(
        event_key(trace) if key is None else key, _PLATFORM, trace.session_id, None,
        trace.project or None, key is not None, witness,
    )  # fmt: skip


def _ended(trace: Trace, witness: int, how: int) -> TurnFact:
    turn = _turn(trace, witness)
    return turn._replace(ended_ms=trace.timestamp_ms, outcome=outcome(witness, how))


def _prompt(trace: Trace, _names: Names) -> list[Fact]:
    size = words.measure(trace.payload.get("prompt"))
    return [words.with_prompt(_turn(trace, HOOK), trace.timestamp_ms, size)]


def _turn_end(trace: Trace, _names: Names) -> list[Fact]:
    how = FAILED if trace.hook_type == "StopFailure" else OK
    facts: list[Fact] = [_ended(trace, HOOK, how)]
    if chars := words.length(trace.payload.get("last_assistant_message")):
        head = (event_key(trace), _PLATFORM, trace.session_id, turn_key(trace), None, HOOK)
        facts.append(ResponseFact(*head, trace.timestamp_ms, chars, None))
    return facts


def _tool_start(trace: Trace, names: Names) -> list[Fact]:
    if not trace.tool_use_id:
        return []
    asked = trace.payload.get("tool_input")
    return [_hooked(trace, hook_started_ms=trace.timestamp_ms, target=words.target(asked, names))]


def _tool_end(trace: Trace, names: Names) -> list[Fact]:
    if not trace.tool_use_id:
        return []
    payload = trace.payload
    asked, answer = payload.get("tool_input"), table(payload, "tool_response")
    how = {"PostToolUse": OK, "PermissionDenied": DENIED}.get(trace.hook_type, FAILED)
    if payload.get("is_interrupt") or answer.get("interrupted"):
        how = INTERRUPTED
    call = _hooked(
        trace, hook_ended_ms=trace.timestamp_ms, duration_ms=trace.duration_ms,
        target=words.target(asked, names), outcome=outcome(HOOK, how),
    )  # fmt: skip
    if how != OK:
        return [call]
    facts: list[Fact] = [call, *_task(trace, call.key, answer, HOOK)]
    if trace.tool_name in _EDITORS and isinstance(asked, dict):
        facts.append(_edit(trace, asked, answer, names))
    return facts


def _hooked(trace: Trace, **values: Any) -> ToolCallFact:  # noqa: ANN401 - fields of the fact
    return ToolCallFact(
        words.tool_key(_PLATFORM, trace.tool_use_id), _PLATFORM, trace.session_id, turn_key(trace),
        words.agent_of(trace), HOOK, name=trace.tool_name, **values,
    )  # fmt: skip


def _edit(
    trace: Trace, asked: Mapping[str, Any], answer: Mapping[str, Any], names: Names
) -> CodeChangeFact:
    """Say what a tool edited, by what it was asked."""
    call = words.tool_key(_PLATFORM, trace.tool_use_id)
    path = asked.get("file_path") or asked.get("notebook_path")
    file, extension = words.file_number(path, names)
    if "edits" in asked:
        old, new = words.edit_numbers(asked["edits"], names)
    else:
        old = words.code_number(asked.get("old_string"), names)
        texts = (asked.get(key) for key in ("new_string", "content", "new_source"))
        new = next((words.code_number(each, names) for each in texts if each is not None), None)
    return CodeChangeFact(
        call, _PLATFORM, trace.session_id, turn_key(trace), words.agent_of(trace), call, HOOK,
        hook_ms=trace.timestamp_ms, file=file, extension=extension, lines_added=trace.lines_added,
        lines_removed=trace.lines_removed, created=_created(answer), old_hash=old, new_hash=new,
    )  # fmt: skip


def _created(answer: Mapping[str, Any]) -> bool | None:
    """Return whether a file is new; None where the tool does not say it."""
    kind = answer.get("type")
    if kind == "create":
        return True
    return False if kind == "update" or "oldString" in answer or "edits" in answer else None


def _subagent(trace: Trace, _names: Names) -> list[Fact]:
    """Say that a sub-agent began or ended; those without a type are the program's own."""
    payload = trace.payload
    agent, kind = text(payload, "agent_id"), text(payload, "agent_type")
    if agent is None or kind is None:
        return []
    begun = trace.event_type == "subagent_start"
    return [
        SubagentFact(
            words.agent_key(trace, agent), _PLATFORM, trace.session_id, turn_key(trace), HOOK,
            child=agent, type=kind,
            started_ms=trace.timestamp_ms if begun else None,
            ended_ms=None if begun else trace.timestamp_ms,
            outcome=None if begun else outcome(HOOK, OK),
        )
    ]  # fmt: skip


def _compaction(trace: Trace, _names: Names) -> list[Fact]:
    part = BEGIN if trace.hook_type == "PreCompact" else END
    cause = text(trace.payload, "trigger")
    head = (event_key(trace), _PLATFORM, trace.session_id, HOOK)
    return [CompactionFact(*head, part, trace.timestamp_ms, cause)]


# --- transcripts ---------------------------------------------------------------------------------


def _user(trace: Trace, names: Names) -> list[Fact]:
    """Read a line of a user: the results of tools, or a prompt."""
    payload = trace.payload
    blocks = words.items(table(payload, "message").get("content"))
    results = [block for block in blocks if block.get("type") == "tool_result"]
    if results:
        return list(_results(trace, results, names))
    if payload.get("wrapper") == "interruption":
        return [_ended(trace, TRANSCRIPT, INTERRUPTED)]
    if any(payload.get(key) for key in _NO_PROMPT):
        return []
    return _asked(trace, payload)


def _asked(trace: Trace, payload: Mapping[str, Any]) -> list[Fact]:
    """Read a prompt: a person's, or the one with which a sub-agent begins."""
    at_ms, size = trace.timestamp_ms, _prompt_size(table(payload, "message").get("content"))
    if size.chars is None:
        return []
    agent, turn = text(payload, "agentId"), _turn(trace, TRANSCRIPT)
    if agent is None and not payload.get("isSidechain"):
        return [words.with_prompt(turn, at_ms, size)]
    if agent is None or payload.get("parentUuid"):
        return []
    key = words.agent_key(trace, agent)
    child = SubagentFact(
        key, _PLATFORM, trace.session_id, None, TRANSCRIPT, child=agent, started_ms=at_ms
    )
    turn = turn._replace(key=key, agent=agent, named=True)
    return [words.with_prompt(turn, at_ms, size), child]


def _prompt_size(content: object) -> words.Measure:
    if not words.items(content):
        return words.measure(content)
    blocks = [block for block in words.items(content) if block.get("type") == "text"]
    texts = [block["text"] for block in blocks if isinstance(block.get("text"), str)]
    if texts:
        return words.measure("\n".join(texts))
    return words.Measure(sum(words.length(block) or 0 for block in blocks))


def _results(trace: Trace, blocks: list[Mapping[str, Any]], names: Names) -> Iterator[Fact]:
    """Say how tool calls ended, and what an only one did."""
    payload = trace.payload
    answer = table(payload, "toolUseResult")
    ids = [trace.tool_use_id, *(text(block, "tool_use_id") or "" for block in blocks[1:])]
    for tool_use_id, block in zip(ids, blocks, strict=True):
        if tool_use_id:
            how = _how(block, answer, denied="toolDenialKind" in payload)
            yield _noted(
                trace, tool_use_id, stored_ended_ms=trace.timestamp_ms,
                target=_place(answer, names)[0], outcome=outcome(TRANSCRIPT, how),
            )  # fmt: skip
    if len(blocks) == 1 and trace.tool_use_id and not blocks[0].get("is_error"):
        call = words.tool_key(_PLATFORM, trace.tool_use_id)
        if any(key in answer for key in _EDITED) and _place(answer, names)[0] is not None:
            yield _noted_edit(trace, call, answer, names)
        yield from _task(trace, call, answer, TRANSCRIPT)


def _how(block: Mapping[str, Any], answer: Mapping[str, Any], *, denied: bool) -> int:
    if denied:
        return DENIED
    if answer.get("interrupted"):
        return INTERRUPTED
    return FAILED if block.get("is_error") else OK


def _noted(trace: Trace, tool_use_id: str, **values: Any) -> ToolCallFact:  # noqa: ANN401 - fields of the fact
    return ToolCallFact(
        words.tool_key(_PLATFORM, tool_use_id), _PLATFORM, trace.session_id, turn_key(trace),
        text(trace.payload, "agentId"), TRANSCRIPT, **values,
    )  # fmt: skip


def _place(answer: Mapping[str, Any], names: Names) -> tuple[int | None, str | None]:
    """Return the file that a tool says it worked on."""
    path = answer.get("filePath") or answer.get("notebook_path")
    return words.file_number(path or table(answer, "file").get("filePath"), names)


def _noted_edit(trace: Trace, call: int, answer: Mapping[str, Any], names: Names) -> CodeChangeFact:
    """Say what a tool edited, by what it answered."""
    file, extension = _place(answer, names)
    if "edits" in answer:
        old, new = words.edit_numbers(answer["edits"], names)
    else:
        old = words.code_number(answer.get("oldString"), names)
        new = words.code_number(answer.get("newString", answer.get("content")), names)
    return CodeChangeFact(
        call, _PLATFORM, trace.session_id, turn_key(trace), text(trace.payload, "agentId"), call,
        TRANSCRIPT, stored_ms=trace.timestamp_ms, file=file, extension=extension,
        lines_added=trace.lines_added, lines_removed=trace.lines_removed,
        created=_created(answer), old_hash=old, new_hash=new,
    )  # fmt: skip


def _task(
    trace: Trace, call: int, answer: Mapping[str, Any], witness: int
) -> Iterator[SubagentFact]:
    """Say of which sub-agent a tool call was; one in the background goes on after it.

    Old versions do not name it: it is known by the call.
    """
    agent = text(answer, "agentId")
    calls = measured(answer.get("totalToolUseCount"))
    done = answer.get("status", None if calls is None else "completed") == "completed"
    if agent is not None or calls is not None:
        key = call if agent is None else words.agent_key(trace, agent)
        yield SubagentFact(
            key, _PLATFORM, trace.session_id, turn_key(trace), witness, tool=call, child=agent,
            ended_ms=trace.timestamp_ms if done else None,
            duration_ms=measured(answer.get("totalDurationMs")),
            tool_calls=calls,
            outcome=outcome(witness, OK) if done else None,
        )  # fmt: skip


def _assistant(trace: Trace, _names: Names) -> list[Fact]:
    """Read a line of an assistant: texts, and calls of tools."""
    facts: list[Fact] = []
    message = table(trace.payload, "message")
    first = True
    for block in words.items(message.get("content")):
        if block.get("type") == "text":
            facts.append(_response(trace, text(message, "id"), block))
        elif block.get("type") == "tool_use":
            # Of the first the id and the name are columns of the row.
            known = (trace.tool_use_id, trace.tool_name) if first else _other(block)
            first = False
            if known[0]:
                started = trace.timestamp_ms
                facts.append(_noted(trace, known[0], stored_started_ms=started, name=known[1]))
    return facts


def _other(block: Mapping[str, Any]) -> tuple[str, str | None]:
    return text(block, "id") or "", text(block, "tool_name") or text(block, "name")


def _response(trace: Trace, message: str | None, block: Mapping[str, Any]) -> ResponseFact:
    """Say what was answered; a copy of a message has another line, and the same text."""
    chars = words.length(block.get("text", block))
    known = message and number("response", _PLATFORM, message, str(chars))
    return ResponseFact(
        known or event_key(trace), _PLATFORM, trace.session_id, turn_key(trace),
        text(trace.payload, "agentId"), TRANSCRIPT, trace.timestamp_ms, chars,
        None if trace.model == SYNTHETIC else trace.model,
    )  # fmt: skip


def _system(trace: Trace, _names: Names) -> list[Fact]:
    """Read a line of the program itself: the end of a turn, or the note of a compaction."""
    subtype = trace.payload.get("subtype")
    if subtype == "turn_duration":
        return [_ended(trace, TRANSCRIPT, OK)]
    if subtype != "compact_boundary":
        return []
    said = table(trace.payload, "compactMetadata")
    return [
        CompactionFact(
            event_key(trace), _PLATFORM, trace.session_id, TRANSCRIPT, NOTE, trace.timestamp_ms,
            text(said, "trigger"),
            measured(said.get("preTokens")), measured(said.get("postTokens")),
        )
    ]  # fmt: skip


def _meta(trace: Trace, _names: Names) -> list[Fact]:
    """Read the description of a sub-agent, which names the call that began it."""
    payload = trace.payload
    agent, call = text(payload, "agentId"), text(payload, "toolUseId")
    if agent is None:
        return []
    return [
        SubagentFact(
            words.agent_key(trace, agent), _PLATFORM, trace.session_id, None, TRANSCRIPT,
            tool=None if call is None else words.tool_key(_PLATFORM, call), child=agent,
            type=text(payload, "agentType"),
        )
    ]  # fmt: skip


READERS: Final[Mapping[tuple[str, str], Read]] = {
    ("hook", "UserPromptSubmit"): _prompt,
    ("hook", "Stop"): _turn_end,
    ("hook", "StopFailure"): _turn_end,
    ("hook", "PreToolUse"): _tool_start,
    ("hook", "PostToolUse"): _tool_end,
    ("hook", "PostToolUseFailure"): _tool_end,
    ("hook", "PermissionDenied"): _tool_end,
    ("hook", "SubagentStart"): _subagent,
    ("hook", "SubagentStop"): _subagent,
    ("hook", "PreCompact"): _compaction,
    ("hook", "PostCompact"): _compaction,
    ("transcript", "user"): _user,
    ("transcript", "assistant"): _assistant,
    ("transcript", "system"): _system,
    ("transcript", "agent-meta"): _meta,
}
