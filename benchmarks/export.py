"""An export of many rows: how long it takes, and how much memory it needs at most.

``python benchmarks/export.py [--rows 1000000] [--few 10000]`` prints one JSON object: seconds and
peak memory of ``blueplane export calls`` of many rows and of few. It fails unless the tokens of
every row add up to what ``usage`` shows, and unless many rows need about as much memory as few.
"""

import argparse
import csv
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from blueplane.paths import Home
from blueplane.store.rollups import Rollups
from helpers.desk import T0_MS, Desk, answer

OURS = (sys.executable, "-m", "blueplane")
#: Calls of a session.
SESSION = 100
#: Runs a command and prints its peak memory in KB: what a child is charged with begins with the
#: memory of who starts it, so that has to be small.
PEAK = (
    "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True);"
    " print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
)
#: How much more memory many rows may need than few.
MOST = 1.25


def rows(count: int) -> Iterator[tuple[object, ...]]:
    """Yield rows of the table of calls, of which label 1 is the model."""
    dice = random.Random(1)
    for number in range(count):
        tokens = [dice.randrange(10_000) for _ in range(6)]
        at_ms = T0_MS + number * 7_000
        key = dice.getrandbits(63), dice.getrandbits(63)
        yield (*key, 1 + number // SESSION, None, 0, 1, None, None, at_ms, 1, *tokens, None)


def make(directory: Path, count: int) -> Home:
    """Make a home whose database has so many calls."""
    home = Home(directory / f"home-{count}")
    home.prepare()
    desk = Desk(home.database)
    desk.tell(answer(1))
    connection = desk.commits._connection
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("DELETE FROM calls")
    connection.executemany(
        "INSERT OR IGNORE INTO sessions (id, platform, session_id, evidence)"
        " VALUES (?, 'claude_code', ?, 2)",
        ((number, f"session-{number}") for number in range(1, count // SESSION + 2)),
    )
    connection.executemany(f"INSERT INTO calls VALUES ({', '.join('?' * 17)})", rows(count))
    Rollups(connection).rebuild()
    connection.execute("COMMIT")
    desk.close()
    return home


def measure(home: Home, file: Path) -> dict[str, float]:
    """Export calls; return seconds and megabytes."""
    command = [*OURS, "export", "calls", "--force", "--output", str(file), "--home", str(home.root)]
    began = time.perf_counter()
    said = subprocess.run(
        [sys.executable, "-c", PEAK, *command], capture_output=True, check=True, text=True
    )
    seconds = time.perf_counter() - began
    return {"seconds": round(seconds, 2), "peak_mb": round(int(said.stdout) / 1024, 1)}


def check(home: Home, file: Path, count: int) -> None:
    """Hold the rows of a file to what ``usage`` shows."""
    asked = [*OURS, "usage", "monthly", "--format", "json", "--home", str(home.root)]
    total = json.loads(subprocess.run(asked, capture_output=True, check=True).stdout)["total"]
    with file.open(newline="") as lines:
        found = [0, 0]
        for row in csv.DictReader(lines):
            found[0] += 1
            found[1] += int(row["total_tokens"])
    if found != [count, total["total_tokens"]] or total["calls"] != count:
        message = f"{found} is not {count} calls with {total['total_tokens']} tokens"
        raise AssertionError(message)


def main() -> int:
    """Measure, print, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--few", type=int, default=10_000)
    asked = parser.parse_args()
    result = {}
    with tempfile.TemporaryDirectory() as name:
        for kind, count in (("few", asked.few), ("many", asked.rows)):
            home, file = make(Path(name), count), Path(name) / f"{kind}.csv"
            result[kind] = {"rows": count, **measure(home, file)}
            check(home, file, count)
    print(json.dumps(result, indent=2))
    return int(result["many"]["peak_mb"] > MOST * result["few"]["peak_mb"])


if __name__ == "__main__":
    sys.exit(main())
