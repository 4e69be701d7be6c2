"""History on disk, read by a new server: a generated tree of transcripts becomes committed rows.

``python benchmarks/backfill.py [--mb 50]`` prints one JSON object: megabytes a second from the
first commit to the last one, seconds after that until the derived tables have all of it, the peak
of the Python process, and the store as a share of what was read. It fails unless every call is
there to the token.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from blueplane.paths import Home
from blueplane.store.queries import reading
from blueplane.store.rebuilding import CLEARING
from helpers import stored_transcripts as stored
from helpers.redis_server import RedisServer
from helpers.server import Server
from helpers.transcripts import Scribe, Truth, write
from helpers.waiting import wait_until

LIMIT_S = 900.0
#: Bytes of text in a line, so that a line is 2.6 KB in the mean.
FILLER = 1_650


def is_read(home: Home, truth: Truth) -> bool:
    """Whether every line has its outcome."""
    found = stored.outcomes(home)
    return found["written"] >= truth.events and found["quarantined"] >= truth.malformed


def is_derived(home: Home) -> bool:
    """Whether every worker has seen every row."""
    with reading(home.database) as reader:
        marks, last = reader.watermarks(), reader.last_sequence()
        return all(marks.get(worker, -1) >= last for worker in CLEARING)


def peak_mb(pid: int) -> float:
    """Return the largest resident size that a process ever had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    return round(int(status["VmHWM"].split()[0]) / 1024, 1)


def run(directory: Path, megabytes: int) -> dict[str, object]:
    """Write the tree, have it read, and return the figures."""
    user, home = directory / "user", Home(directory / "home")
    home.prepare()
    scribe = Scribe(seed=5, filler=FILLER)
    write(user / ".claude" / "projects", scribe.lines(megabytes * 1_000_000))
    truth = scribe.truth
    os.environ |= {"HOME": str(user), "BLUEPLANE_HTTP_PORT": "0"}
    os.environ.pop("CLAUDE_CONFIG_DIR", None)
    with RedisServer() as redis, Server(home, redis) as server:
        server.start()
        wait_until(home.database.exists, LIMIT_S, "the database is there")
        wait_until(lambda: is_read(home, truth), LIMIT_S, "every line has its outcome")
        read_s = time.monotonic()
        wait_until(lambda: is_derived(home), LIMIT_S, "everything is derived")
        derived_s = time.monotonic() - read_s
        peak = peak_mb(server.pid)
        balanced = server.balance()["balanced"]
        server.stop()
    with reading(home.database) as reader:
        [(rows, first_ms, last_ms)] = reader.rows(
            "SELECT count(*), min(ingested_ms), max(ingested_ms) FROM raw_traces"
            " WHERE source = 'transcript'"
        )
    if stored.calls(home) != truth.calls or not balanced:
        message = "what is stored is not what was written"
        raise AssertionError(message)
    seconds = (last_ms - first_ms) / 1000
    return {
        "megabytes": truth.bytes // 1_000_000,
        "rows": rows,
        "bytes_a_line": truth.bytes // rows,
        "mb_per_s": round(truth.bytes / 1e6 / seconds, 1),
        "target_mb_per_s": 60,
        "derived_after_s": round(derived_s, 1),
        "peak_mb": peak,
        "store_share": round(home.database.stat().st_size / truth.bytes, 3),
        "target_store_share": 0.1,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--mb", type=int, default=50)
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(run(Path(name), parser.parse_args().mb), indent=1))
