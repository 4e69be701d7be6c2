"""What a tree of many quiet transcripts costs a server that has read it.

``python benchmarks/idle_tree.py [sessions]`` prints one JSON object: resident megabytes of a server
without a tree and with one, and the share of one core that it takes; when it has just read the
tree, and after a start at which all of it was known.
"""

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import closing
from pathlib import Path

import psutil

from blueplane.paths import Home

PER_PROJECT = 100
#: One session in so many has a sub-agent.
AGENTS = 5
#: Seconds that a server has to come to rest, and after a burst, and over which its load is taken.
REST_S, AFTER_S, IDLE_S = 5.0, 40.0, 20.0
_MEGA = 1024 * 1024


def plant(projects: Path, sessions: int) -> int:
    """Write sessions of one line each, long ago; return how many files they are."""
    files = 0
    for number in range(sessions):
        directory = projects / f"-home-robin-projects-number-{number // PER_PROJECT}"
        session = str(uuid.UUID(int=number))
        files += write(directory / f"{session}.jsonl", session)
        if number % AGENTS == 0:
            agents = directory / session / "subagents"
            files += write(agents / f"agent-{number:08x}.jsonl", session)
    return files


def write(path: Path, session: str) -> int:
    """Write one transcript."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = {
        "type": "user", "uuid": str(uuid.uuid4()), "sessionId": session,
        "timestamp": "2026-01-05T10:00:00.000Z", "message": {"content": "tea"},
    }  # fmt: skip
    path.write_text(json.dumps(line) + "\n")
    os.utime(path, (1_767_600_000, 1_767_600_000))
    return 1


def settled(home: Home) -> int:
    """Return how many files have something stored."""
    with closing(sqlite3.connect(f"file:{home.database}?mode=ro", uri=True)) as connection:
        query = "SELECT count(*) FROM offsets WHERE source = 'transcript' AND offset > 0"
        return int(connection.execute(query).fetchone()[0])


def serve(home: Home, user: Path) -> subprocess.Popen[bytes]:
    """Start a server of a user."""
    environment = {**os.environ, "BLUEPLANE_HOME": str(home.root), "HOME": str(user)}
    command = [sys.executable, "-m", "blueplane", "serve"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


def measure(home: Home, user: Path, files: int) -> dict[str, dict[str, float]]:
    """Have a server read all there is, and start it again; return what each of them takes."""
    server = serve(home, user)
    deadline_s = time.monotonic() + 300
    while not home.database.exists() or settled(home) < files:
        if time.monotonic() > deadline_s or server.poll() is not None:
            message = "the tree was not read"
            raise SystemExit(message)
        time.sleep(0.5)
    return {"read": look(server, AFTER_S), "started": look(serve(home, user), REST_S)}


def look(server: subprocess.Popen[bytes], rest_s: float) -> dict[str, float]:
    """Return what a server takes once it is at rest, and end it."""
    try:
        time.sleep(rest_s)
        process = psutil.Process(server.pid)
        before_s = sum(process.cpu_times()[:2])
        time.sleep(IDLE_S)
        share = (sum(process.cpu_times()[:2]) - before_s) / IDLE_S
        return {
            "mb": round(process.memory_info().rss / _MEGA, 1),
            "core_percent": round(share * 100, 2),
        }
    finally:
        stop(server)


def stop(server: subprocess.Popen[bytes]) -> None:
    """End it in order."""
    server.terminate()
    server.wait(15)


def run(sessions: int) -> dict[str, object]:
    """Return the figures."""
    with tempfile.TemporaryDirectory() as name:
        found = {}
        for what, count in (("without", 0), ("with", sessions)):
            user = Path(name) / what
            home = Home(user / "blueplane")
            user.mkdir()
            home.prepare()
            files = plant(user / ".claude" / "projects", count)
            found[what] = measure(home, user, files)
    more = {
        when: round(found["with"][when]["mb"] - found["without"][when]["mb"], 1)
        for when in ("read", "started")
    }
    return {**found, "files": files, "more_mb": more, "more_target_mb": 20}


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else 15_000)))
