"""A small story as each editor tells it: its hooks, its transcript, its database.

Owns the story: a prompt, an edit that is undone, a test that fails and then passes, a tool that is
interrupted, a compaction, a sub-agent, a new file.
Promises payloads as the editors write them, made to events by the program's own readers.
Leaves what is true of the story to the tests.
"""

from collections.abc import Iterator
from typing import Any

import orjson

from blueplane.capture.claude_code.transcript import Line, Place, TranscriptReader
from blueplane.capture.cursor.composers import read_bubble, read_composer
from blueplane.capture.cursor.events import Maker
from blueplane.capture.cursor.found import Found
from blueplane.capture.cursor.tracking import read_line_group
from blueplane.capture.filters import NO_FILTERS
from blueplane.capture.hook_event import HandOff, HookReader
from blueplane.capture.pauses import NO_PAUSES
from blueplane.capture.sanitise import Sanitiser
from blueplane.clock import NS_PER_MS, iso_utc
from blueplane.config import PrivacyLevel
from blueplane.event import Event
from helpers.desk import SECRET, T0_MS

SESSION = "0a1b2c3d-0000-4000-8000-000000000001"
CHILD = "0a1b2c3d-0000-4000-8000-000000000002"
HOME = "/home/ann/orchard"
FILE = f"{HOME}/apple.py"
NEW_FILE = f"{HOME}/pear.ts"
OLD, NEW = "one\n", "two\nthree\n"
PATCH = [{"lines": ["-one", "+two", "+three"]}]
UNDONE = [{"lines": ["-two", "-three", "+one"]}]

Fields = dict[str, Any]
#: Seconds at which something begins and ends.
Span = tuple[float, float]


class Teller:
    """Makes events of what an editor says, at seconds after the beginning."""

    def __init__(self, level: PrivacyLevel = "strict", session_id: str = SESSION) -> None:
        sanitiser = Sanitiser(level, SECRET)
        self._hooks = HookReader(sanitiser, lambda _: False)
        self._lines = TranscriptReader(sanitiser)
        self._maker = Maker(sanitiser, NO_FILTERS, SECRET, pauses=lambda: NO_PAUSES)
        self.session_id = session_id
        self._place = Place("item", f"{session_id}.jsonl", session_id)
        self._offset = 0

    def claude(self, second: float, name: str, **fields: Any) -> Event:
        """Tell what a hook of Claude Code gets."""
        body = {"session_id": self.session_id, "cwd": HOME, "hook_event_name": name, **fields}
        return self._hook(second, "claude_code", name, body)

    def cursor(self, second: float, name: str, **fields: Any) -> Event:
        """Tell what a hook of Cursor gets."""
        head = {"conversation_id": self.session_id, "workspace_roots": [HOME], "model": "gpt-5"}
        body = {**head, "cursor_version": "3.20.1", "hook_event_name": name, **fields}
        return self._hook(second, "cursor", name, body)

    def _hook(self, second: float, platform: str, name: str, body: Fields) -> Event:
        at_ms = T0_MS + round(second * 1000)
        self._offset += 1
        file = f"{self._offset}.1.{platform}"
        item = HandOff(file, at_ms * NS_PER_MS, orjson.dumps(body), platform, name)
        return self._hooks.read(item)

    def line(self, second: float, kind: str, **fields: Any) -> Event:
        """Tell a line of Claude Code's transcript."""
        at_ms = T0_MS + round(second * 1000)
        self._offset += 1
        body = {
            "type": kind, "uuid": f"u-{self._offset}-{second}", "timestamp": iso_utc(at_ms),
            "sessionId": self.session_id, "cwd": HOME, "version": "2.1.220", **fields,
        }  # fmt: skip
        raw = orjson.dumps(body)
        start, self._offset = self._offset, self._offset + len(raw)
        return self._lines.read(Line(raw, start, self._offset), self._place)

    def meta(self, agent: str, **fields: Any) -> Event:
        """Tell the file that describes a sub-agent."""
        name = f"agent-{agent}.meta.json"
        place = Place(name, name, self.session_id, whole=True, born_ms=T0_MS)
        raw = orjson.dumps(fields)
        return self._lines.read(Line(raw, 0, len(raw)), place)

    def found(self, thing: Found) -> Event:
        """Tell what stands in Cursor's database."""
        event = self._maker.make(thing, "item", T0_MS)
        assert isinstance(event, Event)
        return event


def claude_hooks(tell: Teller) -> Iterator[Event]:
    """Tell the story as the hooks of Claude Code see it."""

    def call(span: Span, number: int, tool: str, asked: Fields,
             hook: str = "PostToolUse", **more: Any) -> Iterator[Event]:  # fmt: skip
        turn = "p-1" if number < 7 else "p-2"
        agent = {"agent_id": "a1", "agent_type": "Explore"} if number == 8 else {}
        head = {"prompt_id": turn, "tool_name": tool, "tool_use_id": f"toolu_{number}",
                "tool_input": asked, **agent}  # fmt: skip
        yield tell.claude(span[0], "PreToolUse", **head)
        yield tell.claude(span[1], hook, **head, **more)

    def edit(old: str, new: str, patch: object) -> tuple[Fields, Fields]:
        asked = {"file_path": FILE, "old_string": old, "new_string": new}
        answer = {"filePath": FILE, "oldString": old, "newString": new, "structuredPatch": patch}
        return asked, {"tool_response": answer}

    yield tell.claude(0, "SessionStart", source="startup")
    yield tell.claude(0.1, "UserPromptSubmit", prompt_id="p-1", prompt="fix the test")
    yield from call((2, 3), 1, "Read", {"file_path": FILE}, tool_response={"type": "text"})
    asked, done = edit(OLD, NEW, PATCH)
    yield from call((5, 6), 2, "Edit", asked, **done)
    asked, done = edit(NEW, OLD, UNDONE)
    yield from call((10, 11), 3, "Edit", asked, **done)
    test = {"command": "pytest -q"}
    yield from call((20, 25), 4, "Bash", test, "PostToolUseFailure", error="Exit code 1")
    yield from call((30, 34), 5, "Bash", test, tool_response={"stdout": "", "interrupted": False})
    stopped = {"error": "stopped", "is_interrupt": True}
    yield from call((40, 45), 6, "Bash", {"command": "sleep 9"}, "PostToolUseFailure", **stopped)
    yield tell.claude(46, "Stop", prompt_id="p-1", last_assistant_message="done")
    yield tell.claude(60, "UserPromptSubmit", prompt_id="p-2", prompt="look around")
    task = {"prompt": "search", "subagent_type": "Explore"}
    start, end = call((61, 71), 7, "Task", task, tool_response=_task_answer())
    yield start
    agent = {"prompt_id": "p-2", "agent_id": "a1", "agent_type": "Explore"}
    yield tell.claude(62, "SubagentStart", **agent)
    yield from call((63, 64), 8, "Grep", {"path": HOME}, tool_response={"numFiles": 1})
    yield tell.claude(70, "SubagentStop", **agent)
    yield end
    yield tell.claude(80, "PreCompact", prompt_id="p-2", trigger="auto")
    yield tell.claude(90, "PostCompact", prompt_id="p-2", trigger="auto")
    content = "a\nb\nc\n"
    created = {"type": "create", "filePath": NEW_FILE, "content": content, "structuredPatch": []}
    asked = {"file_path": NEW_FILE, "content": content}
    yield from call((95, 96), 9, "Write", asked, tool_response=created)
    yield tell.claude(99, "Stop", prompt_id="p-2", last_assistant_message="all there")


def _task_answer() -> Fields:
    return {
        "agentId": "a1", "status": "completed", "totalDurationMs": 8_000, "totalToolUseCount": 1,
        "content": [{"type": "text", "text": "found it"}],
    }  # fmt: skip


def claude_lines(tell: Teller) -> Iterator[Event]:
    """Tell the story as a transcript of Claude Code has it."""

    def prompt(second: float, turn: str, text: str) -> Event:
        return tell.line(second, "user", promptId=turn, message={"role": "user", "content": text})

    def said(second: float, block: Fields, **more: Any) -> Event:
        message = {"id": f"msg_{second}", "model": "claude-opus-4", "content": [block]}
        return tell.line(second, "assistant", message=message, **more)

    def answered(second: float, text: str) -> Event:
        return said(second, {"type": "text", "text": text})

    def call(span: Span, number: int, tool: str, answer: object,
             *, failed: bool = False, **more: Any) -> Iterator[Event]:  # fmt: skip
        block = {"type": "tool_use", "id": f"toolu_{number}", "name": tool, "input": {}}
        yield said(span[0], block, **more)
        result = {"type": "tool_result", "tool_use_id": f"toolu_{number}", "content": "x"}
        yield tell.line(
            span[1], "user", promptId="p-1" if number < 7 else "p-2", toolUseResult=answer,
            message={"content": [result | ({"is_error": True} if failed else {})]}, **more,
        )  # fmt: skip

    def edit(old: str, new: str, patch: object) -> Fields:
        return {"filePath": FILE, "oldString": old, "newString": new, "structuredPatch": patch}

    side = {"isSidechain": True, "agentId": "a1"}
    yield prompt(0, "p-1", "fix the test")
    read = {"type": "text", "file": {"filePath": FILE, "content": OLD, "numLines": 1}}
    yield from call((1.9, 3.1), 1, "Read", read)
    yield from call((4.9, 6.1), 2, "Edit", edit(OLD, NEW, PATCH))
    yield from call((9.9, 11.1), 3, "Edit", edit(NEW, OLD, UNDONE))
    yield from call((19.9, 25.1), 4, "Bash", "Error: exit code 1", failed=True)
    yield from call((29.9, 34.1), 5, "Bash", {"stdout": "fine", "interrupted": False})
    yield from call((39.9, 45.1), 6, "Bash", {"stdout": "", "interrupted": True}, failed=True)
    yield answered(45.9, "done")
    yield tell.line(46.1, "system", subtype="turn_duration", durationMs=46_000)
    yield prompt(59.9, "p-2", "look around")
    start, end = call((60.9, 71.1), 7, "Task", _task_answer())
    yield start
    yield tell.meta("a1", agentType="Explore", toolUseId="toolu_7")
    yield tell.line(62.1, "user", message={"content": "search"}, **side)
    yield from call((62.9, 64.1), 8, "Grep", {"numFiles": 1}, **side)
    yield end
    yield tell.line(
        90.1, "system", subtype="compact_boundary",
        compactMetadata={"trigger": "auto", "preTokens": 150_000, "postTokens": 20_000},
    )  # fmt: skip
    yield tell.line(90.2, "user", isCompactSummary=True, message={"content": "summary"})
    created = {
        "type": "create",
        "filePath": NEW_FILE,
        "content": "a\nb\nc\n",
        "structuredPatch": [],
    }
    yield from call((94.9, 96.1), 9, "Write", created)
    yield answered(98.9, "all there")
    yield tell.line(99.1, "system", subtype="turn_duration", durationMs=39_000)
    yield tell.line(99.2, "user", message={"content": "<command-name>/cost</command-name>"})


def cursor_hooks(tell: Teller) -> Iterator[Event]:
    """Tell the story as the hooks of Cursor see it."""
    turn = {"generation_id": "g-1"}

    def call(span: Span, number: int, tool: str, asked: Fields,
             hook: str = "postToolUse", **more: Any) -> Iterator[Event]:  # fmt: skip
        head = {"generation_id": "g-1" if number < 6 else "g-2", "tool_name": tool,
                "tool_use_id": f"call_{number}", "tool_input": asked}  # fmt: skip
        yield tell.cursor(span[0], "preToolUse", **head)
        yield tell.cursor(span[1], hook, **head, duration=(span[1] - span[0]) * 1000, **more)

    def edited(second: float, old: str, new: str) -> Event:
        edits = [{"old_string": old, "new_string": new}]
        return tell.cursor(second, "afterFileEdit", **turn, file_path=FILE, edits=edits)

    yield tell.cursor(0, "beforeSubmitPrompt", **turn, prompt="fix the test")
    for number, (at, old, new) in enumerate(((5, OLD, NEW), (10, NEW, OLD)), 1):
        start, end = call((at, at + 1), number, "Write", {"file_path": FILE, "content": new})
        yield from (start, edited(at + 0.5, old, new), end)
    test = {"command": "pytest -q"}
    failed = {"failure_type": "error", "error_message": "1", "is_interrupt": False}
    yield from call((20, 25), 3, "Shell", test, "postToolUseFailure", **failed)
    start, end = call((30, 34), 4, "Shell", test)
    yield start
    yield tell.cursor(30.1, "beforeShellExecution", **turn, command="pytest -q")
    yield tell.cursor(33.9, "afterShellExecution", **turn, command="pytest -q", duration=3_800)
    yield end
    stopped = failed | {"is_interrupt": True}
    yield from call((40, 45), 5, "Shell", {"command": "sleep 9"}, "postToolUseFailure", **stopped)
    yield tell.cursor(45.9, "afterAgentResponse", **turn, text="done")
    yield tell.cursor(46, "stop", **turn, status="completed")
    turn = {"generation_id": "g-2"}
    yield tell.cursor(60, "beforeSubmitPrompt", **turn, prompt="look around")
    start, end = call((61, 71), 7, "Task", {"prompt": "search"})
    yield start
    agent = {"subagent_type": "generalPurpose", "parent_conversation_id": tell.session_id}
    yield tell.cursor(62, "subagentStart", **turn, **agent, tool_call_id="call_7")
    child = Teller(session_id=CHILD)
    head = {"generation_id": "g-3", "tool_name": "Grep", "tool_use_id": "call_8",
            "tool_input": {"path": HOME}}  # fmt: skip
    yield child.cursor(63, "preToolUse", **head)
    yield child.cursor(64, "postToolUse", **head, duration=1_000)
    yield tell.cursor(
        70, "subagentStop", **turn, subagent_type="generalPurpose", status="completed",
        duration_ms=8_000, tool_call_count=1, agent_transcript_path=f"/x/{CHILD}.jsonl",
    )  # fmt: skip
    yield end
    yield tell.cursor(80, "preCompact", **turn, trigger="auto", context_tokens=150_000,
                      context_usage_percent=75)  # fmt: skip
    yield tell.cursor(99, "stop", **turn, status="aborted")


def cursor_rows(tell: Teller, block_status: str = "accepted") -> Iterator[Event]:
    """Tell the story as Cursor's database has it."""

    def bubble(second: float, kind: int, **more: Any) -> Event:
        at_ms = T0_MS + round(second * 1000)
        body = {"_v": 3, "type": kind, "createdAt": iso_utc(at_ms), **more}
        raw = orjson.dumps(body)
        return tell.found(read_bubble(composer, f"b-{second}", raw))

    def call(span: Span, number: int, tool: str, status: str = "completed",
             **more: Any) -> Event:  # fmt: skip
        began_ms, ended_ms = (T0_MS + round(second * 1000) for second in span)
        return bubble(
            span[0], 2, timingInfo={"clientStartTime": began_ms, "clientEndTime": ended_ms},
            toolFormerData={"name": tool, "toolCallId": f"call_{number}", "status": status, **more},
        )  # fmt: skip

    block = {
        "status": block_status, "bubbleId": "b-1", "createdAt": T0_MS + 5_400,
        "composerChatGenerationUuid": "g-1",
    }  # fmt: skip
    body = {
        "_v": 18, "createdAt": T0_MS, "lastUpdatedAt": T0_MS + 99_000, "contextUsagePercent": 61.5,
        "codeBlockData": {f"file://{FILE}": {"block-1": block}},
        "totalLinesAdded": 5, "totalLinesRemoved": 3,
    }  # fmt: skip
    composer = read_composer(tell.session_id, orjson.dumps(body), HOME)
    yield bubble(0.3, 1, text="fix the test")
    yield call((5.1, 6.1), 1, "edit_file_v2", userDecision="accepted")
    yield call((10.1, 11.1), 2, "edit_file_v2", userDecision="accepted")
    yield call((20.1, 25.1), 3, "run_terminal_command_v2", "error")
    yield call((30.1, 34.1), 4, "run_terminal_command_v2")
    yield call((40.1, 45.1), 5, "run_terminal_command_v2", "cancelled")
    yield bubble(45.8, 2, text="done")
    yield bubble(60.2, 1, text="look around")
    yield call((61.1, 71.1), 7, "task_v2")
    yield from (tell.found(thing) for thing in composer.found)
    yield tell.found(read_line_group({
        "requestId": "r-1", "source": "composer", "fileExtension": ".py", "items": 8,
        "conversationId": tell.session_id, "lastMs": T0_MS + 12_000, "model": "gpt-5",
    }))  # fmt: skip


def stored_call(tell: Teller, tool: Fields) -> Event:
    """Tell a bubble of Cursor's database that is a tool call."""
    body = {"_v": 3, "type": 2, "createdAt": iso_utc(T0_MS), "toolFormerData": tool}
    composer = read_composer(tell.session_id, b"{}", HOME)
    return tell.found(read_bubble(composer, "b-1", orjson.dumps(body)))


def everything() -> list[Event]:
    """Tell the story in all ways, as two conversations."""
    cursor = Teller(session_id="c-1")
    return [
        *claude_hooks(Teller()), *claude_lines(Teller()), *cursor_hooks(cursor),
        *cursor_rows(cursor),
    ]  # fmt: skip
