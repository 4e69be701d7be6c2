"""A story as hooks tell it, and its figures worked out by hand.

Owns what each editor's hooks are given.
Promises figures that follow from the story as it stands here, each with how.
Leaves reading the hooks to the program.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from blueplane.selftest.corpus import HOUR_MS, SECOND_MS, START_MS, Call, Corpus, Tokens

SESSION: Final = "0a1b2c3d-0000-4000-8000-000000000001"
CURSOR_SESSION: Final = "5e6f7a8b-0000-4000-8000-000000000002"
PROJECT: Final = "bakery"
CURSOR_PROJECT: Final = "mill"
BEGIN_MS: Final = START_MS + 24 * HOUR_MS
_SECOND_PROMPT: Final = 60
_FILE: Final = f"/home/robin/{PROJECT}/bread.py"

#: Of 8 calls of tools 6 went well, 1 failed (and the next one of it went well), 1 was interrupted.
#: Of the edits the first was undone after 5 s, the second stood, the third is too new to tell.
#: There from -1 s to 99 s; at work from 0 s to 99 s, without a pause of 5 minutes.
FIGURES: Final[Mapping[str, float | None]] = {
    "tool_calls": 8,
    "tool_success_rate": 6 / 8,
    "error_rate": 1 / 8,
    "interruption_rate": 1 / 8,
    "recovery_rate": 1.0,
    "acceptance_rate": 1 / 2,
    "rejection_rate": 1 / 2,
    "lines_added": 2 + 1 + 3,
    "lines_removed": 1 + 2,
    "new_file_share": 1 / 2,
    "prompts_per_session": 2,
    "prompt_gap_avg_ms": 60_000,
    "think_time_avg_ms": 60_000 - 45_000,
    "response_time_avg_ms": (2_000 + 1_000) / 2,
    "tool_execution_avg_ms": (1 + 1 + 1 + 5 + 4 + 5 + 10 + 1) * 1_000 / 8,
    "tool_execution_max_ms": 10_000,
    "session_duration_avg_s": 99 + 1,
    "compactions_per_h": 3_600 / 99,
    "subagents": 1,
    "subagent_success_rate": 1.0,
    "subagent_duration_avg_ms": 8_000,
    "productivity_score": 50 + 25 * 6 / 8 - 15 * 2 / 8 + 10 + 10 * (6 - 3) * 3_600 / 99 / 200,
    "compaction_gap_avg_ms": None,
}

Fields = dict[str, Any]


class Told(NamedTuple):
    """What a hook is given, and when."""

    platform: str
    hook: str
    at_ms: int
    body: object


def tell(corpus: Corpus) -> list[Told]:
    """Return everything that hooks are given; what is true of it is added to a corpus."""
    told = [*_claude(), *_cursor()]
    corpus.outcomes.written += len(told)
    told += _not_taken()
    corpus.outcomes.filtered += 1
    corpus.outcomes.quarantined += 1
    corpus.silent.append((SESSION, "claude_code", PROJECT))
    for number, tokens in enumerate((Tokens(17_674, 221, 0, None, None, 9_000), Tokens())):
        at_ms = BEGIN_MS + (100 * number + 10) * SECOND_MS
        corpus.calls.append(
            Call("cursor", CURSOR_SESSION, CURSOR_PROJECT, "", "gpt-5", at_ms, True, tokens)  # noqa: FBT003 - a field of a record
        )
    return told


def _at(second: float, hook: str, **fields: Any) -> Told:  # noqa: ANN401 - as JSON has it
    head = {"session_id": SESSION, "cwd": f"/home/robin/{PROJECT}", "hook_event_name": hook}
    return Told("claude_code", hook, BEGIN_MS + round(second * 1000), {**head, **fields})


def _tool(
    span: tuple[int, int],
    tool: str,
    asked: Fields,
    hook: str = "PostToolUse",
    **more: Any,  # noqa: ANN401 - as JSON has it
) -> Iterator[Told]:
    turn = "p-1" if span[0] < _SECOND_PROMPT else "p-2"
    head = {"prompt_id": turn, "tool_name": tool, "tool_use_id": f"toolu_{span[0]}"}
    yield _at(span[0], "PreToolUse", **head, tool_input=asked)
    yield _at(span[1], hook, **head, tool_input=asked, **more)


def _edit(span: tuple[int, int], old: str, new: str) -> Iterator[Told]:
    patch = [*(f"-{line}" for line in old.split()), *(f"+{line}" for line in new.split())]
    answer = {"filePath": _FILE, "oldString": old, "newString": new,
              "structuredPatch": [{"lines": patch}]}  # fmt: skip
    asked = {"file_path": _FILE, "old_string": old, "new_string": new}
    return _tool(span, "Edit", asked, tool_response=answer)


def _claude() -> Iterator[Told]:
    test, failed = {"command": "pytest -q"}, "PostToolUseFailure"
    yield _at(-1, "SessionStart", source="startup")
    yield _at(0, "UserPromptSubmit", prompt_id="p-1", prompt="mend the test")
    yield from _tool((2, 3), "Read", {"file_path": _FILE}, tool_response={"type": "text"})
    yield from _edit((5, 6), "one\n", "two\nthree\n")
    yield from _edit((10, 11), "two\nthree\n", "one\n")
    yield from _tool((20, 25), "Bash", test, failed, error="Exit code 1")
    yield from _tool((30, 34), "Bash", test, tool_response={"stdout": "", "interrupted": False})
    yield from _tool((40, 45), "Bash", {"command": "sleep"}, failed, error="", is_interrupt=True)
    yield _at(46, "Stop", prompt_id="p-1", last_assistant_message="done")
    yield _at(_SECOND_PROMPT, "UserPromptSubmit", prompt_id="p-2", prompt="look around")
    yield from _delegated()
    yield _at(80, "PreCompact", prompt_id="p-2", trigger="auto")
    yield _at(90, "PostCompact", prompt_id="p-2", trigger="auto")
    file = {"filePath": _FILE.replace(".py", ".ts"), "content": "a\nb\nc\n"}
    created = {**file, "type": "create", "structuredPatch": []}
    asked = {"file_path": file["filePath"], "content": file["content"]}
    yield from _tool((95, 96), "Write", asked, tool_response=created)
    yield _at(99, "Stop", prompt_id="p-2", last_assistant_message="all there")
    yield _at(99, "SessionEnd", reason="prompt_input_exit")


def _delegated() -> Iterator[Told]:
    answer = {"agentId": "a1", "status": "completed", "totalDurationMs": 8_000}
    agent = {"prompt_id": "p-2", "agent_id": "a1", "agent_type": "Explore"}
    task = {"prompt": "search", "subagent_type": "Explore"}
    start, end = _tool((61, 71), "Task", task, tool_response=answer)
    yield start
    yield _at(62, "SubagentStart", **agent)
    yield _at(70, "SubagentStop", **agent)
    yield end


def _cursor() -> Iterator[Told]:
    """Tell turns of Cursor: two hooks with the same tokens, and a turn that has none."""
    for number, (tokens, least) in enumerate(
        (({"input_tokens": 17_674, "output_tokens": 221, "cache_read_tokens": 9_000,
           "cache_write_tokens": 0}, 220), ({}, 0))
    ):  # fmt: skip
        head = {
            "conversation_id": CURSOR_SESSION, "generation_id": f"g-{number}", "model": "gpt-5",
            "workspace_roots": [f"/home/robin/{CURSOR_PROJECT}"], "cursor_version": "3.20.1",
            **tokens,
        }  # fmt: skip
        at_ms = BEGIN_MS + (100 * number + 10) * SECOND_MS
        early = head | ({"output_tokens": least} if tokens else {})
        yield Told("cursor", "afterAgentResponse", at_ms, {**early, "text": "done"})
        yield Told("cursor", "stop", at_ms + SECOND_MS, {**head, "status": "completed"})


def _not_taken() -> Iterator[Told]:
    """Tell what Cursor says a second time, through a hook of Claude Code, and what is no object."""
    body = {"cursor_version": "3.20.1", "conversation_id": CURSOR_SESSION}
    yield Told("claude_code", "Stop", BEGIN_MS, body)
    yield Told("claude_code", "Stop", BEGIN_MS + 1, [])
