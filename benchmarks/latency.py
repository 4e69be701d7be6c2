"""Captured to written on a quiet server, and the time of a durable batch of 100.

``python benchmarks/latency.py [events]`` prints one JSON object: milliseconds from the end of the
real hook script to the commit (as the rows say it, so the sampling costs nothing), with inotify and
with polling, and P50 and P95 of batches of 100 rows beside a plain fsync of as many bytes.
"""

import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.ingest import make_events, wait_for
from tests.helpers.payloads import payloads

from blueplane.capture import spool
from blueplane.capture.watch import PollWatch
from blueplane.config import load
from blueplane.daemon import Daemon
from blueplane.event import encode
from blueplane.paths import Home
from blueplane.pipeline.commits import Commits
from blueplane.store.traces import make_rows

HOOK = Path(__file__).resolve().parents[1] / "hooks" / "blueplane-hook"
#: Seconds between two hooks: quiet.
APART_S = 0.02


def percentile(values: list[float], share: float) -> float:
    """Return the value below which ``share`` of the values lie."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def road_ms(count: int) -> list[float]:
    """Fire real hooks one after another; return captured -> written of each row, in ms."""
    with tempfile.TemporaryDirectory() as directory:
        home = Home(Path(directory) / "home")
        daemon = Daemon(home, load(home, {}))
        daemon.start()
        try:
            wait_for(lambda: daemon.stream.attached)
            for item in payloads(count):
                subprocess.run(
                    [HOOK, item.platform, item.hook_name],
                    input=item.raw,
                    env={"BLUEPLANE_HOME": str(home.root)},
                    check=True,
                )
                time.sleep(APART_S)
            wait_for(lambda: not os.listdir(home.spool))
        finally:
            daemon.stop()
        with closing(sqlite3.connect(home.database)) as database:
            rows = database.execute("SELECT ingested_ms - captured_ms FROM raw_traces")
            return [float(ms) for (ms,) in rows]


def batch_ms(batches: int, size: int = 100) -> tuple[list[float], list[float]]:
    """Return the ms of durable batches, and of plain fsyncs of as many bytes, in turns."""
    events = make_events(batches * size, os.urandom(32))
    entries = [(b"%d-0" % number, encode(event)) for number, event in enumerate(events)]
    ours: list[float] = []
    plain: list[float] = []
    with tempfile.TemporaryDirectory() as directory:
        commits = Commits(Path(directory) / "telemetry.db")
        with (Path(directory) / "plain").open("wb", 0) as file:
            for start in range(0, len(entries), size):
                batch = make_rows(entries[start : start + size], 1, commits.codec)
                began = time.perf_counter()
                commits.write(batch)
                ours.append((time.perf_counter() - began) * 1000)
                began = time.perf_counter()
                file.write(b"x" * 200 * size)
                os.fsync(file.fileno())
                plain.append((time.perf_counter() - began) * 1000)
        commits.close()
    return ours, plain


def run(count: int = 300) -> dict[str, object]:
    """Return the figures."""
    woken = road_ms(count)
    best, spool.watch = spool.watch, lambda _directory: PollWatch()
    try:
        polled = road_ms(count)
    finally:
        spool.watch = best
    ours, plain = batch_ms(100)
    return {
        "woken_p50_ms": statistics.median(woken),
        "woken_p99_ms": percentile(woken, 0.99),
        "woken_target_ms": 20,
        "polled_p50_ms": statistics.median(polled),
        "polled_p99_ms": percentile(polled, 0.99),
        "polled_target_ms": 60,
        "batch_100_p50_ms": round(statistics.median(ours), 2),
        "batch_100_p95_ms": round(percentile(ours, 0.95), 2),
        "batch_100_target_p95_ms": 4,
        "plain_fsync_p95_ms": round(percentile(plain, 0.95), 2),
    }


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else 300), indent=2))
