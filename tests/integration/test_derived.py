"""What is derived, as people see it: sessions, letters of workers, and lonely witnesses."""

import sqlite3
import time
from contextlib import closing

import orjson
import pytest

from blueplane.clock import NS_PER_MS
from blueplane.paths import Home
from blueplane.store.queries import reading
from helpers.cli import run
from helpers.desk import Desk, answer, hook
from helpers.handing import TRAILER
from helpers.redis_server import RedisServer
from helpers.server import Server
from helpers.waiting import wait_until

PATIENCE_S = 30.0
SESSION = "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d"
WORKERS = sorted(Desk.NAMES)


def hand_over(home: Home, number: int, name: str, **payload: object) -> None:
    """Leave the file of a hook of Cursor."""
    body = orjson.dumps({"conversation_id": SESSION, "generation_id": "g-1", **payload})
    file = home.spool / f"{number}.1.1"
    file.write_bytes(body + TRAILER % (b"cursor", name.encode()))


def wait_derived(home: Home, rows: int) -> None:
    """Wait until every worker is done with so many rows."""

    def is_done() -> bool:
        with reading(home.database) as reader:
            return reader.watermarks() == dict.fromkeys(WORKERS, rows)

    wait_until(is_done, PATIENCE_S, "everything is derived")


def failures(home: Home) -> set[int]:
    """Return how often the rows of open letters have failed."""
    with reading(home.database) as reader:
        found = reader.rows("SELECT failures FROM dead_letters WHERE state = 'open'")
    return {count for (count,) in found}


def test_a_session_is_told_when_it_is_traced(home: Home, redis_server: RedisServer) -> None:
    """When it was, its project, and what it took, as soon as its events are written.

    Figures of the day are in Redis, too.
    """
    # Given a session of Cursor, handed over as its hooks do
    with Server(home, redis_server) as server:
        server.start_ready()
        root = {"workspace_roots": ["/home/ann/orchard"]}
        hand_over(home, 1, "sessionStart", **root)
        hand_over(home, 2, "afterAgentResponse", model="gpt-5", input_tokens=1200, output_tokens=34)
        hand_over(home, 3, "stop", model="gpt-5", input_tokens=1200, output_tokens=34)
        hand_over(home, 4, "sessionEnd", reason="completed")
        wait_derived(home, 4)
        # When
        shown = run(home, "trace", SESSION)
        health = run(home, "health", "workers", "--format", "json").json
        status = server.status()
        told = "metric:throughput:prompts_per_session"
        wait_until(lambda: redis_server.client.hget(told, "n") == b"1", PATIENCE_S, told)
    # Then
    assert shown.code == 0
    assert "session of cursor: began 20" in shown.out
    assert "(completed)" in shown.out
    assert "project orchard" in shown.out
    assert "1 call of models, tokens: 1,200 input, 34 output, " in shown.out
    assert [health[name]["running"] for name in WORKERS] == [True] * len(WORKERS)
    assert (health["health_status"], status["threads"]["workers"]) == ("green", True)


def test_a_letter_of_a_worker_is_listed_and_retried(home: Home, redis_server: RedisServer) -> None:
    """It is no break of the chain; retried in vain it is open again, and then it can be dropped."""
    # Given a row that is damaged before anything is derived from it anew
    with Server(home, redis_server) as server:
        server.start_ready()
        hand_over(home, 1, "stop")
        wait_derived(home, 1)
        with closing(sqlite3.connect(home.database, timeout=5)) as database, database:
            database.execute("UPDATE traces SET codec = 1, event_data = x'00'")
            database.execute("DELETE FROM watermarks")
        hand_over(home, 2, "stop", generation_id="g-2")
        wait_derived(home, 2)
        # When
        rows = run(home, "dlq", "list", "--format", "json").json["rows"]
        shown = run(home, "dlq", "show", rows[0]["message_id"])
        retried = run(home, "dlq", "retry", "--all")
        wait_until(lambda: failures(home) == {2}, PATIENCE_S, "tried in vain")
        dropped = run(home, "dlq", "drop", "--all", "--yes")
        balance = server.balance()
    # Then
    assert {row["hop"] for row in rows} == {"derived"}
    assert "cannot be decoded" in shown.out
    assert (retried.code, dropped.code) == (0, 0)
    assert (balance["balanced"], balance["dead_lettered"]) == (True, 0)


@pytest.mark.parametrize("form", ["table", "json"])
def test_lonely_turns_are_listed_below_the_figures_of_capture(home: Home, form: str) -> None:
    """Which session, when, and who saw it: in the terminal only, never over HTTP."""
    # Given tool calls that both saw, and one that only transcripts saw
    now_ms = time.time_ns() // NS_PER_MS - 600_000
    desk = Desk(home.database)
    for number, tool in ((1, "t-1"), (2, "t-2")):
        at_ms = now_ms + number
        common = {"tool_use_id": tool, "session_id": SESSION}
        when = {"timestamp_ms": at_ms, "captured_ns": at_ms * NS_PER_MS}
        if number == 1:
            desk.write(hook(9, "PreToolUse", "tool_start", **common, **when))
        desk.write(answer(number, **common, **when))
    desk.derive()
    part = {"health_status": "green", "state": "ok", "findings": []}
    desk.commits.put_health(now_ms, {"as_of_ms": now_ms, "health_status": "green", "capture": part})
    desk.close()
    # When
    ended = run(home, "health", "capture", "--format", form)
    # Then
    if form == "json":
        (alone,) = ended.json["alone"]
        assert (alone["session_id"], alone["seen_by"], alone["at_ms"]) == (
            SESSION, "stored", now_ms + 2
        )  # fmt: skip
    else:
        assert f"claude_code, session {SESSION}" in ended.out
        assert "tool, by the editor's own store only" in ended.out
        assert ended.out.count(SESSION) == 1
