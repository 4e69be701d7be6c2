"""Looks at a large database of Cursor's, and what a change in it costs.

``python benchmarks/databases.py [megabytes]`` prints one JSON object: milliseconds of a look at a
database that did not change, once it was gone round through and before, and from a look to the
events of ten changed rows, each as median and maximum; how many events the first reading made, in
how many seconds; and after how many looks, one a second, an old row is found that was changed in
place.
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
#: Looks in a row that take less than this, in seconds, after which it has gone round.
IDLE_LOOKS, IDLE_S = 5, 0.0001
CHANGES = 20
CONVERSATIONS, TURNS = 50, 40


def read(reader: Reader, maker: Maker, mark: Mark) -> tuple[Mark, int]:
    """Make the events of what is new; return the mark behind it, and how many they are."""
    count = 0
    for piece in reader.read(mark):
        count += len([maker.make(thing, "key", 0) for thing in piece.things])
        mark = piece.mark or mark
    return mark, count


def look(reader: Reader, maker: Maker, mark: Mark) -> int:
    """Look as the monitor does while nothing seems to have changed; return how many events."""
    reader.look()
    things = [thing for piece in reader.recheck(mark) for thing in piece.things]
    return len([maker.make(thing, "key", 0) for thing in things])


def go_round(reader: Reader, maker: Maker, mark: Mark) -> list[float]:
    """Look until there is no more work in it; return how long each look took, in seconds."""
    times_s: list[float] = []
    idle = 0
    while idle < IDLE_LOOKS:
        began_s = time.perf_counter()
        look(reader, maker, mark)
        times_s.append(time.perf_counter() - began_s)
        idle = idle + 1 if times_s[-1] < IDLE_S else 0
    return times_s[:-IDLE_LOOKS]


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
    round_s = go_round(reader, maker, mark)
    unchanged: list[float] = []
    changed: list[float] = []
    for _ in range(LOOKS):
        began_s = time.perf_counter()
        look(reader, maker, mark)
        unchanged.append(time.perf_counter() - began_s)
    with closing(sqlite3.connect(stores.state)) as editor:
        editor.execute("SELECT count(*) FROM ItemTable").fetchall()
        composers = list(stores.truth.composers)
        for number in range(CHANGES):
            for _ in range(3):  # of three bubbles each, and the conversation
                stores.add_turn(composers[number % CONVERSATIONS])
            began_s = time.perf_counter()
            mark, _ = read(reader, maker, mark)
            look(reader, maker, mark)
            changed.append(time.perf_counter() - began_s)
        go_round(reader, maker, mark)
        old = list(stores.truth.bubbles)[CONVERSATIONS * TURNS]
        stores.change_in_place(*old, "another")
        mark, _ = read(reader, maker, mark)
        looks = 1
        while not look(reader, maker, mark):
            looks += 1
    return {
        "megabytes": stores.state.stat().st_size >> 20,
        "unchanged_ms": shown(unchanged),
        "unchanged_while_going_round_ms": shown(round_s),
        "ten_rows_ms": shown(changed),
        "in_place_found_after_looks": looks,
        "first": {"events": events, "seconds": round(first_s, 2)},
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(measure(Path(name), int(sys.argv[1]) if len(sys.argv) > 1 else 2000)))
