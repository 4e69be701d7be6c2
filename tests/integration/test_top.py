"""``blueplane top`` and ``blueplane health --since``, as people run them."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from blueplane.clock import wall_ms
from blueplane.paths import Home
from blueplane.pipeline.health_log import HealthLog, Sample
from helpers.cli import program_environment, run
from helpers.redis_server import RedisServer
from helpers.server import Server
from helpers.waiting import wait_until

WAIT_S = 30.0
MINUTE_MS = 60_000
HOPS = ["captured", "enqueued", "delivered", "written", "derived"]


@dataclass
class Terminal:
    """A command on a terminal of 80x24, and what it has drawn."""

    process: subprocess.Popen[bytes]
    controller: int
    drawn: bytearray = field(default_factory=bytearray)

    def type(self, keys: bytes) -> None:
        os.write(self.controller, keys)

    def wait_for(self, text: str) -> None:
        wait_until(lambda: text.encode() in self._read(), WAIT_S, f"{text!r} is drawn")

    def wait(self) -> int:
        wait_until(self._ended, WAIT_S, "it ended")
        return self.process.wait()

    def echoes(self) -> bool:
        """Whether the terminal shows what is typed, as it did before the command."""
        return bool(termios.tcgetattr(self.controller)[3] & termios.ECHO)

    def _read(self) -> bytearray:
        with suppress(BlockingIOError):
            self.drawn += os.read(self.controller, 65_536)
        return self.drawn

    def _ended(self) -> bool:
        self._read()  # else it could wait for room to draw
        return self.process.poll() is not None


@contextmanager
def terminal(home: Home, *arguments: str) -> Iterator[Terminal]:
    """Run a command on a terminal."""
    controller, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    os.set_blocking(controller, False)
    process = subprocess.Popen(
        [sys.executable, "-m", "blueplane", *arguments],
        stdin=inner, stdout=inner, stderr=inner, start_new_session=True,
        env=program_environment(home, TERM="xterm"),
    )  # fmt: skip
    try:
        yield Terminal(process, controller)
    finally:
        process.kill()
        process.wait()
        os.close(inner)
        os.close(controller)


def fill(redis_server: RedisServer, *ages_min: int) -> None:
    """Write a sample of two figures for each age in minutes; its depth is its age."""
    now_ms = wall_ms() // MINUTE_MS * MINUTE_MS
    HealthLog(lambda: redis_server.url).write(
        [
            Sample(now_ms - age * MINUTE_MS, {"queue.queue_depth": age, "health_status": age % 4})
            for age in sorted(ages_min, reverse=True)
        ]
    )


def _depth(server: Server) -> int | None:
    depth: int | None = server.ask("health").get("queue", {}).get("queue_depth")
    return depth


# --- top -----------------------------------------------------------------------------------------


def test_top_prints_one_table_when_it_writes_to_a_pipe(
    home: Home, redis_server: RedisServer
) -> None:
    """A pipe gets a line for each hop, a program gets JSON, and each ends by itself."""
    # Given
    with Server(home, redis_server) as server:
        server.start_ready()
        wait_until(lambda: _depth(server) == 0, WAIT_S, "the server has looked at the queue")

        # When
        once, piped = run(home, "top", "--once"), run(home, "top")
        answer = run(home, "top", "--once", "--format", "json")

    # Then
    for ended in (once, piped):
        assert (ended.code, ended.err) == (0, "")
        assert [line.split()[0] for line in ended.out.splitlines()[1:6]] == HOPS
    assert [row["hop"] for row in answer.json["rows"]] == HOPS
    assert answer.json["health_status"] in {"green", "yellow", "orange", "red"}
    assert answer.json["rows"][1]["backlog"] == 0


def test_top_says_so_when_no_server_runs(home: Home) -> None:
    """Without a server there is nothing to watch."""
    # Given a home without a server

    # When
    ended = run(home, "top", "--once")

    # Then
    assert ended.code == 4
    assert ended.err == "blueplane: no server runs; `blueplane start` starts one\n"


def test_top_goes_on_when_the_server_goes_away(home: Home, redis_server: RedisServer) -> None:
    """The screen is drawn again, says that the server is gone, and `q` ends it."""
    # Given
    with Server(home, redis_server) as server:
        server.start_ready()
        with terminal(home, "top") as screen:
            screen.wait_for("delivered")
            assert not screen.echoes()

            # When
            server.kill()
            screen.wait_for("no server runs")
            screen.type(b"q")

            # Then
            assert screen.wait() == 0
            assert screen.echoes()
            assert b"Traceback" not in screen.drawn


def test_top_leaves_the_terminal_as_it_was_when_it_is_interrupted(
    home: Home, redis_server: RedisServer
) -> None:
    """Ctrl-C ends it with the exit code of an interrupt and no traceback."""
    # Given
    with Server(home, redis_server) as server:
        server.start_ready()
        with terminal(home, "top") as screen:
            screen.wait_for("delivered")

            # When
            screen.process.send_signal(signal.SIGINT)

            # Then
            assert screen.wait() == 130
            assert screen.echoes()
            assert b"Traceback" not in screen.drawn


# --- the past ------------------------------------------------------------------------------------


def test_history_is_shown_when_no_server_runs_and_redis_does(
    home: Home, redis_server: RedisServer
) -> None:
    """Figures have a sparkline with a blank where nothing was measured, and four numbers."""
    # Given samples with half an hour of nothing between them
    fill(redis_server, *range(1, 16), *range(45, 60))

    # When
    ended = run(home, "health", "--since", "1h", BLUEPLANE_REDIS_URL=redis_server.url)

    # Then
    assert (ended.code, ended.err) == (0, "")
    head, colour, depth, *_ = ended.out.splitlines()
    assert head.split() == ["metric", "past", "to", "now", "min", "avg", "max", "last"]
    assert colour.startswith("health_status")
    assert depth.split()[-4:] == ["1", "30", "59", "1"]
    assert "█" in depth
    assert " " * 8 in depth.split("█")[-1]
    assert "▂" in depth.split("█")[-1] or "▁" in depth.split("█")[-1]


def test_history_of_chosen_figures_is_json_when_a_program_asks(
    home: Home, redis_server: RedisServer
) -> None:
    """A program gets every point, with null where nothing was measured."""
    # Given
    fill(redis_server, 1, 2, 9)
    url = {"BLUEPLANE_REDIS_URL": redis_server.url}

    # When
    answer = run(
        home, "health", "--since", "10m", "--metric", "queue.*", "--format", "json", **url
    ).json

    # Then
    (row,) = answer["rows"]
    assert row["metric"] == "queue.queue_depth"
    assert (row["min"], row["max"], row["last"]) == (1, 9, 1)
    values = [value for _, value in row["points"]]
    assert [value for value in values if value is not None] == [9, 2, 1]
    assert values.index(9) + 7 == values.index(2)


def test_history_is_plain_when_the_encoding_has_no_blocks(
    home: Home, redis_server: RedisServer
) -> None:
    """Where blocks cannot be written the bars are ASCII."""
    # Given
    fill(redis_server, 1, 2, 3)

    # When
    ended = run(
        home, "health", "--since", "10m",
        BLUEPLANE_REDIS_URL=redis_server.url, PYTHONIOENCODING="ascii",
    )  # fmt: skip

    # Then
    assert ended.out.isascii()
    assert "\\u" not in ended.out
    assert "#" in ended.out


def test_history_says_so_when_neither_server_nor_redis_runs(
    home: Home, redis_server: RedisServer
) -> None:
    """Without Redis there is no history, and one line says what starts it; an empty one says so."""
    # Given a home whose private Redis does not run, and an empty Redis

    # When
    without = run(home, "health", "--since", "24h")
    empty = run(home, "health", "--since", "24h", BLUEPLANE_REDIS_URL=redis_server.url)

    # Then
    assert without.code == 4
    assert "no server runs" in without.err
    assert "blueplane start" in without.err
    assert empty.code == 1
    assert "no history of that time" in empty.err
