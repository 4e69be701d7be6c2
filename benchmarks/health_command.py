"""``blueplane health`` from the virtual environment: spawn to exit.

``python benchmarks/health_command.py [runs]`` prints one JSON object: P50 and P95 in milliseconds,
with a server that answers, in a pipe and as JSON, and without one; beside them the bare interpreter
and ``--version``, in turns.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.ingest import wait_for
from benchmarks.latency import percentile

from blueplane.config import load
from blueplane.daemon import Daemon
from blueplane.paths import Home

PROGRAM = (sys.executable, "-m", "blueplane")
RUNNING = {
    "python": (sys.executable, "-c", "pass"),
    "version": (*PROGRAM, "--version"),
    "health": (*PROGRAM, "health"),
    "chain": (*PROGRAM, "health", "chain"),
    "json": (*PROGRAM, "health", "--format", "json"),
}
STOPPED = {"stored": (*PROGRAM, "health")}


@contextmanager
def serving(home: Home) -> Iterator[None]:
    """Run a server in this process for the block."""
    daemon = Daemon(home, load(home, {}))
    daemon.start()
    try:
        wait_for(lambda: daemon.stream.attached and daemon.sampler.snapshot.reports)
        yield
    finally:
        daemon.stop()


def spawn_ms(commands: dict[str, tuple[str, ...]], home: Home, runs: int) -> dict[str, list[float]]:
    """Run each command in turns and return the milliseconds of each."""
    environ = {**os.environ, "BLUEPLANE_HOME": str(home.root)}
    for name in ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"):  # a user's shell has neither
        environ.pop(name, None)
    for command in commands.values():  # once to warm up: what is imported is compiled then
        subprocess.run(command, env=environ, stdout=subprocess.DEVNULL, check=False)
    took: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            began = time.perf_counter()
            subprocess.run(command, env=environ, stdout=subprocess.DEVNULL, check=False)
            took[name].append((time.perf_counter() - began) * 1000)
    return took


def run(runs: int = 40) -> dict[str, float]:
    """Return the figures."""
    with tempfile.TemporaryDirectory() as directory:
        home = Home(Path(directory) / "home")
        with serving(home):
            took = spawn_ms(RUNNING, home, runs)
        took |= spawn_ms(STOPPED, home, runs)
    found = {"target_p95_ms": 100.0}
    for name, values in took.items():
        found[f"{name}_p50_ms"] = round(statistics.median(values), 1)
        found[f"{name}_p95_ms"] = round(percentile(values, 0.95), 1)
    return found


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else 40), indent=2))
