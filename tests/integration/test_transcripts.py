"""Transcripts on the whole road: a real server reads what Claude Code writes."""

import os
import shutil
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest

from blueplane.paths import Home
from blueplane.store.queries import reading
from helpers import stored_transcripts as stored
from helpers.plain_reader import read_calls
from helpers.redis_server import RedisServer
from helpers.server import Server
from helpers.transcripts import Scribe, Truth, write
from helpers.waiting import wait_until

SETTLE_S = 60.0


@pytest.fixture
def projects(tmp_path: Path) -> Path:
    """Give the directory of all projects of the test's user."""
    path = tmp_path / "user" / ".claude" / "projects"
    path.mkdir(parents=True)
    return path


def wait_read(home: Home, truth: Truth, timeout_s: float = SETTLE_S) -> None:
    """Wait until every line has its outcome."""

    def is_read() -> bool:
        found = stored.outcomes(home)
        return found["written"] >= truth.events and found["quarantined"] >= truth.malformed

    wait_until(is_read, timeout_s, "every line has its outcome")


def check(home: Home, truth: Truth) -> None:
    """Hold what is stored to the truth: every call, every field, and no line twice."""
    found = stored.outcomes(home)
    assert found["written"] == truth.events
    assert found["quarantined"] == truth.malformed
    assert stored.calls(home) == truth.calls
    assert found["duplicate"] == truth.copies


def test_transcripts_are_stored_to_the_token_when_a_tree_is_there_at_the_start(
    home: Home, projects: Path, redis_server: RedisServer
) -> None:
    """Every line of a tree that was there has its row, and the totals are the truth."""
    # Given
    scribe = Scribe(seed=1, filler=200)
    write(projects, scribe.lines(1_500_000))
    assert read_calls(projects) == scribe.truth.calls

    with Server(home, redis_server) as server:
        # When
        server.start_ready()
        wait_read(home, scribe.truth)

        # Then
        balance = server.balance()
        check(home, scribe.truth)
        assert balance["balanced"]
        assert balance["events"]["written"] == scribe.truth.events


@pytest.mark.fault("D12")
def test_transcripts_are_stored_once_when_the_server_is_killed_while_they_grow(
    home: Home, projects: Path, redis_server: RedisServer
) -> None:
    """Twenty deaths at any moment, while files grow, cost no line and bring none twice."""
    # Given
    scribe, dice = Scribe(seed=2, filler=300), Random(2)
    lines = scribe.mixed(5_000_000)
    with Server(home, redis_server) as server:
        # When
        for _ in range(20):
            server.start()
            write(projects, islice(lines, 150))
            enough = settled(home) + dice.randrange(100)
            wait_until(lambda least=enough: settled(home) >= least, SETTLE_S, "lines are settled")
            write(projects, islice(lines, dice.randrange(100)))
            server.kill()
        write(projects, lines)
        server.start_ready()
        wait_read(home, scribe.truth)

        # Then
        balance = server.balance()
        check(home, scribe.truth)
        assert balance["balanced"]
        assert balance["lost"] == balance["recovered"] == 0
        assert marks(home) == sizes(projects)


def settled(home: Home) -> int:
    """Return how many lines have an outcome."""
    found = stored.outcomes(home)
    return found["written"] + found["quarantined"] + found["duplicate"]


def marks(home: Home) -> list[int]:
    """Return how far each file is settled."""
    with reading(home.database) as reader:
        return sorted(mark.offset for mark in reader.marks("transcript").values())


def sizes(projects: Path) -> list[int]:
    """Return the size of every transcript."""
    files = [*projects.rglob("*.jsonl"), *projects.rglob("*.meta.json")]
    return sorted(path.stat().st_size for path in files)


def totals(home: Home) -> list[int]:
    """Return how many calls the figures know of, and their tokens by kind."""
    kinds = ("input", "output", "cache_creation", "cache_creation_5m", "cache_creation_1h")
    sums = [f"coalesce(sum({kind}_tokens), 0)" for kind in (*kinds, "cache_read")]
    with reading(home.database) as reader:
        return [*reader.rows(f"SELECT count(*), {', '.join(sums)} FROM usage")[0]]


@pytest.mark.skipif("BLUEPLANE_SAMPLES" not in os.environ, reason="names no transcripts to look at")
def test_transcripts_of_somebody_give_the_sums_of_an_independent_reading(
    home: Home, projects: Path, redis_server: RedisServer
) -> None:
    """Calls and tokens of the transcripts in ``BLUEPLANE_SAMPLES`` are what others read there."""
    # Given
    shutil.copytree(os.environ["BLUEPLANE_SAMPLES"], projects / "-samples")
    expected = read_calls(projects)
    size = sum(path.stat().st_size for path in projects.rglob("*.jsonl"))

    with Server(home, redis_server) as server:
        # When
        server.start_ready()
        wait_until(lambda: sum(marks(home)) == size, SETTLE_S, "everything is read")

        # Then
        assert len(expected) > 0
        sums = [sum(kind) for kind in zip(*expected.values(), strict=True)]
        wait_until(lambda: totals(home) == [len(expected), *sums], SETTLE_S, "they are the sums")


@pytest.mark.fault("E1", "E2")
def test_server_catches_up_when_files_changed_while_it_was_stopped(
    home: Home, projects: Path, redis_server: RedisServer
) -> None:
    """Files that grew, went away and were replaced meanwhile are read, and none twice."""
    # Given
    scribe = Scribe(seed=5, filler=200)
    lines = scribe.mixed(900_000, files=3)
    with Server(home, redis_server) as server:
        server.start_ready()
        write(projects, islice(lines, 400))
        wait_until(lambda: sum(marks(home)) == sum(sizes(projects)), SETTLE_S, "all is read")
        server.stop()
        before = {path: path.stat().st_size for path in projects.rglob("*.jsonl")}

        # When
        write(projects, lines)
        done = [path for path, size in before.items() if path.stat().st_size == size]
        done[0].rename(done[0].with_suffix(".away"))
        grown = next(path for path in before if path not in done)
        copy = grown.with_suffix(".copy")
        copy.write_bytes(grown.read_bytes())
        copy.replace(grown)
        server.start_ready()
        wait_read(home, scribe.truth)

        # Then
        balance = server.balance()
        found = stored.outcomes(home)
        assert found["written"] == scribe.truth.events
        assert found["duplicate"] == scribe.truth.copies
        assert balance["balanced"]
        assert stored.calls(home) == scribe.truth.calls


def test_monitor_is_shown_in_health_when_it_reads(
    home: Home, projects: Path, redis_server: RedisServer
) -> None:
    """Health says how many transcripts are watched over, and what was captured of them."""
    # Given
    scribe = Scribe(seed=6, filler=100)
    write(projects, scribe.lines(20_000))
    with Server(home, redis_server) as server:
        # When
        server.start_ready()
        wait_read(home, scribe.truth)

        def figures() -> dict[str, Any]:
            capture = server.ask("health").get("capture", {})
            return capture.get("transcript_monitor", {})

        events = scribe.truth.events + scribe.truth.copies
        wait_until(
            lambda: figures().get("events_captured", 0) == events,
            SETTLE_S, "health shows it",
        )  # fmt: skip

        # Then
        found = figures()
        assert found["active"] is True
        assert found["sessions_monitored"] == len(sizes(projects))
        assert found["errors_count"] == scribe.truth.malformed
        assert found["backlog_bytes"] == 0
