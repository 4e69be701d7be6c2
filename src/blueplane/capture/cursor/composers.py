"""Composers and their bubbles: what the rows of a conversation say.

Owns the shapes that Cursor's versions gave to them, from chats in one row to a row for each bubble.
Promises that no shape of a value raises anything but MalformedPayloadError, that what we do not
know is kept as its size and never dropped in silence, and that a count of tokens that Cursor never
filled in is unknown, not 0.
Leaves finding the rows to ``conversations.py``, and what may be stored to the sanitiser.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from blueplane.capture.cursor.found import Found
from blueplane.capture.cursor.values import (
    as_object,
    columns,
    counted,
    objects,
    taken,
    time_ms,
    unknown,
    word,
)
from blueplane.capture.cursor.workspaces import uri_path
from blueplane.capture.parse import Body, parse_leniently


@dataclass(frozen=True, slots=True)
class Composer:
    """A conversation: what it says of itself, and the ids of its bubbles that are rows."""

    composer_id: str
    found: tuple[Found, ...]
    bubble_ids: tuple[str, ...]
    workspace: str
    created_ms: int


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
    body, marks = parse_leniently(value)
    composer = make_composer(composer_id, body, workspace, len(value))
    itself, *others = composer.found
    return replace(composer, found=(replace(itself, marks=marks), *others))


def make_composer(composer_id: str, body: Body, workspace: str, size: int) -> Composer:
    """Read a composer that was parsed: a row, or one of an old list that holds whole chats."""
    workspace = identified(body.get("workspaceIdentifier")) or workspace
    created_ms = time_ms(body.get("createdAt"))
    at_ms = time_ms(body.get("lastUpdatedAt")) or created_ms
    entries = objects(body.get("fullConversationHeadersOnly"))
    bubble_ids = tuple(dict.fromkeys(word(each.get("bubbleId")) for each in entries))
    found = Found(
        kind="composerData",
        session_id=composer_id,
        identity=("composer", composer_id),
        body=_composer_body(body),
        timestamp_ms=at_ms,
        columns=columns(model=as_object(body.get("modelConfig")).get("modelName")),
        workspace=workspace,
        size=size,
    )
    blocks = _code_blocks(composer_id, body.get("codeBlockData"), workspace, created_ms)
    inline = _inline(composer_id, body, workspace, created_ms)
    return Composer(composer_id, (found, *inline, *blocks), bubble_ids, workspace, created_ms)


def _composer_body(body: Body) -> Body:
    kept = taken(body, _COMPOSER) | counted(body, _COMPOSER_COUNTED)
    kept |= taken(as_object(body.get("modelConfig")), ("maxMode",))
    usage = [as_object(each) for each in as_object(body.get("usageData")).values()]
    for key in ("costInCents", "amount"):
        amounts = [each[key] for each in usage if type(each.get(key)) in (int, float)]
        if amounts:
            kept[key] = sum(amounts)
    agent = as_object(body.get("subagentInfo"))
    parent = agent.get("parentComposerId") or agent.get("parentConversationId")
    kept |= taken({"parent_conversation_id": parent}, ("parent_conversation_id",))
    kept |= taken({"subagent_type": agent.get("subagentType")}, ("subagent_type",))
    worktree = body.get("gitWorktree")
    branch = as_object(worktree).get("branchName") or body.get("createdOnBranch")
    kept |= taken({"gitBranch": branch}, ("gitBranch",))
    return kept | unknown(body, _COMPOSER_READ)


def _inline(composer_id: str, body: Body, workspace: str, created_ms: int) -> Iterator[Found]:
    """Yield the bubbles that are in the row itself: a list to ``_v`` 3, a map in some later."""
    named = as_object(body.get("conversationMap"))
    bubbles = [(word(each.get("bubbleId")), each) for each in objects(body.get("conversation"))]
    bubbles += [(key, each) for key, each in named.items() if isinstance(each, dict)]
    for number, (bubble_id, bubble) in enumerate(bubbles):
        found = _bubble(composer_id, bubble_id or f"#{number}", bubble, workspace, 0)
        yield _dated(found, created_ms)


def _code_blocks(composer_id: str, data: object, workspace: str, at_ms: int) -> Iterator[Found]:
    """Yield what became of each proposed edit."""
    for uri, blocks in as_object(data).items():
        for block_id, block in as_object(blocks).items():
            if not isinstance(block, dict) or not isinstance(block.get("status"), str):
                continue
            body = taken(block, ("status", "bubbleId", "codeBlockIdx"))
            body |= {"codeblockId": block_id, "file_path": uri_path(uri)}
            yield Found(
                kind="codeBlockData",
                session_id=composer_id,
                identity=("codeblock", composer_id, uri, block_id),
                body=body,
                timestamp_ms=(
                    time_ms(block.get("lastAppliedAt")) or time_ms(block.get("createdAt")) or at_ms
                ),
                turn_id=word(block.get("composerChatGenerationUuid")),
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
    body, marks = parse_leniently(value)
    found = _bubble(composer.composer_id, bubble_id, body, composer.workspace, len(value))
    return _dated(replace(found, marks=marks), composer.created_ms)


def _dated(found: Found, created_ms: int) -> Found:
    """Give a bubble of a version that noted no times that of its composer, which stays the same."""
    return found if found.timestamp_ms else replace(found, timestamp_ms=created_ms)


def _bubble(composer_id: str, bubble_id: str, body: Body, workspace: str, size: int) -> Found:
    tool = as_object(body.get("toolFormerData"))
    timing = as_object(body.get("timingInfo"))
    began_ms = time_ms(timing.get("clientStartTime")) or time_ms(timing.get("clientRpcSendTime"))
    ended_ms = time_ms(timing.get("clientEndTime")) or time_ms(timing.get("clientSettleTime"))
    uris = body.get("workspaceUris")
    if not workspace and isinstance(uris, list) and uris:
        workspace = uri_path(word(uris[0]))
    return Found(
        kind="bubbleId",
        session_id=composer_id,
        identity=("bubble", composer_id, bubble_id),
        body={"bubbleId": bubble_id} | _bubble_body(body, tool),
        timestamp_ms=time_ms(body.get("createdAt")) or began_ms,
        columns=columns(
            model=as_object(body.get("modelInfo")).get("modelName"),
            tool_name=tool.get("name"),
            duration_ms=ended_ms - began_ms if began_ms and ended_ms >= began_ms else None,
            **_tokens(as_object(body.get("tokenCount"))),
        ),
        tool_use_id=word(tool.get("toolCallId")),
        workspace=workspace,
        size=size,
        own_id=body.get("bubbleId"),
    )


def _bubble_body(body: Body, tool: Body) -> Body:
    kept = taken(body, _BUBBLE)
    thought = as_object(body.get("thinking")).get("text")
    kept |= taken({"thinking": thought}, ("thinking",))
    window = as_object(body.get("contextWindowStatusAtCreation"))
    kept |= taken(window, ("tokensUsed", "tokenLimit"))
    if tool:
        asked = tool.get("rawArgs") or tool.get("params")
        kept |= taken({"tool_input": asked, "tool_output": tool.get("result")},
                       ("tool_input", "tool_output"))  # fmt: skip
        kept |= taken(tool, ("tool", "status", "userDecision")) | unknown(tool, _TOOL_READ)
    return kept | unknown(body, _BUBBLE_READ)


def _tokens(count: Body) -> dict[str, object]:
    """Return the tokens of a bubble, which in most of them nobody filled in."""
    given = {"input_tokens": count.get("inputTokens"), "output_tokens": count.get("outputTokens")}
    return given if any(given.values()) else {}


def identified(identifier: object) -> str:
    """Return the path of a ``workspaceIdentifier``."""
    uri = as_object(as_object(identifier).get("uri"))
    path = word(uri.get("fsPath")) or uri_path(word(uri.get("external")))
    return path or word(uri.get("path"))
