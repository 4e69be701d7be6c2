"""One payload of every hook that Cursor and Claude Code have, with marked private parts.

Owns what is expected of each: event type, phase, tool call and metadata.
Promises that ``PRIVATE`` stands in every text, ``PATH`` in every path, ``EMAIL`` in every address,
and none of them anywhere else. Leaves realistic sessions to ``payloads.py``.
"""

import json
from dataclasses import dataclass, field
from typing import Any

Fields = dict[str, Any]

PRIVATE = "quokka"
PATH = "wombat"
EMAIL = "numbat"

ROOT = f"/home/{PATH}/shop"
FILE = f"{ROOT}/src/{PATH}.py"
TEXT = f"please tell the {PRIVATE} to sit"
CODE = f"def {PRIVATE}():\n    return 1\n"
SESSION = "5f0e7a52-6f1b-4c1e-9d53-0b8f1c2d3e4f"
TURN = "0b1c2d3e-4f5a-4b6c-8d7e-9f0a1b2c3d4e"
TOOL_CALL = "toolu_01AbCdEfGhIjKlMnOpQrStUv"

CLAUDE: Fields = {
    "session_id": SESSION,
    "prompt_id": TURN,
    "transcript_path": f"/home/{PATH}/.claude/projects/-home-{PATH}-shop/{SESSION}.jsonl",
    "cwd": ROOT,
    "permission_mode": "acceptEdits",
    "effort": {"level": "high"},
}
CURSOR: Fields = {
    "conversation_id": SESSION,
    "session_id": SESSION,
    "generation_id": TURN,
    "model": "composer-1",
    "cursor_version": "3.18.25",
    "workspace_roots": [ROOT],
    "user_email": f"{EMAIL}@example.org",
    "transcript_path": f"/home/{PATH}/.cursor/agent-transcripts/{SESSION}/{SESSION}.jsonl",
}
EDIT: Fields = {"file_path": FILE, "old_string": CODE, "new_string": CODE + f"# {PRIVATE}\n"}
CURSOR_TOOL: Fields = {"tool_name": "Shell", "tool_use_id": f"call-7\nfc_{TURN}_0", "cwd": ROOT}


@dataclass(frozen=True, slots=True)
class Example:
    """A payload, and what the event that is made of it must say."""

    platform: str
    hook_name: str
    fields: Fields
    event_type: str
    phase: str = ""
    metadata: Fields = field(default_factory=dict)

    @property
    def body(self) -> Fields:
        """Return a payload of its own, as the editor would send it."""
        common = CURSOR if self.platform == "cursor" else CLAUDE
        body = {**common, "hook_event_name": self.hook_name, **self.fields}
        return dict(json.loads(json.dumps(body)))

    @property
    def raw(self) -> bytes:
        """Return the bytes of it."""
        return json.dumps(self.body).encode()

    @property
    def tool_use_id(self) -> str:
        """Return the id of the tool call that it tells of, "" for none."""
        return str(self.fields.get("tool_use_id", ""))

    def __str__(self) -> str:
        return f"{self.platform}-{self.hook_name}"


def _claude(hook_name: str, event_type: str, phase: str = "", **fields: object) -> Example:
    return Example("claude_code", hook_name, fields, event_type, phase)


def _cursor(hook_name: str, event_type: str, phase: str = "", **fields: object) -> Example:
    return Example("cursor", hook_name, fields, event_type, phase, {"model": "composer-1"})


def _with(example: Example, **metadata: object) -> Example:
    return Example(
        example.platform,
        example.hook_name,
        example.fields,
        example.event_type,
        example.phase,
        {**example.metadata, **metadata},
    )


_TASK: Fields = {"id": "b7", "type": "shell", "status": "running", "description": TEXT}
_CRON: Fields = {"id": "c1", "schedule": f"0 9 * {PRIVATE}", "recurring": True, "prompt": TEXT}
_SUBAGENT: Fields = {
    "agent_id": "ac15c156ffa71d010",
    "agent_type": f"{PATH}-reviewer",
    "agent_transcript_path": f"/home/{PATH}/subagents/agent-ac15c156ffa71d010.jsonl",
}

CLAUDE_EXAMPLES = (
    _with(
        _claude(
            "SessionStart",
            "session_start",
            source="startup",
            model="claude-sonnet-4-5",
            session_title=TEXT,
        ),
        model="claude-sonnet-4-5",
    ),
    _claude("Setup", "other", trigger="init"),
    _claude("UserPromptSubmit", "user_prompt", "before", prompt=TEXT),
    _claude(
        "UserPromptExpansion",
        "user_prompt",
        "before",
        expansion_type="slash_command",
        command_name=f"{PATH} deploy",
        command_args=TEXT,
        command_source="user",
        prompt=TEXT,
    ),
    _with(
        _claude(
            "PreToolUse",
            "tool_start",
            "before",
            tool_name="Edit",
            tool_input=EDIT,
            tool_use_id=TOOL_CALL,
        ),
        tool_name="Edit",
    ),
    _with(
        _claude(
            "PermissionRequest",
            "tool_start",
            "before",
            tool_name="Bash",
            tool_input={"command": f"echo {PRIVATE}", "description": TEXT},
            permission_suggestions=[{"type": "addRules", "rules": [TEXT]}],
        ),
        tool_name="Bash",
    ),
    _with(
        _claude(
            "PermissionDenied",
            "tool_use",
            "denied",
            tool_name="Bash",
            tool_input={"command": f"echo {PRIVATE}"},
            tool_use_id=TOOL_CALL,
            reason=TEXT,
        ),
        tool_name="Bash",
    ),
    _with(
        _claude(
            "PostToolUse",
            "tool_use",
            "after",
            tool_name="Edit",
            tool_input=EDIT,
            tool_response={
                "filePath": FILE,
                "oldString": CODE,
                "newString": EDIT["new_string"],
                "originalFile": CODE,
                "structuredPatch": [
                    {
                        "oldStart": 1,
                        "oldLines": 2,
                        "newStart": 1,
                        "newLines": 3,
                        "lines": [f" def {PRIVATE}():", "     return 1", f"+# {PRIVATE}"],
                    },
                ],
                "userModified": False,
                "replaceAll": False,
            },
            tool_use_id=TOOL_CALL,
            duration_ms=41,
        ),
        tool_name="Edit",
        duration_ms=41,
        lines_added=1,
        lines_removed=0,
    ),
    _with(
        _claude(
            "PostToolUseFailure",
            "tool_use",
            "failure",
            tool_name="mcp__tracker__search",
            tool_input={PRIVATE: TEXT, "limit": 7, "nested": {"deep": [TEXT, {"a": TEXT}]}},
            tool_use_id=TOOL_CALL,
            error=f"Exit code 1\n{TEXT}",
            is_interrupt=False,
            duration_ms=12.6,
        ),
        tool_name="mcp__tracker__search",
        duration_ms=13,
    ),
    _claude(
        "PostToolBatch",
        "other",
        tool_calls=[
            {
                "tool_name": "Read",
                "tool_input": {"file_path": FILE},
                "tool_use_id": TOOL_CALL,
                "tool_response": CODE,
            },
        ],
    ),
    _claude(
        "Notification",
        "notification",
        message=TEXT,
        title=TEXT,
        notification_type="idle_prompt",
    ),
    _claude(
        "MessageDisplay",
        "assistant_response",
        turn_id=TURN,
        message_id=TURN,
        index=0,
        final=True,
        delta=TEXT,
    ),
    _claude("SubagentStart", "subagent_start", agent_id="ac15c156ffa71d010", agent_type="Explore"),
    _claude(
        "SubagentStop",
        "subagent_stop",
        **_SUBAGENT,
        stop_hook_active=False,
        last_assistant_message=TEXT,
        background_tasks=[{**_TASK, "command": f"{PATH} --now", "name": TEXT}],
        session_crons=[_CRON],
    ),
    _claude("TaskCreated", "other", task_id="t1", task_subject=TEXT, task_description=TEXT),
    _claude("TaskCompleted", "other", task_id="t1", task_subject=TEXT, teammate_name=PRIVATE),
    _claude(
        "Stop",
        "turn_end",
        stop_hook_active=False,
        last_assistant_message=TEXT,
        background_tasks=[_TASK],
        session_crons=[_CRON],
    ),
    _claude(
        "StopFailure",
        "turn_end",
        "failure",
        error="rate_limit",
        error_details=TEXT,
        last_assistant_message=TEXT,
    ),
    _claude("TeammateIdle", "other", teammate_name=PRIVATE, team_name=PRIVATE),
    _claude(
        "InstructionsLoaded",
        "other",
        file_path=FILE,
        memory_type="Project",
        load_reason="session_start",
        globs=[f"**/{PRIVATE}"],
        trigger_file_path=FILE,
        parent_file_path=FILE,
    ),
    _claude("ConfigChange", "other", source="user_settings", file_path=FILE),
    _claude("CwdChanged", "other", old_cwd=ROOT, new_cwd=f"{ROOT}/{PATH}"),
    _claude("DirectoryAdded", "other", directory=FILE, source="user_settings"),
    _claude("FileChanged", "other", file_path=FILE, event="change"),
    _claude("WorktreeCreate", "other", name=PRIVATE),
    _claude("WorktreeRemove", "other", worktree_path=FILE),
    _claude(
        "PreCompact",
        "context_compact",
        "before",
        trigger="manual",
        custom_instructions=TEXT,
    ),
    _claude("PostCompact", "context_compact", "after", trigger="auto", compact_summary=TEXT),
    _claude("Elicitation", "other", message=TEXT, mcp_server_name="tracker"),
    _claude("ElicitationResult", "other", content={"answer": TEXT}),
    _claude("SessionEnd", "session_end", reason="prompt_input_exit"),
)

_EDITS: list[Fields] = [{"old_string": CODE, "new_string": f"{PRIVATE}\n"}]
_TAB_EDITS: list[Fields] = [
    {
        **_EDITS[0],
        "range": {
            "start_line_number": 3,
            "start_column": 1,
            "end_line_number": 4,
            "end_column": 9,
        },
        "old_line": CODE,
        "new_line": PRIVATE,
    },
]

CURSOR_EXAMPLES = (
    _cursor("sessionStart", "session_start", is_background_agent=False, composer_mode="agent"),
    _with(
        _cursor(
            "sessionEnd",
            "session_end",
            reason="completed",
            duration_ms=120_000,
            is_background_agent=False,
            final_status="completed",
            error_message=TEXT,
        ),
        duration_ms=120_000,
    ),
    _with(
        _cursor(
            "preToolUse",
            "tool_start",
            "before",
            **CURSOR_TOOL,
            tool_input={"command": f"make {PRIVATE}", "working_directory": FILE},
            agent_message=TEXT,
        ),
        tool_name="Shell",
    ),
    _with(
        _cursor(
            "postToolUse",
            "tool_use",
            "after",
            **CURSOR_TOOL,
            tool_input={"command": f"make {PRIVATE}"},
            tool_output=json.dumps({"output": TEXT, "exitCode": 0}),
            duration=812.4,
        ),
        tool_name="Shell",
        duration_ms=812,
    ),
    _with(
        _cursor(
            "postToolUseFailure",
            "tool_use",
            "failure",
            **CURSOR_TOOL,
            tool_input={"command": f"make {PRIVATE}"},
            error_message=TEXT,
            failure_type="timeout",
            duration=5,
            is_interrupt=False,
        ),
        tool_name="Shell",
        duration_ms=5,
    ),
    _cursor(
        "subagentStart",
        "subagent_start",
        subagent_id=f"call-7\nfc_{TURN}_0",
        subagent_type="general-purpose",
        task=TEXT,
        parent_conversation_id=SESSION,
        tool_call_id=f"call-7\nfc_{TURN}_0",
        subagent_model="composer-1",
        is_parallel_worker=False,
        git_branch=f"feature/{PATH}",
    ),
    _with(
        _cursor(
            "subagentStop",
            "subagent_stop",
            subagent_type="explore",
            status="completed",
            task=TEXT,
            description=TEXT,
            summary=TEXT,
            duration_ms=9000,
            message_count=4,
            tool_call_count=3,
            loop_count=0,
            modified_files=[FILE, f"{ROOT}/{PATH}.md"],
            agent_transcript_path=f"/home/{PATH}/{SESSION}/subagents/{TURN}.jsonl",
        ),
        duration_ms=9000,
    ),
    _cursor(
        "beforeShellExecution",
        "shell_execution",
        "before",
        command=f"make {PRIVATE}",
        cwd=ROOT,
        sandbox=False,
    ),
    _with(
        _cursor(
            "afterShellExecution",
            "shell_execution",
            "after",
            command=f"make {PRIVATE}",
            output=TEXT,
            duration=10.5,
            sandbox=True,
        ),
        duration_ms=10,
    ),
    _with(
        _cursor(
            "beforeMCPExecution",
            "mcp_execution",
            "before",
            tool_name="search",
            tool_input=json.dumps({"q": TEXT}),
            mcp_server_name="tracker",
            url=f"https://{PRIVATE}.example.org",
        ),
        tool_name="search",
    ),
    _with(
        _cursor(
            "afterMCPExecution",
            "mcp_execution",
            "after",
            tool_name="search",
            tool_input=json.dumps({"q": TEXT}),
            mcp_server_name="tracker",
            command=f"npx {PRIVATE}",
            result_json=json.dumps([{"text": TEXT}]),
            duration=95,
        ),
        tool_name="search",
        duration_ms=95,
    ),
    _cursor(
        "beforeReadFile",
        "file_read",
        "before",
        file_path=FILE,
        content=CODE,
        attachments=[{"type": "rule", "file_path": FILE}],
    ),
    _with(
        _cursor("afterFileEdit", "file_edit", "after", file_path=FILE, edits=_EDITS),
        lines_added=1,
        lines_removed=2,
    ),
    _cursor("beforeTabFileRead", "file_read", "before", file_path=FILE, content=CODE),
    _with(
        _cursor("afterTabFileEdit", "file_edit", "after", file_path=FILE, edits=_TAB_EDITS),
        lines_added=1,
        lines_removed=2,
    ),
    _cursor(
        "beforeSubmitPrompt",
        "user_prompt",
        "before",
        prompt=TEXT,
        attachments=[{"type": "file", "file_path": FILE}],
        model_id="composer-1",
        model_params=[{"id": "fast", "value": "true"}, {"id": PRIVATE, "value": TEXT}],
    ),
    _with(
        _cursor(
            "afterAgentResponse",
            "assistant_response",
            "after",
            text=TEXT,
            input_tokens=17_000,
            output_tokens=220,
            cache_read_tokens=6000,
            cache_write_tokens=12,
        ),
        input_tokens=17_000,
        output_tokens=220,
        cache_read_tokens=6000,
        cache_creation_tokens=12,
    ),
    _with(
        _cursor("afterAgentThought", "assistant_response", "after", text=TEXT, duration_ms=300),
        duration_ms=300,
    ),
    _with(
        _cursor("stop", "turn_end", status="completed", loop_count=0, input_tokens=17_000),
        input_tokens=17_000,
    ),
    _cursor(
        "preCompact",
        "context_compact",
        "before",
        trigger="auto",
        context_usage_percent=82,
        context_tokens=164_591,
        context_window_size=200_000,
        message_count=43,
        messages_to_compact=79,
        is_first_compaction=True,
    ),
    _cursor("workspaceOpen", "other"),
)

EXAMPLES = CLAUDE_EXAMPLES + CURSOR_EXAMPLES
