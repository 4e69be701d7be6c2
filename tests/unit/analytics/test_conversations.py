"""Conversations: the same story from hooks, transcripts and databases, by hand and in any order."""

from collections.abc import Iterable
from random import Random
from typing import Any

import pytest

from blueplane.config import PrivacyLevel
from blueplane.event import Event
from blueplane.store.conversation_tables import TABLES
from blueplane.store.conversations import Conversation, conversation
from blueplane.store.timeline import Entry, timeline
from helpers.desk import T0_MS, Desk, read
from helpers.stories import (
    CHILD,
    FILE,
    NEW,
    SESSION,
    Teller,
    claude_hooks,
    claude_lines,
    cursor_hooks,
    cursor_rows,
    everything,
    stored_call,
)


def told(desk: Desk, session_id: str = SESSION) -> Conversation:
    """Return a conversation."""
    found = read(desk, lambda reader: conversation(reader, session_id))
    assert isinstance(found, Conversation)
    return found


def s(moment_ms: int | None) -> float | None:
    """Return a moment as whole seconds after the beginning of the story."""
    return None if moment_ms is None else round((moment_ms - T0_MS) / 1000)


def calls(found: Conversation) -> list[tuple[Any, ...]]:
    """Return the tool calls: turn, agent, name, begin, end, outcome."""
    return [
        (each.turn, each.agent, each.name, s(each.started_ms), s(each.ended_ms), each.outcome)
        for each in found.tool_calls
    ]


def claude(kind: str) -> list[Event]:
    """Return the events of Claude Code's story."""
    hooks = list(claude_hooks(Teller())) if kind != "transcript" else []
    lines = list(claude_lines(Teller())) if kind != "hook" else []
    return [*hooks, *lines]


BOTH = {"hook": ("hook",), "transcript": ("transcript",), "both": ("hook", "transcript")}


@pytest.mark.parametrize("kind", BOTH)
def test_turns_and_responses_are_those_of_the_story_whoever_told_it(desk: Desk, kind: str) -> None:
    """Two prompts, how long they are, when the first thing came after them, how they ended."""
    # Given / When
    desk.tell(*claude(kind))
    # Then
    found = told(desk)
    assert [
        (s(each.prompt_ms), each.prompt_chars, s(each.first_ms), s(each.ended_ms), each.outcome,
         each.responses, each.response_chars, each.tool_calls, each.seen_by)
        for each in found.turns if each.agent is None
    ] == [
        (0, 12, 2, 46, "ok", 1, 4, 6, BOTH[kind]),
        (60, 11, 61, 99, "ok", 1, 9, 3, BOTH[kind]),
    ]  # fmt: skip
    assert {each.prompt for each in found.turns} == {None}
    model = None if kind == "hook" else "claude-opus-4"
    assert [(s(each.at_ms), each.chars, each.model) for each in found.responses] == [
        (46, 4, model), (99, 9, model)
    ]  # fmt: skip


@pytest.mark.parametrize("kind", BOTH)
def test_tool_calls_are_those_of_the_story_whoever_told_it(desk: Desk, kind: str) -> None:
    """One for each id, with its outcome; the clock of the hooks where they saw it."""
    # Given / When
    desk.tell(*claude(kind))
    # Then
    found = told(desk)
    assert calls(found) == [
        (0, None, "Read", 2, 3, "ok"),
        (0, None, "Edit", 5, 6, "ok"),
        (0, None, "Edit", 10, 11, "ok"),
        (0, None, "Bash", 20, 25, "failed"),
        (0, None, "Bash", 30, 34, "ok"),
        (0, None, "Bash", 40, 45, "interrupted"),
        (1, None, "Task", 61, 71, "ok"),
        (1, "a1", "Grep", 63, 64, "ok"),
        (1, None, "Write", 95, 96, "ok"),
    ]
    assert {each.seen_by for each in found.tool_calls} == {BOTH[kind]}
    assert found.tool_calls[0].latency_ms == (1_200 if kind == "transcript" else 1_000)
    by_hand = [each.target for each in found.tool_calls]
    assert by_hand[0] == by_hand[1] == by_hand[2] != by_hand[8]
    if kind != "transcript":  # which has no commands
        assert by_hand[3] == by_hand[4] != by_hand[5]


@pytest.mark.parametrize("kind", BOTH)
def test_edits_are_those_of_the_story_whoever_told_it(desk: Desk, kind: str) -> None:
    """Lines of the patch, once; an undo is the same texts the other way round."""
    # Given / When
    desk.tell(*claude(kind))
    # Then
    made, undone, new = told(desk).code_changes
    assert [
        (s(each.at_ms), each.lines_added, each.lines_removed, each.created, each.extension)
        for each in (made, undone, new)
    ] == [(6, 2, 1, False, "py"), (11, 1, 2, False, "py"), (96, 3, 0, True, "ts")]
    assert (made.old_hash, made.new_hash) == (undone.new_hash, undone.old_hash)
    assert None not in (made.old_hash, made.new_hash)
    assert made.file == undone.file != new.file
    assert (made.joined_by, made.turn, made.decision) == ("id", 0, None)


@pytest.mark.parametrize("kind", BOTH)
def test_a_compaction_and_a_sub_agent_are_one_each_whoever_told_it(desk: Desk, kind: str) -> None:
    """Begin, end and note are one compaction; a sub-agent is known by its id, and by its call."""
    # Given / When
    desk.tell(*claude(kind))
    # Then
    found = told(desk)
    (compaction,) = found.compactions
    (agent,) = found.subagents
    tokens = (None, None) if kind == "hook" else (150_000, 20_000)
    assert (compaction.tokens_before, compaction.tokens_after) == tokens
    assert (s(compaction.at_ms), s(compaction.ended_ms)) == (90 if kind == "transcript" else 80, 90)
    assert (compaction.cause, compaction.turn) == ("auto", 1)
    assert (agent.child, s(agent.started_ms), s(agent.ended_ms)) == ("a1", 62, 71)
    assert (agent.duration_ms, agent.tool_calls, agent.outcome) == (8_000, 1, "ok")
    assert agent.type == "Explore"
    assert agent.tool == found.tool_calls[6].key


def test_rows_are_the_same_in_whatever_order_they_come(desk: Desk) -> None:
    """Hooks first, transcripts first, mixed in any batches, and all of it twice."""
    # Given
    events = everything()
    desk.tell(*events)
    first = desk.derived()
    assert len(first["tool_calls"]) > 10
    dice = Random(7)
    for _ in range(5):
        # When
        desk.begin_again(emptied=True)
        desk.execute("DELETE FROM traces")
        dice.shuffle(events)
        cut = dice.randrange(len(events))
        desk.tell(*events[:cut])
        desk.tell(*events[cut:])
        desk.begin_again(emptied=False)
        desk.derive()
        # Then
        again = desk.derived()
        assert [again[name] for name in TABLES.values()] == [
            first[name] for name in TABLES.values()
        ]


# --- Cursor --------------------------------------------------------------------------------------


def cursor(kind: str, block_status: str = "accepted") -> list[Event]:
    """Return the events of Cursor's story."""
    hooks = list(cursor_hooks(Teller())) if kind != "database" else []
    rows = list(cursor_rows(Teller(), block_status)) if kind != "hook" else []
    return [*hooks, *rows]


CURSOR = {"hook": ("hook",), "database": ("database",), "both": ("hook", "database")}


@pytest.mark.parametrize("kind", CURSOR)
def test_turns_of_cursor_are_those_of_the_story_whoever_told_it(desk: Desk, kind: str) -> None:
    """A prompt of the database has no id of its turn: it is joined by its time, and says so."""
    # Given / When
    desk.tell(*cursor(kind))
    # Then
    turns = told(desk).turns
    ends = [(46, "ok"), (99, "interrupted")] if kind != "database" else [(None, None)] * 2
    assert [(s(each.prompt_ms), each.prompt_chars) for each in turns] == [(0, 12), (60, 11)]
    assert [(s(each.ended_ms), each.outcome) for each in turns] == ends
    assert [each.seen_by for each in turns] == [CURSOR[kind]] * 2
    assert [each.joined_by for each in turns] == ["time" if kind == "both" else "id"] * 2
    assert [(each.responses, each.response_chars) for each in turns] == [(1, 4), (0, 0)]


@pytest.mark.parametrize("kind", CURSOR)
def test_tool_calls_of_cursor_are_those_of_the_story_whoever_told_it(desk: Desk, kind: str) -> None:
    """By the hooks of all tools and the database's ids; the hooks of a shell add none."""
    # Given / When
    desk.tell(*cursor(kind))
    # Then
    found = told(desk)
    names = ("Write", "Shell", "Task")
    if kind == "database":
        names = ("edit_file_v2", "run_terminal_command_v2", "task_v2")
    assert calls(found) == [
        (0, None, names[0], 5, 6, "ok"),
        (0, None, names[0], 10, 11, "ok"),
        (0, None, names[1], 20, 25, "failed"),
        (0, None, names[1], 30, 34, "ok"),
        (0, None, names[1], 40, 45, "interrupted"),
        (1, None, names[2], 61, 71, "ok"),
    ]
    assert {each.seen_by for each in found.tool_calls} == {CURSOR[kind]}
    assert {each.joined_by for each in found.tool_calls} == {"time" if kind == "database" else "id"}


@pytest.mark.parametrize("status", ["accepted", "rejected", "none"])
@pytest.mark.parametrize("kind", ["database", "both"])
def test_a_decision_is_that_of_the_edits_of_its_turn_and_file(
    desk: Desk, kind: str, status: str
) -> None:
    """What the database knows of an edit is said of the edits that the hooks saw."""
    # Given / When
    desk.tell(*cursor(kind, status))
    # Then
    changes = told(desk).code_changes
    decision = status if status != "none" else "undecided"
    lines = [(2, 1), (1, 2)] if kind == "both" else [(None, None)]
    assert [(each.lines_added, each.lines_removed) for each in changes] == lines
    assert {each.decision for each in changes} == {decision}
    assert {each.seen_by for each in changes} == {CURSOR[kind]}


def test_the_last_decision_holds_when_there_are_several(desk: Desk) -> None:
    """A block that was open is accepted: the row that was written last says so."""
    # Given / When
    for status in ("none", "rejected", "accepted"):
        desk.tell(*cursor_rows(Teller(), status))
    # Then
    assert [each.decision for each in told(desk).code_changes] == ["accepted"]


def test_a_sub_agent_of_cursor_is_one_when_begin_and_end_share_no_id(desk: Desk) -> None:
    """The begin names the call, the end its own conversation: joined by time and type."""
    # Given / When
    desk.tell(*cursor("hook"))
    # Then
    found = told(desk)
    (agent,) = found.subagents
    assert (agent.child, agent.type, agent.joined_by) == (CHILD, "generalPurpose", "time")
    assert (s(agent.started_ms), s(agent.ended_ms), agent.duration_ms) == (62, 70, 8_000)
    assert (agent.tool, agent.outcome) == (found.tool_calls[-1].key, "ok")
    assert [each.name for each in told(desk, CHILD).tool_calls] == ["Grep"]


def test_how_full_the_context_is_comes_from_every_witness(desk: Desk) -> None:
    """A compaction says it, and the conversation itself; the most of a minute is kept."""
    # Given / When
    desk.tell(*cursor("both"))
    # Then
    assert told(desk).context == ((T0_MS + 80_000, 75.0),)
    (compaction,) = told(desk).compactions
    assert (compaction.tokens_before, compaction.cause) == (150_000, "auto")


def test_an_old_cursor_is_read_by_the_hooks_of_single_tools(desk: Desk) -> None:
    """Without the hooks of all tools: begin and end by time, and of reading no end is told."""
    # Given
    tell, turn = Teller(), {"generation_id": "g-1"}

    def shell(second: float, name: str, command: str, **more: Any) -> Event:
        return tell.cursor(second, name, **turn, command=command, **more)

    # When
    desk.tell(
        tell.cursor(0, "beforeSubmitPrompt", **turn, prompt="go"),
        tell.cursor(1, "beforeReadFile", **turn, file_path="/a.py", content="x"),
        shell(2, "beforeShellExecution", "make"),
        shell(5, "afterShellExecution", "make", duration=2_500),
        shell(6, "beforeShellExecution", "make"),
        shell(9, "afterShellExecution", "make", duration=2_900),
        shell(10, "beforeShellExecution", "rm -rf /"),
    )
    # Then
    found = told(desk)
    assert calls(found) == [
        (0, None, "Read", 1, None, None),
        (0, None, "Shell", 2, 5, "ok"),
        (0, None, "Shell", 6, 9, "ok"),
        (0, None, "Shell", 10, None, None),
    ]
    assert [(each.joined_by, each.ends_told) for each in found.tool_calls] == [
        ("id", False), ("time", True), ("time", True), ("id", True)
    ]  # fmt: skip


# --- what has no id ------------------------------------------------------------------------------


def test_prompts_without_ids_are_one_when_two_witnesses_saw_them_together(desk: Desk) -> None:
    """Old versions have no prompt ids: within five seconds it is the same one, and said so."""
    # Given
    tell = Teller()
    said = {"message": {"content": "go on"}}
    # When
    desk.tell(
        tell.claude(0, "UserPromptSubmit", prompt="go on"),
        tell.claude(30, "UserPromptSubmit", prompt="go on"),
        tell.claude(60, "Stop", last_assistant_message="done"),
        tell.line(1, "user", **said),
        tell.line(31, "user", **said),
        tell.line(90, "user", **said),
    )
    # Then
    assert [
        (s(each.prompt_ms), each.seen_by, each.joined_by, each.outcome)
        for each in told(desk).turns
    ] == [
        (0, ("hook", "transcript"), "time", None),
        (30, ("hook", "transcript"), "time", "ok"),
        (90, ("transcript",), "id", None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [
        {"isMeta": True},
        {"isCompactSummary": True},
        {"isSidechain": True},
        {"message": {"content": "<command-name>/clear</command-name>"}},
        {"message": {"content": [{"type": "text", "text": "<local-command-stdout>x"}]}},
    ],
    ids=str,
)
def test_a_line_of_a_user_is_no_prompt_when_nobody_typed_it(
    desk: Desk, fields: dict[str, Any]
) -> None:
    """What the program writes in the user's name is none."""
    # Given / When
    tell = Teller()
    message = {"message": {"content": "text"}}
    desk.tell(tell.line(0, "user", **message), tell.line(10, "user", **(message | fields)))
    # Then
    assert [s(each.prompt_ms) for each in told(desk).turns] == [0]


def test_a_turn_is_interrupted_when_its_transcript_notes_it(desk: Desk) -> None:
    """The hooks see no end of a turn that a user interrupts."""
    # Given / When
    tell = Teller()
    desk.tell(
        tell.claude(0, "UserPromptSubmit", prompt_id="p-1", prompt="go"),
        tell.line(5, "user", message={"content": [{"type": "text",
                                                   "text": "[Request interrupted by user]"}]}),
    )  # fmt: skip
    # Then
    (turn,) = told(desk).turns
    assert (s(turn.ended_ms), turn.outcome, turn.joined_by) == (5, "interrupted", "time")


def test_a_tool_that_never_ended_has_no_outcome(desk: Desk) -> None:
    """Nothing is made up of a begin alone; a denial is one, and whatever has no id is none."""
    # Given / When
    tell = Teller()
    ask = {"tool_name": "Bash", "tool_input": {"command": "ls"}}
    desk.tell(
        tell.claude(1, "PreToolUse", **ask, tool_use_id="t-1"),
        tell.claude(2, "PreToolUse", **ask, tool_use_id="t-2"),
        tell.claude(3, "PermissionDenied", **ask, tool_use_id="t-2", reason="no"),
        tell.claude(4, "PreToolUse", **ask),
    )
    # Then
    assert calls(told(desk)) == [
        (None, None, "Bash", 1, None, None), (None, None, "Bash", 2, 3, "denied")
    ]  # fmt: skip


def test_a_line_with_several_tools_is_a_call_of_each(desk: Desk) -> None:
    """Each with its name, and with the result that the next line has for it."""
    # Given
    tell = Teller()
    names = {"t-1": "Read", "t-2": "Grep"}
    asked = [{"type": "tool_use", "id": key, "name": name} for key, name in names.items()]
    results = [
        {"type": "tool_result", "tool_use_id": "t-1", "content": "x"},
        {"type": "tool_result", "tool_use_id": "t-2", "content": "no", "is_error": True},
    ]
    # When
    desk.tell(
        tell.line(1, "assistant", message={"id": "m-1", "content": asked}),
        tell.line(2, "user", message={"content": results}),
    )
    # Then
    assert {each[2:] for each in calls(told(desk))} == {
        ("Read", 1, 2, "ok"), ("Grep", 1, 2, "failed")
    }  # fmt: skip


def test_a_denied_tool_is_no_failed_one(desk: Desk) -> None:
    """A transcript says of which kind the denial was."""
    # Given
    tell = Teller()
    result = {"type": "tool_result", "tool_use_id": "t-1", "content": "no", "is_error": True}
    # When
    desk.tell(tell.line(2, "user", message={"content": [result]}, toolDenialKind="user-rejected"))
    # Then
    assert [each.outcome for each in told(desk).tool_calls] == ["denied"]


def test_the_hooks_are_believed_when_a_transcript_says_otherwise(desk: Desk) -> None:
    """The better witness, not the worse news."""
    # Given
    tell = Teller()
    ask = {"tool_name": "Bash", "tool_input": {"command": "ls"}, "tool_use_id": "t-1"}
    result = {"type": "tool_result", "tool_use_id": "t-1", "content": "no", "is_error": True}
    # When
    desk.tell(
        tell.line(2, "user", message={"content": [result]}),
        tell.claude(2, "PostToolUse", **ask, tool_response={}),
    )
    # Then
    assert [each.outcome for each in told(desk).tool_calls] == ["ok"]


def test_an_insertion_that_is_undone_is_told_by_its_texts(desk: Desk) -> None:
    """An empty text is a text, too."""
    # Given / When
    tell = Teller()
    for second, old, new in ((1, "", NEW), (2, NEW, "")):
        desk.tell(
            tell.claude(
                second, "PostToolUse", tool_name="Edit", tool_use_id=f"t-{second}",
                tool_input={"file_path": FILE, "old_string": old, "new_string": new},
            )
        )  # fmt: skip
    # Then
    made, undone = told(desk).code_changes
    assert (made.old_hash, made.new_hash) == (undone.new_hash, undone.old_hash)
    assert made.old_hash == 0


def test_a_tool_that_a_person_rejected_in_cursor_is_denied(desk: Desk) -> None:
    """The database says so, whatever became of the tool."""
    # Given / When
    told_bubble = {"toolCallId": "t-1", "name": "edit_file_v2", "status": "completed"}
    desk.tell(stored_call(Teller(), told_bubble | {"userDecision": "rejected"}))
    # Then
    assert [each.outcome for each in told(desk).tool_calls] == ["denied"]


def test_a_turn_begins_with_what_came_after_its_prompt(desk: Desk) -> None:
    """A prompt that waited until a tool had ended was not answered by that tool."""
    # Given
    tell = Teller()
    ask = {"prompt_id": "p-1", "tool_name": "Bash", "tool_input": {}}
    # When
    desk.tell(
        tell.claude(1, "PreToolUse", **ask, tool_use_id="t-1"),
        tell.claude(2, "UserPromptSubmit", prompt_id="p-1", prompt="and then?"),
        tell.claude(4, "PreToolUse", **ask, tool_use_id="t-2"),
    )
    # Then
    assert [(s(each.first_ms), s(each.last_ms)) for each in told(desk).turns] == [(4, 4)]


def test_a_sub_agent_of_an_old_version_is_known_by_its_call(desk: Desk) -> None:
    """The answer of the tool says how long it took, and not what it was called."""
    # Given
    tell = Teller()
    result = {"type": "tool_result", "tool_use_id": "t-1", "content": "found"}
    answer = {"totalDurationMs": 21_194, "totalToolUseCount": 2}
    # When
    desk.tell(tell.line(9, "user", message={"content": [result]}, toolUseResult=answer))
    # Then
    (agent,) = told(desk).subagents
    assert (agent.child, agent.duration_ms, agent.tool_calls) == (None, 21_194, 2)
    assert (agent.tool, agent.outcome) == (told(desk).tool_calls[0].key, "ok")


def test_a_turn_failed_when_its_hook_says_so(desk: Desk) -> None:
    """A limit of the API ends a turn as a failed one, and a later end by the note is no better."""
    # Given / When
    tell = Teller()
    desk.tell(
        tell.claude(0, "UserPromptSubmit", prompt_id="p-1", prompt="go"),
        tell.claude(5, "StopFailure", prompt_id="p-1", error="rate_limit"),
        tell.line(6, "system", subtype="turn_duration", durationMs=6_000),
    )
    # Then
    (turn,) = told(desk).turns
    assert (s(turn.ended_ms), turn.outcome) == (5, "failed")


def test_a_copy_of_a_message_is_no_second_response(desk: Desk) -> None:
    """A resumed session that wrote a line anew has the same message in it."""
    # Given / When
    tell = Teller()
    message = {"id": "m-1", "content": [{"type": "text", "text": "done"}]}
    desk.tell(
        tell.line(1, "assistant", message=message), tell.line(9, "assistant", message=message)
    )
    # Then
    assert [(s(each.at_ms), each.chars) for each in told(desk).responses] == [(1, 4)]


@pytest.mark.parametrize("level", ["strict", "balanced", "full"])
def test_a_prompt_is_kept_in_full_mode_only(desk: Desk, level: PrivacyLevel) -> None:
    """With its words and lines; files, commands and texts have the same numbers at every level."""
    # Given
    desk.tell(*claude("both"))
    strict = desk.derived()
    desk.begin_again(emptied=True)
    desk.execute("DELETE FROM traces")
    # When
    desk.tell(*claude_hooks(Teller(level)), *claude_lines(Teller(level)))
    # Then
    turns = [each for each in told(desk).turns if each.agent is None]
    shown = [(each.prompt, each.prompt_words, each.prompt_lines) for each in turns]
    full = [("fix the test", 3, 1), ("look around", 2, 1)]
    assert shown == (full if level == "full" else [(None, None, None)] * 2)
    assert [each.prompt_chars for each in turns] == [12, 11]
    again = desk.derived()
    for table in ("tool_calls", "code_changes", "responses"):
        assert again[table] == strict[table]


def test_a_conversation_is_told_in_order_with_sub_agents_beneath_it(desk: Desk) -> None:
    """Prompt, tool, edit, response, compaction; what a sub-agent did is its children."""
    # Given / When
    desk.tell(*claude("both"), *cursor_hooks(Teller(session_id="c-1")))
    # Then
    assert kinds(read(desk, lambda reader: timeline(reader, SESSION))) == [
        "prompt", "tool", "tool", "edit", "tool", "edit", "tool", "tool", "tool", "response",
        "prompt", "tool", ["subagent", "prompt", "tool"], "compaction", "tool", "edit", "response",
    ]  # fmt: skip
    assert ["subagent", "tool"] in kinds(read(desk, lambda reader: timeline(reader, "c-1")))
    assert read(desk, lambda reader: timeline(reader, "nobody")) == ()


def kinds(entries: Iterable[Entry]) -> list[Any]:
    """Return the kinds of entries; of one with children a list."""
    return [[each.kind, *kinds(each.children)] if each.children else each.kind for each in entries]


def test_a_circle_of_sub_agents_ends(desk: Desk) -> None:
    """Ids come from outside: a conversation that is its own sub-agent's is told once."""
    # Given / When
    third = SESSION.replace("1", "3")
    for own, other in ((SESSION, CHILD), (CHILD, third), (third, CHILD)):
        tell = Teller(session_id=own)
        desk.tell(
            tell.cursor(0, "beforeSubmitPrompt", generation_id=own, prompt="x"),
            tell.cursor(1, "subagentStop", generation_id=own, subagent_type="x",
                        agent_transcript_path=f"/{other}.jsonl"),
        )  # fmt: skip
    # Then
    assert kinds(read(desk, lambda reader: timeline(reader, SESSION))) == [
        "prompt", ["subagent", "prompt", ["subagent", "prompt", "subagent"]]
    ]  # fmt: skip
