"""Finding lines of transcripts again, by their event ids.

Owns the search in the files of sessions.
Promises to read files only, and that a line which is found is the one that was captured: by its
uuid, or by where it stands and what it says.
Leaves which events are wanted to who explains a figure.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from blueplane.capture.claude_code.places import SOURCE, is_meta, session_of
from blueplane.capture.claude_code.tree import Tree
from blueplane.event import derive_id, line_id

_UUID: Final = re.compile(rb'"uuid"\s*:\s*"([^"]{1,200})"')


class Spot(NamedTuple):
    """A line of a file, counted from 1."""

    path: str
    line: int


def find_lines(
    roots: Iterable[str], sessions: Iterable[str], wanted: set[bytes]
) -> dict[bytes, Spot]:
    """Return where the lines of events are, in the files of their sessions.

    The place of some agents' files says no session: those are looked into last.
    """
    named, left = {*sessions, ""}, set(wanted)
    found: dict[bytes, Spot] = {}
    for path in sorted(_transcripts(roots), key=lambda path: (not session_of(path), path)):
        if left and session_of(path) in named:
            for number, event_id in _lines(path, left):
                found.setdefault(event_id, Spot(path, number))
                left.discard(event_id)
    return found


def _transcripts(roots: Iterable[str]) -> list[str]:
    found: list[str] = []
    Tree(found.append, _ignore, _ignore).plant(roots)
    return [path for path in found if not is_meta(path)]


def _lines(path: str, wanted: set[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield the numbers of wanted lines in a file; nothing of one that cannot be read."""
    name, start = path.rpartition("/")[2], 0
    try:
        with Path(path).open("rb") as file:
            for number, raw in enumerate(file, 1):
                for event_id in _ids(raw, name, start):
                    if event_id in wanted:
                        yield number, event_id
                start += len(raw)
    except OSError:
        return


def _ids(raw: bytes, name: str, start: int) -> Iterator[bytes]:
    """Yield what the event id of a line may be."""
    uuids = [each.decode("utf-8", "replace") for each in _UUID.findall(raw)]
    yield from map(line_id, uuids)
    if not uuids:
        yield derive_id(SOURCE, name, str(start), raw.rstrip(b"\n"))


def _ignore(*_path: object) -> None:
    """Nobody waits for it."""
