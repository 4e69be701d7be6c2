"""Calls and sessions of whole transcript trees: what is derived is what was written."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from blueplane.analytics.fields import number
from blueplane.paths import Home
from blueplane.store.queries import reading
from blueplane.store.rebuilding import CLEARING
from helpers import all_views
from helpers import stored_transcripts as stored
from helpers.desk import Desk
from helpers.redis_server import RedisServer
from helpers.server import Server
from helpers.transcripts import Key, Scribe, Truth, Written, write
from helpers.waiting import wait_until

SETTLE_S = 60.0
COLUMNS = (
    "input_tokens, output_tokens, cache_creation_tokens, cache_creation_5m_tokens,"
    " cache_creation_1h_tokens, cache_read_tokens"
)


def call_key(key: Key) -> str:
    """Return under which key a call must be."""
    message, request = number("call", "claude_code", key[0]), number("request", key[1])
    parts = (message, request if key[1] else 0)
    return "".join(f"{part & (1 << 64) - 1:016x}" for part in parts)


def wait_derived(home: Home, truth: Truth) -> None:
    """Wait until every line has its row, and every row was derived from."""

    def is_derived() -> bool:
        if stored.outcomes(home)["written"] < truth.events:
            return False
        with reading(home.database) as reader:
            marks, last = reader.watermarks(), reader.last_sequence()
            return all(marks.get(worker) == last for worker in CLEARING)

    wait_until(is_derived, SETTLE_S, "everything is derived")


def check(home: Home, truth: Truth) -> None:
    """Hold the derived tables to the truth: every call, every field of it, and every session."""
    with reading(home.database) as reader:
        found: dict[str, tuple[Any, ...]] = {
            key: (tuple(tokens), model, bool(final))
            for key, model, final, *tokens in reader.rows(
                f"SELECT call_key, model, final, {COLUMNS} FROM usage"
            )
        }
        agents = dict(
            reader.rows(
                "SELECT DISTINCT agent_id, parent_session_id FROM usage WHERE agent_id > ''"
            )
        )
        sessions = {name for (name,) in reader.rows("SELECT session_id FROM sessions")}
    assert found == {
        call_key(key): (tokens, truth.models[key], key in truth.final)
        for key, tokens in truth.calls.items()
    }
    assert agents.items() <= truth.agents.items()
    assert agents
    assert sessions == truth.sessions


def grows_and_dies(projects: Path, lines: Iterator[Written], truth: Truth, server: Server) -> bool:
    """Write one more line when those before have their rows; return whether the server is dead.

    Without waiting, lines would run out before a slow server comes to where it dies.
    """
    if stored.outcomes(server.home)["written"] >= truth.events:
        write(projects, islice(lines, 1))
    return not server.alive()


@pytest.mark.fault("A7")
def test_usage_is_the_truth_when_the_server_is_killed_while_transcripts_grow(
    home: Home, tmp_path: Path, redis_server: RedisServer
) -> None:
    """To the token, live and through deaths, in every view; and a replay from zero is the same."""
    # Given
    projects = tmp_path / "user" / ".claude" / "projects"
    projects.mkdir(parents=True)
    scribe = Scribe(seed=6, filler=200)
    lines = scribe.mixed(1_500_000)
    write(projects, islice(lines, 300))
    with Server(home, redis_server) as server:
        # When
        for point in ("mid_derive:kill@2", "after_derive:kill@4", "after_ack:kill@5"):
            server.start(point)
            wait_until(
                lambda: grows_and_dies(projects, lines, scribe.truth, server), SETTLE_S, point
            )
        server.start_ready()
        write(projects, lines)
        wait_derived(home, scribe.truth)
        # Then
        check(home, scribe.truth)
        all_views.check(home, scribe.truth)
        server.stop()
    desk = Desk(home.database)
    before = desk.derived()
    desk.begin_again(emptied=True)
    desk.derive()
    assert desk.derived() == before
    desk.close()
