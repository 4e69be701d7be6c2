"""Formulas in words: how each figure of the catalogue follows from what was counted.

Owns the words, and which numbers go into a figure.
Promises words for every figure, and numbers that can be added up over sessions.
Leaves the figures themselves to ``catalogue.py``.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from blueplane.analytics.metrics.catalogue import (
    decided,
    edits,
    executed,
    files,
    outcomes,
    tool_spread,
    verdicts,
)
from blueplane.analytics.metrics.vector import at, merged, total

_Vector: TypeAlias = Mapping[str, Any]
Inputs: TypeAlias = Mapping[str, int]


class Formula(NamedTuple):
    """A formula: its words, the numbers that go in, and which records they count, if any."""

    words: str
    inputs: Callable[[_Vector], Inputs]
    records: str = ""


def _counts(**found: Callable[[_Vector], int]) -> Callable[[_Vector], Inputs]:
    return lambda vector: {name: count(vector) for name, count in found.items()}


def _of(name: str) -> Callable[[_Vector], int]:
    return lambda vector: total(vector, name)


def _outcome(name: str) -> Callable[[_Vector], int]:
    return lambda vector: outcomes(vector)[name]


def _verdict(*names: str) -> Callable[[_Vector], int]:
    return lambda vector: sum(verdicts(vector)[name] for name in names)


def _agents(*names: str) -> Callable[[_Vector], int]:
    return lambda vector: sum(
        kind.get(name, 0) for kind in at(vector, "subagents").values() for name in names
    )


_ENDS: Final = ("ok", "failed", "denied", "interrupted")

_FORMULAS: Final[Mapping[str, Formula]] = {
    "events_per_s": Formula(
        "events / seconds of active time (gaps over 5 minutes are idle)",
        _counts(events=_of("events"), active_ms=_of("active_ms")),
    ),
    "tools_per_min": Formula(
        "executed tool calls / minutes of active time",
        _counts(executed=executed, active_ms=_of("active_ms")), "tool_calls",
    ),
    "lines_per_h": Formula(
        "lines added / hours of active time",
        _counts(lines_added=_of("lines_added"), active_ms=_of("active_ms")), "code_changes",
    ),
    "files_per_session": Formula(
        "files changed, each once a session / sessions",
        _counts(files=files, sessions=_of("sessions")), "code_changes",
    ),
    "prompts_per_session": Formula(
        "prompts / sessions", _counts(prompts=_of("prompts"), sessions=_of("sessions")), "turns"
    ),
    "error_rate": Formula(
        "failed / executed tool calls", _counts(failed=_outcome("failed"), executed=executed),
        "tool_calls",
    ),
    "interruption_rate": Formula(
        "interrupted / executed tool calls",
        _counts(interrupted=_outcome("interrupted"), executed=executed), "tool_calls",
    ),
    "recovery_rate": Formula(
        "failed tool calls that succeed on the same target within the next 3 / failed ones",
        _counts(recovered=_of("recovered"), failed=_outcome("failed")), "tool_calls",
    ),
    "acceptance_rate": Formula(
        "edits that were accepted, or stood for 30 s / edits that came to anything",
        _counts(accepted=_verdict("accepted", "provisional"), decided=decided), "code_changes",
    ),
    "partial_rate": Formula(
        "edits of a file that was edited again within 5 minutes / edits that came to anything",
        _counts(modified=_verdict("modified"), decided=decided), "code_changes",
    ),
    "rejection_rate": Formula(
        "edits that were denied, or undone within 30 s / edits that came to anything",
        _counts(rejected=_verdict("rejected"), decided=decided), "code_changes",
    ),
    "true_accept_rate": Formula(
        "lines added less those taken away / lines generated (Cursor alone tells)",
        _counts(lines_kept=_of("lines_kept"), lines_generated=_of("lines_generated")),
    ),
    "tool_calls": Formula(
        "tool calls, whatever became of them",
        outcomes, "tool_calls",
    ),
    "tool_success_rate": Formula(
        "tool calls that succeeded / executed ones",
        _counts(ok=_outcome("ok"), executed=executed), "tool_calls",
    ),
    "tool_diversity": Formula(
        "entropy of the tools that were called / that of as many tools called equally often",
        lambda vector: {
            name: sum(count for key, count in tool.items() if key != "ms")
            for name, tool in at(vector, "tools").items()
        }, "tool_calls",
    ),
    "lines_added": Formula(
        "lines that edits added", _counts(lines_added=_of("lines_added")), "code_changes"
    ),
    "lines_removed": Formula(
        "lines that edits removed", _counts(lines_removed=_of("lines_removed")), "code_changes"
    ),
    "lines_net": Formula(
        "lines added - lines removed",
        _counts(lines_added=_of("lines_added"), lines_removed=_of("lines_removed")),
        "code_changes",
    ),
    "churn_rate": Formula(
        "edits of a file that the session had edited before / edits",
        _counts(edited_again=_of("edited_again"), edits=edits), "code_changes",
    ),
    "new_file_share": Formula(
        "files that were created / files changed",
        _counts(files_created=_of("files_created"), files=files), "code_changes",
    ),
    "active_ratio": Formula(
        "active time / time from the first event to the last (gaps over 5 minutes are idle)",
        _counts(active_ms=_of("active_ms"), span_ms=_of("span_ms")),
    ),
    "compactions_per_h": Formula(
        "compactions / hours of active time",
        _counts(compactions=_of("compactions"), active_ms=_of("active_ms")),
    ),
    "model_switches_per_session": Formula(
        "answers by another model than the one before / sessions",
        _counts(model_switches=_of("model_switches"), sessions=_of("sessions")),
    ),
    "subagents": Formula("sub-agents that were called", _counts(subagents=_agents(*_ENDS, "open"))),
    "subagent_success_rate": Formula(
        "sub-agents that succeeded / those that ended",
        _counts(ok=_agents("ok"), ended=_agents(*_ENDS)),
    ),
    "productivity_score": Formula(
        "50 + 25 x success rate - 15 x (error + interruption rate) + 10 x share of sessions ended"
        " + 10 x net lines an hour / 200 (0 to 1)",
        _counts(
            ok=_outcome("ok"), failed=_outcome("failed"), interrupted=_outcome("interrupted"),
            executed=executed, sessions_ended=_of("sessions_ended"), sessions=_of("sessions"),
            lines_added=_of("lines_added"), lines_removed=_of("lines_removed"),
            active_ms=_of("active_ms"),
        ), "tool_calls",
    ),
}  # fmt: skip

#: Spreads by the beginning of their figures' names: what each is of, and where it is.
_SPREADS: Final[Mapping[str, tuple[str, Callable[[_Vector], _Vector], str]]] = {
    "tool_execution": ("end - begin of tool calls", tool_spread, "tool_calls"),
    "response_time": (
        "first tool call or response - prompt", lambda vector: at(vector, "response_ms"), "turns"
    ),
    "session_duration": (
        "last - first event of sessions", lambda vector: at(vector, "session_ms"), ""
    ),
    "prompt_gap": ("time between prompts", lambda vector: at(vector, "prompt_gap_ms"), "turns"),
    "think_time": (
        "prompt - end of the tool call before it", lambda vector: at(vector, "think_ms"), "turns"
    ),
    "prompt_chars": (
        "characters of prompts", lambda vector: at(vector, "prompt_chars"), "turns"
    ),
    "prompt_words": ("words of prompts", lambda vector: at(vector, "prompt_words"), "turns"),
    "compaction_gap": (
        "time between compactions", lambda vector: at(vector, "compaction_gap_ms"), ""
    ),
    "context_usage": (
        "how full the context was (sum in hundredths of a percent)",
        lambda vector: at(vector, "context_percent"), "",
    ),
    "subagent_duration": (
        "how long sub-agents took",
        lambda vector: merged(kind.get("ms", {}) for kind in at(vector, "subagents").values()), "",
    ),
}  # fmt: skip
_WHICH: Final[Mapping[str, str]] = {
    "avg": "sum / n of: ", "min": "the least of: ", "max": "the most of: ",
    "p50": "what half of all are at or below, of: ",
    "p95": "what 95 % of all are at or below, of: ",
    "p99": "what 99 % of all are at or below, of: ",
}  # fmt: skip
_NAME: Final = re.compile(rf"(\w+?)_({'|'.join(_WHICH)})(?:_\w+)?")


def formula(name: str) -> Formula:
    """Return the formula of a figure of the catalogue."""
    if name in _FORMULAS:
        return _FORMULAS[name]
    found = _NAME.fullmatch(name)
    if found is None:
        raise KeyError(name)
    words, spread, records = _SPREADS[found[1]]

    def inputs(vector: _Vector) -> Inputs:
        values = spread(vector)
        return {"n": values.get("n", 0), "sum": values.get("sum", 0)}

    return Formula(_WHICH[found[2]] + words, inputs, records)
