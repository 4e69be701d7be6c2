"""The rules of insights.

Owns each rule: what it looks at, how much of it there has to be, its threshold, and its suggestion.
Promises that a rule is silent where there is too little to say anything.
Leaves the order of what they say to ``insights.py``, figures to ``metrics``.

A share is of 1; thresholds are in the unit of their figure.
"""

from collections.abc import Iterator
from itertools import combinations
from typing import Final

from blueplane.analytics.insights import Evidence, Insight, ModelCost, Scene, rule
from blueplane.analytics.metrics.catalogue import CATALOGUE, OUTCOMES, Figure, executed, outcomes
from blueplane.analytics.metrics.parts import cache_read_share
from blueplane.analytics.metrics.vector import Vector, at, percentile
from blueplane.figures import dollars, milliseconds, number, percent

#: How many things a share needs.
_FEW: Final = 10
_SOME: Final = 20
_ALL: Final = ""


def _beyond(
    scene: Scene, name: str, threshold: float, least: int, words: tuple[str, str]
) -> Iterator[Insight]:
    """Say that a figure is beyond a threshold: above it, or below where ``better`` is ``up``.

    ``words`` are the finding, with places for the value and n, and the suggestion.
    """
    metric, figure = CATALOGUE[name], scene.figure(name)
    if figure.value is None or figure.n < least:
        return
    low = metric.better == "up"
    if figure.value > threshold if low else figure.value < threshold:
        return
    shown = percent(figure.value) if metric.unit == "share" else number(figure.value)
    evidence = Evidence(name, metric.unit, figure.value, figure.n, threshold)
    yield Insight(_ALL, words[0].format(value=shown, n=number(figure.n)), evidence, words[1])


def _moved(
    scene: Scene, name: str, threshold: float, least: int, words: tuple[str, str]
) -> Iterator[Insight]:
    """Say that a figure got worse than in the period before, by so much at least."""
    metric, now, before = CATALOGUE[name], scene.figure(name), scene.figure_before(name)
    if now.value is None or before.value is None or min(now.n, before.n) < least:
        return
    worse = before.value - now.value if metric.better == "up" else now.value - before.value
    if worse < threshold:
        return
    show = percent if metric.unit == "share" else number
    finding = words[0].format(value=show(now.value), before=show(before.value), n=number(now.n))
    evidence = Evidence(name, metric.unit, now.value, now.n, threshold, before.value)
    yield Insight(_ALL, finding, evidence, words[1])


# -- errors ----------------------------------------------------------------------------------------


@rule("tool_fails_often", "errors", "medium")
def _tool_fails_often(scene: Scene) -> Iterator[Insight]:
    threshold = 0.2
    for name, tool in at(scene.now, "tools").items():
        vector: Vector = {"tools": {name: tool}}
        figure = CATALOGUE["error_rate"].make(vector)
        if figure.n >= _FEW and (figure.value or 0) >= threshold:
            yield Insight(
                name,
                f"{percent(figure.value)} of {number(figure.n)} calls of {name or '?'} failed",
                Evidence("error_rate", "share", figure.value or 0, figure.n, threshold),
                f"write into the agent's rules how {name or 'it'} is used in this project",
            )


@rule("error_rate_rises", "errors", "high")
def _error_rate_rises(scene: Scene) -> Iterator[Insight]:
    words = (
        "{value} of {n} tool calls failed, after {before} in the period before",
        "find the day with `blueplane metrics --metric error_rate --format chart`",
    )
    yield from _moved(scene, "error_rate", 0.05, _SOME, words)


@rule("many_interruptions", "errors", "medium")
def _many_interruptions(scene: Scene) -> Iterator[Insight]:
    words = (
        "{value} of {n} tool calls were interrupted",
        "ask for a plan first, so that a wrong way is seen before it is gone",
    )
    yield from _beyond(scene, "interruption_rate", 0.1, _SOME, words)


@rule("failures_stay", "errors", "medium")
def _failures_stay(scene: Scene) -> Iterator[Insight]:
    words = (
        "only {value} of {n} failures were made good within three calls",
        "have the agent show the error and stop after the second failure",
    )
    yield from _beyond(scene, "recovery_rate", 0.3, _FEW, words)


@rule("retries_in_circles", "errors", "high")
def _retries_in_circles(scene: Scene) -> Iterator[Insight]:
    """See the same tool three times in a row, where it fails often."""
    threshold, sequences = 0.25, at(scene.now, "sequences_3")
    n = sum(sequences.values())
    for name, tool in at(scene.now, "tools").items():
        failed = CATALOGUE["error_rate"].make({"tools": {name: tool}})
        share = sequences.get(" > ".join([name] * 3), 0) / n if n else 0.0
        if n >= _SOME and share >= threshold and (failed.value or 0) >= threshold:
            yield Insight(
                name,
                f"{percent(share)} of {number(n)} runs of three calls were {name or '?'} thrice, "
                f"of which {percent(failed.value)} fail",
                Evidence("sequences_3", "share", share, n, threshold),
                "break the circle: ask what the error says before it is tried again",
            )


@rule("subagents_fail", "errors", "medium")
def _subagents_fail(scene: Scene) -> Iterator[Insight]:
    words = (
        "only {value} of {n} sub-agents succeeded",
        "give sub-agents smaller tasks, and say how each is to report",
    )
    yield from _beyond(scene, "subagent_success_rate", 0.7, 5, words)


# -- productivity ----------------------------------------------------------------------------------


@rule("edits_rejected", "productivity", "high")
def _edits_rejected(scene: Scene) -> Iterator[Insight]:
    words = (
        "{value} of {n} edits were undone or denied",
        "say before what is to stay as it is, and show the agent one example of the style",
    )
    yield from _beyond(scene, "rejection_rate", 0.2, _FEW, words)


@rule("edits_reworked", "productivity", "low")
def _edits_reworked(scene: Scene) -> Iterator[Insight]:
    words = (
        "{value} of {n} edits were edited again within 5 minutes",
        "ask for one file at a time with its test, so that the first edit holds",
    )
    yield from _beyond(scene, "partial_rate", 0.4, _FEW, words)


@rule("acceptance_falls", "productivity", "high")
def _acceptance_falls(scene: Scene) -> Iterator[Insight]:
    words = (
        "{value} of {n} edits were accepted, after {before} in the period before",
        "compare with `blueplane metrics --group-by week`, and see which model or project changed",
    )
    yield from _moved(scene, "acceptance_rate", 0.1, _SOME, words)


@rule("productivity_falls", "productivity", "medium")
def _productivity_falls(scene: Scene) -> Iterator[Insight]:
    words = (
        "the productivity score is {value} of {n} tool calls, after {before} in the period before",
        "look at its parts with `blueplane metrics --metric productivity_score --format json`",
    )
    yield from _moved(scene, "productivity_score", 10, _SOME, words)


@rule("long_think_time", "productivity", "low")
def _long_think_time(scene: Scene) -> Iterator[Insight]:
    """See the agent wait for a person."""
    threshold = 5 * 60_000
    figure = scene.figure("think_time_p50_ms")
    if figure.value is None or figure.n < _FEW or figure.value < threshold:
        return
    yield Insight(
        _ALL,
        f"half of {number(figure.n)} prompts came more than {milliseconds(figure.value)} after the "
        "last tool had ended",
        Evidence("think_time_p50_ms", "ms", figure.value, figure.n, threshold),
        "have a notification say when the agent waits, or give it several steps at once",
    )


@rule("slow_tool", "productivity", "low")
def _slow_tool(scene: Scene) -> Iterator[Insight]:
    threshold = 60_000
    for name, tool in at(scene.now, "tools").items():
        took, n = percentile(at(tool, "ms"), 95), at(tool, "ms").get("n", 0)
        if took is not None and n >= _FEW and took >= threshold:
            yield Insight(
                name,
                f"one in twenty of {number(n)} calls of {name or '?'} took {milliseconds(took)} or "
                "longer",
                Evidence("tool_execution_p95_ms", "ms", took, n, threshold),
                "have it do less at once: one test file, one directory, or a limit of time",
            )


# -- patterns --------------------------------------------------------------------------------------


@rule("churn_on_extension", "patterns", "low")
def _churn_on_extension(scene: Scene) -> Iterator[Insight]:
    threshold = 0.7
    for extension, kind in at(scene.now, "changed").items():
        edits = kind.get("edits", 0)
        share = (edits - kind.get("files", 0)) / edits if edits else 0.0
        if edits >= _SOME and share >= threshold:
            name = f".{extension}" if extension else "files without an extension"
            yield Insight(
                extension,
                f"{percent(share)} of {number(edits)} edits of {name} were of a file that had been "
                "edited in the session before",
                Evidence("churn_rate", "share", share, edits, threshold),
                f"let the agent read the whole file and its test before it edits {name}",
            )


@rule("low_cache_reads", "patterns", "medium")
def _low_cache_reads(scene: Scene) -> Iterator[Insight]:
    threshold = 0.5
    for model, sums in at(scene.now, "models").items():
        figure: Figure = cache_read_share(sums)
        if figure.value is not None and figure.n >= _SOME and figure.value <= threshold:
            yield Insight(
                model,
                f"only {percent(figure.value)} of what {model or '?'} read in {number(figure.n)} "
                "calls came from the cache",
                Evidence("cache_read_share", "share", figure.value, figure.n, threshold),
                "stay in one session for one task: a long pause, or a change of its rules or "
                "tools, has everything read anew",
            )


@rule("frequent_compactions", "patterns", "medium")
def _frequent_compactions(scene: Scene) -> Iterator[Insight]:
    words = (
        "the context was compacted {value} times an hour of work, {n} times in all",
        "start a new session for a new task, and give files by name instead of whole",
    )
    yield from _beyond(scene, "compactions_per_h", 2, 3, words)


@rule("context_nearly_full", "patterns", "low")
def _context_nearly_full(scene: Scene) -> Iterator[Insight]:
    words = (
        "one in twenty of {n} looks found the context {value} percent full or fuller",
        "start a new session before it is full: what matters can be lost in a compaction",
    )
    yield from _beyond(scene, "context_usage_p95_percent", 85, _FEW, words)


@rule("models_change_often", "patterns", "low")
def _models_change_often(scene: Scene) -> Iterator[Insight]:
    words = (
        "the model changed {value} times a session, in {n} sessions",
        "stay with one model in a session: another one has to read everything anew",
    )
    yield from _beyond(scene, "model_switches_per_session", 3, 5, words)


@rule("calls_denied", "patterns", "low")
def _calls_denied(scene: Scene) -> Iterator[Insight]:
    threshold, found = 0.15, outcomes(scene.now)
    n = executed(scene.now) + found["denied"]
    share = found["denied"] / n if n else 0.0
    if n >= _SOME and share >= threshold:
        yield Insight(
            _ALL,
            f"{percent(share)} of {number(n)} tool calls were denied",
            Evidence("denied_share", "share", share, n, threshold),
            "write into the permissions what is never, and what is always, allowed",
        )


@rule("one_tool_does_all", "patterns", "low")
def _one_tool_does_all(scene: Scene) -> Iterator[Insight]:
    threshold, tools = 0.8, at(scene.now, "tools")
    counts = {name: sum(tool.get(each, 0) for each in OUTCOMES) for name, tool in tools.items()}
    n = sum(counts.values())
    for name, count in counts.items():
        if n >= 5 * _SOME and count / n >= threshold:
            yield Insight(
                name,
                f"{percent(count / n)} of {number(n)} tool calls were {name or '?'}",
                Evidence("tool_share", "share", count / n, n, threshold),
                "see whether a tool of its own, such as search or edit, would do it surer",
            )


@rule("costly_model", "patterns", "medium")
def _costly_model(scene: Scene) -> Iterator[Insight]:
    """See a model that costs much more a call than another one whose answers are as long."""
    threshold, alike = 3.0, 2.0
    known = [each for each in scene.costs if each.calls >= _SOME and each.output_tokens]
    for one, other in combinations(known, 2):
        cheap, dear = sorted((one, other), key=_a_call)
        lengths = sorted(each.output_tokens / each.calls for each in (one, other))
        ratio = _a_call(dear) / _a_call(cheap) if cheap.cost_usd else 0.0
        if lengths[1] <= alike * lengths[0] and ratio >= threshold:
            yield Insight(
                dear.model,
                f"a call of {dear.model} cost {dollars(_a_call(dear))} (estimate, {dear.calls:,} "
                f"calls), {number(ratio)} times one of {cheap.model}, for answers of like length",
                Evidence("cost_ratio", "times", ratio, dear.calls, threshold),
                f"try {cheap.model} for such work, and compare `blueplane metrics`",
            )


def _a_call(model: ModelCost) -> float:
    return model.cost_usd / model.calls
