"""The server in the background, pauses and the log, as people use them."""

import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from blueplane.errors import BlueplaneError
from blueplane.install.background import output_file
from blueplane.paths import Home
from blueplane.server.control import ask
from helpers.server import Server
from helpers.waiting import has_ended, wait_until
from integration.test_cli import Ended, capture, program_environment, query, run, wait_rows

PATIENCE_S = 20.0
REFUSED, UNUSABLE = 4, 2
INTERRUPTED, PIPE_CLOSED = 130, 141


@pytest.fixture
def background(home: Home) -> Iterator[Home]:
    """Give a home whose server and Redis end with the test, however they were started."""
    yield home
    with suppress(BlueplaneError, psutil.NoSuchProcess):  # none runs
        psutil.Process(ask(home.socket("control.sock"), "status")["pid"]).kill()
    Server(home).kill_redis()


def pid_of(ended: Ended) -> int:
    """Return the pid that ``start`` or ``restart`` named."""
    assert ended.code == 0, ended.err
    found = re.search(r"the server runs, pid (\d+); `blueplane stop` stops it\n$", ended.out)
    assert found is not None, ended.out
    return int(found[1])


def test_restart_stops_nothing_when_the_settings_are_wrong(background: Home) -> None:
    """A server that could not start again goes on."""
    # Given a server, and a file that it could not read again
    home = background
    pid = pid_of(run(home, "start"))
    home.config_file.write_text("privacy: [")
    # When it is to be started again
    ended = run(home, "restart")
    # Then it says why not, and the server runs
    assert (ended.code, str(home.config_file) in ended.err, ended.out) == (2, True, "")
    home.config_file.unlink()
    assert run(home, "status", "--format", "json").json["server"]["pid"] == pid


def test_server_runs_in_the_background_from_start_to_stop(background: Home) -> None:
    """It outlives the terminal, takes events, is one, and ends in order when it is asked to."""
    # Given a server that was started, and one more start
    home = background
    pid = pid_of(run(home, "start"))
    again = run(home, "start")
    assert (again.code, again.out.startswith(f"the server runs already (pid {pid} since")) == (0, 1)
    # Then it is apart from us, and prints to a private file, no figures
    server = psutil.Process(pid)
    assert (os.getsid(pid), server.cwd()) == (pid, str(home.root))
    assert str(Path(f"/proc/{pid}/fd/0").readlink()) == os.devnull
    assert stat.S_IMODE(output_file(home).stat().st_mode) == 0o600
    # When events come before and after a restart
    capture(home, "first")
    wait_rows(home, 1)
    second = pid_of(run(home, "restart"))
    capture(home, "second")
    wait_rows(home, 2)
    # Then another process has taken them, and nobody is left when it stops
    assert second != pid
    wait_until(lambda: has_ended(pid), PATIENCE_S, "the first has ended")
    assert len(output_file(home).read_text().splitlines()) == 1
    ends = [run(home, "stop") for _ in range(2)]
    assert [(each.code, each.out) for each in ends] == [
        (0, "the server has stopped\n"), (0, "no server runs\n"),
    ]  # fmt: skip
    wait_until(lambda: has_ended(second), PATIENCE_S, "it has ended")
    assert "main stopped clean=true" in home.log_file.read_text().splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "content", "code", "says"),
    [
        (
            "config.yaml",
            "privacy: {level: loud}\n",
            UNUSABLE,
            r"exit code 2: .*config.yaml, line 1",
        ),
        ("secret", "short", REFUSED, r"exit code 4: .*secret: 5 bytes instead of 32"),
    ],
)
def test_start_says_why_when_the_server_cannot(
    background: Home, name: str, content: str, code: int, says: str
) -> None:
    """What the server said before it ended reaches whoever started it."""
    # Given a home in which no server can run
    (background.root / name).write_text(content)
    # When one is started
    ended = run(background, "start")
    # Then its words and its exit code are told
    assert (ended.code, ended.out, ended.err.count("\n")) == (code, "", 1)
    assert re.search(says, ended.err)


@pytest.mark.fault("F4")
def test_server_is_stopped_by_a_signal_when_its_socket_does_not_answer(background: Home) -> None:
    """Whoever took the socket away does not keep the server from being stopped."""
    # Given a server in the place of whose socket there is a file
    pid = pid_of(run(background, "start"))
    staged = background.run / "staged"
    staged.touch()
    staged.rename(background.socket("control.sock"))
    # When it is stopped
    ended = run(background, "stop")
    # Then it has, in order
    assert (ended.code, ended.out) == (0, "the server has stopped\n")
    wait_until(lambda: has_ended(pid), PATIENCE_S, "it has ended")
    assert "main stopped clean=true" in background.log_file.read_text()


def test_server_is_stopped_when_it_runs_in_the_foreground(home: Home) -> None:
    """``stop`` ends a server wherever it was started."""
    # Given a server in the foreground
    with Server(home) as server:
        server.start_ready()
        # When it is stopped / Then it ends as if by Ctrl-C
        assert run(home, "stop").code == 0
        assert server.wait() == 0


# --- pause and resume ----------------------------------------------------------------------------


def test_nothing_is_captured_from_pause_to_resume(background: Home) -> None:
    """With a server running, a pause holds at once; what is refused is counted and not kept."""
    # Given a running server and an event
    home = background
    pid_of(run(home, "start"))
    capture(home, "before")
    wait_rows(home, 1)
    # When capture is paused, made longer, and resumed, with events meanwhile
    assert run(home, "pause").out == "capture is paused; `blueplane resume` ends that\n"
    capture(home, "during")
    longer = run(home, "pause", "2h").out
    assert re.fullmatch(r"capture is paused until (\d{4}-\d\d-\d\d )?\d\d:\d\d; .*\n", longer)
    capture(home, "during", 2)
    status = run(home, "status", "--format", "json").json
    screen = run(home, "status")
    ended = [run(home, "resume") for _ in range(2)]
    capture(home, "after")
    # Then only what came before and after is stored, and the rest is counted
    wait_rows(home, 2)
    assert query(home, "SELECT count(*) FROM raw_traces WHERE session_id = 'during'") == [(0,)]
    assert [each.out for each in ended] == ["capture goes on\n", "capture was not paused\n"]
    assert [each.code for each in ended] == [0, 0]
    assert (status["capture"]["paused"], status["healthy"]) == (True, True)
    assert re.search(r"\ncapture +paused until ", screen.out)
    assert re.search(r"\nnote +capture is paused until ", screen.out)
    assert (home.run / "refused").read_text() == "ppp"
    pid_of(run(home, "restart"))  # which counts at once
    balance = run(home, "status", "--format", "json").json["balance"]
    assert (balance["events"]["refused"], balance["balanced"]) == (3, True)


def test_pause_holds_when_no_server_ever_ran(home: Home) -> None:
    """A pause needs no server, and the status says until when."""
    # Given no server / When capture is paused for a while
    run(home, "pause", "90s")
    capture(home, "during")
    # Then nothing is captured, and the end is there to the second
    assert list(home.spool.iterdir()) == []
    status = run(home, "status", "--format", "json").json["capture"]
    assert re.search(r"paused until .*\d\d:\d\d:\d\d$", status["state"])
    assert status["until"].endswith("Z")


@pytest.mark.parametrize(
    "duration", ["", "x", "1w", "0", "0s", "366d", "1.5h", "9" * 5000, "\uff11m"]
)
def test_pause_says_how_when_the_duration_is_none(home: Home, duration: str) -> None:
    """A duration that is none pauses nothing, and the line says how to write one."""
    # Given / When capture is to be paused for that
    ended = run(home, "pause", duration)
    # Then
    assert (ended.code, ended.out) == (UNUSABLE, "")
    assert "write 90s, 30m (minutes), 2h or 1d" in ended.err
    assert not (home.run / "paused").exists()
    assert not (home.run / "paused-until").exists()


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [("90s", 90), ("30m", 1800), ("30", 1800), ("2H", 7200), ("365d", 31_536_000)],
)
def test_pause_lasts_as_long_as_it_says(home: Home, duration: str, seconds: int) -> None:
    """Each unit means what it says; a bare number is minutes."""
    # Given / When capture is paused for that
    before_s = time.time()
    run(home, "pause", duration)
    # Then the hooks see its end
    end_s = (home.run / "paused-until").stat().st_mtime
    assert before_s + seconds <= end_s <= time.time() + seconds


# --- logs ----------------------------------------------------------------------------------------


def follow(home: Home) -> subprocess.Popen[str]:
    """Start following the log."""
    return subprocess.Popen(
        [sys.executable, "-m", "blueplane", "logs", "-f", "-n", "1"],
        env=program_environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.fault("F9")
@pytest.mark.parametrize(("way", "code"), [("interrupt", INTERRUPTED), ("close", PIPE_CLOSED)])
def test_logs_follows_through_a_rotation_until_nobody_looks(
    home: Home, way: str, code: int
) -> None:
    """A log is followed line by line, also into a new file, until Ctrl-C or a closed pipe."""
    # Given somebody who follows a log
    home.log_file.write_text("one\ntwo\n")
    with follow(home) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "two\n"
        # When it grows, is rotated, and is made again
        with home.log_file.open("a") as log:
            log.write("three\n")
        assert process.stdout.readline() == "three\n"
        home.log_file.rename(home.logs / "server.log.1")
        home.log_file.write_text("four\n")
        assert process.stdout.readline() == "four\n"
        # Then it ends when the reader does, in silence, though nothing is written any more
        if way == "interrupt":
            process.send_signal(signal.SIGINT)
        else:
            process.stdout.close()
        assert process.wait(PATIENCE_S) == code
        assert process.stderr.read() == ""
