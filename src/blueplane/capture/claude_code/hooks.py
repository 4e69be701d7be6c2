"""Claude Code's hooks: what each means, and how the lines of an edit are counted.

Owns the mapping of native hooks to our event types.
Promises lines only for an edit that was made (PostToolUse), and none where they are not known.
Leaves everything else of a payload to the sanitiser.
"""

from collections.abc import Mapping
from typing import Final

from blueplane.capture.adapter import Hook, LineCounts, Platform
from blueplane.capture.lines import (
    changed_lines,
    edit_lines,
    edit_list_lines,
    patch_lines,
    split_lines,
)
from blueplane.capture.parse import Body

_HOOKS: Final[Mapping[str, Hook]] = {
    "SessionStart": Hook("session_start"),
    "SessionEnd": Hook("session_end"),
    "UserPromptSubmit": Hook("user_prompt", "before"),
    "UserPromptExpansion": Hook("user_prompt", "before"),
    "MessageDisplay": Hook("assistant_response"),
    "PreToolUse": Hook("tool_start", "before"),
    "PermissionRequest": Hook("tool_start", "before"),
    "PostToolUse": Hook("tool_use", "after"),
    "PostToolUseFailure": Hook("tool_use", "failure"),
    "PermissionDenied": Hook("tool_use", "denied"),
    "SubagentStart": Hook("subagent_start"),
    "SubagentStop": Hook("subagent_stop"),
    "Stop": Hook("turn_end"),
    "StopFailure": Hook("turn_end", "failure"),
    "PreCompact": Hook("context_compact", "before"),
    "PostCompact": Hook("context_compact", "after"),
    "Notification": Hook("notification"),
}


def _edit(asked: Body, _answer: Body) -> LineCounts | None:
    return edit_lines(asked)


def _multi_edit(asked: Body, _answer: Body) -> LineCounts | None:
    return edit_list_lines(asked.get("edits"))


def _write(asked: Body, answer: Body) -> LineCounts | None:
    """Count a new file whole; of one written over only what the answer says of its old text."""
    content, original = asked.get("content"), answer.get("originalFile")
    if type(content) is not str:
        return None
    if type(original) is str:
        return changed_lines(original, content)
    return (len(split_lines(content)), 0) if answer.get("type") == "create" else None


def _notebook_edit(asked: Body, _answer: Body) -> LineCounts | None:
    """Count an inserted cell; of one replaced or deleted the old text is not known."""
    source = asked.get("new_source")
    if type(source) is not str or asked.get("edit_mode") != "insert":
        return None
    return len(split_lines(source)), 0


_COUNTERS: Final = {
    "Edit": _edit,
    "MultiEdit": _multi_edit,
    "Write": _write,
    "NotebookEdit": _notebook_edit,
}


def _tool_lines(body: Body) -> LineCounts | None:
    """Count from the patch in the tool's answer; without one, from what the tool was asked."""
    tool_name = body.get("tool_name")
    counter = _COUNTERS.get(tool_name) if type(tool_name) is str else None
    if counter is None:
        return None
    asked, answer = body.get("tool_input"), body.get("tool_response")
    asked = asked if isinstance(asked, dict) else {}
    answer = answer if isinstance(answer, dict) else {}
    return patch_lines(answer.get("structuredPatch")) or counter(asked, answer)


PLATFORM: Final = Platform(
    name="claude_code",
    hooks=_HOOKS,
    aliases=("claude", "claude-code", "claudecode"),
    line_counts={"PostToolUse": _tool_lines},
)
