"""A generated tree of transcripts, on the disk and in a store, within this process.

Owns the tree's place, the store, and what is true of both.
Promises events made by the program's own reader, with the names and offsets of the real files.
Leaves servers and Redis to ``server.py``.
"""

from contextlib import suppress
from pathlib import Path

from blueplane.capture.claude_code.places import item_of, session_of
from blueplane.capture.claude_code.transcript import Line, Place, TranscriptReader
from blueplane.capture.sanitise import Sanitiser
from blueplane.config import PrivacyLevel
from blueplane.errors import MalformedPayloadError
from blueplane.event import Event
from blueplane.paths import Home
from helpers.desk import SECRET, Desk
from helpers.transcripts import Scribe, Truth, write


def scribbled(home: Home, user: Path, size: int, level: PrivacyLevel = "balanced") -> Truth:
    """Write a tree of so many bytes, and store and derive what it says; return the truth."""
    home.prepare()
    scribe = Scribe(seed=5, filler=60)
    projects = user / ".claude" / "projects"
    write(projects, scribe.lines(size))
    desk = Desk(home.database)
    for path in sorted(projects.rglob("*")):
        if path.is_file():
            desk.write(*_events(path, level))
    desk.derive()
    desk.close()
    return scribe.truth


def _events(path: Path, level: PrivacyLevel) -> list[Event]:
    reader = TranscriptReader(Sanitiser(level, SECRET))
    whole = path.name.endswith(".json")
    item = item_of(str(path), SECRET)
    place = Place(item, path.name, session_of(str(path)), whole=whole)
    text = path.read_bytes()
    lines = [text] if whole else text.splitlines(keepends=True)
    events, start = [], 0
    for raw in lines:
        end = start + len(raw)
        with suppress(MalformedPayloadError):
            events.append(reader.read(Line(raw.rstrip(b"\n"), start, end), place))
        start = end
    return events
