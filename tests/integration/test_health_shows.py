"""Health of the whole server: what it must show after 1,000 events, and when nobody does anything.

The figures are those of the documentation, by name: one that is missing, or more, is a failure.
"""

import subprocess
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from blueplane import daemon as module
from blueplane.config import settle
from blueplane.daemon import Daemon
from blueplane.health.check import Snapshot
from blueplane.interfaces.cli.health_screen import Look, overview
from blueplane.lock import is_running
from blueplane.paths import Home
from helpers.cli import run
from helpers.desk import Desk
from helpers.handing import hand_off
from helpers.payloads import payloads
from helpers.redis_server import RedisServer
from helpers.road import TurnedClock, turn_clock
from helpers.server import Server
from helpers.waiting import wait_until
from helpers.web import Page, free_port, get

HOOK = Path(__file__).parents[2] / "hooks" / "blueplane-hook"
WAIT_S = 60.0
#: Events that come as files, and those that come through the real hook.
FILES, HOOKED = 950, 50
EVENTS = FILES + HOOKED
MINUTES = 10

_JUDGED = {"health_status", "state", "findings"}
_MONITOR = {
    "active", "sessions_monitored", "events_captured", "last_activity_timestamp", "errors_count",
    "ingest_rate_events_per_min", "backlog_bytes", "state",
}  # fmt: skip
_HOOKS = {
    "installed", "total_executions", "success_count", "failure_count", "success_rate",
    "last_execution_timestamp", "hooks_active", "overhead_ms_p50", "overhead_ms_p99",
}  # fmt: skip
#: The figures of each component.
FIGURES = {
    "queue": {
        "queue_depth", "pending_messages", "oldest_pending_age_ms", "consumer_count",
        "processing_rate_events_per_sec", "enqueue_rate_events_per_sec", "consumer_lag_ms",
        "dlq_size", "dlq_recent_entries", "spool_files", "spool_bytes", "oldest_spool_age_ms",
        "stuck_consumers", "redis", "sources_wait_s",
    },
    "database": {
        "connected", "write_success_count", "write_failure_count", "write_success_rate",
        "write_latency_p50_ms", "write_latency_p95_ms", "write_latency_p99_ms",
        "write_throughput_events_per_sec", "last_successful_write_timestamp",
        "last_failed_write_timestamp", "last_error", "db_size_mb", "wal_size_mb", "disk_free_mb",
        "schema_version",
    },
    "capture": {
        "cursor_hooks", "claude_hooks", "database_monitor", "transcript_monitor",
        "capture_rate_events_per_min", "unattributed_failure_count", "coverage",
    },
    "chain": {
        "chain_status", "messages_captured_last_hour", "messages_enqueued_last_hour",
        "messages_written_last_hour", "duplicates_last_hour", "filtered_last_hour",
        "quarantined_last_hour", "refused_last_hour", "messages_in_dlq", "in_flight",
        "recovered_last_hour", "chain_break_count", "last_chain_break_timestamp", "success_rate",
        "balance", "breaks", "dead_letters", "refused", "last_hour", "since_start",
    },
    "workers": set(Desk.NAMES),
}  # fmt: skip
#: The figures of what is inside another.
INNER = {
    ("queue", "redis"): {"connected", "mode", "persistence", "policy", "used_memory_bytes"},
    ("capture", "cursor_hooks"): _HOOKS,
    ("capture", "claude_hooks"): _HOOKS,
    ("capture", "database_monitor"): _MONITOR,
    ("capture", "transcript_monitor"): _MONITOR,
}
#: What a balance has at least: every number of both laws.
BALANCE = {
    "enqueued", "written", "duplicate", "dead_lettered", "in_flight", "lost", "recovered",
    "foreign", "captured", "filtered", "quarantined", "refused", "waiting", "balanced", "as_of",
}  # fmt: skip
#: How fast the disk of this machine is says nothing about us.
OF_THE_MACHINE = {"write_latency_p95_ms", "disk_free_mb"}


@pytest.fixture
def served(home: Home, tmp_path: Path) -> Iterator[tuple[Server, int]]:
    """Give a server with an HTTP port of its own, and the port."""
    port = free_port()
    settings = {"HOME": str(tmp_path / "user"), "BLUEPLANE_HTTP_PORT": str(port)}
    with Server(home, **settings) as server:
        server.start_ready()
        yield server, port


def fire(home: Home, count: int) -> None:
    """Hand events over through the real hook script."""
    for item in islice(payloads(count, seed=1), count):
        subprocess.run(
            ["sh", HOOK, item.platform, item.hook_name],
            env={"BLUEPLANE_HOME": str(home.root)}, input=item.raw, check=True,
        )  # fmt: skip


def chain(port: int) -> dict[str, Any]:
    """Return the chain as it is over HTTP."""
    return get(port, "/api/v1/health/chain").json


def settled(port: int) -> bool:
    """Whether all events have an outcome, and the chain of custody has seen it."""
    balance = chain(port)["balance"]
    return bool(balance) and balance["captured"] == EVENTS and not balance["waiting"]


def findings(body: dict[str, Any]) -> list[str]:
    """Return what is wrong and not the machine's."""
    return [
        f"{name}: {finding['sentence']}"
        for name in FIGURES
        for finding in body[name]["findings"]
        if finding["metric"] not in OF_THE_MACHINE
    ]


def test_every_endpoint_shows_that_a_thousand_events_were_written(
    served: tuple[Server, int], home: Home
) -> None:
    """After 1,000 events everything is green, the chain is healthy and both laws close."""
    # Given a server / When 1,000 events come, some of them through the real hook
    _, port = served
    hand_off(home, FILES)
    fire(home, HOOKED)
    wait_until(lambda: settled(port), WAIT_S, "all have an outcome")
    wait_until(lambda: not findings(get(port, "/health").json), WAIT_S, "nothing is wrong")
    # Then each endpoint has the figures of the documentation, all of them and no other
    whole = get(port, "/api/v1/health")
    parts = {name: get(port, f"/api/v1/health/{name}") for name in FIGURES}
    assert whole.json.keys() == {"as_of_ms", "health_status", *FIGURES}
    for name, figures in FIGURES.items():
        assert parts[name].json.keys() == {"as_of_ms", *figures, *_JUDGED}
        assert whole.json[name].keys() == {*figures, *_JUDGED}
    for (name, inner), figures in INNER.items():
        assert parts[name].json[inner].keys() - {"state"} == figures - {"state"}
    # And everything is well
    for page in (whole, *parts.values()):
        assert page.status == (503 if page.json["health_status"] == "red" else 200)
        _assert_green(page)
    assert (get(port, "/healthz").status, get(port, "/readyz").status) == (200, 200)
    # And the laws close to the event
    found = chain(port)
    balance = found["balance"]
    assert balance.keys() >= BALANCE
    assert (found["chain_status"], found["success_rate"], balance["balanced"]) == (
        "healthy", 1.0, True,
    )  # fmt: skip
    assert (
        balance["captured"]
        == EVENTS
        == sum(balance[outcome] for outcome in ("written", "duplicate", "filtered", "quarantined"))
    )
    assert balance["enqueued"] == balance["written"] + balance["duplicate"]
    assert found["messages_captured_last_hour"] == EVENTS
    # And the terminal says the same
    ended = run(home, "health", "chain", "--format", "json")
    assert (ended.code, ended.json["balance"]["written"]) == (0, balance["written"])


def _assert_green(page: Page) -> None:
    """Without a finding there is no colour, and of a whole it is the worst of its parts."""
    body = page.json
    parts = [body[name] for name in FIGURES if name in body] or [body]
    for part in parts:
        assert part["findings"] or part["health_status"] == "green"
    assert body["health_status"] in {part["health_status"] for part in parts}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> TurnedClock:
    """Give the clock of the program, turned by the test."""
    return turn_clock(monkeypatch)


@pytest.fixture
def daemon(
    home: Home, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, unchanged: None
) -> Iterator[Daemon]:
    """Give a server in this process whose health looks only when the test says so."""
    assert unchanged is None
    monkeypatch.setattr(module, "WATCH_S", 0.01)
    daemon = Daemon(home, settle({"redis.url": redis_server.url, "http.port": 0}))
    daemon.start()
    daemon.sampler.stop()
    assert daemon.sampler.join(WAIT_S)
    wait_until(lambda: daemon.stream.attached, WAIT_S, "attached")
    yield daemon
    daemon.stopping.set()
    if is_running(home):
        daemon.stop()


def pass_minutes(daemon: Daemon, clock: TurnedClock, minutes: int) -> list[Snapshot]:
    """Let time pass with a look every second; return all of them."""
    looks = []
    for _ in range(minutes * 60):
        clock.sleepless(1.0)
        for thread in (daemon.writer, daemon.spooler):  # they wake by the time that really passes
            thread.beat()
        looks.append(daemon.sampler.take())
    return looks


@pytest.mark.parametrize("events", [0, 20])
def test_idle_server_is_green_and_says_so(daemon: Daemon, clock: TurnedClock, events: int) -> None:
    """A server without anything to do for ten minutes is green all the time, and idle."""
    # Given a server, new or one that has written events
    hand_off(daemon.home, events)
    wait_until(lambda: daemon.writer.written == events, WAIT_S, "all is written")
    wait_until(lambda: not any(daemon.home.spool.iterdir()), WAIT_S, "the spool is empty")
    daemon.writer.ask(daemon.writer.balance)
    # When nothing happens for ten minutes
    looks = pass_minutes(daemon, clock, MINUTES)
    # Then it is never anything else than green
    wrong = {
        finding.sentence
        for look in looks
        for report in look.reports.values()
        for finding in report.findings
        if finding.metric not in OF_THE_MACHINE
    }
    assert wrong == set()
    # And every part that does something says that it is idle; a rate of nothing is not a bad one
    states = {name: report.state for name, report in looks[-1].reports.items()}
    capture = "idle" if events else "not installed"
    assert states == {
        "queue": "idle", "database": "idle", "chain": "idle", "capture": capture,
        "workers": "idle",
    }  # fmt: skip
    screen = list(overview(Look(looks[-1].body(), 0), 80, 23))
    assert len(screen) == 1 + len(FIGURES)
    assert sum("idle" in line for line in screen) == list(states.values()).count("idle")
