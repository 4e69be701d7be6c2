"""The words that may pass: keys, values of enumerations and shapes of names, per kind.

Owns the allow-list of the sanitiser.
Promises that no word here was ever a user's: all are the platforms' own.
Leaves what becomes of each kind to ``sanitise.py``.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

# --- kinds of keys -------------------------------------------------------------------------------

#: One path, or a list of paths.
PATHS: Final = frozenset(
    {
        "file_path", "filePath", "path", "notebook_path", "cwd", "old_cwd", "new_cwd", "directory",
        "worktree_path", "trigger_file_path", "parent_file_path", "scratchpad_dir", "target_file",
        "target_directory", "target_directories", "target_notebook", "relative_workspace_path",
        "outputFile", "output_file", "persistedOutputPath", "working_directory",
        "modified_files", "workspace_roots", "paths",
    },
)  # fmt: skip
#: Paths whose last component is an id of the platform.
TRANSCRIPTS: Final = frozenset({"transcript_path", "agent_transcript_path"})
#: Text of files: characters, lines and a keyed hash are kept.
CODE: Final = frozenset(
    {
        "old_string", "new_string", "oldString", "newString", "old_str", "new_str", "old_line",
        "new_line", "content", "contents", "new_source", "code_edit", "newContent", "oldContent",
    },
)  # fmt: skip
COMMANDS: Final = frozenset({"command", "cmd", "command_name"})
BRANCHES: Final = frozenset({"git_branch", "gitBranch", "branch", "branchName"})
#: Lists of which only the count is kept.
COUNTED: Final = frozenset(
    {
        "todos", "oldTodos", "newTodos", "filenames", "permission_suggestions", "iterations",
    },
)  # fmt: skip
IDS: Final = frozenset(
    {
        "session_id", "conversation_id", "generation_id", "prompt_id", "tool_use_id",
        "tool_call_id", "agent_id", "agentId", "subagent_id", "parent_conversation_id",
        "parent_session_id", "message_id", "turn_id", "task_id", "taskId", "request_id",
        "bash_id", "shell_id", "shellId", "backgroundTaskId", "cell_id", "id", "nonce",
        # of transcripts
        "uuid", "parentUuid", "logicalParentUuid", "leafUuid", "requestId", "messageId",
        "sourceToolAssistantUUID", "sourceToolUseID", "toolUseID", "toolUseId", "parentToolUseID",
        "parentAgentId", "sessionId", "promptId",
        # of Cursor's databases
        "bubbleId", "serverBubbleId", "usageUuid", "checkpointId", "codeblockId", "commitHash",
        "latestChatGenerationUUID",
    },
)  # fmt: skip
MODELS: Final = frozenset({"model", "model_id", "subagent_model", "resolvedModel"})
NAMES: Final = frozenset({"tool_name", "mcp_server_name", "hook_event_name"})
VERSIONS: Final = frozenset({"cursor_version", "vscode_version", "version", "blueplane_version"})
TIMES: Final = frozenset({"timestamp"})
#: Endings of file names that are nobody's own: what a path's pseudonym shows.
EXTENSIONS: Final = frozenset(
    {
        "adoc", "astro", "bash", "bat", "c", "cc", "cfg", "cjs", "clj", "cmake", "conf", "cpp",
        "cs", "css", "csv", "cts", "cxx", "dart", "diff", "ejs", "elm", "env", "erl", "ex", "exs",
        "fs", "gif", "go", "gradle", "graphql", "groovy", "h", "hbs", "hcl", "hpp", "hs", "htm",
        "html", "ini", "ipynb", "java", "jl", "jpeg", "jpg", "js", "json", "json5", "jsonc",
        "jsonl", "jsx", "kt", "kts", "less", "lock", "log", "lua", "m", "md", "mdc", "mdx", "mjs",
        "ml", "mm", "mts", "nim", "nix", "pdf", "php", "pl", "plist", "png", "prisma", "properties",
        "proto", "ps1", "py", "pyi", "r", "rb", "rs", "rst", "sass", "scala", "scss", "sh", "snap",
        "sol", "sql", "svelte", "svg", "swift", "tex", "tf", "toml", "ts", "tsx", "txt", "v", "vb",
        "vue", "wasm", "webp", "xml", "yaml", "yml", "zig", "zsh",
    },
)  # fmt: skip
#: Types of agents that are the platforms' own.
_AGENT_TYPES: Final = frozenset(
    {
        "", "general-purpose", "generalPurpose", "Explore", "explore", "Plan", "plan",
        "statusline-setup", "output-style-setup", "claude-code-guide", "shell",
        "browser-use", "code-reviewer", "compact", "main", "unspecified",
    },
)  # fmt: skip
#: Names that people give to agents and to kinds of files: those that everybody has stay, others
#: become a keyed hash.
LABELS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                "agent_type", "subagent_type", "agentType", "attributionAgent", "attributionSkill",
                "attributionPlugin", "attributionMcpServer", "attributionMcpTool",
                "subagentTypeName",
            ),
            _AGENT_TYPES,
        ),
        "fileExtension": EXTENSIONS | {""},
    },
)  # fmt: skip
#: Settings of a model, ``[{"id", "value"}]``: the words that may stand in either place.
MODEL_SETTINGS: Final = frozenset({"model_params"})
MODEL_SETTING_WORDS: Final = frozenset(
    {
        "fast", "thinking", "effort", "reasoning", "context", "max_mode", "true", "false", "none",
        "minimal", "low", "medium", "high", "xhigh", "max", "1m", "200k",
    },
)  # fmt: skip
#: What a tool is asked and what it answers: of an unknown tool only the shape is kept.
TOOL_CONTENT: Final = frozenset(
    {"tool_input", "tool_response", "tool_output", "result_json", "tool_calls"},
)
#: Keys whose value is never stored, at any level and at any depth.
SECRETS: Final = re.compile(
    r"(?:^|user|[_.-])e-?mail(?:_?address)?$|cursorauth|encryptionkey|access_?token|refresh_?token|id_?token"
    r"|password|passwd|secret|authorization|api_?-?key|private_?key|credential",
    re.IGNORECASE,
)

# --- values of enumerations ----------------------------------------------------------------------

ENUMERATIONS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "permission_mode": frozenset(
            {"default", "plan", "acceptEdits", "auto", "dontAsk", "bypassPermissions"},
        ),
        "source": frozenset(
            {
                "startup", "resume", "clear", "compact", "fork", "user_settings", "skills",
                "project_settings", "local_settings", "policy_settings", "builtin", "plugin",
                "composer", "tab", "cli", "human",
            },
        ),
        "reason": frozenset(
            {
                "clear", "resume", "logout", "prompt_input_exit", "other", "completed", "aborted",
                "error", "window_close", "user_close", "bypass_permissions_disabled",
            },
        ),
        "trigger": frozenset({"manual", "auto", "init", "maintenance"}),
        "status": frozenset(
            {
                "completed", "aborted", "error", "none", "running", "pending", "in_progress",
                "success", "failed", "cancelled", "async_launched", "killed", "stopped",
                "accepted", "rejected", "applied", "applying", "generating", "loading", "outdated",
            },
        ),
        "final_status": frozenset({"completed", "aborted", "error", "none"}),
        "failure_type": frozenset({"timeout", "error", "permission_denied"}),
        "notification_type": frozenset(
            {
                "permission_prompt", "idle_prompt", "auth_success", "agent_needs_input",
                "agent_completed", "elicitation_dialog", "elicitation_complete",
                "elicitation_response",
            },
        ),
        "error": frozenset(
            {
                "rate_limit", "authentication_failed", "billing_error", "invalid_request",
                "server_error", "max_output_tokens", "unknown", "overloaded",
                "model_not_found", "oauth_org_not_allowed",
            },
        ),
        "composer_mode": frozenset(
            {"agent", "ask", "chat", "edit", "plan", "debug", "background", "normal"},
        ),
        "level": frozenset(
            {
                "minimal", "low", "medium", "high", "xhigh", "max", "info", "warning", "error",
                "suggestion",
            },
        ),
        "effort": frozenset({"minimal", "low", "medium", "high", "xhigh", "max"}),
        "type": frozenset(
            {
                "text", "image", "file", "rule", "create", "update", "document", "notebook", "pdf",
                "tool_result", "tool_use", "shell", "subagent", "folder", "file_unchanged",
                "thinking", "redacted_thinking", "server_tool_use", "web_search_tool_result",
                "hook_progress", "bash_progress", "agent_progress", "mcp_progress",
                "waiting_for_task", "query_update", "search_results_received",
            },
        ),
        "userDecision": frozenset({"accepted", "rejected", "undecided"}),
        **dict.fromkeys(
            ("unifiedMode", "forceMode"),
            frozenset({"agent", "ask", "background", "chat", "debug", "edit", "plan", "project"}),
        ),
        "role": frozenset({"user", "assistant", "system", "tool"}),
        "edit_mode": frozenset({"replace", "insert", "delete"}),
        "cell_type": frozenset({"code", "markdown"}),
        "output_mode": frozenset({"content", "files_with_matches", "count"}),
        "mode": frozenset(
            {
                "content", "files_with_matches", "count", "agent", "ask", "plan", "edit",
                "default", "acceptEdits", "auto", "dontAsk", "bypassPermissions",
            },
        ),
        "expansion_type": frozenset({"slash_command", "mcp_prompt", "skill"}),
        "command_source": frozenset(
            {"user", "project", "plugin", "builtin", "skill", "mcp", "bundled", "managed"},
        ),
        "memory_type": frozenset({"User", "Project", "Local", "Managed"}),
        "load_reason": frozenset(
            {
                "session_start", "nested_traversal", "path_glob_match", "include", "compact",
            },
        ),
        "event": frozenset({"change", "add", "unlink"}),
        # of transcripts
        "stop_reason": frozenset(
            {
                "end_turn", "tool_use", "max_tokens", "stop_sequence", "pause_turn", "refusal",
                "model_context_window_exceeded",
            },
        ),
        "subtype": frozenset(
            {
                "turn_duration", "stop_hook_summary", "compact_boundary", "microcompact_boundary",
                "local_command", "api_error", "away_summary", "bridge_status", "informational",
                "model_refusal_fallback",
            },
        ),
        "entrypoint": frozenset(
            {"cli", "sdk-cli", "sdk-py", "sdk-ts", "claude-vscode", "claude-desktop"},
        ),
        "service_tier": frozenset({"standard", "priority", "batch"}),
        "speed": frozenset({"standard", "fast"}),
        "operation": frozenset({"enqueue", "dequeue", "remove", "popAll"}),
        "permissionMode": frozenset(
            {"default", "plan", "acceptEdits", "auto", "dontAsk", "bypassPermissions"},
        ),
        "perTurnEffort": frozenset({"minimal", "low", "medium", "high", "xhigh", "max"}),
        "wrapper": frozenset({"command", "interruption"}),  # our own note
    },
)  # fmt: skip

# --- other known keys ----------------------------------------------------------------------------

#: Keys of the platforms without a kind of their own: numbers and flags pass, text is measured.
PLAIN: Final = frozenset(
    {
        # measures that the sanitiser itself writes
        "chars", "lines", "items", "first", "digits", "more", "bytes",
        # common
        "prompt", "text", "message", "title", "description", "summary", "task", "delta", "index",
        "final", "error_message", "error_details", "last_assistant_message", "compact_summary",
        "custom_instructions", "stop_hook_active", "is_interrupt", "duration", "duration_ms",
        "loop_count", "message_count", "messages_to_compact", "is_first_compaction",
        "context_usage_percent", "context_tokens", "context_window_size", "session_title",
        "is_background_agent", "is_parallel_worker", "tool_call_count", "sandbox", "timeout",
        "attachments", "edits", "range", "output", "url", "mcp_server_url", "agent_message",
        "start_line_number", "start_column", "end_line_number", "end_column", "value",
        "seconds_since_last_response", "prompt_cache_likely_expired", "estimated_cache_write_usd",
        "background_tasks", "session_crons", "recurring", "schedule", "server", "tool", "name",
        "task_subject", "task_description", "teammate_name", "team_name", "command_args", "globs",
        "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens",
        "cache_creation_tokens",
        # tools
        "pattern", "glob", "query", "replace_all", "replaceAll", "userModified", "originalFile",
        "structuredPatch", "oldStart", "oldLines", "newStart", "newLines", "stdout", "stderr",
        "interrupted", "isImage", "noOutputExpected", "run_in_background", "file", "numLines",
        "startLine", "totalLines", "numFiles", "numMatches", "truncated", "durationMs", "offset",
        "limit", "head_limit", "multiline", "case_insensitive", "subject", "activeForm",
        "totalDurationMs", "totalTokens", "totalToolUseCount", "usage", "isAsync", "success",
        "exit_code", "exitCode", "explanation", "instructions", "start_line", "end_line", "code",
        "codeText", "result", "results", "bytesWritten", "is_background", "block_until_ms",
        "-A", "-B", "-C", "-i", "-n", "_v",
        # transcripts
        "cache_creation_input_tokens", "cache_read_input_tokens", "cache_creation",
        "ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens", "server_tool_use",
        "web_search_requests", "web_fetch_requests", "output_tokens_details", "thinking_tokens",
        "is_error", "isSidechain", "isMeta", "isCompactSummary", "isApiErrorMessage",
        "isVisibleInTranscriptOnly", "apiErrorStatus", "apiBlockIndex", "costUSD", "preTokens",
        "postTokens", "cumulativeDroppedTokens", "compactMetadata", "spawnDepth", "modelUsage",
        "inputTokens", "outputTokens", "thinkingTokens", "cacheReadInputTokens",
        "cacheCreationInputTokens", "webSearchRequests", "totalCostUSD", "totalAPIDuration",
        "totalToolDuration", "totalLinesAdded", "totalLinesRemoved", "totalDuration", "startTime",
        "hasUnknownModelCost", "toolUseResult", "snapshot", "data", "attachment", "origin",
        "isSnapshotUpdate", "toolUseCount", "hookCount",
    },
)  # fmt: skip

KNOWN_TOOLS: Final = frozenset(
    {
        # Claude Code
        "Bash", "PowerShell", "Edit", "MultiEdit", "Write", "Read", "NotebookEdit", "NotebookRead",
        "Grep", "Glob", "LS", "Task", "Agent", "TodoWrite", "TodoRead", "WebFetch", "WebSearch",
        "BashOutput", "KillShell", "KillBash", "ExitPlanMode", "EnterPlanMode", "Skill",
        "SlashCommand", "AskUserQuestion", "TaskOutput", "TaskStop", "TaskCreate", "TaskUpdate",
        "TaskGet", "TaskList", "LSP", "ToolSearch", "SendMessage", "EnterWorktree",
        "ExitWorktree", "Monitor", "CronCreate", "CronDelete", "CronList",
        # Cursor
        "Shell", "Delete", "StrReplace", "SemanticSearch", "ReadLints", "ApplyPatch", "AskQuestion",
        "SwitchMode", "EditNotebook", "Await", "TabRead", "TabWrite", "ReadFile", "EditFile",
    },
)  # fmt: skip

# --- shapes: none has a space, so that no sentence passes ----------------------------------------

IDENTIFIER_KEY: Final = re.compile(r"[a-z][A-Za-z0-9_]{0,31}\Z")
#: Some of Cursor's ids are two, with a newline between them.
ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,96}(?:\n[A-Za-z0-9_.:-]{1,96})?\Z")
NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,127}\Z")
#: Claude Code calls the author of its own messages ``<synthetic>``.
MODEL: Final = re.compile(
    r"<synthetic>\Z|"
    r"(?=.{1,80}\Z)[A-Za-z][A-Za-z0-9_.:-]*(?:/[A-Za-z0-9_.:-]+){0,2}(?:@\d{1,8})?(?:\[\w{1,8}\])?\Z",
)
VERSION: Final = re.compile(r"[0-9][0-9A-Za-z.+-]{0,31}\Z")
TIME: Final = re.compile(r"[0-9TZ:.+-]{4,40}\Z")
#: A transcript's file name: a session, or one of its agents.
TRANSCRIPT_NAME: Final = re.compile(
    r"(?:agent-(?:a?compact-)?)?[0-9a-f][0-9a-f-]{7,47}\.(?:jsonl|json|txt)\Z",
)
HASH: Final = re.compile(r"[0-9a-f]{12}\Z")
COMMAND_NAME: Final = re.compile(r"[A-Za-z0-9_.+-]{1,32}\Z")
