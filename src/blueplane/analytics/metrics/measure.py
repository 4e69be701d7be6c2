"""What can be added up of a session, for each local day of it.

Owns how an activity is counted: ``measure`` makes of it a vector for each day.
Promises that the vectors of all days and sessions, added up, say of any span what section 3 of the
metrics' definition asks; a thing is counted on the day on which it ended or was last seen.
Leaves adding up to ``vector.py``, and figures to ``catalogue.py``.

What an edit came to is judged by event time alone: what happened after it in its own session.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from blueplane.analytics.metrics.vector import HUNDREDTHS, Vector, add, spread
from blueplane.days import local_day
from blueplane.store.activity import Activity
from blueplane.store.conversations import CodeChange, Conversation, ToolCall, Turn

#: Gaps that are longer are idle.
_IDLE_MS: Final = 5 * 60_000
#: A call of a tool without an end was interrupted after so long.
_LOST_MS: Final = 10 * 60_000
#: An edit is undone, or edited again, within so long; then what it came to is final.
UNDO_MS: Final = 30_000
SETTLED_MS: Final = 5 * 60_000
#: Among so many next calls of a tool a failure may be made good.
_RECOVERY: Final = 3

#: What an edit came to that a person did not let happen.
_DENIED: Final = "explicit", "rejected"
#: Tools whose calls are edits.
_EDITORS: Final = frozenset(
    {
        "Edit", "MultiEdit", "Write", "NotebookEdit", "StrReplace", "EditFile", "EditNotebook",
        "ApplyPatch", "Delete",
    }
)  # fmt: skip

#: Outcomes of a call of a tool that was executed.
_EXECUTED: Final = frozenset({"ok", "failed", "interrupted"})

_Days = defaultdict[int, Vector]


def measure(activity: Activity) -> dict[int, Vector]:
    """Return the vector of each local day on which something happened."""
    days: _Days = defaultdict(dict)
    talk = activity.talk
    moments = moments_of(talk)
    if moments:
        _count_session(activity, moments, days)
        _count_rhythm(talk, moments, days)
        _count_prompts(talk, days)
        _count_tools(talk, moments[-1], days)
        _count_edits(talk, moments[-1], days)
        _count_context(talk, days)
        _count_models(talk, days)
        _count_subagents(talk, days)
    _count_lines_kept(talk, days)
    _count_calls(activity, days)
    return dict(days)


def moments_of(talk: Conversation) -> list[int]:
    """Return the times of everything that happened, in order."""
    times = [at_ms for each in talk.turns for at_ms in (each.prompt_ms, each.ended_ms)]
    times += [each.at_ms for each in talk.responses]
    times += [each.at_ms for each in talk.code_changes]
    times += [each.at_ms for each in talk.compactions]
    times += [at_ms for each in talk.tool_calls for at_ms in (each.started_ms, each.ended_ms)]
    times += [at_ms for each in talk.subagents for at_ms in (each.started_ms, each.ended_ms)]
    return sorted(at_ms for at_ms in times if at_ms is not None)


def _count_session(activity: Activity, moments: Sequence[int], days: _Days) -> None:
    """Count the session itself, on its first day: from its first event to its last one."""
    first = min(at_ms for at_ms in (moments[0], activity.first_ms) if at_ms is not None)
    last = max(at_ms for at_ms in (moments[-1], activity.last_ms) if at_ms is not None)
    vector = days[local_day(first)]
    add(vector, "sessions")
    add(vector, "sessions_ended", amount=int(activity.ended))
    spread(vector, "session_ms", value=last - first)


def _count_rhythm(talk: Conversation, moments: Sequence[int], days: _Days) -> None:
    """Count what happened, and the time in which somebody, or the agent, was at work."""
    vectors = [days[local_day(moment)] for moment in moments]
    for vector in vectors:
        add(vector, "events")
    for vector, (before, after) in zip(vectors[1:], pairwise(moments), strict=True):
        gap = after - before
        add(vector, "span_ms", amount=gap)
        add(vector, "active_ms", amount=gap if gap <= _IDLE_MS else 0)
    for one, other in pairwise(talk.compactions):
        spread(days[local_day(other.at_ms)], "compaction_gap_ms", value=other.at_ms - one.at_ms)


def _count_prompts(talk: Conversation, days: _Days) -> None:
    """Count prompts, what came first after each, and what was before it."""
    turns = [each for each in talk.turns if each.agent is None and each.prompt_ms is not None]
    ends = sorted(each.ended_ms for each in talk.tool_calls if each.ended_ms is not None)
    before: int | None = None
    for turn in sorted(turns, key=_prompted):
        at_ms = _prompted(turn)
        vector = days[local_day(at_ms)]
        add(vector, "prompts")
        measures = {
            "prompt_chars": turn.prompt_chars,
            "prompt_words": turn.prompt_words,
            "prompt_gap_ms": None if before is None else at_ms - before,
            "response_ms": None if turn.first_ms is None else turn.first_ms - at_ms,
        }
        end = _last_until(ends, at_ms)
        if end is not None and (before is None or end >= before):
            measures["think_ms"] = at_ms - end
        for name, value in measures.items():
            if value is not None:
                spread(vector, name, value=value)
        before = at_ms


def _prompted(turn: Turn) -> int:
    return turn.prompt_ms or 0


def _last_until(times: Sequence[int], at_ms: int) -> int | None:
    place = bisect_right(times, at_ms)
    return times[place - 1] if place else None


# -- tools -----------------------------------------------------------------------------------------


def _count_tools(talk: Conversation, last_ms: int, days: _Days) -> None:
    """Count calls of tools by what became of them, how long they took, and what followed what."""
    tools = [each for each in talk.tool_calls if each.started_ms is not None]
    for place, tool in enumerate(tools):
        vector, outcome = days[_day(tool)], outcome_of(tool, last_ms)
        name = tool.name or ""
        add(vector, "tools", name, outcome)
        if tool.took_ms is not None:
            spread(vector, "tools", name, "ms", value=tool.took_ms)
        add(vector, "models", _model_of(talk, tool), "executed", amount=int(outcome in _EXECUTED))
        if outcome == "failed":
            recovered = _is_made_good(tool, tools[place + 1 : place + 1 + _RECOVERY])
            add(vector, "recovered", amount=int(recovered))
            add(vector, "models", _model_of(talk, tool), "failed")
        for length in (2, 3):
            if place + 1 >= length:
                names = (each.name or "" for each in tools[place + 1 - length : place + 1])
                add(vector, f"sequences_{length}", " > ".join(names))


def _day(tool: ToolCall) -> int:
    at_ms = tool.started_ms if tool.ended_ms is None else tool.ended_ms
    return local_day(at_ms or 0)


def _model_of(talk: Conversation, tool: ToolCall) -> str:
    return "" if tool.turn is None else talk.turns[tool.turn].model or ""


def outcome_of(tool: ToolCall, last_ms: int) -> str:
    """Return what became of a call; ``open`` while it may still end, or nobody would tell."""
    if tool.outcome is not None:
        return tool.outcome
    if tool.ended_ms is not None:
        return "ok"
    lost = tool.ends_told and last_ms - (tool.started_ms or 0) > _LOST_MS
    return "interrupted" if lost else "open"


def _is_made_good(tool: ToolCall, after: Sequence[ToolCall]) -> bool:
    """Whether one of the calls after a failed one did the same, and succeeded."""
    return tool.target is not None and any(
        each.outcome == "ok" and (each.name, each.target) == (tool.name, tool.target)
        for each in after
    )


# -- edits -----------------------------------------------------------------------------------------


def _count_edits(talk: Conversation, last_ms: int, days: _Days) -> None:
    """Count edits by what they came to, and what they changed; one that was denied changed none."""
    for each in judged(talk, last_ms):
        vector = days[local_day(each.change.at_ms)]
        add(vector, "edits", each.evidence, each.verdict)
        _count_lines(each.change, vector, again=each.again)
    denied = _denied(talk)
    for key in denied.keys() - {each.tool for each in talk.code_changes}:
        if denied[key].name in _EDITORS:
            add(days[_day(denied[key])], "edits", *_DENIED)


class Judged(NamedTuple):
    """An edit, what it came to and by which evidence; ``again`` if its file was edited before."""

    change: CodeChange
    evidence: str
    verdict: str
    again: bool


def judged(talk: Conversation, last_ms: int) -> Iterator[Judged]:
    """Yield the edits of a conversation that went on until then, those of a file together."""
    denied = _denied(talk)
    by_file: defaultdict[int | None, list[CodeChange]] = defaultdict(list)
    for change in talk.code_changes:
        if not change.tab:
            by_file[change.file].append(change)
    for file, changes in by_file.items():
        fates = _fates(changes) if file is not None else [None] * len(changes)
        for place, (change, fate) in enumerate(zip(changes, fates, strict=True)):
            verdict = _DENIED if change.tool in denied else _verdict(change, fate, last_ms)
            yield Judged(change, *verdict, again=file is not None and place > 0)


def _denied(talk: Conversation) -> dict[int, ToolCall]:
    return {each.key: each for each in talk.tool_calls if each.outcome == "denied"}


def _verdict(change: CodeChange, fate: str | None, last_ms: int) -> tuple[str, str]:
    """Return the evidence and what an edit came to; ``provisional`` may still change."""
    if change.decision in {"accepted", "rejected"}:
        return "explicit", str(change.decision)
    if fate is not None:
        return "inferred", fate
    age_ms = last_ms - change.at_ms
    if age_ms < UNDO_MS:
        return "inferred", "undecided"
    return "inferred", "accepted" if age_ms >= SETTLED_MS else "provisional"


def _fates(changes: Sequence[CodeChange]) -> list[str | None]:
    """Return what later edits of their file made of edits: ``rejected``, ``modified`` or nothing.

    An edit is undone when another one soon puts back what it replaced.
    """
    fates: list[str | None] = []
    next_ms: int | None = None
    exchanged: dict[tuple[int | None, int | None], int] = {}
    for each in reversed(changes):
        undone_ms = exchanged.get((each.new_hash, each.old_hash))
        if each.new_hash is not None and _is_soon(undone_ms, each, UNDO_MS):
            fates.append("rejected")
        else:
            fates.append("modified" if _is_soon(next_ms, each, SETTLED_MS) else None)
        exchanged[each.old_hash, each.new_hash] = next_ms = each.at_ms
    return fates[::-1]


def _is_soon(at_ms: int | None, change: CodeChange, within_ms: int) -> bool:
    return at_ms is not None and at_ms <= change.at_ms + within_ms


def _count_lines(change: CodeChange, vector: Vector, *, again: bool) -> None:
    """Count the lines of an edit, its file the first time, and how often it is edited again."""
    kind = change.extension or ""
    added, removed = change.lines_added, change.lines_removed
    add(vector, "lines_added", amount=added or 0)
    add(vector, "lines_removed", amount=removed or 0)
    add(vector, "lines_known", amount=int(added is not None or removed is not None))
    add(vector, "changed", kind, "edits")
    if again:
        add(vector, "edited_again")
    else:
        add(vector, "changed", kind, "files")
        add(vector, "files_created", amount=int(bool(change.created)))


def _count_lines_kept(talk: Conversation, days: _Days) -> None:
    """Count what the editor says of all lines that were generated: how many more there are."""
    if talk.lines is not None:
        vector = days[local_day(talk.lines.at_ms)]
        add(vector, "lines_generated", amount=talk.lines.generated)
        add(vector, "lines_kept", amount=talk.lines.added - talk.lines.removed)


# -- context, models, sub-agents -------------------------------------------------------------------


def _count_context(talk: Conversation, days: _Days) -> None:
    for each in talk.compactions:
        add(days[local_day(each.at_ms)], "compactions")
    for at_ms, percent in talk.context:
        spread(days[local_day(at_ms)], "context_percent", value=round(percent * HUNDREDTHS))


def _count_models(talk: Conversation, days: _Days) -> None:
    """Count how often another model answered than the one before."""
    named = [each for each in talk.responses if each.model is not None and each.agent is None]
    for each in named:
        add(days[local_day(each.at_ms)], "answers_with_model")
    for before, after in pairwise(named):
        if before.model != after.model:
            add(days[local_day(after.at_ms)], "model_switches")


def _count_subagents(talk: Conversation, days: _Days) -> None:
    for each in talk.subagents:
        at_ms = each.started_ms if each.ended_ms is None else each.ended_ms
        if at_ms is None:
            continue
        vector, kind = days[local_day(at_ms)], each.type or ""
        add(vector, "subagents", kind, each.outcome or "open")
        if each.duration_ms is not None:
            spread(vector, "subagents", kind, "ms", value=each.duration_ms)


def _count_calls(activity: Activity, days: _Days) -> None:
    """Count calls to models and their tokens, as the usage rollups have them."""
    for each in activity.calls:
        table: Mapping[str, int | None] = {
            "input_tokens": each.input, "output_tokens": each.output,
            "cache_creation_tokens": each.cache_creation, "cache_read_tokens": each.cache_read,
        }  # fmt: skip
        model = each.model or ""
        add(days[each.day], "models", model, "calls", amount=each.calls)
        for name, amount in table.items():
            if amount is not None:
                add(days[each.day], "models", model, name, amount=amount)
