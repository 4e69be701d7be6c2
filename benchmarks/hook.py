"""What the hook costs the editor: from spawn to exit, beside an empty ``sh``.

Owns the states that a hook can meet: a served home, only a spool, full, a full disk, 20,000 files.
Promises that both are measured in turn, on the same machine in the same minute.
Leaves what the figures should be to the documentation: it measures and never fails for time.

The spool lies in ``TMPDIR``. On ext4 making a file takes up to 0.7 ms more for half a minute after
thousands were removed nearby (by tests, for instance): a ratio above 3 may be just that.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

HOOK = Path(__file__).parents[1] / "hooks" / "blueplane-hook"
ROUNDS = 400
PAYLOAD_BYTES = 2048
CROWD = 20_000
LEASE_S = 7 * 24 * 3600

Figures = dict[str, float]


def run(rounds: int = ROUNDS) -> dict[str, object]:
    """Measure every state; a state that cannot be made here (a full disk without root) is null."""
    states: dict[str, Figures | None] = {}
    with tempfile.TemporaryDirectory(prefix="bp-bench-") as name:
        base = Path(name)
        payload = base / "payload"
        payload.write_bytes(b'{"prompt":"' + b"x" * (PAYLOAD_BYTES - 13) + b'"}')
        for label, prepare in STATES.items():
            home = base / label
            (home / "spool").mkdir(parents=True)
            prepare(home)
            states[label] = measure(home, payload, rounds)
        with small_disk(base / "disk_full") as disk:
            states["disk_full"] = None if disk is None else measure(disk, payload, rounds)
    return {"rounds": rounds, "payload_bytes": PAYLOAD_BYTES, "states": states}


# --- states --------------------------------------------------------------------------------------


def served(home: Path) -> None:
    """Make ``home`` look as while a server runs: a lease that ends in seven days."""
    (home / "run").mkdir()
    lease = home / "run" / "lease"
    lease.touch()
    end = lease.stat().st_mtime + LEASE_S
    os.utime(lease, (end, end))


def full(home: Path) -> None:
    """Make ``home`` one whose spool has reached its cap."""
    served(home)
    (home / "run" / "full").touch()


def crowded(home: Path) -> None:
    """Make ``home`` one whose server has been hung, or gone, for a long time."""
    served(home)
    first = home / "spool" / "0.1.0"
    first.touch()
    for number in range(1, CROWD):
        # A link is as much of a crowd, and its removal does not slow the next run (see above).
        (home / "spool" / f"{number}.1.0").hardlink_to(first)


STATES: dict[str, Callable[[Path], None]] = {
    "normal": served,
    "spool_only": lambda _home: None,
    "full": full,
    "crowded": crowded,
}


@contextmanager
def small_disk(home: Path) -> Iterator[Path | None]:
    """Give a home on a disk with no byte left, or None where that cannot be mounted."""
    home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(home)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, timeout=30).returncode:
        yield None
        return
    try:
        (home / "spool").mkdir()
        served(home)
        subprocess.run(
            ["dd", "if=/dev/zero", f"of={home / 'filler'}", "status=none"],
            check=False,
            stderr=subprocess.DEVNULL,
            timeout=30,
        )
        yield home
    finally:
        subprocess.run(["umount", str(home)], check=True, timeout=30)


# --- measuring -----------------------------------------------------------------------------------


def measure(home: Path, payload: Path, rounds: int) -> Figures:
    """Time an empty ``sh`` and the hook in turn; every spool file is removed between two rounds."""
    environment = {"BLUEPLANE_HOME": str(home), "HOME": str(home), "PATH": "/usr/bin:/bin"}
    floor: list[float] = []
    hook: list[float] = []
    for _ in range(rounds):
        floor.append(spawn(["/bin/sh", "-c", ":"], environment, payload)[1])
        pid, elapsed_ms = spawn([str(HOOK), "claude_code", "Stop"], environment, payload)
        hook.append(elapsed_ms)
        (home / "spool" / f"{pid}.{os.getpid()}.0").unlink(missing_ok=True)
    return {
        **figures("sh", floor),
        **figures("hook", hook),
        "ratio": round(statistics.median(hook) / statistics.median(floor), 2),
    }


def spawn(argv: list[str], environment: dict[str, str], payload: Path) -> tuple[int, float]:
    """Run ``argv`` to its end with ``payload`` for standard input; return its id and the ms."""
    stdin = [(os.POSIX_SPAWN_OPEN, 0, str(payload), os.O_RDONLY, 0)]
    start = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, environment, file_actions=stdin)
    _, status = os.waitpid(pid, 0)
    elapsed_ms = (time.perf_counter() - start) * 1000
    if status:
        sys.exit(f"{argv[0]} ended with status {status}; nothing was measured")
    return pid, elapsed_ms


def figures(label: str, times_ms: list[float]) -> Figures:
    """Return the median and the 99th percentile of ``times_ms``."""
    return {
        f"{label}_median_ms": round(statistics.median(times_ms), 3),
        f"{label}_p99_ms": round(statistics.quantiles(times_ms, n=100)[98], 3),
    }


if __name__ == "__main__":
    print(json.dumps(run()))
