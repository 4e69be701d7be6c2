"""Nobody reads what the server prints, or its log cannot grow: it goes on."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import suppress

import pytest

from blueplane.paths import Home
from helpers.issued import Issued
from helpers.redis_server import RedisServer
from helpers.server import Server, environment
from helpers.smallfs import SmallFs
from helpers.waiting import wait_until

PATIENCE_S = 30.0
#: More lines than fit into the last page of a log.
MANY = 100
#: A finished file that is no event: it is set aside with a line in the log.
BROKEN = b"no JSON\n\x1eclaude_code Stop\n"


@pytest.mark.fault("F9")
@pytest.mark.parametrize("closed", ["pipes", "full", "closed"])
def test_server_goes_on_when_nobody_takes_what_it_prints(
    home: Home, issued: Issued, redis_server: RedisServer, closed: str
) -> None:
    """Pipes without a reader, a full disk under them, or no streams at all cost no event."""
    # Given a server whose output and errors lead nowhere, from the first line or from the second
    command = [sys.executable, "-m", "blueplane", "serve", "--home", str(home.root)]
    variables = {**environment(), "BLUEPLANE_REDIS_URL": redis_server.url}
    variables.pop("PYTHONUNBUFFERED", None)  # people have their output buffered
    if closed != "pipes":
        where = {"full": ">/dev/full 2>&1", "closed": ">&- 2>&-"}[closed]
        command = ["sh", "-c", f'exec "$@" {where}', "sh", *command]
    server = subprocess.Popen(
        command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/"
    )
    try:
        assert server.stdout is not None
        assert server.stderr is not None
        if closed == "pipes":
            assert b"serves" in server.stdout.readline()
        server.stdout.close()
        server.stderr.close()
        # When events come, and Redis goes, which is worth a line
        issued.issue(10)
        wait_until(lambda: written(issued) == 10, PATIENCE_S, "all is written")
        redis_server.kill()
        redis_server.start()
        issued.issue(10)
        # Then all of them are written, and it stops in order
        wait_until(lambda: written(issued) == 20, PATIENCE_S, "all is written")
        assert server.poll() is None
        server.send_signal(signal.SIGTERM)
        assert server.wait(PATIENCE_S) == 0
    finally:
        server.kill()
        server.wait()


def written(issued: Issued) -> int:
    """Return how many events have their row; none while the server makes its database."""
    with suppress(sqlite3.OperationalError):
        return len(issued.rows())
    return 0


@pytest.mark.fault("F9", "C2")
def test_server_goes_on_when_the_disk_of_its_log_is_full(
    home: Home, server: Server, issued: Issued, redis_server: RedisServer
) -> None:
    """A log that cannot take a line costs the line: events flow, and later lines are there."""
    # Given a log on a small disk of its own
    with SmallFs(home.logs, 1) as disk:
        server.start_ready()
        # When it is full to the last byte, and much happens that is worth a line
        disk.fill()
        for number in range(MANY):
            (home.spool / f"1.1.{number}").write_bytes(BROKEN)
        issued.issue(10)
        wait_until(
            lambda: len([*home.quarantine.iterdir()]) == MANY, PATIENCE_S, "they are set aside"
        )
        # Then the events are written, and the last lines are not
        issued.settle(server, redis_server)
        assert f"file=1.1.{MANY - 1} " not in server.log()
        # And when there is room again, what happens next is in the log
        disk.empty()
        (home.spool / "2.1.1").write_bytes(BROKEN)
        wait_until(lambda: "file=2.1.1 " in server.log(), PATIENCE_S, "a line")
        assert server.stop() == 0
