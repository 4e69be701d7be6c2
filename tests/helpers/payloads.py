"""Hook payloads as Cursor and Claude Code send them, made up from a seed.

Owns the invented people, projects and texts, and the order of the hooks in a little session.
Promises the same payloads for the same seed, fields and id shapes of the real editors, and about
1.3 KB of raw JSON on average. Leaves odd and broken payloads to the tests that want them.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from random import Random
from string import ascii_letters, digits
from typing import Any
from uuid import UUID

#: Every word below that says who somebody is, or what they work on: none may be stored.
PEOPLE = ("Ottilie Brannock", "Jaspar Quillon", "Merete Vashti", "Ruben Ostrakov", "Sunniva Pell")
PROJECTS = ("fernwharf", "quillmint", "tidepost", "brasslark", "moonledger", "hazelgrid")
MODULES = (
    "ledgerly",
    "wicketron",
    "pantrykit",
    "saddlebox",
    "mistralog",
    "corkscrewed",
    "plumbago",
)
VERBS = ("reconcile", "unspool", "garnish", "tabulate", "winnow", "transpose", "rekindle", "decant")
NOUNS = ("voucher", "lantern", "parcel", "orchard", "kettle", "bobbin", "saffron", "turnstile")

#: The share of events that come from Cursor.
CURSOR_SHARE = 0.6

_SUFFIXES = ("py", "py", "py", "ts", "ts", "tsx", "go", "rs", "md", "json", "toml", "sql")
_FOLDERS = ("src", "lib", "tests", "internal", "web/components", "scripts")
_CURSOR_MODELS = ("default", "claude-4.5-sonnet-thinking", "gpt-5.1-codex", "composer-1")
_CLAUDE_MODELS = ("claude-sonnet-4-5-20250929", "claude-opus-4-5-20251101")
_MCP_TOOLS = (("trackerly", "search_issues"), ("trackerly", "get_issue"), ("docshelf", "lookup"))
_BASE62 = ascii_letters + digits
_HEX = digits + "abcdef"

Fields = dict[str, Any]
Hooks = Iterator[tuple[str, Fields]]


@dataclass(frozen=True, slots=True)
class Payload:
    """What one hook receives on standard input, and from whom."""

    platform: str
    hook_name: str
    body: Fields

    @property
    def raw(self) -> bytes:
        """The bytes of it, as the editors write them: compact JSON, non-ASCII text as it is."""
        return json.dumps(self.body, ensure_ascii=False, separators=(",", ":")).encode()


def payloads(count: int, seed: int = 0) -> Iterator[Payload]:
    """Make ``count`` payloads of one developer, session after session; 60 % come from Cursor."""
    machine = _Machine(Random(seed))
    made = from_cursor = 0
    while made < count:
        cursor = from_cursor <= made * CURSOR_SHARE
        world = _World(machine)
        session = _cursor_session(world) if cursor else _claude_session(world)
        for hook_name, body in session:
            if made == count:
                return
            made += 1
            from_cursor += cursor
            yield Payload("cursor" if cursor else "claude_code", hook_name, body)


def personal_strings() -> frozenset[str]:
    """Every invented word that tells a person, a path or a project, in lower case."""
    names = {part for person in PEOPLE for part in person.split()}
    return frozenset(word.lower() for word in {*names, *PROJECTS, *MODULES, *VERBS, *NOUNS})


# --- a developer at work -------------------------------------------------------------------------


class _Machine:
    """One developer: a home, two projects, two models per editor, and Cursor's weekly updates."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.person = rng.choice(PEOPLE)
        self.user = self.person.split()[0].lower()
        self.home = f"/{rng.choice(('Users', 'home'))}/{self.user}"
        self.projects = rng.sample(PROJECTS, 2)
        self.cursor_models = rng.sample(_CURSOR_MODELS, 2)
        self._minor, self._patch = rng.randint(18, 22), rng.randint(0, 20)

    def cursor_version(self) -> str:
        """Return the version that a session runs, now and then a newer one than the last did."""
        self._patch += self.rng.random() < 0.02
        return f"3.{self._minor}.{self._patch}"


class _World:
    """One session's project and files: where random ids, texts and numbers come from."""

    def __init__(self, machine: _Machine) -> None:
        self.machine, self.rng = machine, machine.rng
        self.user, self.home = machine.user, machine.home
        self.project = self.rng.choice(machine.projects)
        self.root = f"{self.home}/work/{self.project}"
        self.files = [self._path() for _ in range(6)]

    def _path(self) -> str:
        pick = self.rng.choice
        name = f"{pick(MODULES)}_{pick(NOUNS)}.{pick(_SUFFIXES)}"
        return f"{self.root}/{pick(_FOLDERS)}/{pick(MODULES)}/{name}"

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def number(self, typical: float, spread: float = 0.8) -> int:
        """Return a whole number of at least 1 that is now and then far above ``typical``."""
        return max(1, round(typical * self.rng.lognormvariate(0, spread)))

    def text(self, length: int, alphabet: str = _BASE62) -> str:
        return "".join(self.rng.choices(alphabet, k=length))

    def uuid(self) -> str:
        return str(UUID(int=self.rng.getrandbits(128), version=4))

    def tool_id(self, model: str) -> str:
        """An id as the model's vendor makes it; those of GPT models hold a newline."""
        if model.startswith("gpt"):
            return f"call_{self.text(24)}\nfc_{self.text(48, _HEX)}"
        return f"toolu_01{self.text(22)}"

    def prose(self, words: float) -> str:
        """Return sentences of about ``words`` words."""
        pick = self.rng.choice
        fillers = ("the", "so that", "after", "without", "because of", "its", "and", "before")
        parts = [
            f"{pick(VERBS)} {pick(fillers)} {pick(NOUNS)}" + pick((".", ",", "", "", " à nouveau."))
            for _ in range(self.number(words / 3))
        ]
        return " ".join(parts).capitalize()

    def line(self) -> str:
        pick, verb, noun = self.rng.choice, self.rng.choice(VERBS), self.rng.choice(NOUNS)
        forms = (
            f"    {noun} = {verb}_{pick(NOUNS)}({pick(NOUNS)}, {self.number(40)})",
            f"    if {noun}.{verb}ed and not {pick(NOUNS)}:",
            f"def {verb}_{noun}({pick(NOUNS)}, *, {pick(NOUNS)}=None):",
            f"        return {noun}[{self.number(9)}]",
            f'    log.info("{verb} %s", {noun})',
            f"import {pick(MODULES)}.{noun}",
            "",
        )
        return pick(forms)

    def code(self, lines: float) -> str:
        """Return about ``lines`` lines of code that runs nowhere."""
        return "\n".join(self.line() for _ in range(self.number(lines)))

    def file(self) -> str:
        return self.rng.choice(self.files)

    def relative(self) -> str:
        return self.file().removeprefix(f"{self.root}/")

    def command(self) -> str:
        noun, path = self.rng.choice(NOUNS), self.relative()
        forms = (
            f"python -m pytest {path} -q -k {noun}",
            f"git diff --stat {path}",
            f"rg -n '{noun}' {path}",
            f"npm run build -- --filter {noun}",
            f"cd {self.root} && git add {path} && git commit -m '{self.prose(5)}'",
            f"sed -n 1,{self.number(80)}p {path}",
        )
        return self.rng.choice(forms)

    def output(self, lines: float) -> str:
        """Return what a command prints."""
        return "\n".join(
            f"{self.relative()}:{self.number(90)}: {self.line()}" for _ in range(self.number(lines))
        )


# --- Cursor --------------------------------------------------------------------------------------


def _cursor_session(world: _World) -> Hooks:
    rng, machine = world.rng, world.machine
    conversation = world.uuid()
    common: Fields = {
        "conversation_id": conversation,
        "generation_id": world.uuid(),
        "model": rng.choice(machine.cursor_models),
        "cursor_version": machine.cursor_version(),
        "workspace_roots": [world.root],
        "user_email": f"{machine.person.replace(' ', '.').lower()}@{world.project}.example",
        "transcript_path": None,
    }
    mode: Fields = {"is_background_agent": False, "composer_mode": rng.choice(("agent", "edit"))}
    for hook, fields in _cursor_hooks(world, common, mode):
        identity = {"session_id": conversation} if world.chance(0.9) else {}
        yield hook, {**common, "hook_event_name": hook, **identity, **fields}


def _cursor_hooks(world: _World, common: Fields, mode: Fields) -> Hooks:
    slug = world.root.replace("/", "-").lstrip("-")
    conversation = common["conversation_id"]
    yield "sessionStart", {"session_id": conversation, **mode}
    for turn in range(world.rng.randint(2, 6)):
        common["generation_id"] = world.uuid()
        yield from _cursor_turn(world, common)
        transcripts = f"{world.home}/.cursor/projects/{slug}/agent-transcripts"
        common["transcript_path"] = f"{transcripts}/{conversation}/{conversation}.jsonl"
        if turn and world.chance(0.1):
            yield "preCompact", _cursor_compaction(world)
    if world.chance(0.6):
        ended = {"reason": world.rng.choice(("completed", "user_close", "window_close"))}
        duration = {"duration_ms": world.number(900_000), "final_status": "completed"}
        yield "sessionEnd", {"session_id": conversation, **ended, **duration, **mode}


def _cursor_compaction(world: _World) -> Fields:
    tokens = world.rng.randint(140_000, 190_000)
    return {
        "trigger": "auto",
        "context_usage_percent": round(tokens / 2000),
        "context_tokens": tokens,
        "context_window_size": 200_000,
        "message_count": world.number(60),
        "messages_to_compact": world.number(40),
        "is_first_compaction": True,
    }


def _cursor_turn(world: _World, common: Fields) -> Hooks:
    attached = [{"type": "file", "file_path": world.file()}] if world.chance(0.3) else []
    yield "beforeSubmitPrompt", {"prompt": world.prose(70), "attachments": attached}
    for _ in range(world.number(4, 0.6)):
        if world.chance(0.3):
            thought = {"text": world.prose(110), "duration_ms": world.number(2500)}
            yield "afterAgentThought", thought
        yield from world.rng.choice(_CURSOR_ACTIONS)(world, common)
    tokens = _cursor_tokens(world)
    yield "afterAgentResponse", {"text": world.prose(130), **tokens}
    status = world.rng.choices(("completed", "aborted", "error"), (18, 3, 1))[0]
    yield "stop", {"status": status, "loop_count": 0, **tokens}


def _cursor_tokens(world: _World) -> Fields:
    tokens = world.number(18_000)
    return {
        "input_tokens": tokens,
        "output_tokens": world.number(450),
        "cache_read_tokens": tokens * 2 // 3,
        "cache_write_tokens": world.number(1500),
    }


def _cursor_tool(world: _World, common: Fields, call: Fields, hooks: Iterable[Any]) -> Hooks:
    """One tool call: before, what happens meanwhile, and after (or its failure).

    ``call`` holds tool_name, tool_input and the output of it.
    """
    output = call.pop("output")
    call = {**call, "tool_use_id": world.tool_id(common["model"]), "cwd": world.root}
    yield "preToolUse", {**call, "agent_message": world.prose(14)}
    yield from hooks
    duration = round(world.number(400) + world.rng.random(), 3)
    if world.chance(0.06):
        failure = {"error_message": world.prose(12), "failure_type": "error", "duration": duration}
        yield "postToolUseFailure", {**call, **failure, "is_interrupt": False}
        return
    yield "postToolUse", {**call, "tool_output": json.dumps(output), "duration": duration}


def _cursor_shell(world: _World, common: Fields) -> Hooks:
    command, output = world.command(), world.output(7)
    given = {"command": command, "sandbox": False}
    duration = round(world.number(900) + world.rng.random(), 3)
    hooks = (
        ("beforeShellExecution", {**given, "cwd": world.root}),
        ("afterShellExecution", {**given, "output": output, "duration": duration}),
    )
    call = {
        "tool_name": "Shell",
        "tool_input": {"command": command, "cwd": world.root, "timeout": 30000},
        "output": {"output": output, "exitCode": 0},
    }
    return _cursor_tool(world, common, call, hooks)


def _cursor_read(world: _World, common: Fields) -> Hooks:
    path, content = world.file(), world.code(28)
    attachments = [{"type": "rule", "file_path": f"{world.root}/AGENTS.md"}]
    read = {"file_path": path, "content": content, "attachments": attachments}
    call = {
        "tool_name": "Read",
        "tool_input": {"file_path": path},
        "output": {"file_size": len(content), "total_lines": content.count("\n") + 1},
    }
    return _cursor_tool(world, common, call, [("beforeReadFile", read)])


def _cursor_edit(world: _World, common: Fields) -> Hooks:
    path = world.file()
    edits = [
        {"old_string": world.code(4), "new_string": world.code(6)}
        for _ in range(world.number(1, 0.5))
    ]
    call = {
        "tool_name": "Write",
        "tool_input": {"file_path": path, "content": edits[0]["new_string"]},
        "output": {"success": True, "path": path},
    }
    hooks = [("afterFileEdit", {"file_path": path, "edits": edits})]
    return _cursor_tool(world, common, call, hooks)


def _cursor_search(world: _World, common: Fields) -> Hooks:
    call = {
        "tool_name": "Grep",
        "tool_input": {"pattern": world.rng.choice(NOUNS), "path": world.root, "-i": True},
        "output": {"workspaceResults": world.output(7), "totalMatches": world.number(12)},
    }
    return _cursor_tool(world, common, call, ())


def _cursor_mcp(world: _World, common: Fields) -> Hooks:
    server, tool = world.rng.choice(_MCP_TOOLS)
    arguments = {"query": world.prose(5), "limit": 20}
    result = {"content": [{"type": "text", "text": world.prose(60)}], "isError": False}
    given = {
        "tool_name": tool,
        "tool_input": json.dumps(arguments),
        "mcp_server_name": server,
        "url": f"https://{server}.{world.project}.example/mcp",
    }
    after = {**given, "result_json": json.dumps(result), "duration": world.number(700) + 0.25}
    hooks = (("beforeMCPExecution", given), ("afterMCPExecution", after))
    call = {"tool_name": f"MCP:{tool}", "tool_input": arguments, "output": result}
    return _cursor_tool(world, common, call, hooks)


def _cursor_subagent(world: _World, common: Fields) -> Hooks:
    task, kind = world.prose(30), world.rng.choice(("generalPurpose", "explore", "shell"))
    started = {
        "subagent_id": world.uuid(),
        "subagent_type": kind,
        "task": task,
        "parent_conversation_id": common["conversation_id"],
        "tool_call_id": world.tool_id(common["model"]),
        "subagent_model": common["model"],
        "is_parallel_worker": world.chance(0.3),
        "git_branch": f"{world.user}/{world.rng.choice(NOUNS)}",
    }
    stopped = {
        "subagent_type": kind,
        "status": "completed",
        "task": task,
        "description": world.prose(5),
        "summary": world.prose(40),
        "duration_ms": world.number(40_000),
        "message_count": world.number(12),
        "tool_call_count": world.number(8),
        "loop_count": 0,
        "modified_files": [world.file() for _ in range(world.rng.randint(0, 3))],
        "agent_transcript_path": f"{world.home}/.cursor/projects/x/{world.uuid()}.jsonl",
    }
    hooks = (("subagentStart", started), ("subagentStop", stopped))
    call = {
        "tool_name": "Task",
        "tool_input": {"description": stopped["description"], "prompt": task, "mode": kind},
        "output": {"result": stopped["summary"]},
    }
    return _cursor_tool(world, common, call, hooks)


def _cursor_tab(world: _World, _common: Fields) -> Hooks:
    path, line = world.file(), world.rng.randint(1, 300)
    yield "beforeTabFileRead", {"file_path": path, "content": world.code(25)}
    old, new = world.line(), world.line()
    edit = {
        "old_string": old,
        "new_string": new,
        "range": {
            "start_line_number": line,
            "start_column": 1,
            "end_line_number": line,
            "end_column": len(old) + 1,
        },
        "old_line": old,
        "new_line": new,
    }
    yield "afterTabFileEdit", {"file_path": path, "edits": [edit]}


_CURSOR_ACTIONS = (
    *(_cursor_shell, _cursor_shell, _cursor_shell, _cursor_read, _cursor_read, _cursor_read),
    *(_cursor_edit, _cursor_edit, _cursor_edit, _cursor_search, _cursor_search, _cursor_mcp),
    *(_cursor_subagent, _cursor_tab),
)


# --- Claude Code ---------------------------------------------------------------------------------


def _claude_session(world: _World) -> Hooks:
    session = world.uuid()
    slug = world.root.replace("/", "-")
    common: Fields = {
        "session_id": session,
        "transcript_path": f"{world.home}/.claude/projects/{slug}/{session}.jsonl",
        "cwd": world.root,
        "permission_mode": world.rng.choice(("default", "acceptEdits", "plan")),
    }
    for hook, fields in _claude_hooks(world, common):
        yield hook, {**common, "hook_event_name": hook, **fields}


def _claude_hooks(world: _World, common: Fields) -> Hooks:
    source = world.rng.choices(("startup", "resume", "clear"), (6, 2, 1))[0]
    yield "SessionStart", {"source": source, "model": world.rng.choice(_CLAUDE_MODELS)}
    yield "InstructionsLoaded", _claude_instructions(world)
    common["effort"] = {"level": world.rng.choice(("medium", "high"))}
    for turn in range(world.rng.randint(2, 6)):
        common["prompt_id"] = world.uuid()
        yield from _claude_turn(world)
        if turn and world.chance(0.1):
            yield "PreCompact", {"trigger": "auto", "custom_instructions": ""}
            yield "PostCompact", {"trigger": "auto", "compact_summary": world.prose(200)}
            yield "SessionStart", {"source": "compact"}
    if world.chance(0.8):
        reason = world.rng.choice(("clear", "logout", "prompt_input_exit", "other"))
        yield "SessionEnd", {"reason": reason}


def _claude_instructions(world: _World) -> Fields:
    path = f"{world.root}/CLAUDE.md"
    return {"file_path": path, "memory_type": "Project", "load_reason": "session_start"}


def _claude_turn(world: _World) -> Hooks:
    yield "UserPromptSubmit", {"prompt": world.prose(70)}
    for _ in range(world.number(5, 0.6)):
        call = world.rng.choice(_CLAUDE_TOOLS)(world)
        if call["tool_name"] == "Task":
            yield from _claude_subagent(world, call)
        else:
            yield from _claude_tool(world, call)
    if world.chance(0.2):
        note = {"message": world.prose(8), "notification_type": "idle_prompt"}
        yield "Notification", {**note, "title": "Claude Code"}
    ended = {"stop_hook_active": False, "last_assistant_message": world.prose(130)}
    yield "Stop", {**ended, "background_tasks": [], "session_crons": []}


def _claude_tool(world: _World, call: Fields) -> Hooks:
    response = call.pop("tool_response")
    identity = {"tool_use_id": world.tool_id("claude")}
    yield "PreToolUse", {**call, **identity}
    if world.chance(0.1):
        yield "PermissionRequest", {**call, "permission_suggestions": []}
    duration = {"duration_ms": world.number(300)}
    if world.chance(0.06):
        error = f"Exit code {world.rng.randint(1, 2)}\n{world.output(3)}"
        failure = {"error": error, "is_interrupt": False}
        yield "PostToolUseFailure", {**call, **identity, **failure, **duration}
        return
    yield "PostToolUse", {**call, "tool_response": response, **identity, **duration}


def _claude_subagent(world: _World, call: Fields) -> Hooks:
    """Yield the Task call, with the tools of its agent between the two halves of it."""
    agent: Fields = {"agent_id": f"a{world.text(16, _HEX)}"}
    agent["agent_type"] = call["tool_input"]["subagent_type"]
    before, *after = _claude_tool(world, call)
    yield before
    yield "SubagentStart", agent
    for _ in range(world.number(3)):
        for hook, fields in _claude_tool(world, world.rng.choice(_CLAUDE_TOOLS[:-1])(world)):
            yield hook, {**fields, **agent}
    stopped = {
        "stop_hook_active": False,
        "agent_transcript_path": f"{world.home}/.claude/projects/x/{agent['agent_id']}.jsonl",
        "last_assistant_message": world.prose(50),
        "background_tasks": [],
        "session_crons": [],
    }
    yield "SubagentStop", {**agent, **stopped}
    yield from after


def _claude_bash(world: _World) -> Fields:
    response = {
        "stdout": world.output(10),
        "stderr": world.prose(6) if world.chance(0.1) else "",
        "interrupted": False,
        "isImage": False,
        "noOutputExpected": False,
    }
    given = {"command": world.command(), "description": world.prose(6)}
    return {"tool_name": "Bash", "tool_input": given, "tool_response": response}


def _claude_read(world: _World) -> Fields:
    path, content = world.file(), world.code(25)
    lines = content.count("\n") + 1
    read = {"filePath": path, "content": content, "numLines": lines, "startLine": 1}
    response = {"type": "text", "file": {**read, "totalLines": lines}}
    return {"tool_name": "Read", "tool_input": {"file_path": path}, "tool_response": response}


def _claude_edit(world: _World) -> Fields:
    path, old, new, start = world.file(), world.code(4), world.code(6), world.number(60)
    lines = [f"-{line}" for line in old.split("\n")] + [f"+{line}" for line in new.split("\n")]
    hunk = {
        "oldStart": start,
        "oldLines": old.count("\n") + 1,
        "newStart": start,
        "newLines": new.count("\n") + 1,
        "lines": lines,
    }
    given = {"file_path": path, "old_string": old, "new_string": new, "replace_all": False}
    response = {
        "filePath": path,
        "oldString": old,
        "newString": new,
        "originalFile": world.code(25),
        "structuredPatch": [hunk],
        "userModified": False,
        "replaceAll": False,
    }
    return {"tool_name": "Edit", "tool_input": given, "tool_response": response}


def _claude_write(world: _World) -> Fields:
    path, content = world.file(), world.code(20)
    given = {"file_path": path, "content": content}
    created = {"type": "create", "filePath": path, "content": content, "structuredPatch": []}
    response = {**created, "originalFile": None}
    return {"tool_name": "Write", "tool_input": given, "tool_response": response}


def _claude_grep(world: _World) -> Fields:
    files = [world.relative() for _ in range(world.number(4))]
    given = {"pattern": world.rng.choice(NOUNS), "path": world.root, "output_mode": "content"}
    response = {
        "mode": "content",
        "filenames": files,
        "numFiles": len(files),
        "content": world.output(5),
        "numLines": world.number(5),
    }
    return {"tool_name": "Grep", "tool_input": given, "tool_response": response}


def _claude_glob(world: _World) -> Fields:
    files = [world.file() for _ in range(world.number(5))]
    response = {
        "filenames": files,
        "durationMs": world.number(20),
        "numFiles": len(files),
        "truncated": False,
    }
    given = {"pattern": f"**/*.{world.rng.choice(_SUFFIXES)}"}
    return {"tool_name": "Glob", "tool_input": given, "tool_response": response}


def _claude_mcp(world: _World) -> Fields:
    server, tool = world.rng.choice(_MCP_TOOLS)
    return {
        "tool_name": f"mcp__{server}__{tool}",
        "tool_input": {"query": world.prose(5), "limit": 20},
        "tool_response": [{"type": "text", "text": world.prose(60)}],
    }


def _claude_task(world: _World) -> Fields:
    prompt = world.prose(60)
    response = {
        "agentId": f"a{world.text(16, _HEX)}",
        "content": [{"type": "text", "text": world.prose(60)}],
        "prompt": prompt,
        "status": "completed",
        "totalDurationMs": world.number(40_000),
        "totalTokens": world.number(30_000),
        "totalToolUseCount": world.number(8),
        "usage": {"input_tokens": world.number(40), "output_tokens": world.number(900)},
    }
    given = {
        "description": world.prose(4),
        "prompt": prompt,
        "subagent_type": world.rng.choice(("Explore", "Plan", "general-purpose")),
    }
    return {"tool_name": "Task", "tool_input": given, "tool_response": response}


_CLAUDE_TOOLS = (
    *(_claude_bash, _claude_bash, _claude_bash, _claude_bash, _claude_read, _claude_read),
    *(_claude_edit, _claude_edit, _claude_edit, _claude_write, _claude_grep, _claude_grep),
    *(_claude_glob, _claude_mcp, _claude_task),
)
