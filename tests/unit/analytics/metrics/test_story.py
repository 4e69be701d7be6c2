"""The figures of a small story, worked out by hand, as the hooks of each editor tell it."""

from collections.abc import Iterable
from math import log

import orjson
import pytest

from blueplane.analytics.metrics.catalogue import CATALOGUE, figures
from blueplane.analytics.metrics.parts import PARTS, parts_of
from blueplane.analytics.metrics.spans import vector_of
from blueplane.analytics.metrics.vector import Vector
from blueplane.capture.cursor.composers import read_composer
from blueplane.capture.cursor.found import Found
from blueplane.capture.cursor.tracking import read_line_group
from blueplane.days import local_day
from blueplane.event import Event
from blueplane.store.metric_rollups import BoundedScope
from helpers.desk import T0_MS, Desk, read
from helpers.stories import SESSION, Teller, claude_hooks, claude_lines, cursor_hooks, cursor_rows

#: Both tell: two prompts, an edit that is undone after 5 s, a test that fails and passes at once, a
#: tool that is interrupted, a sub-agent, and a compaction; all within two minutes.
BOTH = {
    "interruptions": 1, "prompts": 2, "recovery_rate": 1.0, "acceptance_rate": 0.5,
    "rejection_rate": 0.5, "partial_rate": 0.0, "think_time_avg_ms": 15_000.0,
    "prompt_chars_avg": 11.5, "prompt_words_avg": None, "active_ratio": 1.0, "subagents": 1,
    "subagent_success_rate": 1.0, "subagent_duration_avg_ms": 8_000.0,
    "compaction_gap_avg_ms": None, "tool_execution_min_ms": 1_000.0,
    "tool_execution_max_ms": 10_000.0,
}  # fmt: skip
#: From 0 s to 99 s; from the first prompt 98.9 s. Of nine calls two are of a test, one fails.
CLAUDE = BOTH | {
    "tool_calls": 9, "tool_success_rate": 7 / 9, "error_rate": 1 / 9, "interruption_rate": 1 / 9,
    "tool_execution_avg_ms": 29_000 / 9, "response_time_avg_ms": 1_450.0,
    "session_duration_max_s": 99.0, "prompts_per_session": 2.0, "files_per_session": 2.0,
    "tools_per_min": 9 * 60 / 98.9, "lines_per_h": 6 * 3_600 / 98.9, "lines_added": 6,
    "lines_removed": 3, "lines_net": 3, "churn_rate": 1 / 3, "new_file_share": 0.5,
    "prompt_gap_avg_ms": 59_900.0, "compactions_per_h": 3_600 / 98.9,
    "model_switches_per_session": None, "context_usage_max_percent": None,
    "tool_diversity": (4 * log(9) + 2 * log(9 / 2) + 3 * log(3)) / 9 / log(6),
    "productivity_score": 50 + 25 * 7 / 9 - 15 * 2 / 9 + 10 * (3 * 3_600 / 98.9) / 200,
}  # fmt: skip
#: A sub-agent has a conversation of its own there, whose one call takes from 63 s to 64 s.
CURSOR = BOTH | {
    "tool_calls": 7, "tool_success_rate": 5 / 7, "error_rate": 1 / 7, "interruption_rate": 1 / 7,
    "tool_execution_avg_ms": 27_000 / 7, "response_time_avg_ms": 3_000.0,
    "session_duration_max_s": 99.0, "tools_per_min": 7 * 60 / 100, "lines_per_h": 3 * 36,
    "lines_added": 3, "lines_removed": 3, "lines_net": 0, "churn_rate": 0.5, "new_file_share": 0.0,
    "prompt_gap_avg_ms": 60_000.0, "compactions_per_h": 36.0, "context_usage_max_percent": 75.0,
    "tool_diversity": (2 * log(7) + 2 * log(7 / 2) + 3 * log(7 / 3)) / 7 / log(4),
    "productivity_score": 50 + 25 * 5 / 7 - 15 * 2 / 7,
}  # fmt: skip


def vector(desk: Desk, events: Iterable[Event]) -> Vector:
    """Return the vector of the day of a story that was told."""
    desk.tell(*events)
    day = local_day(T0_MS)
    return read(desk, lambda reader: vector_of(reader, BoundedScope(day, day)))


def shown(vector: Vector, wanted: Iterable[str]) -> dict[str, float | None]:
    """Return what figures show, and two counts that they are made of."""
    interrupted = sum(tool.get("interrupted", 0) for tool in vector["tools"].values())
    counts = {"interruptions": interrupted, "prompts": vector["prompts"]}
    values = {name: each.value for name, each in figures(vector).items()}
    return {name: {**values, **counts}[name] for name in wanted}


def of_each(vector: Vector, by: str) -> dict[str | None, dict[str, float | None]]:
    """Return what figures show of each part of a kind."""
    metrics = PARTS[by].metrics
    return {
        name: {figure: metric.make(part).value for figure, metric in metrics.items()}
        for name, part in parts_of(vector, by)
    }


def test_the_hooks_of_claude_code_give_the_figures_worked_out_by_hand(desk: Desk) -> None:
    """Each figure of the story, and its rows by tool, file, sequence and sub-agent."""
    # Given / When
    found = vector(desk, claude_hooks(Teller()))
    # Then
    assert shown(found, CLAUDE) == pytest.approx(CLAUDE)
    tools = of_each(found, "tool")
    assert [(name, tool["tool_calls"]) for name, tool in tools.items()] == [
        ("Bash", 3), ("Edit", 2), ("Grep", 1), ("Read", 1), ("Task", 1), ("Write", 1),
    ]  # fmt: skip
    assert tools["Bash"]["tool_execution_avg_ms"] == 14_000 / 3
    assert tools["Bash"]["tool_success_rate"] == 1 / 3
    assert of_each(found, "extension") == {
        "py": {"files_changed": 1, "edits": 2}, "ts": {"files_changed": 1, "edits": 1}
    }  # fmt: skip
    assert next(iter(of_each(found, "pair").items())) == ("Bash > Bash", {"times": 2})
    assert len(of_each(found, "triple")) == 7
    agents = of_each(found, "subagent")
    assert {name: (agent["subagents"], agent["subagent_success_rate"],
                   agent["subagent_duration_max_ms"])
            for name, agent in agents.items()} == {"Explore": (1, 1.0, 8_000.0)}  # fmt: skip
    assert of_each(found, "evidence") == {
        "inferred": {"acceptance_rate": 1 / 2, "partial_rate": 0.0, "rejection_rate": 1 / 2}
    }
    assert {name: model["error_rate"] for name, model in of_each(found, "model").items()} == {
        None: 1 / 9
    }


def test_the_hooks_of_cursor_give_the_figures_worked_out_by_hand(desk: Desk) -> None:
    """Each figure of the story; errors are those of the model that called the tool."""
    # Given / When
    found = vector(desk, cursor_hooks(Teller()))
    # Then
    assert shown(found, CURSOR) == pytest.approx(CURSOR)
    assert of_each(found, "model")["gpt-5"]["error_rate"] == 1 / 6
    ((_, only),) = [each for each in parts_of(found, "model") if each[0] == "gpt-5"]
    assert PARTS["model"].metrics["error_rate"].make(only).n == 6


def test_the_database_of_cursor_says_what_a_person_decided(desk: Desk) -> None:
    """It is explicit evidence, and comes before what follows from time."""
    # Given / When
    found = vector(desk, [*cursor_hooks(Teller()), *cursor_rows(Teller())])
    # Then
    assert shown(found, ["acceptance_rate", "true_accept_rate", "tool_calls", "prompts"]) == {
        "acceptance_rate": 1.0, "true_accept_rate": (5 - 3) / 8, "tool_calls": 7, "prompts": 2
    }  # fmt: skip
    assert [*of_each(found, "evidence")] == ["explicit"]


def lines(request: str, extension: str, items: int, second: int) -> Found:
    """Make a row of Cursor's database that counts the lines of a request."""
    return read_line_group({
        "requestId": request, "source": "composer", "fileExtension": extension, "items": items,
        "conversationId": SESSION, "lastMs": T0_MS + second * 1000, "model": "gpt-5",
    })  # fmt: skip


def composer(added: int, removed: int, second: int) -> Found:
    """Make the row of a conversation in Cursor's database that counts what came of its lines."""
    body = {
        "createdAt": T0_MS, "lastUpdatedAt": T0_MS + second * 1000,
        "totalLinesAdded": added, "totalLinesRemoved": removed,
    }  # fmt: skip
    return read_composer(SESSION, orjson.dumps(body)).found[0]


def test_the_true_accept_rate_is_known_when_the_database_counts_all_lines(desk: Desk) -> None:
    """The lines that there are more in the end, of those that were generated."""
    # Given what a conversation generates, and no word of what came of it
    tell = Teller()
    first = vector(desk, map(tell.found, [lines("r-1", "py", 40, 1), lines("r-1", "ts", 10, 1)]))
    assert figures(first)["true_accept_rate"].value is None
    # When it counts, and counts again after more was generated and taken away
    counts = [composer(30, 1, 2), lines("r-1", "py", 45, 3), composer(25, 5, 4)]
    found = vector(desk, map(tell.found, counts))
    # Then
    rate = figures(found)["true_accept_rate"]
    assert (rate.value, rate.n) == (20 / 55, 55)


def test_the_true_accept_rate_is_unknown_when_nothing_was_generated(desk: Desk) -> None:
    """It is not 0."""
    # Given / When
    found = vector(desk, [Teller().found(composer(3, 1, 1))])
    # Then
    assert figures(found)["true_accept_rate"].value is None


def test_the_transcript_adds_nothing_twice_when_hooks_told_it(desk: Desk) -> None:
    """What both saw is counted once; only the transcript knows the models."""
    # Given / When
    found = vector(desk, [*claude_hooks(Teller()), *claude_lines(Teller())])
    # Then
    once = {"tool_calls", "prompts", "error_rate", "acceptance_rate", "lines_net", "subagents"}
    assert shown(found, once) == pytest.approx({name: CLAUDE[name] for name in once})
    assert figures(found)["model_switches_per_session"].value == 0


def test_there_are_no_parts_when_nothing_happened() -> None:
    """And no figure either."""
    # Given / When / Then
    assert {by: parts_of({}, by) for by in PARTS} == {by: [] for by in PARTS}
    assert {name for name, each in CATALOGUE.items() if each.make({}).value is not None} == set()
