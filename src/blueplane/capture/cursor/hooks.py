"""Cursor's hooks: what each means, and how its payloads name session, workspace and event.

Owns the mapping of native hooks to our event types, and the names under which Cursor runs the hooks
that were installed for Claude Code.
Promises that an event which Cursor sends twice has one identity.
Leaves everything else of a payload to the sanitiser.
"""

from collections.abc import Mapping
from typing import Final

from blueplane.capture.adapter import COLUMN_KEYS, Hook, LineCounts, Platform
from blueplane.capture.lines import edit_list_lines
from blueplane.capture.parse import Body

_HOOKS: Final[Mapping[str, Hook]] = {
    "sessionStart": Hook("session_start"),
    "sessionEnd": Hook("session_end"),
    "beforeSubmitPrompt": Hook("user_prompt", "before"),
    "afterAgentResponse": Hook("assistant_response", "after"),
    "afterAgentThought": Hook("assistant_response", "after"),
    "preToolUse": Hook("tool_start", "before"),
    "postToolUse": Hook("tool_use", "after"),
    "postToolUseFailure": Hook("tool_use", "failure"),
    "beforeShellExecution": Hook("shell_execution", "before"),
    "afterShellExecution": Hook("shell_execution", "after"),
    "beforeMCPExecution": Hook("mcp_execution", "before"),
    "afterMCPExecution": Hook("mcp_execution", "after"),
    "beforeReadFile": Hook("file_read", "before"),
    "beforeTabFileRead": Hook("file_read", "before"),
    "afterFileEdit": Hook("file_edit", "after"),
    "afterTabFileEdit": Hook("file_edit", "after"),
    "subagentStart": Hook("subagent_start"),
    "subagentStop": Hook("subagent_stop"),
    "stop": Hook("turn_end"),
    "preCompact": Hook("context_compact", "before"),
    "workspaceOpen": Hook("other"),
    # Of our extension: a session of the editor's window, and none of a conversation.
    "windowOpen": Hook("session_start", source="extension"),
    "windowClose": Hook("session_end", source="extension"),
}

#: With its setting for third-party configurations on, Cursor runs Claude Code's hooks with its own
#: payloads: the Claude hook that ran, and the Cursor event that it was.
COMPATIBILITY_NAMES: Final[Mapping[str, str]] = {
    "SessionStart": "sessionStart",
    "SessionEnd": "sessionEnd",
    "UserPromptSubmit": "beforeSubmitPrompt",
    "PreToolUse": "preToolUse",
    "PostToolUse": "postToolUse",
    "SubagentStop": "subagentStop",
    "Stop": "stop",
    "PreCompact": "preCompact",
}


def _tool_identity(body: Body, hook_name: str) -> tuple[str, ...]:
    """Identify a tool event by its conversation and tool call: Cursor sends some of them twice."""
    tool_use_id = body.get("tool_use_id")
    if type(tool_use_id) is not str or not tool_use_id:
        return ()
    return ("cursor-tool", PLATFORM.session_id(body), hook_name, tool_use_id)


def _edited_lines(body: Body) -> LineCounts | None:
    return edit_list_lines(body.get("edits"))


PLATFORM: Final = Platform(
    name="cursor",
    hooks=_HOOKS,
    session_keys=("conversation_id", "session_id"),
    workspace_keys=("workspace_roots", "cwd"),
    turn_key="generation_id",
    column_keys={
        **COLUMN_KEYS,
        "duration": "duration_ms",
        "cache_write_tokens": "cache_creation_tokens",
    },
    identity=_tool_identity,
    line_counts={"afterFileEdit": _edited_lines, "afterTabFileEdit": _edited_lines},
)
