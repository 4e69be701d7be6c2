"""A session by its parts: its tools, its files, and what happened when.

Owns the rows of each part, under the names that all interfaces show.
Promises the verdicts and outcomes that its figures are made of; a file is a pseudonym and an
extension, and the text of a prompt is there at the privacy level ``full`` only.
Leaves reading to ``store/``, counting to ``metrics/measure.py``, drawing to the interfaces.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from blueplane.analytics.metrics.catalogue import CATALOGUE, OUTCOMES, figures
from blueplane.analytics.metrics.measure import Judged, judged, moments_of, outcome_of
from blueplane.analytics.metrics.vector import Vector, at, mean, percentile
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
from blueplane.store.timeline import Entry

Row: TypeAlias = dict[str, Any]

_VERDICTS: Final = ("accepted", "provisional", "modified", "rejected", "undecided")
_PERCENTILES: Final = (50, 95, 99)
#: What a row of each part has, in this order.
FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "figures": ("category", "name", "value", "unit", "n", "certainty"),
    "tools": (
        "tool", "calls", *OUTCOMES, "avg_ms", *(f"p{each}_ms" for each in _PERCENTILES), "max_ms",
    ),
    "files": (
        "file", "extension", "created", "edits", "lines_added", "lines_removed", *_VERDICTS,
        "evidence",
    ),
    "timeline": (
        "depth", "at_ms", "kind", "name", "outcome", "duration_ms", "chars", "lines_added",
        "lines_removed", "file", "seen_by", "joined_by", "prompt",
    ),
}  # fmt: skip
_ENTRY: Final[Row] = dict.fromkeys(FIELDS["timeline"])


def figure_rows(vector: Vector) -> list[Row]:
    """Return all figures, with unit, size of sample and certainty."""
    return [
        {
            "category": CATALOGUE[name].category, "name": name, "value": figure.value,
            "unit": CATALOGUE[name].unit, "n": figure.n, "certainty": CATALOGUE[name].certainty,
        }
        for name, figure in figures(vector).items()
    ]  # fmt: skip


# --- tools ----------------------------------------------------------------------------------------


def tool_rows(vector: Vector) -> list[Row]:
    """Return for each tool how often it was called, what became of it and how long it took."""
    rows = [_tool_row(name, tool) for name, tool in at(vector, "tools").items()]
    return sorted(rows, key=lambda row: (-row["calls"], row["tool"]))


def _tool_row(name: str, tool: Mapping[str, Any]) -> Row:
    found = {outcome: tool.get(outcome, 0) for outcome in OUTCOMES}
    times = tool.get("ms", {})
    percentiles = {f"p{percent}_ms": percentile(times, percent) for percent in _PERCENTILES}
    return {
        "tool": name, "calls": sum(found.values()), **found,
        "avg_ms": mean(times), **percentiles, "max_ms": times.get("most"),
    }  # fmt: skip


def sequence_rows(vector: Vector) -> list[Row]:
    """Return which tools followed on which, in twos and threes, the most frequent first."""
    rows = [
        {"sequence": name, "tools": length, "times": times}
        for length in (2, 3)
        for name, times in at(vector, f"sequences_{length}").items()
    ]
    return sorted(rows, key=lambda row: (-row["times"], row["tools"], row["sequence"]))


# --- files ----------------------------------------------------------------------------------------


def file_rows(talk: Conversation) -> list[Row]:
    """Return what was edited, by file: edits and lines, and what the edits came to."""
    by_file: dict[tuple[str | None, str | None], list[Judged]] = {}
    moments = moments_of(talk)
    for each in judged(talk, moments[-1]) if moments else ():
        key = pseudonym(each.change), each.change.extension
        by_file.setdefault(key, []).append(each)
    rows = [_file_row(*key, edits) for key, edits in by_file.items()]
    return sorted(rows, key=lambda row: (-row["edits"], row["extension"] or "", row["file"] or ""))


def _file_row(file: str | None, extension: str | None, edits: Sequence[Judged]) -> Row:
    verdicts = [each.verdict for each in edits]
    return {
        "file": file, "extension": extension,
        "created": any(each.change.created for each in edits),
        "edits": len(edits),
        "lines_added": _known_sum(each.change.lines_added for each in edits),
        "lines_removed": _known_sum(each.change.lines_removed for each in edits),
        **{name: verdicts.count(name) for name in _VERDICTS},
        "evidence": sorted({each.evidence for each in edits}),
    }  # fmt: skip


def _known_sum(amounts: Iterable[int | None]) -> int | None:
    known = [each for each in amounts if each is not None]
    return sum(known) if known else None


def pseudonym(change: CodeChange) -> str | None:
    """Return the pseudonym of an edit's file, as payloads have it; None when unknown."""
    if change.file is None:
        return None
    return f"p:{change.file:012x}" + (f".{change.extension}" if change.extension else "")


# --- timeline -------------------------------------------------------------------------------------


def timeline_rows(entries: Iterable[Entry], last_ms: int, depth: int = 0) -> Iterator[Row]:
    """Yield what happened in order; what a sub-agent did comes after it, one level deeper."""
    for entry in entries:
        yield {
            **_ENTRY, "depth": depth, "at_ms": entry.at_ms, "kind": entry.kind,
            **_said(entry.record, last_ms),
            "seen_by": list(entry.record.seen_by), "joined_by": entry.record.joined_by,
        }  # fmt: skip
        yield from timeline_rows(entry.children, last_ms, depth + 1)


def _said(record: Seen, last_ms: int) -> Row:
    """Return what a record says beside its time and its witnesses."""
    said: Row = {}
    match record:
        case Turn():
            said = {
                "name": record.model, "outcome": record.outcome, "chars": record.prompt_chars,
                "duration_ms": _between(record.prompt_ms, record.ended_ms),
                "prompt": record.prompt,
            }  # fmt: skip
        case ToolCall():
            took = record.duration_ms if record.latency_ms is None else record.latency_ms
            outcome = outcome_of(record, last_ms)
            said = {"name": record.name, "outcome": outcome, "duration_ms": took}
        case CodeChange():
            said = {
                "name": record.extension, "outcome": record.decision, "file": pseudonym(record),
                "lines_added": record.lines_added, "lines_removed": record.lines_removed,
            }  # fmt: skip
        case Response():
            said = {"name": record.model, "chars": record.chars}
        case Subagent():
            took = record.duration_ms
            said = {"name": record.type, "outcome": record.outcome, "duration_ms": took}
        case Compaction():
            took = _between(record.at_ms, record.ended_ms)
            said = {"name": record.cause, "duration_ms": took}
    return said


def _between(begun_ms: int | None, ended_ms: int | None) -> int | None:
    return None if begun_ms is None or ended_ms is None else ended_ms - begun_ms
