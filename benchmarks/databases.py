"""Looks at a large database of Cursor's, and what a change in it costs.

``python benchmarks/databases.py [megabytes]`` prints one JSON object: milliseconds of a look at a
database that did not change, and from a look to the events of ten changed rows, each as median and
maximum; and how many events the first reading made, in how many seconds.
"""

import json
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from blueplane.capture.cursor.events import Maker
from blueplane.capture.cursor.found import Reader
from blueplane.capture.cursor.lists import Lists
from blueplane.capture.cursor.readers import make_reader
from blueplane.capture.cursor.workspaces import find_places, find_stores
from blueplane.capture.filters import NO_FILTERS
from blueplane.capture.sanitise import Sanitiser
from blueplane.event import Mark
from helpers.cursor import CursorStores

SECRET = b"s" * 32
LOOKS = 200
CHANGES = 20
CONVERSATIONS, TURNS = 50, 40


def read(reader: Reader, maker: Maker, mark: Mark) -> tuple[Mark, int]:
    """Make the events of what is new; return the mark behind it, and how many they are."""
    count = 0
    for piece in reader.read(mark):
        count += len([maker.make(thing, "key", 0) for thing in piece.things])
        mark = piece.mark or mark
    return mark, count


def shown(times_s: list[float]) -> dict[str, float]:
    """Return median and maximum in milliseconds."""
    return {"median": round(median(times_s) * 1000, 3), "max": round(max(times_s) * 1000, 3)}


def measure(directory: Path, megabytes: int) -> dict[str, object]:
    """Make the database, read it, and change it while Cursor has it open."""
    stores = CursorStores(directory, 13)
    for number in range(CONVERSATIONS):
        stores.converse(number, TURNS)
    stores.inflate(megabytes)
    found = find_stores(find_places(directory, {}, system="linux"))
    reader = make_reader(next(each for each in found if each.kind == "composers"), Lists())
    maker = Maker(Sanitiser("strict", SECRET), NO_FILTERS, SECRET, lambda: None)
    began_s = time.perf_counter()
    mark, events = read(reader, maker, Mark(0, 1, ""))
    first_s = time.perf_counter() - began_s
    unchanged: list[float] = []
    changed: list[float] = []
    for _ in range(LOOKS):
        began_s = time.perf_counter()
        reader.look()
        unchanged.append(time.perf_counter() - began_s)
    with closing(sqlite3.connect(stores.state)) as editor:
        editor.execute("SELECT count(*) FROM ItemTable").fetchall()
        composers = list(stores.truth.composers)
        for number in range(CHANGES):
            for _ in range(3):  # of three bubbles each, and the conversation
                stores.add_turn(composers[number % CONVERSATIONS])
            began_s = time.perf_counter()
            reader.look()
            mark, _ = read(reader, maker, mark)
            changed.append(time.perf_counter() - began_s)
    return {
        "megabytes": stores.state.stat().st_size >> 20,
        "unchanged_ms": shown(unchanged),
        "ten_rows_ms": shown(changed),
        "first": {"events": events, "seconds": round(first_s, 2)},
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(measure(Path(name), int(sys.argv[1]) if len(sys.argv) > 1 else 2000)))
