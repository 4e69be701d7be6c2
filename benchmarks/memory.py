"""Memory and idle load of a server with its private Redis, as processes of their own.

``python benchmarks/memory.py [backlog]`` prints one JSON object: resident megabytes and the share
of one core while idle, the peak while a spool full of files is drained, and what is left a minute
after it.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.drain import fill
from benchmarks.ingest import wait_for
from tests.helpers.payloads import payloads

from blueplane.paths import Home

#: Seconds over which the idle load is taken, and after which a backlog is forgotten.
IDLE_S = 30.0
AFTER_S = 60.0
_MEGA = 1024 * 1024


class Server:
    """A server of a home in a process of its own."""

    def __init__(self, home: Home) -> None:
        environment = {**os.environ, "BLUEPLANE_HOME": str(home.root)}
        command = [sys.executable, "-m", "blueplane", "serve"]
        self._child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        self.process = psutil.Process(self._child.pid)
        wait_for(lambda: bool(self.process.children()))
        self.redis = self.process.children()[0]

    def megabytes(self) -> dict[str, float]:
        """Return the resident memory of both processes."""
        python, redis = (p.memory_info().rss / _MEGA for p in (self.process, self.redis))
        return {
            "python": round(python, 1),
            "redis": round(redis, 1),
            "both": round(python + redis, 1),
        }

    def cpu_s(self) -> float:
        """Return the seconds of processor time that both have used."""
        return sum(sum(p.cpu_times()[:2]) for p in (self.process, self.redis))

    def stop(self) -> None:
        """End it in order."""
        self._child.terminate()
        self._child.wait(15)


def run(backlog: int = 100_000) -> dict[str, object]:
    """Return the figures."""
    with tempfile.TemporaryDirectory() as directory:
        home = Home(Path(directory) / "home")
        home.prepare()
        server = Server(home)
        try:
            time.sleep(3)
            before_s = server.cpu_s()
            time.sleep(IDLE_S)
            idle_cpu = (server.cpu_s() - before_s) / IDLE_S
            idle = server.megabytes()
            fill(home.spool, list(payloads(1_000)) * (backlog // 1_000))
            peak = _peak_while_draining(server, home)
            time.sleep(AFTER_S)
            after = server.megabytes()
        finally:
            server.stop()
    return {
        "idle_mb": idle,
        "idle_target_mb": 45,
        "idle_core_percent": round(idle_cpu * 100, 2),
        "idle_core_target_percent": 0.4,
        "backlog": backlog,
        "peak_python_mb": peak,
        "peak_target_mb": 120,
        "after_mb": after,
        "after_target_mb": 60,
    }


def _peak_while_draining(server: Server, home: Home) -> float:
    peak = 0.0
    deadline = time.monotonic() + 300
    while os.listdir(home.spool) and time.monotonic() < deadline:
        peak = max(peak, server.megabytes()["python"])
        time.sleep(0.1)
    return peak


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000), indent=2))
