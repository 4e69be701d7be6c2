from dataclasses import fields
from typing import Any, TypeVar

import pytest

from blueplane.analytics.metrics.catalogue import CATALOGUE, figures
from blueplane.analytics.metrics.measure import SETTLED_MS, UNDO_MS, measure
from blueplane.analytics.metrics.vector import Vector, merged
from blueplane.days import local_day
from blueplane.store.activity import Activity, Calls
from blueplane.store.conversations import (
    CodeChange,
    Compaction,
    Conversation,
    Response,
    Seen,
    Subagent,
    ToolCall,
    Turn,
)

_S = TypeVar("_S", bound=Seen)

NOON = 1_760_443_200_000
SECOND = 1_000
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = local_day(NOON)


def made(kind: type[_S], **values: Any) -> _S:
    """Make a record of which only some values are known."""
    unknown: dict[str, Any] = {field.name: None for field in fields(kind)}
    seen = {"seen_by": ("hook",), "joined_by": "id", "key": 1}
    return kind(**{**unknown, **{k: v for k, v in seen.items() if k in unknown}, **values})


def activity(*, ended: bool = False, calls: tuple[Calls, ...] = (), **parts: Any) -> Activity:
    """Make an activity of which only parts are given."""
    names = ("turns", "responses", "tool_calls", "code_changes", "compactions", "subagents")
    nothing = dict.fromkeys((*names, "context"), ())
    talk = Conversation("claude_code", "one", **{**nothing, **parts})
    return Activity(0, ended, talk, calls)


def prompt(at_ms: int, **values: Any) -> Turn:
    """Make a turn."""
    return made(Turn, prompt_ms=at_ms, responses=0, response_chars=0, tool_calls=0, **values)


def tool(key: int, at_ms: int, outcome: str | None = "ok", **values: Any) -> ToolCall:
    """Make a call of a tool that took two seconds, if it ended."""
    ended = at_ms + 2 * SECOND if outcome in {"ok", "failed"} else None
    whole: dict[str, Any] = {
        "name": "Bash", "target": 7, "ends_told": True,
        "latency_ms": None if ended is None else 2 * SECOND, **values,
    }  # fmt: skip
    return made(ToolCall, key=key, started_ms=at_ms, ended_ms=ended, outcome=outcome, **whole)


def change(at_ms: int, old: int, new: int, **values: Any) -> CodeChange:
    """Make an edit of one file: three lines more, one less."""
    whole: dict[str, Any] = {
        "file": 5, "extension": "py", "lines_added": 3, "lines_removed": 1, "tab": False, **values,
    }  # fmt: skip
    return made(CodeChange, at_ms=at_ms, old_hash=old, new_hash=new, **whole)


def vector_of(**parts: Any) -> Vector:
    """Return the vector of all days of an activity."""
    return merged(measure(activity(**parts)).values())


def value_of(vector: Vector, name: str) -> float | None:
    """Return the value of a figure."""
    return figures(vector, [name])[name].value


def test_measure_finds_nothing_when_nothing_happened() -> None:
    """No figure has a value, and none is 0 or 100 %, when there is no data."""
    # Given / When
    found = figures(vector_of())
    # Then
    assert measure(activity()) == {}
    assert {name for name, figure in found.items() if figure.value is not None} == set()
    assert set(found) == set(CATALOGUE)


def test_measure_judges_edits_by_what_followed_them() -> None:
    """Undone within 30 s is rejected, edited again within 5 min modified, else accepted."""
    # Given an edit that is undone, the undoing one, and one that is edited again much later
    changes = [
        change(NOON, old=1, new=2),
        change(NOON + UNDO_MS, old=2, new=1),
        change(NOON + UNDO_MS + SETTLED_MS + 1, old=1, new=3),
        change(NOON + UNDO_MS + SETTLED_MS + 2, old=3, new=4, file=6),
    ]
    prompts = [prompt(NOON + 20 * MINUTE)]
    # When
    vector = vector_of(code_changes=changes, turns=prompts)
    # Then
    assert vector["edits"] == {"inferred": {"rejected": 1, "accepted": 3}}
    assert value_of(vector, "acceptance_rate") == 0.75
    assert value_of(vector, "rejection_rate") == 0.25
    assert value_of(vector, "churn_rate") == 0.5
    assert value_of(vector, "lines_net") == 8


def test_measure_looks_at_each_edit_a_few_times_when_there_are_many() -> None:
    """Edits of one file at one moment cost as many looks as there are edits."""
    # Given
    looks = 0

    class Counted(CodeChange):
        def __getattribute__(self, name: str) -> Any:
            nonlocal looks
            looks += 1
            return super().__getattribute__(name)

    many = 500
    names = [field.name for field in fields(CodeChange)]
    values = {name: getattr(change(NOON, 1, 2), name) for name in names}
    edits = tuple(Counted(**values) for _ in range(many))
    # When
    looks = 0
    vector = vector_of(code_changes=edits)
    # Then
    assert vector["edits"]["inferred"] == {"modified": many - 1, "undecided": 1}
    assert looks < many * 100


@pytest.mark.parametrize(
    ("age_ms", "verdict"),
    [
        (UNDO_MS - 1, "undecided"),
        (UNDO_MS, "provisional"),
        (SETTLED_MS - 1, "provisional"),
        (SETTLED_MS, "accepted"),
    ],
)
def test_measure_waits_for_event_time_when_an_edit_is_fresh(age_ms: int, verdict: str) -> None:
    """An edit is provisional after 30 s and final after 5 min of what happened in its session."""
    # Given
    prompts = [prompt(NOON + age_ms)]
    # When
    vector = vector_of(code_changes=[change(NOON, 1, 2)], turns=prompts)
    # Then
    assert vector["edits"] == {"inferred": {verdict: 1}}


def test_measure_believes_a_person_when_there_is_a_decision() -> None:
    """A decision, and a tool that was denied, are explicit evidence and come first."""
    # Given
    changes = [
        change(NOON, 1, 2, decision="accepted"),
        change(NOON + SECOND, 2, 1, decision="rejected"),
        change(NOON + 2 * SECOND, 1, 5, tool=9),
    ]
    tools = [tool(9, NOON + 2 * SECOND, "denied")]
    # When
    vector = vector_of(code_changes=changes, tool_calls=tools)
    # Then
    assert vector["edits"] == {"explicit": {"accepted": 1, "rejected": 2}}


def test_measure_counts_a_failure_as_made_good_when_the_same_succeeds_soon() -> None:
    """Within the next three calls, by the same tool on the same target."""
    # Given a failure that is made good at the third call, and one that is at the fourth
    names = ("Read", "Read", "Bash")
    tools = [tool(1, NOON, "failed")]
    tools += [tool(2 + n, NOON + (n + 1) * MINUTE, name=name) for n, name in enumerate(names)]
    tools += [tool(10, NOON + 10 * MINUTE, "failed", target=8)]
    tools += [tool(11 + n, NOON + (11 + n) * MINUTE, target=9) for n in range(3)]
    tools += [tool(20, NOON + 20 * MINUTE, target=8)]
    # When
    vector = vector_of(tool_calls=tools)
    # Then
    assert value_of(vector, "recovery_rate") == 0.5
    assert value_of(vector, "error_rate") == 2 / 9
    assert value_of(vector, "tool_execution_p50_ms") == pytest.approx(2_000, rel=0.01)
    assert vector["sequences_2"]["Bash > Read"] == 1


def test_measure_counts_a_tool_as_interrupted_when_no_end_came_for_ten_minutes() -> None:
    """Before that it may still end, and is in no rate."""
    # Given
    tools = [tool(1, NOON, None), tool(2, NOON + 11 * MINUTE), tool(3, NOON + 12 * MINUTE, None)]
    # When
    vector = vector_of(tool_calls=tools)
    # Then
    assert vector["tools"]["Bash"]["interrupted"] == 1
    assert vector["tools"]["Bash"]["open"] == 1
    assert value_of(vector, "interruption_rate") == 0.5


def test_measure_tells_thinking_from_waiting() -> None:
    """A prompt's answer, the thinking before the next one, and idle gaps are kept apart."""
    # Given a prompt, its answer after 4 s and a tool; a prompt 30 s after that, and one an hour on
    prompts = [
        prompt(NOON, prompt_chars=40, first_ms=NOON + 4 * SECOND),
        prompt(NOON + 40 * SECOND, prompt_chars=60, first_ms=NOON + 41 * SECOND),
        prompt(NOON + HOUR, prompt_chars=20),
    ]
    responses = [
        made(Response, at_ms=NOON + 4 * SECOND, model="one"),
        made(Response, at_ms=NOON + 41 * SECOND, model="two"),
    ]
    tools = [tool(1, NOON + 8 * SECOND)]
    # When
    vector = vector_of(turns=prompts, responses=responses, tool_calls=tools)
    # Then
    assert vector["response_ms"]["sum"] == 5 * SECOND
    assert (vector["think_ms"]["n"], vector["think_ms"]["sum"]) == (1, 30 * SECOND)
    assert vector["prompt_gap_ms"]["most"] == HOUR - 40 * SECOND
    assert vector["active_ms"] == 41 * SECOND
    assert vector["span_ms"] == HOUR
    assert value_of(vector, "prompt_chars_avg") == 40
    assert value_of(vector, "prompt_words_avg") is None
    assert value_of(vector, "model_switches_per_session") == 1


def test_measure_counts_things_on_the_day_on_which_they_ended() -> None:
    """A session over midnight has a part of each day; both together are the whole."""
    # Given
    tools = [tool(1, NOON), tool(2, NOON + 24 * HOUR)]
    calls = (Calls(DAY, "one", 2, 5, 7, None, None), Calls(DAY + 1, "one", 1, 5, None, None, None))
    # When
    days = measure(activity(tool_calls=tools, calls=calls))
    # Then
    assert sorted(days) == [DAY, DAY + 1]
    assert [days[day]["tools"]["Bash"]["ok"] for day in sorted(days)] == [1, 1]
    assert [days[day].get("sessions") for day in sorted(days)] == [1, None]
    models = merged(days.values())["models"]["one"]
    assert models == {"calls": 3, "input_tokens": 10, "output_tokens": 7}


def test_measure_scores_productivity_with_its_parts_when_there_is_enough() -> None:
    """With five calls at least; the score is the sum of its parts."""
    # Given
    tools = [tool(n, NOON + n * MINUTE, "failed" if n == 1 else "ok") for n in range(5)]
    changes = [change(NOON + 3 * MINUTE, 1, 2, lines_added=20, lines_removed=0)]
    # When
    score = figures(vector_of(tool_calls=tools, code_changes=changes, ended=True))[
        "productivity_score"
    ]
    few = figures(vector_of(tool_calls=tools[:4]))["productivity_score"]
    # Then
    assert score.n == 5
    assert score.parts == {
        "base": 50.0, "success": 20.0, "errors": -3.0, "ended": 10.0, "lines": 10.0
    }  # fmt: skip
    assert score.value == 87.0
    assert (few.value, few.n) == (None, 4)


def test_measure_counts_subagents_and_context() -> None:
    """Sub-agents by their type and outcome; how full the context was, and how often it was cut."""
    # Given
    agents = [
        made(Subagent, started_ms=NOON, type="Explore", duration_ms=9_000, outcome="ok"),
        made(Subagent, started_ms=NOON + SECOND),
    ]
    # When
    vector = vector_of(
        subagents=agents,
        compactions=[made(Compaction, at_ms=at_ms) for at_ms in (NOON + MINUTE, NOON + HOUR)],
        context=[(NOON, 40.5), (NOON + MINUTE, 81.0)],
    )
    # Then
    assert value_of(vector, "subagents") == 2
    assert value_of(vector, "subagent_success_rate") == 1.0
    assert value_of(vector, "compaction_gap_avg_ms") == HOUR - MINUTE
    assert value_of(vector, "context_usage_max_percent") == 81.0
    assert value_of(vector, "context_usage_avg_percent") == 60.75
