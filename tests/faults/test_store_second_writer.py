"""One process writes the database: a second one is refused, or asks the first."""

import sqlite3
import subprocess
import sys
from contextlib import closing

import psutil
import pytest

from blueplane.paths import Home
from helpers.issued import EVENTS, Issued
from helpers.redis_server import RedisServer
from helpers.server import Server, environment
from helpers.waiting import wait_until

PATIENCE_S = 30.0
ALREADY_RUNNING = 3


def run(home: Home, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the home of the server."""
    return subprocess.run(
        [sys.executable, "-m", "blueplane", *arguments, "--home", str(home.root)],
        env=environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip


@pytest.mark.fault("C14")
def test_a_second_writer_is_refused_when_a_server_runs(
    server: Server, home: Home, issued: Issued, redis_server: RedisServer
) -> None:
    """A second server ends with 3, and a command that writes has the running server do it."""
    # Given a running server with a dead letter
    server.start_ready()
    redis_server.command("XADD", EVENTS, "*", "no", "event")
    wait_until(lambda: letters(home) == ["open"], PATIENCE_S, "a dead letter")
    # When a second server is started / Then it touches nothing and names the first
    second = run(home, "serve")
    assert second.returncode == ALREADY_RUNNING
    assert f"pid {server.pid} " in second.stderr
    # When a command changes something / Then the server's own connection did it
    assert run(home, "dlq", "drop", "--all", "--yes").returncode == 0
    assert letters(home) == ["dropped"]
    # and there is one connection that can write, in one process
    opened = [file for file in psutil.Process(server.pid).open_files() if "+" in file.mode]
    assert [file.path for file in opened].count(str(home.database)) == 1
    issued.issue(5)
    wait_until(lambda: len(issued.rows()) == len(issued.ids), PATIENCE_S, "rows")


def letters(home: Home) -> list[str]:
    """Return the state of each dead letter."""
    with closing(sqlite3.connect(f"file:{home.database}?mode=ro", uri=True)) as connection:
        return [row[0] for row in connection.execute("SELECT state FROM dead_letters")]
