"""Rules: each speaks at its threshold, and is silent below it, and of too few things."""

from typing import Any

import pytest

from blueplane.analytics import insight_rules
from blueplane.analytics.insights import RULES, ModelCost, Scene, what_rules_say

assert insight_rules

Fields = dict[str, Any]


def tools(name: str = "Bash", **outcomes: int) -> Fields:
    """Make a vector of calls of a tool."""
    return {"tools": {name: outcomes}}


def spread(value: int, n: int) -> Fields:
    """Make a spread of one value, many times; below 64 it is its own bucket."""
    extra = max(0, value.bit_length() - 7)
    bucket = (extra << 6) + (value >> extra)
    return {"n": n, "sum": value * n, "least": value, "most": value, "in": {str(bucket): n}}


def edits(n: int, **verdicts: int) -> Fields:
    """Make a vector of edits of which the rest was accepted."""
    return {"edits": {"inferred": {"accepted": n - sum(verdicts.values()), **verdicts}}}


def cost(model: str, calls: int, usd: float) -> ModelCost:
    """Make what a model cost, with answers of 100 tokens."""
    return ModelCost(model, calls, 100 * calls, usd)


def circles(bash: int) -> Fields:
    """Make runs of three of which some are one tool, which fails each third time."""
    runs = {"Bash > Bash > Bash": bash, "Read > Edit > Bash": 20 - bash}
    return {"sequences_3": runs, **tools(ok=6, failed=3)}


HOUR_MS = 3_600_000
FINE = tools(ok=18, failed=2)
#: By rule: what it speaks of, then what it is silent about: too little, and too few.
CASES: dict[str, tuple[Scene, Scene, Scene]] = {
    "tool_fails_often": (
        Scene(tools(ok=8, failed=2), {}),
        Scene(tools(ok=9, failed=1), {}),
        Scene(tools(failed=9), {}),
    ),
    "error_rate_rises": (
        Scene(tools(ok=16, failed=4), FINE),
        Scene(tools(ok=16, failed=4), tools(ok=17, failed=4)),
        Scene(tools(ok=16, failed=4), tools(ok=9)),
    ),
    "many_interruptions": (
        Scene(tools(ok=18, interrupted=2), {}),
        Scene(tools(ok=19, interrupted=1), {}),
        Scene(tools(interrupted=19), {}),
    ),
    "failures_stay": (
        Scene({**tools(failed=10), "recovered": 3}, {}),
        Scene({**tools(failed=10), "recovered": 4}, {}),
        Scene(tools(failed=9), {}),
    ),
    "retries_in_circles": (
        Scene(circles(5), {}),
        Scene(circles(4), {}),
        Scene({**circles(5), "sequences_3": {"Bash > Bash > Bash": 19}}, {}),
    ),
    "subagents_fail": (
        Scene({"subagents": {"": {"ok": 7, "failed": 3}}}, {}),
        Scene({"subagents": {"": {"ok": 8, "failed": 2}}}, {}),
        Scene({"subagents": {"": {"failed": 4}}}, {}),
    ),
    "edits_rejected": (
        Scene(edits(10, rejected=2), {}),
        Scene(edits(10, rejected=1), {}),
        Scene(edits(9, rejected=9), {}),
    ),
    "edits_reworked": (
        Scene(edits(10, modified=4), {}),
        Scene(edits(10, modified=3), {}),
        Scene(edits(9, modified=9), {}),
    ),
    "acceptance_falls": (
        Scene(edits(20, rejected=3), edits(20)),
        Scene(edits(20, rejected=1), edits(20)),
        Scene(edits(20, rejected=9), edits(19)),
    ),
    "productivity_falls": (
        Scene(tools(ok=15, failed=5), tools(ok=20)),
        Scene(tools(ok=16, failed=4), tools(ok=20)),
        Scene(tools(ok=5, failed=15), tools(ok=19)),
    ),
    "long_think_time": (
        Scene({"think_ms": spread(300_000, 10)}, {}),
        Scene({"think_ms": spread(299_999, 10)}, {}),
        Scene({"think_ms": spread(900_000, 9)}, {}),
    ),
    "slow_tool": (
        Scene({"tools": {"Bash": {"ms": spread(60_000, 10)}}}, {}),
        Scene({"tools": {"Bash": {"ms": spread(59_999, 10)}}}, {}),
        Scene({"tools": {"Bash": {"ms": spread(90_000, 9)}}}, {}),
    ),
    "churn_on_extension": (
        Scene({"changed": {"py": {"edits": 20, "files": 6}}}, {}),
        Scene({"changed": {"py": {"edits": 20, "files": 7}}}, {}),
        Scene({"changed": {"py": {"edits": 19, "files": 1}}}, {}),
    ),
    "low_cache_reads": (
        Scene({"models": {"m": {"calls": 20, "input_tokens": 5, "cache_read_tokens": 5}}}, {}),
        Scene({"models": {"m": {"calls": 20, "input_tokens": 5, "cache_read_tokens": 6}}}, {}),
        Scene({"models": {"m": {"calls": 19, "input_tokens": 5, "cache_read_tokens": 0}}}, {}),
    ),
    "frequent_compactions": (
        Scene({"compactions": 4, "active_ms": 2 * HOUR_MS}, {}),
        Scene({"compactions": 3, "active_ms": 2 * HOUR_MS}, {}),
        Scene({"compactions": 2, "active_ms": HOUR_MS // 2}, {}),
    ),
    "context_nearly_full": (
        Scene({"context_percent": spread(8_500, 10)}, {}),
        Scene({"context_percent": spread(8_499, 10)}, {}),
        Scene({"context_percent": spread(9_900, 9)}, {}),
    ),
    "models_change_often": (
        Scene({"answers_with_model": 50, "model_switches": 15, "sessions": 5}, {}),
        Scene({"answers_with_model": 50, "model_switches": 14, "sessions": 5}, {}),
        Scene({"answers_with_model": 50, "model_switches": 40, "sessions": 4}, {}),
    ),
    "calls_denied": (
        Scene(tools(ok=17, denied=3), {}),
        Scene(tools(ok=18, denied=2), {}),
        Scene(tools(ok=1, denied=18), {}),
    ),
    "one_tool_does_all": (
        Scene({"tools": {"Bash": {"ok": 80}, "Read": {"ok": 20}}}, {}),
        Scene({"tools": {"Bash": {"ok": 79}, "Read": {"ok": 21}}}, {}),
        Scene(tools(ok=99), {}),
    ),
    "costly_model": (
        Scene({}, {}, [cost("dear", 20, 6.1), cost("cheap", 40, 4)]),
        Scene({}, {}, [cost("dear", 20, 5.9), cost("cheap", 40, 4)]),
        Scene({}, {}, [cost("dear", 19, 60), cost("cheap", 40, 4)]),
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_rule_speaks_when_a_figure_is_at_its_threshold(name: str) -> None:
    """With its evidence and one suggestion; not below the threshold, not of too few things."""
    # Given
    speaks, too_little, too_few = CASES[name]
    # When
    (told,) = what_rules_say({name: RULES[name]}, speaks)
    # Then
    evidence = told.insight.evidence
    assert evidence.n > 0
    assert evidence.threshold > 0
    assert told.insight.finding
    assert told.insight.suggestion
    assert what_rules_say({name: RULES[name]}, too_little) == []
    assert what_rules_say({name: RULES[name]}, too_few) == []


def test_rules_are_silent_when_nothing_is_known() -> None:
    """No data, no words."""
    # Given / When / Then
    assert what_rules_say(RULES, Scene({}, {})) == []


def test_priority_is_higher_when_a_figure_is_far_beyond() -> None:
    """Twice the threshold is one priority more; the farthest of a priority comes first."""
    # Given
    scene = Scene({"tools": {"Far": {"ok": 4, "failed": 6}, "Near": {"ok": 7, "failed": 3},
                             "Nearer": {"ok": 8, "failed": 2}}}, {})  # fmt: skip
    # When
    found = what_rules_say({"tool_fails_often": RULES["tool_fails_often"]}, scene)
    # Then
    assert [(each.insight.subject, each.priority) for each in found] == [
        ("Far", "high"), ("Near", "medium"), ("Nearer", "medium"),
    ]  # fmt: skip
