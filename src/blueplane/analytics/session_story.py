"""A session as it went: its files, and what happened when.

Owns the rows of both, under the names that all interfaces show.
Promises the verdicts and outcomes that its figures are made of; a file is a pseudonym and an
extension, and the text of a prompt is there at the privacy level ``full`` only.
Leaves reading to ``store/``, judging to ``metrics/measure.py``, drawing to the interfaces.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from blueplane.analytics.metrics.catalogue import VERDICTS
from blueplane.analytics.metrics.measure import Judged, judged, moments_of, outcome_of
from blueplane.analytics.session_analysis import FIELDS, Row
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

_ENTRY: Final[Row] = dict.fromkeys(FIELDS["timeline"])

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
        **{name: verdicts.count(name) for name in VERDICTS},
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
            outcome = outcome_of(record, last_ms)
            said = {"name": record.name, "outcome": outcome, "duration_ms": record.took_ms}
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
