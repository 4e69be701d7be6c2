"""How long the executable takes from its start to its end.

Owns the figures of the first run, which unpacks it, and of commands that people type often.
Promises a fresh home of its own, and the wall clock from spawn to exit.
Leaves building it to build.py, and what the figures should be to the documentation.

``python benchmarks/executable.py`` prints one JSON object, times in milliseconds. The doctor and
the install are those of a home with both editors, without a service manager and without a canary.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FIRST_RUNS = 7
RUNS = 60
INSTALLS = 5
COMMANDS = ("--version", "status", "health", "doctor")

Figures = dict[str, float]


def run() -> dict[str, object]:
    """Measure the size, the first run, and each command with a server and without one."""
    with tempfile.TemporaryDirectory(prefix="blueplane-bench-") as place:
        binary = build(Path(place) / "dist")
        environment = {"HOME": place, "PATH": "/usr/bin:/bin", "BLUEPLANE_HTTP_PORT": "0"}
        figures: dict[str, object] = {"megabytes": round(binary.stat().st_size / 1e6, 1)}
        figures["first_run"] = summed([first(binary, environment) for _ in range(FIRST_RUNS)])
        call([str(binary), "start"], environment)
        try:
            figures["with_server"] = measure(binary, environment)
        finally:
            call([str(binary), "stop"], environment)
        figures["without_server"] = measure(binary, environment)
        figures["install"] = summed([install(binary, environment) for _ in range(INSTALLS)])
        return figures


def build(directory: Path) -> Path:
    """Have build.py make the executable."""
    command = [sys.executable, ROOT / "build.py", "binary", directory]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return max(directory.iterdir(), key=lambda path: path.stat().st_size)


def first(binary: Path, environment: dict[str, str]) -> float:
    """Time a run that unpacks."""
    shutil.rmtree(Path(environment["HOME"]) / ".local", ignore_errors=True)
    return call([str(binary), "--version"], environment)


def install(binary: Path, environment: dict[str, str]) -> float:
    """Time an install with both editors; take it out again."""
    for name in (".cursor", ".claude"):
        (Path(environment["HOME"]) / name).mkdir(exist_ok=True)
    took = call([str(binary), "install", "--yes", "--no-service"], environment)
    call([str(binary), "uninstall", "--yes"], environment)
    return took


def measure(binary: Path, environment: dict[str, str]) -> dict[str, Figures]:
    """Time each command, in turn: what else the machine does then slows all of them."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(RUNS):
        for name in COMMANDS:
            times[name].append(call([str(binary), name], environment))
    return {name: summed(found) for name, found in times.items()}


def call(command: list[str], environment: dict[str, str]) -> float:
    """Run a command; return its milliseconds."""
    begin = time.perf_counter()
    subprocess.run(
        command, env=environment, cwd=os.sep, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        check=False,
    )  # fmt: skip
    return (time.perf_counter() - begin) * 1000


def summed(times: list[float]) -> Figures:
    """Return the median and the 95th percentile."""
    return {
        "p50": round(statistics.median(times), 1),
        "p95": round(statistics.quantiles(times, n=20)[-1], 1),
    }


if __name__ == "__main__":
    print(json.dumps(run()))
