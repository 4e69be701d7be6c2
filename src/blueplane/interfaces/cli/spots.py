"""Where on this disk the lines are that a record was read from.

Owns the search behind ``blueplane explain``, and how a file is named there.
Promises no directory at the privacy level ``strict``, and a word where a line is nowhere.
Leaves the rows of a record to ``analytics/evidence.py``, the files to ``capture/claude_code``.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from blueplane.analytics.evidence import rows_of
from blueplane.analytics.explaining import Explained, Row
from blueplane.capture.claude_code.finding import Spot, find_lines
from blueplane.capture.claude_code.places import roots
from blueplane.config import load
from blueplane.paths import Home
from blueplane.store.derived import Trace
from blueplane.store.queries import Reader


class Files:
    """The files in which lines were found, by what they are called here."""

    def __init__(self, home: Home) -> None:
        settings = load(home, os.environ)
        self._strict = settings.privacy.level == "strict" or settings.privacy.hash_project_names
        self.roots = roots(Path.home(), os.environ, settings.capture.claude_dirs)
        self.shown: list[str] = []

    def name(self, path: str) -> str:
        """Return what a file is called; each is remembered, in the order of its first line."""
        home = f"{Path.home()}/"
        name = path.rpartition("/")[2] if self._strict else path.replace(home, "~/", 1)
        if name not in self.shown:
            self.shown.append(name)
        return name


def spotted(reader: Reader, files: Files, found: Explained) -> list[Row]:
    """Return the parts of a figure with the lines that each was read from."""
    if found.records in {"sessions", ""}:
        return found.rows
    rows = rows_of(reader, found.rows)
    wanted = {each.event_id for group in rows for each in group if each.source == "transcript"}
    spots = find_lines(files.roots, {each["session_id"] for each in found.rows}, wanted)
    return [
        {**_without_key(part), **_lines(group, spots, files)}
        for part, group in zip(found.rows, rows, strict=True)
    ]


def _without_key(part: Mapping[str, Any]) -> Row:
    return {name: value for name, value in part.items() if name != "key"}


def _lines(group: Sequence[Trace], spots: Mapping[bytes, Spot], files: Files) -> Row:
    """Return the lines of a part for programs, and in short."""
    lines = []
    for each in group:
        spot = spots.get(each.event_id)
        lines.append({
            "event_id": each.event_id.hex(), "source": each.source, "type": each.hook_type,
            "file": None if spot is None else files.name(spot.path),
            "line": None if spot is None else spot.line,
        })  # fmt: skip
    return {"lines": lines, "where": " ".join(_in_short(lines, files)) or None}


def _in_short(lines: Sequence[Row], files: Files) -> Iterator[str]:
    """Yield where lines are: those that follow each other in a file together."""
    placed = sorted({(files.shown.index(each["file"]) + 1, each["line"])
                     for each in lines if each["file"] is not None})  # fmt: skip
    begun = 0
    for place, (file, line) in enumerate(placed):
        if (file, line + 1) not in placed[place + 1 : place + 2]:
            first = placed[begun][1]
            yield f"[{file}]:{line}" if first == line else f"[{file}]:{first}-{line}"
            begun = place + 1
    others = (each["source"] for each in lines if each["file"] is None)
    yield from dict.fromkeys("gone" if each == "transcript" else each for each in others)
