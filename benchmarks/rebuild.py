"""What it takes to derive everything anew: all workers over a store of hooks and transcripts.

``python benchmarks/rebuild.py [events]`` prints one JSON object: events a second, by the clock and
by the time of the processor that was ours, beside a floor that no worker can beat: reading and
decoding the same rows and nothing else.
"""

import gc
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from blueplane.capture.claude_code.transcript import Line, Place, TranscriptReader
from blueplane.capture.hook_event import HandOff, HookReader
from blueplane.capture.sanitise import Sanitiser
from blueplane.clock import NS_PER_MS
from blueplane.daemon import GC_THRESHOLDS
from blueplane.errors import BlueplaneError
from blueplane.event import Event
from blueplane.pipeline.batch import prepare
from blueplane.store.queries import reading
from blueplane.store.traces import Row
from helpers.desk import SECRET, T0_MS, Desk
from helpers.payloads import payloads
from helpers.road import make_entry
from helpers.transcripts import Scribe

AT_ONCE = 1_000


def hooks(sanitiser: Sanitiser, count: int) -> Iterator[Event]:
    """Yield the events of hooks, half a second apart."""
    reader = HookReader(sanitiser, lambda _: False)
    for number, item in enumerate(payloads(count)):
        at_ns = (T0_MS + number * 500) * NS_PER_MS
        hand_off = HandOff(f"{number}.1.1", at_ns, item.raw, item.platform, item.hook_name)
        yield reader.read(hand_off)


def lines(sanitiser: Sanitiser) -> Iterator[Event]:
    """Yield the events of transcripts, without end."""
    reader = TranscriptReader(sanitiser)
    ends: dict[str, int] = {}
    for path, raw in Scribe(filler=300).lines(1 << 60):
        name = path.rpartition("/")[2]
        start = ends.get(path, 0)
        ends[path] = start + len(raw)
        place = Place(path, name, name.partition(".")[0], whole=path.endswith(".json"))
        try:
            yield reader.read(Line(raw, start, ends[path]), place)
        except BlueplaneError:
            continue  # the scribe writes broken lines, too


def fill(desk: Desk, count: int) -> None:
    """Write events: hooks and lines of transcripts, as many of each."""
    sanitiser = Sanitiser("strict", SECRET)
    for source in (hooks(sanitiser, count // 2), islice(lines(sanitiser), count // 2)):
        while batch := list(islice(source, AT_ONCE)):
            made = prepare([make_entry(event) for event in batch], desk.commits.codec)
            desk.commits.write([each.row for each in made if isinstance(each.row, Row)])


def read_all(desk: Desk) -> None:
    """Read and decode every row."""
    mark = 0
    while True:
        with reading(desk.database) as reader:
            traces = reader.after(mark, AT_ONCE, desk.commits.codec)
        if not traces:
            return
        mark = traces[-1].sequence
        for trace in traces:
            trace.payload  # noqa: B018 - decodes it


def timed(act: Callable[[], None]) -> tuple[float, float]:
    """Return the seconds that something took: of the clock, and of the processor."""
    began, began_cpu = time.perf_counter(), time.process_time()
    act()
    return time.perf_counter() - began, time.process_time() - began_cpu


def run(count: int = 40_000) -> dict[str, object]:
    """Return the figures, with a garbage collector as the server has it."""
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    with tempfile.TemporaryDirectory() as directory:
        desk = Desk(Path(directory) / "telemetry.db")
        fill(desk, count)
        events = desk.execute("SELECT count(*) FROM traces")[0][0]
        desk.derive()
        floor, floor_cpu = timed(lambda: read_all(desk))
        desk.rebuild()
        took, took_cpu = timed(desk.derive)
        desk.close()
    return {
        "events": events,
        "events_per_s": round(events / took),
        "events_per_cpu_s": round(events / took_cpu),
        "read_only_per_s": round(events / floor),
        "read_only_per_cpu_s": round(events / floor_cpu),
        "times_the_floor_cpu": round(took_cpu / floor_cpu, 2),
    }


if __name__ == "__main__":
    print(json.dumps(run(*map(int, sys.argv[1:])), indent=1))
