"""Which process gets a signal from ``stop``: the server of this home, and no other."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from blueplane.clock import iso_utc, wall_ms
from blueplane.errors import ServerUnavailableError
from blueplane.install import background
from blueplane.lock import ServerLock, is_running
from blueplane.paths import Home
from helpers.redis_server import missing
from helpers.server import environment
from helpers.waiting import wait_until
from unit.hooks.running import without_rights

PATIENCE_S = 20.0
HOUR_MS = 3_600_000
#: Holds the lock of a home, says so, and does nothing else; SIGTERM ends it.
HOLDER = """
import signal, sys
from pathlib import Path
from blueplane.lock import ServerLock
from blueplane.paths import Home
lock = ServerLock(Home(Path(sys.argv[1])))
lock.take()
print("held", flush=True)
signal.pause()
"""
#: A process that somebody else may have: it waits, whatever its command line says.
WAITS = "import sys; sys.stdin.read()"
Process = subprocess.Popen[bytes]


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    """Give a list of processes that end with the test."""
    found: list[Process] = []
    yield found
    for process in found:
        process.kill()
        process.communicate()


@pytest.fixture
def held(home: Home) -> Iterator[Home]:
    """Give a home whose lock is held by a server that does not answer: this process."""
    lock = ServerLock(home)
    lock.take()
    yield home
    lock.release()


def spawn(processes: list[Process], code: str, *words: str, **options: object) -> Process:
    """Start Python with ``code`` and ``words``, and pipes."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(), **options,  # type: ignore[call-overload]
    )  # fmt: skip
    processes.append(process)
    return process


def refusal(home: Home) -> str:
    """Have the server stopped, which must be refused; return the reason."""
    with pytest.raises(ServerUnavailableError) as caught:
        background.stop(home, lambda: False)
    assert str(home.lock_file) in str(caught.value)
    return str(caught.value)


@pytest.mark.fault("F4")
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "names no process"),
        (b"\x00garbage\xff" * 100, "names no process"),
        (b"12345\n", "names no process"),
        (b"pid -1 since 2026-11-20T06:16:35.123Z\n", "names no process"),
        (b"pid 1 since yesterday\n", "has no time"),
        (b"pid 0 since 2026-11-20T06:16:35.123Z\n", "does not exist|another user|no server"),
        (b"pid 9999999999 since 2026-11-20T06:16:35.123Z\n", "does not exist"),
        (None, "names no process"),
    ],
)
def test_nobody_gets_a_signal_when_the_lock_names_no_process(
    held: Home, text: bytes | None, reason: str
) -> None:
    """Empty, garbage or unreadable text: ``stop`` says so, and leaves the text as it is."""
    # Given a server that does not answer, and a text that does not name it
    held.lock_file.unlink()
    if text is None:
        held.lock_file.mkdir()
    else:
        held.lock_file.write_bytes(text)
    # When it is to be stopped / Then it is refused
    said = refusal(held)
    assert any(each in said for each in reason.split("|"))
    assert text is None or held.lock_file.read_bytes() == text


@pytest.mark.fault("F4")
@pytest.mark.parametrize(
    ("words", "since_ms", "reason"),
    [
        (["sleep", "60"], 0, "no server of this home"),
        (["blueplane", "status", "--home", "{home}"], 0, "no server of this home"),
        (["other", "serve"], 0, "no server of this home"),
        (["blueplane", "serve", "--home", "{home}/other"], 0, "no server of this home"),
        (["blueplane", "serve", "--home={home}2"], 0, "no server of this home"),
        (["blueplane", "serve", "--home", "{home}"], -HOUR_MS, "used again"),
    ],
    ids=["unrelated", "other command", "other program", "other home", "another home", "reused"],
)
def test_an_unrelated_process_lives_on_when_the_lock_names_it(
    held: Home, processes: list[Process], words: list[str], since_ms: int, reason: str
) -> None:
    """A process with that number that is not the server of this home gets no signal."""
    # Given a process of ours, and a lock whose text has its number
    words = [word.format(home=held.root) for word in words]
    process = spawn(processes, WAITS, *words)
    since = iso_utc(wall_ms() + since_ms)
    held.lock_file.write_text(f"pid {process.pid} since {since}\n")
    # When the server is to be stopped / Then it is refused
    assert reason in refusal(held)
    # And the process goes on until it is told to end
    assert process.poll() is None
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0


@pytest.mark.fault("F4")
def test_nobody_gets_a_signal_when_the_process_is_gone(
    held: Home, processes: list[Process]
) -> None:
    """A number that no process has, or one that has ended and was not waited for, is refused."""
    # Given a process that has ended
    process = spawn(processes, "", "blueplane", "serve")
    held.lock_file.write_text(f"pid {process.pid} since {iso_utc(wall_ms())}\n")
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    # When the server is to be stopped / Then it is refused, before and after the end was seen
    assert "does not exist" in refusal(held)
    process.communicate(timeout=PATIENCE_S)
    assert "does not exist" in refusal(held)


@pytest.mark.fault("F4")
def test_another_users_process_lives_on_when_the_lock_names_it(
    held: Home, processes: list[Process]
) -> None:
    """Not even a command line like ours makes another user's process our server."""
    if os.geteuid() != 0:
        missing("right to become another user (root)")
    # Given a process of nobody's with the command line of our server
    process = subprocess.Popen(
        ["sh", "-c", "read _", "blueplane", "serve", "--home", str(held.root)],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, preexec_fn=without_rights,  # noqa: PLW1509 - no threads
        cwd="/",
    )  # fmt: skip
    processes.append(process)
    held.lock_file.write_text(f"pid {process.pid} since {iso_utc(wall_ms())}\n")
    # When the server is to be stopped / Then it is refused
    assert "another user" in refusal(held)
    assert process.poll() is None


@pytest.mark.fault("F4")
@pytest.mark.parametrize(
    "home_words", [["--home", "{home}"], ["--home={home}"], ["--home", "."], []]
)
def test_the_server_of_this_home_gets_the_signal_when_it_does_not_answer(
    home: Home, processes: list[Process], home_words: list[str]
) -> None:
    """A server that is seen to be ours is ended by SIGTERM, and ``stop`` waits for its end."""
    # Given a server that holds the lock and does not answer
    words = [word.format(home=home.root) for word in home_words]
    process = spawn(processes, HOLDER, str(home.root), "blueplane", "serve", *words, cwd=home.root)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    # When it is to be stopped
    stopped = background.stop(home, lambda: False)
    # Then it has ended by the signal, and nobody holds the lock
    assert (stopped, is_running(home)) == (True, False)
    assert process.wait(PATIENCE_S) == -signal.SIGTERM
    assert background.stop(home, lambda: False) is False


@pytest.mark.fault("F4")
@pytest.mark.parametrize("text", [None, "pid {pid} since {since}\n", "garbage"])
def test_no_server_runs_when_nobody_holds_the_lock(
    home: Home, processes: list[Process], text: str | None
) -> None:
    """Whatever a dead server left in the lock, nobody is asked and nobody gets a signal."""
    # Given the text of a dead server, with the number of a process like it
    process = spawn(processes, WAITS, "blueplane", "serve", "--home", str(home.root))
    if text is not None:
        home.lock_file.write_text(text.format(pid=process.pid, since=iso_utc(wall_ms())))

    def ask() -> bool:
        raise AssertionError

    # When the server is to be stopped / Then none runs
    assert background.stop(home, ask) is False
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0


def test_stop_says_what_to_do_when_the_server_does_not_end(
    held: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that agreed and does not end is named, and it is not waited for for ever."""
    # Given a server that agrees, and does nothing
    monkeypatch.setattr(background, "STOP_S", 0.05)
    # When it is to be stopped / Then
    with pytest.raises(ServerUnavailableError, match=rf"\(pid {os.getpid()} .*`kill -9` ends it"):
        background.stop(held, lambda: True)


@pytest.mark.fault("F4")
def test_nobody_gets_a_signal_when_the_server_ends_by_itself_meanwhile(
    home: Home, processes: list[Process]
) -> None:
    """A server that ended while it was asked is stopped, whoever has its number by now."""
    # Given a server that ends instead of answering, and its number in the lock of another process
    lock = ServerLock(home)
    lock.take()

    def ask() -> bool:
        lock.release()
        process = spawn(processes, WAITS, "blueplane", "serve")
        home.lock_file.write_text(f"pid {process.pid} since {iso_utc(wall_ms())}\n")
        return False

    # When it is to be stopped / Then it is, and the other process lives on
    assert background.stop(home, ask) is True
    assert processes[0].poll() is None


@pytest.fixture
def executable(tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Give what puts a shell script in the place of our program."""
    before = sys.executable, getattr(sys, "frozen", None)

    def put(script: str) -> None:
        path = tmp_path / "blueplane"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        sys.executable, sys.frozen = str(path), True  # type: ignore[attr-defined]

    yield put
    sys.executable = before[0]
    del sys.frozen  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("script", "code", "says"),
    [
        ("echo one; echo 'blueplane: two' >&2; echo; exit 2", 2, "exit code 2: two"),
        ("exit 0", 4, "exit code 0: it said nothing; see "),
        ("kill -9 $$", 4, "signal 9: it said nothing; see "),
        ("exit 3", 3, "exit code 3: "),
        ("printf '%09999d' 0; exit 70", 70, f"exit code 70: {'0' * 500}"),
    ],
)
def test_start_says_why_when_the_server_ends_at_once(
    home: Home, executable: Callable[[str], None], script: str, code: int, says: str
) -> None:
    """Exit code and last line of a server that ended are told, in one line, with its exit code."""
    # Given a frozen program that ends at once
    executable(script)
    # When it is started in the background
    with pytest.raises(Exception, match="the server ended with ") as caught:
        background.start(home, lambda: None)
    # Then
    assert says in str(caught.value)
    assert caught.value.exit_code == code  # type: ignore[attr-defined]


def test_start_says_that_it_runs_when_it_does_not_answer_in_time(
    home: Home, executable: Callable[[str], None], monkeypatch: pytest.MonkeyPatch,
    processes: list[Process],
) -> None:  # fmt: skip
    """A server that is slow is left to itself, and named."""
    # Given a program that writes what it was called with, and does not answer
    monkeypatch.setattr(background, "START_S", 0.3)
    real = background._launch

    def launch(home: Home) -> Process:
        processes.append(real(home))
        return processes[0]

    monkeypatch.setattr(background, "_launch", launch)
    executable('echo "$*"; pwd; umask; read line || exec sleep 60')
    # When it is started / Then it is left running, in the home, apart from this terminal
    with pytest.raises(ServerUnavailableError, match="runs and does not answer yet; see "):
        background.start(home, lambda: None)
    pid = processes[0].pid
    assert (processes[0].poll(), os.getsid(pid)) == (None, pid)
    output = background.output_file(home)
    wait_until(lambda: output.read_text().count("\n") == 3, PATIENCE_S, "its lines")
    assert output.read_text().splitlines()[:2] == [f"serve --home {home.root}", str(home.root)]


@pytest.mark.fault("G9")
@pytest.mark.parametrize("make", [os.symlink, os.link], ids=["symlink", "hardlink"])
def test_start_leaves_a_file_alone_when_a_link_leads_to_it(
    home: Home, executable: Callable[[str], None], make: Callable[[Path, Path], None]
) -> None:
    """What the server prints goes to a new, private file, not through what stands there."""
    # Given a file of somebody else with a link to it
    other = home.root / "other"
    other.write_text("kept")
    make(other, background.output_file(home))
    executable("echo printed; exit 1")
    # When a server is started
    with pytest.raises(Exception, match="exit code 1: printed"):
        background.start(home, lambda: None)
    # Then that file is as it was
    assert other.read_text() == "kept"
    assert background.output_file(home).stat().st_mode & 0o777 == 0o600
