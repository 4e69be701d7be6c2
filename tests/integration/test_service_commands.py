"""``start``, ``stop``, ``restart`` and ``status`` where the server is a service.

The manager is a script in the place of systemctl that starts what the unit says; a real systemd is
in ``tests/systemd``.
"""

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from blueplane.errors import BlueplaneError
from blueplane.install import background
from blueplane.install.systemd import render
from blueplane.paths import Home
from blueplane.server.control import ask
from helpers.cli import run
from helpers.server import Server, environment

WAIT_S = 30.0
#: ``start`` runs the program in the background, with a socket for what it says; ``stop`` waits.
SYSTEMCTL = """#!/bin/sh
echo "$*" >> {at}/log
case $2 in
show)
    pid=$(cat {at}/pid 2>/dev/null)
    if [ "$3" = --property=Version ]; then echo Version=252
    elif [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; then echo ActiveState=active
    else echo ActiveState=failed; echo SubState=failed; echo ExecMainCode=1
        echo "ExecMainStatus=$(cat {at}/code)"; fi ;;
start)
    rm -f {at}/code
    {{ NOTIFY_SOCKET={at}/notify {program} serve --home {home} >{output} 2>&1 & echo $! >{at}/pid
    wait $!; echo $? >{at}/code; }} >/dev/null 2>&1 & ;;
stop)
    pid=$(cat {at}/pid 2>/dev/null) && kill "$pid" 2>/dev/null
    while [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; do sleep 0.05; done ;;
esac
"""


@pytest.fixture
def managed(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """Give a home with a unit, and a manager that runs it and has the server talk to ``notify``."""
    at = tmp_path / "manager"
    at.mkdir()
    program = " ".join(background.command(home)[:1])
    paths = environment()["PYTHONPATH"]
    (at / "program").write_text(f'#!/bin/sh\nPYTHONPATH={paths} exec {program} -m blueplane "$@"\n')
    (at / "program").chmod(0o755)
    systemctl = at / "systemctl"
    words = {"at": at, "home": home.root, "output": background.output_file(home)}
    systemctl.write_text(SYSTEMCTL.format(program=at / "program", **words))
    systemctl.chmod(0o755)
    runtime = Path(os.environ["XDG_RUNTIME_DIR"]) / "systemd"
    runtime.mkdir()
    (runtime / "private").touch()
    unit = Path(os.environ["HOME"]) / ".config" / "systemd" / "user" / "blueplane.service"
    unit.parent.mkdir(parents=True)
    unit.write_text(render(at / "program", home, {}, isolated=False))
    monkeypatch.setenv("PATH", f"{at}:{os.environ['PATH']}")
    yield home
    with suppress(BlueplaneError, psutil.NoSuchProcess):  # none runs
        psutil.Process(ask(home.control_socket, "status")["pid"]).kill()
    Server(home).kill_redis()


@pytest.fixture
def listener(managed: Home) -> Iterator[socket.socket]:
    """Give the socket on which the manager of the home listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(managed.root.parent / "manager" / "notify"))
        listener.settimeout(WAIT_S)
        yield listener


def told(home: Home) -> list[str]:
    """Return what the manager was told to do since the last time."""
    log = home.root.parent / "manager" / "log"
    lines = log.read_text().splitlines()
    log.write_text("")
    return [line for line in lines if not line.startswith("--user show")]


@pytest.mark.skipif(not Path("/proc").exists(), reason="systemd is Linux's")
def test_service_is_what_the_commands_drive_when_it_is_installed(
    managed: Home, listener: socket.socket
) -> None:
    """Nothing runs beside the service; the server tells its manager when it is ready and ends."""
    # Given / When it is started
    home = managed
    started = run(home, "start")
    # Then
    found = re.fullmatch(
        r"the server runs under systemd, pid (\d+); `blueplane stop` stops it\n", started.out
    )
    assert found is not None, started
    assert told(home) == ["--user start --no-block blueplane.service"]
    assert listener.recv(100) == b"READY=1"
    server = run(home, "status", "--format", "json").json["server"]
    assert (server["manager"], server["sandbox"]["level"]) == ("systemd", "none")
    assert ", kept by systemd" in run(home, "status").out
    # And when it is restarted, another one runs; when it is stopped, none
    restarted = run(home, "restart")
    assert restarted.code == 0, restarted.err
    assert told(home) == [
        "--user stop blueplane.service", "--user start --no-block blueplane.service",
    ]  # fmt: skip
    assert run(home, "stop").out == "the server has stopped\n"
    assert run(home, "stop").out == "no server runs\n"
    said: list[bytes] = []
    while said.count(b"STOPPING=1") < 2:
        said.append(listener.recv(100))
    turns = [each for each in said if not each.startswith(b"STATUS=")]
    assert turns == [b"STOPPING=1", b"READY=1", b"STOPPING=1"]


def test_start_says_why_when_the_service_ends_at_once(managed: Home) -> None:
    """Its last words and its exit code reach whoever started it."""
    # Given settings with which no server runs
    home = managed
    home.config_file.write_text("privacy: {level: loud}\n")
    # When
    ended = run(home, "start")
    # Then
    assert (ended.code, ended.out) == (2, "")
    assert re.search(r"exit code 2: .*config.yaml, line 1", ended.err)


def test_stop_ends_a_server_that_is_not_the_manager_s(managed: Home) -> None:
    """One in the foreground is stopped although the service is installed."""
    # Given
    with Server(managed) as server:
        server.start_ready()
        # When / Then
        assert run(managed, "stop").out == "the server has stopped\n"
        assert server.wait() == 0
    assert told(managed) == ["--user stop blueplane.service"]


def test_start_uses_the_background_when_the_manager_cannot_be_asked(managed: Home) -> None:
    """A unit alone does not keep a server from being started, where no manager runs."""
    # Given
    (Path(os.environ["XDG_RUNTIME_DIR"]) / "systemd" / "private").unlink()
    # When
    started = run(managed, "start")
    # Then
    assert re.fullmatch(r"the server runs, pid \d+; `blueplane stop` stops it\n", started.out)
    assert run(managed, "stop").out == "the server has stopped\n"


def test_output_is_that_of_the_last_start_when_a_manager_only_adds_to_it(home: Home) -> None:
    """A server that cannot start, and is tried again and again, fills no disk with its words."""
    # Given what many tries have printed, and settings with which no server runs
    output = background.output_file(home)
    output.write_text("old words\n" * 1000)
    home.config_file.write_text("privacy: {level: loud}\n")
    # When it is tried once more
    with output.open("ab") as stream:
        ended = subprocess.run(
            background.command(home), stdout=stream, stderr=stream, env=environment(), check=False
        )
    # Then
    assert ended.returncode == 2
    (line,) = output.read_text().splitlines()
    assert "config.yaml, line 1" in line


@pytest.mark.fault("A15")
def test_watchdog_is_fed_by_a_real_server_until_a_thread_hangs(
    managed: Home, listener: socket.socket
) -> None:
    """The whole server: signs of life come, and end with the thread."""
    # Given a server whose writer hangs soon
    watched = {"NOTIFY_SOCKET": str(listener.getsockname()), "WATCHDOG_USEC": "3000000"}
    with Server(managed, **watched) as server:
        server.start("writer_loop:sleep=600@4")
        said: list[bytes] = []
        # When
        while b"STATUS=hung: writer" not in said:
            said.append(listener.recv(1000))
        # Then
        assert said[0] == b"READY=1"
        assert b"WATCHDOG=1" in said
        assert "main hung threads=writer" in server.log()
