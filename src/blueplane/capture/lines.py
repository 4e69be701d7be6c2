"""Counting the lines that an edit adds and removes, before its text is dropped.

Owns the count for a pair of texts and for a unified patch.
Promises linear time: lines shared at the start and at the end are set aside and everything between
counts as removed and added, which never undercounts and overcounts edits far apart in one text.
Leaves it to the platforms which payload holds an edit that was really made.
"""

from typing import Any

from blueplane.capture.adapter import LineCounts


def changed_lines(old: str, new: str) -> LineCounts:
    """Count the lines added and removed between two texts; a missing last newline is no change."""
    before, after = split_lines(old), split_lines(new)
    shorter = min(len(before), len(after))
    start = 0
    while start < shorter and before[start] == after[start]:
        start += 1
    end = 0
    while end < shorter - start and before[-1 - end] == after[-1 - end]:
        end += 1
    return len(after) - start - end, len(before) - start - end


def split_lines(text: str) -> list[str]:
    """Split at newlines only; no text has no line."""
    return text.removesuffix("\n").split("\n") if text else []


def patch_lines(hunks: object) -> LineCounts | None:
    """Count in a list of hunks ``{"lines": ["+...", "-...", " ..."]}``; None for no such list."""
    if not isinstance(hunks, list) or not hunks:
        return None
    lines = [line for hunk in hunks if isinstance(hunk, dict) for line in _texts(hunk.get("lines"))]
    added = sum(line.startswith("+") for line in lines)
    return added, sum(line.startswith("-") for line in lines)


def edit_list_lines(edits: object) -> LineCounts | None:
    """Add up a list of ``{"old_string", "new_string"}``; None when there is no such list."""
    if not isinstance(edits, list):
        return None
    counts = [edit_lines(edit) for edit in edits]
    known = [count for count in counts if count is not None]
    return (sum(count[0] for count in known), sum(count[1] for count in known)) if known else None


def edit_lines(edit: object) -> LineCounts | None:
    """Count one ``{"old_string", "new_string"}``; None when a text is missing."""
    if not isinstance(edit, dict):
        return None
    old, new = edit.get("old_string"), edit.get("new_string")
    return changed_lines(old, new) if type(old) is str and type(new) is str else None


def _texts(value: Any) -> list[str]:  # noqa: ANN401 - whatever an editor wrote
    return [item for item in value if type(item) is str] if isinstance(value, list) else []
