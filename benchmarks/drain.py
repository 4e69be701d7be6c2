"""A spool full of hand-off files, drained to committed rows.

``python benchmarks/drain.py [files]`` prints one JSON object: files a second from the start of the
threads to the last file removed after its commit, beside a floor that no drain can beat: opening,
reading and removing the same files in a loop that does nothing with them.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.ingest import wait_for
from tests.helpers.payloads import Payload, payloads

from blueplane.config import load
from blueplane.daemon import Daemon
from blueplane.paths import Home
from blueplane.store.queries import reading


def fill(directory: Path, items: list[Payload]) -> None:
    """Write hand-off files as the hook does."""
    for number, item in enumerate(items):
        trailer = f"\n\036{item.platform} {item.hook_name}\n".encode()
        (directory / f"{number}.1.0").write_bytes(item.raw + trailer)


def is_empty(directory: Path) -> bool:
    """Whether a directory is empty, without reading all of it: that would be a load of its own."""
    with os.scandir(directory) as entries:
        return next(entries, None) is None


def time_drain(items: list[Payload]) -> float:
    """Return the seconds in which our server drains the spool."""
    with tempfile.TemporaryDirectory() as directory:
        home = Home(Path(directory) / "home")
        home.prepare()
        fill(home.spool, items)
        daemon = Daemon(home, load(home, {}))
        started = time.perf_counter()
        daemon.start()
        try:
            wait_for(lambda: daemon.writer.written == len(items) and is_empty(home.spool))
            took = time.perf_counter() - started
        finally:
            daemon.stop()
        with reading(home.database) as reader:
            snapshot = reader.balance()
        if snapshot is None or not snapshot.body["balanced"]:
            message = f"not balanced: {snapshot}"
            raise AssertionError(message)
        return took


def time_floor(items: list[Payload]) -> float:
    """Return the seconds for reading and removing the same files."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        fill(folder, items)
        started = time.perf_counter()
        for name in os.listdir(folder):
            descriptor = os.open(folder / name, os.O_RDONLY)
            os.read(descriptor, 1 << 16)
            os.close(descriptor)
            os.unlink(folder / name)
        return time.perf_counter() - started


def run(count: int = 20_000, rounds: int = 3) -> dict[str, object]:
    """Return files a second of both, and the median of the ratios."""
    items = list(payloads(count))
    pairs = [(time_drain(items), time_floor(items)) for _ in range(rounds)]
    return {
        "files": count,
        "drain_per_s": [round(count / ours) for ours, _ in pairs],
        "floor_per_s": [round(count / floor) for _, floor in pairs],
        "share_of_floor": round(statistics.median(floor / ours for ours, floor in pairs), 3),
        "target_per_s": 12_000,
    }


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000), indent=2))
