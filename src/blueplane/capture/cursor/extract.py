"""What Cursor's stores say: from values to what may become events.

Owns the shapes that Cursor's versions gave to composers, bubbles, lists, commits and transcripts.
Promises that no shape of a value raises anything but MalformedPayloadError, that what we do not
know is kept as its size and never dropped in silence, and that a count of tokens that Cursor never
filled in is unknown, not 0.
Leaves opening files to ``database.py``, and what may be stored to the sanitiser.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from blueplane.capture.cursor.workspaces import uri_path
from blueplane.capture.parse import Body, parse_payload
from blueplane.clock import parse_iso_ms

#: Times are believed between the years 2000 and 2100.
_EARLIEST_MS: Final = 946_684_800_000
_LATEST_MS: Final = 4_102_444_800_000
#: Keys of one object that we do not know, and are kept.
_MAX_UNKNOWN: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Something that was found: ``body`` is what the sanitiser is asked about.

    ``identity`` names the item, whose versions differ in content; ``timestamp_ms`` is 0 where
    Cursor noted none. ``size`` is in bytes.
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
    #: The id that a bubble has itself, which need not be that of its key.
    own_id: str | None = None


@dataclass(frozen=True, slots=True)
class Composer:
    """A conversation: what it says of itself, and the ids of its bubbles that are rows."""

    composer_id: str
    found: tuple[Found, ...]
    bubble_ids: tuple[str, ...]
    workspace: str
    created_ms: int


@dataclass(frozen=True, slots=True)
class Header:
    """A line of a list of composers."""

    composer_id: str
    updated_ms: int
    workspace: str
    found: Found


# --- composers -----------------------------------------------------------------------------------

#: Keys that are taken as they are, numbers, flags and texts.
_COMPOSER: Final = (
    "_v", "name", "createdAt", "lastUpdatedAt", "status", "unifiedMode", "forceMode", "isAgentic",
    "isArchived", "contextTokensUsed", "contextTokenLimit", "contextUsagePercent",
    "totalLinesAdded", "totalLinesRemoved", "filesChangedCount", "stopHookLoopCount",
    "latestChatGenerationUUID",
)  # fmt: skip
#: Lists and objects of which the number of items is kept.
_COMPOSER_COUNTED: Final = (
    "addedFiles", "removedFiles", "fullConversationHeadersOnly", "codeBlockData", "subComposerIds",
    "originalFileStates", "todos", "conversation", "conversationMap",
)  # fmt: skip
_COMPOSER_READ: Final = frozenset(
    (
        *_COMPOSER, *_COMPOSER_COUNTED, "composerId", "modelConfig", "usageData", "subagentInfo",
        "gitWorktree", "createdOnBranch", "workspaceIdentifier",
    )
)  # fmt: skip


def read_composer(composer_id: str, value: bytes, workspace: str = "") -> Composer:
    """Read a ``composerData`` row; raises MalformedPayloadError."""
    body, _ = parse_payload(value)
    return make_composer(composer_id, body, workspace, len(value))


def make_composer(composer_id: str, body: Body, workspace: str, size: int) -> Composer:
    """Read a composer that was parsed: a row, or one of an old list that holds whole chats."""
    workspace = _identified(body.get("workspaceIdentifier")) or workspace
    created_ms = _time(body.get("createdAt"))
    at_ms = _time(body.get("lastUpdatedAt")) or created_ms
    entries = _objects(body.get("fullConversationHeadersOnly"))
    bubble_ids = tuple(dict.fromkeys(_word(each.get("bubbleId")) for each in entries))
    found = Found(
        kind="composerData",
        session_id=composer_id,
        identity=("composer", composer_id),
        body=_composer_body(body),
        timestamp_ms=at_ms,
        columns=_columns(model=_object(body.get("modelConfig")).get("modelName")),
        workspace=workspace,
        size=size,
    )
    blocks = _code_blocks(composer_id, body.get("codeBlockData"), workspace, created_ms)
    inline = _inline(composer_id, body, workspace, created_ms)
    return Composer(composer_id, (found, *inline, *blocks), bubble_ids, workspace, created_ms)


def _composer_body(body: Body) -> Body:
    kept = _taken(body, _COMPOSER) | _counted(body, _COMPOSER_COUNTED)
    kept |= _taken(_object(body.get("modelConfig")), ("maxMode",))
    usage = [_object(each) for each in _object(body.get("usageData")).values()]
    for key in ("costInCents", "amount"):
        amounts = [each[key] for each in usage if type(each.get(key)) in (int, float)]
        if amounts:
            kept[key] = sum(amounts)
    agent = _object(body.get("subagentInfo"))
    parent = agent.get("parentComposerId") or agent.get("parentConversationId")
    kept |= _taken({"parent_conversation_id": parent}, ("parent_conversation_id",))
    kept |= _taken({"subagent_type": agent.get("subagentType")}, ("subagent_type",))
    worktree = body.get("gitWorktree")
    branch = _object(worktree).get("branchName") or body.get("createdOnBranch")
    kept |= _taken({"gitBranch": branch}, ("gitBranch",))
    return kept | _unknown(body, _COMPOSER_READ)


def _inline(composer_id: str, body: Body, workspace: str, created_ms: int) -> Iterator[Found]:
    """Yield the bubbles that are in the row itself: a list to ``_v`` 3, a map in some later."""
    named = _object(body.get("conversationMap"))
    bubbles = [(_word(each.get("bubbleId")), each) for each in _objects(body.get("conversation"))]
    bubbles += [(key, each) for key, each in named.items() if isinstance(each, dict)]
    for number, (bubble_id, bubble) in enumerate(bubbles):
        found = _bubble(composer_id, bubble_id or f"#{number}", bubble, workspace, 0)
        yield _dated(found, created_ms)


def _code_blocks(composer_id: str, data: object, workspace: str, at_ms: int) -> Iterator[Found]:
    """Yield what became of each proposed edit."""
    for uri, blocks in _object(data).items():
        for block_id, block in _object(blocks).items():
            if not isinstance(block, dict) or not isinstance(block.get("status"), str):
                continue
            body = _taken(block, ("status", "bubbleId", "codeBlockIdx"))
            body |= {"codeblockId": block_id, "file_path": uri_path(uri)}
            yield Found(
                kind="codeBlockData",
                session_id=composer_id,
                identity=("codeblock", composer_id, uri, block_id),
                body=body,
                timestamp_ms=(
                    _time(block.get("lastAppliedAt")) or _time(block.get("createdAt")) or at_ms
                ),
                turn_id=_word(block.get("composerChatGenerationUuid")),
                workspace=workspace,
            )


# --- bubbles -------------------------------------------------------------------------------------

_BUBBLE: Final = (
    "_v", "type", "bubbleId", "serverBubbleId", "requestId", "usageUuid", "checkpointId", "text",
    "thinkingDurationMs", "capabilityType", "isAgentic", "unifiedMode", "isRefunded",
)  # fmt: skip
#: Much of a bubble repeats its text, or what else was on the screen.
_BUBBLE_READ: Final = frozenset(
    (
        *_BUBBLE, "createdAt", "tokenCount", "modelInfo", "toolFormerData", "thinking",
        "timingInfo", "contextWindowStatusAtCreation", "workspaceUris", "richText",
        "promptDryRunInfo", "supportedTools",
    )
)  # fmt: skip
_TOOL_READ: Final = frozenset(
    {"tool", "name", "toolCallId", "params", "rawArgs", "result", "status", "userDecision"}
)


def read_bubble(composer: Composer, bubble_id: str, value: bytes) -> Found:
    """Read a ``bubbleId`` row; raises MalformedPayloadError."""
    body, _ = parse_payload(value)
    found = _bubble(composer.composer_id, bubble_id, body, composer.workspace, len(value))
    return _dated(found, composer.created_ms)


def _dated(found: Found, created_ms: int) -> Found:
    """Give a bubble of a version that noted no times that of its composer, which stays the same."""
    return found if found.timestamp_ms else replace(found, timestamp_ms=created_ms)


def _bubble(composer_id: str, bubble_id: str, body: Body, workspace: str, size: int) -> Found:
    tool = _object(body.get("toolFormerData"))
    timing = _object(body.get("timingInfo"))
    began_ms = _time(timing.get("clientStartTime")) or _time(timing.get("clientRpcSendTime"))
    ended_ms = _time(timing.get("clientEndTime")) or _time(timing.get("clientSettleTime"))
    uris = body.get("workspaceUris")
    if not workspace and isinstance(uris, list) and uris:
        workspace = uri_path(_word(uris[0]))
    return Found(
        kind="bubbleId",
        session_id=composer_id,
        identity=("bubble", composer_id, bubble_id),
        body={"bubbleId": bubble_id} | _bubble_body(body, tool),
        timestamp_ms=_time(body.get("createdAt")) or began_ms,
        columns=_columns(
            model=_object(body.get("modelInfo")).get("modelName"),
            tool_name=tool.get("name"),
            duration_ms=ended_ms - began_ms if began_ms and ended_ms >= began_ms else None,
            **_tokens(_object(body.get("tokenCount"))),
        ),
        tool_use_id=_word(tool.get("toolCallId")),
        workspace=workspace,
        size=size,
        own_id=body.get("bubbleId"),
    )


def _bubble_body(body: Body, tool: Body) -> Body:
    kept = _taken(body, _BUBBLE)
    thought = _object(body.get("thinking")).get("text")
    kept |= _taken({"thinking": thought}, ("thinking",))
    window = _object(body.get("contextWindowStatusAtCreation"))
    kept |= _taken(window, ("tokensUsed", "tokenLimit"))
    if tool:
        asked = tool.get("rawArgs") or tool.get("params")
        kept |= _taken({"tool_input": asked, "tool_output": tool.get("result")},
                       ("tool_input", "tool_output"))  # fmt: skip
        kept |= _taken(tool, ("tool", "status", "userDecision")) | _unknown(tool, _TOOL_READ)
    return kept | _unknown(body, _BUBBLE_READ)


def _tokens(count: Body) -> dict[str, object]:
    """Return the tokens of a bubble, which in most of them nobody filled in."""
    given = {"input_tokens": count.get("inputTokens"), "output_tokens": count.get("outputTokens")}
    return given if any(given.values()) else {}


# --- lists ---------------------------------------------------------------------------------------

_HEADER: Final = (
    "type", "name", "createdAt", "lastUpdatedAt", "unifiedMode", "forceMode", "isArchived",
    "isSubagent", "subagentTypeName", "totalLinesAdded", "totalLinesRemoved", "filesChangedCount",
    "contextUsagePercent",
)  # fmt: skip


def read_list(value: bytes, workspace: str) -> Iterator[Header | Composer]:
    """Yield what a list of composers has; an old one holds whole chats.

    Raises MalformedPayloadError.
    """
    body, _ = parse_payload(value)
    for entry in _objects(body.get("allComposers")):
        yield from make_header(entry, workspace)
        composer_id = _word(entry.get("composerId"))
        if composer_id and (entry.get("conversation") or entry.get("conversationMap")):
            yield make_composer(composer_id, entry, workspace, 0)


def read_header_row(record: Mapping[str, Any]) -> list[Header]:
    """Read a row of the table ``composerHeaders``; raises MalformedPayloadError."""
    value = record.get("value")
    body = parse_payload(value.encode())[0] if isinstance(value, str) and value else {}
    columns = {key: item for key, item in record.items() if key != "value" and item is not None}
    return list(make_header(body | columns, ""))


def make_header(entry: Body, workspace: str) -> Iterator[Header]:
    """Yield the header of an entry, nothing when it has no id."""
    composer_id = _word(entry.get("composerId"))
    if not composer_id:
        return
    updated_ms = _time(entry.get("lastUpdatedAt")) or _time(entry.get("createdAt"))
    workspace = _identified(entry.get("workspaceIdentifier")) or workspace
    found = Found(
        kind="composerHeaders",
        session_id=composer_id,
        identity=("header", composer_id),
        body=_taken(entry, _HEADER),
        timestamp_ms=updated_ms,
        workspace=workspace,
    )
    yield Header(composer_id, updated_ms, workspace, found)


def read_generations(value: bytes, workspace: str) -> Iterator[Found]:
    """Yield the turns that a workspace remembers; raises MalformedPayloadError."""
    for each in _list(value):
        generation = _word(each.get("generationUUID"))
        if not generation:
            continue
        yield Found(
            kind="aiService.generations",
            session_id="",
            identity=("generation", generation),
            body=_taken(each, ("type", "textDescription")),
            timestamp_ms=_time(each.get("unixMs")),
            turn_id=generation,
            workspace=workspace,
        )


def read_prompts(value: bytes, workspace: str, item: str) -> Iterator[Found]:
    """Yield the prompts that a workspace remembers, which have neither id nor time.

    One that was typed twice is told apart by how often it stood there before.
    """
    times: dict[tuple[str, str], int] = {}
    for each in _list(value):
        key = (str(each.get("text")), str(each.get("commandType")))
        times[key] = times.get(key, 0) + 1
        yield Found(
            kind="aiService.prompts",
            session_id="",
            identity=("prompt", item, str(times[key])),
            body=_taken(each, ("text", "commandType")),
            workspace=workspace,
        )


def read_chats(value: bytes, workspace: str) -> Iterator[Composer]:
    """Yield the chats of versions before composers; raises MalformedPayloadError."""
    body, _ = parse_payload(value)
    for tab in _objects(body.get("tabs")):
        tab_id = _word(tab.get("tabId"))
        if not tab_id:
            continue
        bubbles = [
            {
                "bubbleId": each.get("id"),
                "type": {"user": 1, "ai": 2}.get(_word(each.get("type"))),
                "text": each.get("text") or each.get("rawText"),
                "modelInfo": {"modelName": each.get("modelType")},
            }
            for each in _objects(tab.get("bubbles"))
        ]
        chat = {"name": tab.get("chatTitle"), "lastUpdatedAt": tab.get("lastSendTime")}
        yield make_composer(tab_id, chat | {"conversation": bubbles}, workspace, 0)


def _list(value: bytes) -> list[Body]:
    """Parse a list of objects by the rules for payloads."""
    body, _ = parse_payload(b'{"list":' + value + b"}")
    return _objects(body["list"])


# --- other stores --------------------------------------------------------------------------------


def read_commit(record: Mapping[str, Any]) -> Found:
    """Read a scored commit: the lines of it by whoever wrote them."""
    commit, branch = _word(record.get("commitHash")), _word(record.get("branchName"))
    body = {key: item for key, item in record.items() if item is not None}
    body |= {key: share for key in ("v1AiPercentage", "v2AiPercentage")
             if (share := _number(record.get(key))) is not None}  # fmt: skip
    return Found(
        kind="scored_commits",
        session_id="",
        identity=("scored", commit, branch),
        body=body,
        timestamp_ms=_time(record.get("scoredAt")) or _time(record.get("commitDate")),
    )


def read_line_group(record: Mapping[str, Any]) -> Found:
    """Read how many lines AI wrote for one request in files of one kind."""
    keys = ("requestId", "source", "fileExtension", "items")
    body = _taken(record, keys)
    if isinstance(body.get("fileExtension"), str):
        body["fileExtension"] = body["fileExtension"].removeprefix(".")
    session_id = _word(record.get("conversationId"))
    named = [str(record.get(key)) for key in ("requestId", "source", "model", "fileExtension")]
    return Found(
        kind="ai_code_hashes",
        session_id=session_id,
        identity=("lines", session_id, *named),
        body=body,
        timestamp_ms=_time(record.get("lastMs")),
        columns=_columns(model=record.get("model")),
    )


_CHAT: Final = ("schemaVersion", "hasConversation", "title", "name", "mode", "updatedAtMs")


def read_chat(chat_id: str, meta: Body, values: Sequence[bytes]) -> Found:
    """Read a chat of the command line: ``meta.json``, and the table ``meta`` beside it."""
    body = dict(meta)
    for value in values:
        body = _decoded(value) | body
    began_ms = _time(body.get("createdAtMs")) or _time(body.get("createdAt"))
    return Found(
        kind="chats.meta",
        session_id=chat_id,
        identity=("chat", chat_id),
        body=_taken(body, _CHAT),
        timestamp_ms=_time(body.get("updatedAtMs")) or began_ms,
        columns=_columns(model=body.get("lastUsedModel")),
        workspace=_word(body.get("cwd")),
    )


def _decoded(value: bytes) -> Body:
    """Read the hex of a JSON object; nothing when it is none."""
    try:
        return parse_payload(bytes.fromhex(value.decode("ascii")))[0]
    except ValueError:
        return {}


def read_line(session_id: str, place: str, offset: int, line: bytes) -> Found:
    """Read a line of an agent's transcript, which has no time; raises MalformedPayloadError."""
    body, _ = parse_payload(line)
    role = _word(body.get("role")) or _word(body.get("type"))
    parts = _objects(_object(body.get("message")).get("content"))
    kept = _taken(body, ("role", "status", "error"))
    kept["message"] = [
        _taken(part, ("type", "text"))
        | _taken({"tool_name": part.get("name"), "tool_input": part.get("input")}, _ASKED)
        for part in parts
    ]
    tools = [_word(part.get("name")) for part in parts if part.get("type") == "tool_use"]
    return Found(
        kind="agentTranscript",
        session_id=session_id,
        identity=("line", place, str(offset), role),
        body={key: item for key, item in kept.items() if item != []},
        columns=_columns(tool_name=tools[0] if len(tools) == 1 else None),
        size=len(line),
    )


_ASKED: Final = ("tool_name", "tool_input")

# --- small readers: whatever the type of a value -------------------------------------------------


def _taken(body: Mapping[str, Any], keys: Sequence[str]) -> Body:
    """Return those of ``keys`` that say something."""
    return {key: body[key] for key in keys if body.get(key) not in (None, "", [], {})}


def _counted(body: Mapping[str, Any], keys: Sequence[str]) -> Body:
    kept: Body = {}
    for key in keys:
        value = body.get(key)
        if type(value) in (int, float):
            kept[key] = value
        elif isinstance(value, (list, dict)) and value:
            kept[key] = len(value)
    return kept


def _unknown(body: Mapping[str, Any], known: frozenset[str]) -> Body:
    """Return what we know nothing of: numbers and flags, of anything else its size."""
    kept: Body = {}
    for key in sorted(body.keys() - known)[:_MAX_UNKNOWN]:
        value = body[key]
        if isinstance(value, str) and value:
            kept[key] = {"chars": len(value)}
        elif isinstance(value, (list, dict)) and value:
            kept[key] = {"items": len(value)}
        elif type(value) in (int, float, bool) and value:
            kept[key] = value
    return kept


def _columns(**values: object) -> dict[str, object]:
    return {name: value for name, value in values.items() if value not in (None, "")}


def _object(value: object) -> Body:
    return value if isinstance(value, dict) else {}


def _objects(value: object) -> list[Body]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _word(value: object) -> str:
    return value if type(value) is str else ""


def _number(value: object) -> float | None:
    try:
        return float(value) if isinstance(value, (str, int, float)) else None
    except ValueError:
        return None


def _time(value: object) -> int:
    """Return a time in ms since the epoch, however it is written; 0 for none to be believed."""
    moment = 0
    if type(value) is str:
        try:
            number = value.isdecimal() and len(value) <= len(str(_LATEST_MS))
            moment = int(value) if number else parse_iso_ms(value)
        except (ValueError, OverflowError):
            return 0
    elif isinstance(value, (int, float)) and _EARLIEST_MS <= value <= _LATEST_MS:
        moment = int(value)
    return moment if _EARLIEST_MS <= moment <= _LATEST_MS else 0


def _identified(identifier: object) -> str:
    """Return the path of a ``workspaceIdentifier``."""
    uri = _object(_object(identifier).get("uri"))
    path = _word(uri.get("fsPath")) or uri_path(_word(uri.get("external")))
    return path or _word(uri.get("path"))
