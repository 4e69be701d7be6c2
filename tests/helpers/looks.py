"""Made-up looks at health, and a server that answers with them.

Owns one snapshot in which everything is well, and one in which everything is wrong.
Promises the shape of the program's own, for its records make them.
Leaves real figures to the tests of the monitors.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from blueplane.clock import wall_ms
from blueplane.health.check import Colour, Finding, Report, Snapshot
from blueplane.lock import ServerLock
from blueplane.paths import Home
from blueplane.pipeline.commits import Commits
from blueplane.server.control import ControlServer
from helpers.waiting import wait_until

WAIT_S = 20.0
COMPONENTS = ("queue", "database", "capture", "chain", "workers")
FIGURES: Mapping[str, Mapping[str, Any]] = {
    "queue": {
        "queue_depth": 12_000,
        "consumer_lag_ms": 42_000,
        "enqueue_rate_events_per_sec": 3.5,
        "spool_bytes": 2_621_440,
        "redis": {"connected": True, "mode": "private", "used_memory_bytes": 3_145_728},
    },
    "database": {"write_success_rate": 0.99999, "disk_free_mb": 2048, "last_error": None},
    "capture": {
        "cursor_hooks": {
            "success_rate": None,
            "hooks_active": {"stop": True, "preToolUse": False},
        },
        "database_monitor": {"state": "not installed", "active": None},
    },
    "chain": {
        "chain_status": "degraded",
        "success_rate": 1.0,
        "last_chain_break_timestamp": 1_795_150_000_000,
        "balance": {
            "messages": {"enqueued": 7, "written": 5, "in_flight": 2},
            "events": {"captured": 7, "written": 7},
            "as_of": "2026-11-20T07:00:00.000Z",
        },
        "breaks": [],
    },
    "workers": {},
}


def good(as_of_ms: int | None = None) -> Snapshot:
    """Make a look in which everything is green and idle."""
    reports = {name: Report(name, {}, state="idle") for name in COMPONENTS}
    return Snapshot(wall_ms() if as_of_ms is None else as_of_ms, reports)


def bad(worst: Colour = Colour.RED, findings: int = 1) -> Snapshot:
    """Make a look in which every component has findings up to ``worst``."""
    reports = {
        name: Report(name, FIGURES[name], [_finding(name, worst, n) for n in range(findings)])
        for name in COMPONENTS
    }
    return Snapshot(wall_ms(), reports)


def _finding(component: str, worst: Colour, number: int) -> Finding:
    colour = Colour(worst - 1) if component != "queue" and worst else worst
    sentence = f"something is wrong with it, {component} {number}, in words that fill more than one"
    return Finding("metric", colour, f"{sentence} line of a screen", f"blueplane help-{component}")


def store(home: Home, snapshot: Snapshot) -> None:
    """Store a look as the last one."""
    commits = Commits(home.database)
    commits.put_health(snapshot.as_of_ms, snapshot.body())
    commits.close()


@contextmanager
def answering(home: Home, snapshot: Snapshot) -> Iterator[None]:
    """Have something that looks like a server answer with ``snapshot`` for the block."""
    lock = ServerLock(home)
    lock.take()
    control = ControlServer(home.control_socket, {"health": snapshot.body})
    control.start()
    try:
        wait_until(home.control_socket.exists, WAIT_S, "it listens")
        yield
    finally:
        control.stop()
        assert control.join(WAIT_S)
        lock.release()
