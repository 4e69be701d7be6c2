"""One server a home, whoever comes first."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from blueplane.paths import Home
from helpers.issued import Issued
from helpers.redis_server import RedisServer
from helpers.server import Server, environment
from helpers.waiting import wait_until

STARTS = 20
PATIENCE_S = 60.0
Process = subprocess.Popen[bytes]
ALREADY_RUNNING = 3


@contextmanager
def started(home: Home, redis: RedisServer, directory: Path) -> Iterator[list[Process]]:
    """Start many servers of one home at the same moment; end those that are left."""
    command = [sys.executable, "-m", "blueplane", "serve", "--home", str(home.root)]
    variables = {**environment(), "BLUEPLANE_REDIS_URL": redis.url}
    with ExitStack() as cleanup:
        servers = []
        for number in range(STARTS):
            output = cleanup.enter_context((directory / f"out.{number}").open("wb"))
            server = subprocess.Popen(command, stdout=output, stderr=output, env=variables)
            cleanup.callback(server.wait, PATIENCE_S)
            cleanup.callback(server.kill)
            servers.append(server)
        yield servers


@pytest.mark.fault("F1")
def test_one_server_wins_when_twenty_start_at_once(
    home: Home, tmp_path: Path, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """Of twenty exactly one runs; each other one exits with 3 and names the one that does."""
    # Given events, and twenty servers that start at once
    issued.issue(100)
    with started(home, redis_server, tmp_path) as servers:
        # When all but one have ended
        wait_until(
            lambda: sum(server.poll() is None for server in servers) == 1, PATIENCE_S, "one is left"
        )
        (winner,) = [server for server in servers if server.poll() is None]
        # Then they say who runs, and the winner has written every event once
        for number, server in enumerate(servers):
            if server is not winner:
                assert server.returncode == ALREADY_RUNNING
                said = (tmp_path / f"out.{number}").read_text()
                assert f"pid {winner.pid} " in said
                assert len(said.splitlines()) == 1
        wait_until(lambda: len(issued.rows()) == len(issued.ids), PATIENCE_S, "all is written")
        assert set(issued.rows().values()) == {1}
        winner.send_signal(signal.SIGTERM)
        assert winner.wait(PATIENCE_S) == 0


@pytest.mark.fault("F1")
def test_the_lock_decides_when_its_file_names_somebody_else(
    server: Server, home: Home, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """A lock file that a killed server left, or garbage in it, keeps nobody out."""
    # Given a lock file with the pid of a process that lives, as after a crash and a reused pid
    mine = f"pid {os.getpid()} since 2026-11-20T06:16:35.123Z\n"
    for text in (mine, "\x00garbage\xff" * 100, ""):
        home.lock_file.write_text(text, "latin-1")
        # When a server starts / Then it runs
        server.start_ready()
        issued.issue(5)
        issued.settle(server, redis_server)
        # and one that is killed leaves no lock behind
        server.kill()
