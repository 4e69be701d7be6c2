"""From an event to the figures that show it, while many other events arrive.

``python benchmarks/visible.py [events a second] [seconds]`` prints one JSON object: seconds from
the append of a session's only tool call until ``sessions`` counts the call, at a steady rate of
other events, and after a backlog that is drained as fast as it goes.
"""

import json
import os
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.ingest import make_events, wait_for
from benchmarks.latency import percentile

from blueplane.capture.hook_event import HandOff, HookReader
from blueplane.capture.sanitise import Sanitiser
from blueplane.config import load
from blueplane.daemon import Daemon
from blueplane.event import Event, encode
from blueplane.paths import Home

RATE, LOAD_S, BACKLOG = 500, 30, 20_000
#: Seconds between two tool calls that are followed, and between two looks for them.
APART_S, LOOK_S = 0.5, 0.02
#: Seconds in which what is expected at 95 % of calls must be seen.
TARGET_S = 5.0
_SEEN = (
    "SELECT s.session_id FROM session_summaries m JOIN sessions s ON s.id = m.session"
    " WHERE m.tool_calls = 1 AND s.session_id LIKE 'visible-%'"
)


class Load:
    """Appends events to a server, and knows when each followed session was appended."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._reader = HookReader(Sanitiser("strict", os.urandom(32)), lambda _event: False)
        self._numbers = count()
        self.appended: dict[str, float] = {}

    def append(self, events: Sequence[Event]) -> None:
        """Append events of others."""
        origins = [event.origin for event in events]
        register = self._daemon.writer.in_flight.register
        self._daemon.stream.append("hook", [encode(event) for event in events], origins, register)

    def probe(self) -> None:
        """Append a tool call of a session of its own."""
        number = next(self._numbers)
        session = f"visible-{number}"
        body = {"session_id": session, "tool_name": "Read", "tool_use_id": f"toolu_visible{number}"}
        self.append([self._hook(name, number, body) for name in ("PreToolUse", "PostToolUse")])
        self.appended[session] = time.monotonic()

    def _hook(self, name: str, number: int, body: dict[str, str]) -> Event:
        raw = json.dumps({"hook_event_name": name, **body}).encode()
        origin = f"9.{number}.{name}"
        return self._reader.read(HandOff(origin, time.time_ns(), raw, "claude_code", name))


@contextmanager
def serving() -> Iterator[Daemon]:
    """Give a server in a home of its own."""
    with tempfile.TemporaryDirectory() as directory:
        home = Home(Path(directory) / "home")
        daemon = Daemon(home, load(home, {}))
        daemon.start()
        try:
            wait_for(lambda: daemon.stream.attached)
            yield daemon
        finally:
            daemon.stop()


def follow(load_: Load, database: Path, over: threading.Event) -> list[float]:
    """Return after how many seconds each session was seen, once there is no more to come."""
    seen: dict[str, float] = {}
    with closing(sqlite3.connect(database)) as connection:
        while not (over.is_set() and len(seen) == len(load_.appended)):
            found = connection.execute(_SEEN).fetchall()
            now = time.monotonic()
            for (session,) in found:
                seen.setdefault(session, now - load_.appended.get(session, now))
            time.sleep(LOOK_S)
    return list(seen.values())


def steadily(events: Sequence[Event], rate: int, seconds: int) -> list[float]:
    """Return the seconds until calls were seen, at a steady rate of other events."""
    with serving() as daemon:
        load_, over = Load(daemon), threading.Event()

        def go() -> None:
            begin, done = time.monotonic(), 0
            while (passed := time.monotonic() - begin) < seconds:
                due = min(len(events), int(passed * rate))
                if due > done:
                    load_.append(events[done:due])
                    done = due
                if passed >= len(load_.appended) * APART_S:
                    load_.probe()
                time.sleep(LOOK_S)
            over.set()

        threading.Thread(target=go).start()
        return follow(load_, daemon.home.database, over)


def after(events: Sequence[Event]) -> float:
    """Return the seconds until a call was seen that came last in a backlog."""
    with serving() as daemon:
        load_, over = Load(daemon), threading.Event()
        for start in range(0, len(events), 500):
            load_.append(events[start : start + 500])
        load_.probe()
        over.set()
        return follow(load_, daemon.home.database, over)[0]


def run(rate: int = RATE, seconds: int = LOAD_S) -> dict[str, object]:
    """Return the figures."""
    events = make_events(max(rate * seconds, BACKLOG), os.urandom(32))
    seen = steadily(events, rate, seconds)
    return {
        "events_per_s": rate,
        "calls": len(seen),
        "visible_p50_s": round(statistics.median(seen), 2),
        "visible_p95_s": round(percentile(seen, 0.95), 2),
        "visible_target_p95_s": TARGET_S,
        "backlog": BACKLOG,
        "visible_after_backlog_s": round(after(events[:BACKLOG]), 2),
    }


if __name__ == "__main__":
    print(json.dumps(run(*map(int, sys.argv[1:])), indent=1))
