"""What ``blueplane trace`` calls the events of a session."""

import pytest

from blueplane.interfaces.cli.trace import _kind


@pytest.mark.parametrize(
    ("source", "hook_type", "tool", "kind"),
    [
        ("hook", "PreToolUse", "Bash", "tool_start"),
        ("transcript", "user", "", "prompt"),
        ("transcript", "assistant", "", "answer"),
        ("transcript", "assistant", "Bash", "tool call"),
        ("transcript", "summary", "", "summary"),
        ("database", "bubbleId", "read_file", "tool call"),
        ("database", "aiService.prompts", "", "aiService.prompts"),
    ],
)
def test_event_from_history_says_what_it_is_when_its_columns_tell(
    source: str, hook_type: str, tool: str, kind: str
) -> None:
    """Prompts, answers and tools are told apart where an editor stored them, too."""
    # Given
    row = {
        "source": source, "hook_type": hook_type, "tool_name": tool, "tool_use_id": "",
        "event_type": "tool_start",
    }  # fmt: skip

    # When / Then
    assert _kind(row) == kind


def test_line_of_a_user_is_a_result_when_it_names_a_tool_use() -> None:
    """The answer of a tool comes as a line of the user."""
    # Given
    row = {"source": "transcript", "hook_type": "user", "tool_name": None, "tool_use_id": "toolu_1"}

    # When / Then
    assert _kind(row) == "tool result"
