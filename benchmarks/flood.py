"""A flood that meets a slow disk: memory must be bounded, and everything written.

``python benchmarks/flood.py [files]`` fills a spool, starts a server with its private Redis whose
disk takes 50 ms a commit, and prints one JSON object: the most memory that the server ever had, the
seconds and rows a second until all is written, and what its laws say.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.drain import is_empty
from benchmarks.ingest import wait_for
from benchmarks.memory import Server
from tests.helpers.payloads import payloads

from blueplane.paths import Home
from blueplane.store.queries import reading

#: Seconds that a commit waits before it is one.
COMMIT_S = 0.05
TARGET_MB = 150


def fill(directory: Path, count: int) -> None:
    """Write as many hand-off files, of a thousand payloads with different sessions."""
    some = list(payloads(1_000))
    for number in range(count):
        item = some[number % len(some)]
        body = item.body | {key: f"{number}" for key in ("tool_use_id",) if key in item.body}
        raw = json.dumps(body, separators=(",", ":")).encode()
        trailer = f"\n\036{item.platform} {item.hook_name}\n".encode()
        (directory / f"{number}.1.0").write_bytes(raw + trailer)


def run(count: int = 200_000) -> dict[str, object]:
    """Return the figures."""
    with tempfile.TemporaryDirectory() as directory:
        home = Home(Path(directory) / "home")
        home.prepare()
        fill(home.spool, count)
        os.environ["BLUEPLANE_FAULTS"] = f"before_commit:sleep={COMMIT_S}@1+"
        started = time.perf_counter()
        server = Server(home)
        try:
            wait_for(lambda: is_empty(home.spool), 600)
            took = time.perf_counter() - started
            peak = _peak_mb(server.process.pid)
        finally:
            server.stop()
            del os.environ["BLUEPLANE_FAULTS"]
        with reading(home.database) as reader:
            snapshot = reader.balance()
    body = snapshot.body if snapshot else {}
    return {
        "files": count,
        "commit_ms": COMMIT_S * 1000,
        "seconds": round(took, 1),
        "files_per_s": round(count / took),
        "peak_mb": peak,
        "peak_target_mb": TARGET_MB,
        **{name: body.get(name) for name in ("balanced", "captured", "written", "lost")},
    }


def _peak_mb(pid: int) -> float:
    """Return the most memory that a process ever had resident, as the kernel knows it."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return round(int(line.split()[1]) / 1024, 1)


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000), indent=2))
