"""The server as a service of a real systemd's user manager."""

import re
import signal
import stat

import pytest
from machine import HOME, UID, Machine
from program import FROZEN, PROGRAM, Program

from helpers.waiting import wait_until

WAIT_S = 40.0
UNIT = f"{HOME}/.config/systemd/user/blueplane.service"
OWN = f"{UNIT}.d/own.conf"
STOP_S = 15.0
#: Seconds for which nothing comes; the longest wait of a thread is shorter.
QUIET_S = 14.0
#: With a specifier, a variable and quotes as systemd reads them.
ODD = f"{HOME}/tele metrie 100%home \"ü\" ${{HOME}} 'x' \\"

from_source = pytest.mark.skipif(FROZEN, reason="a frozen program has no fault points")


def settings(machine: Machine, *lines: str) -> None:
    """Have settings of the user's own in the unit; none takes them away."""
    text = "\n".join(["[Service]", *lines, ""])
    script = 'mkdir -p "$(dirname "$1")" && printf %s "$2" > "$1"'
    assert machine.run("sh", "-c", script, "sh", OWN, text).returncode == 0
    machine.systemctl("daemon-reload")


def inside(machine: Machine, pid: int, *command: str) -> str:
    """Run a command as root among the files that a process sees; return its complaint."""
    return machine.root("nsenter", "-t", str(pid), "-m", "-r", "-w", "--", *command).stderr


def command_lines(machine: Machine) -> str:
    """Return the command lines of all that runs in the machine."""
    return machine.root("sh", "-c", "cat /proc/[0-9]*/cmdline").stdout


def fed_s(machine: Machine) -> float:
    """Return when the service last fed its watchdog, in seconds since the machine was booted."""
    return int(machine.show("WatchdogTimestampMonotonic")) / 1_000_000


def restarts(machine: Machine) -> int:
    """Return how often the service was started again by itself."""
    return int(machine.show("NRestarts"))


def wait_restarted(program: Program, pid: int) -> None:
    """Wait until another process has taken the place of ``pid``, and takes events."""
    machine = program.machine
    wait_until(lambda: program.pid() not in {0, pid}, WAIT_S, "started again")
    program.wait_ready()
    assert machine.show("ActiveState") == "active"


def test_service_is_ready_when_it_is_started(program: Program) -> None:
    """It is active once its threads run; the manager knows its state, and it starts at login."""
    # Given / When the service was installed
    status = program.install_ready()
    machine = program.machine
    # Then
    assert machine.show("ActiveState") == "active"
    assert machine.show("UnitFileState") == "enabled"
    assert program.pid() == status["server"]["pid"]
    wait_until(lambda: machine.show("StatusText") == "in order", WAIT_S, "its words arrived")
    assert status["server"]["manager"] == "systemd"
    program.capture(20)
    program.wait_written(20)
    # And the unit has nothing that systemd does not know
    ended = machine.run("systemd-analyze", "--user", "verify", UNIT)
    assert (ended.returncode, ended.stdout + ended.stderr) == (0, "")
    # And it prints no figures to its file, which is private
    mode = int(machine.root("stat", "-c", "%a", f"{program.home}/logs/serve.out").stdout, 8)
    assert stat.S_IMODE(mode) == 0o600
    assert len(program.output().splitlines()) == 1


def test_service_writes_its_home_and_nothing_else_when_it_runs(program: Program) -> None:
    """For the server all of the machine is read-only but its home; what editors keep it can read.

    The kernel is asked, by trying it among the files that the server sees.
    """
    # Given what editors keep, one of them with its database open
    machine = program.machine
    make = (
        "import os, sqlite3, sys, time; os.makedirs('.cursor'); os.makedirs('.claude/projects/p');"
        "open('.claude/projects/p/s.jsonl', 'w').write('{}\\n');"
        "c = sqlite3.connect('.cursor/state.vscdb'); c.execute('PRAGMA journal_mode = WAL');"
        "c.execute('CREATE TABLE t (x)'); c.execute('INSERT INTO t VALUES (7)'); c.commit();"
        "d = sqlite3.connect('.cursor/closed.vscdb'); d.execute('PRAGMA journal_mode = WAL');"
        "d.execute('CREATE TABLE t (x)'); d.execute('INSERT INTO t VALUES (7)'); d.commit();"
        "d.close();"
        "open('ready', 'w'); time.sleep(600)"
    )
    machine.systemctl("daemon-reload")
    machine.run(
        "systemd-run", "--user", f"--working-directory={HOME}", "/usr/bin/python3", "-c", make
    )
    wait_until(lambda: machine.root("test", "-e", f"{HOME}/ready").returncode == 0, WAIT_S, "made")
    # When the service runs
    status = program.install_ready()
    pid = program.pid()
    # Then it knows what it may, and so it is
    assert status["server"]["sandbox"] == {"level": "full", "writable": []}
    for place in (
        HOME, f"{HOME}/.cursor", f"{HOME}/.claude", f"{HOME}/.config", f"{HOME}/.local/share",
        "/etc", "/usr", "/opt", "/srv", "/var/lib", f"/run/user/{UID}",
    ):  # fmt: skip
        assert "Read-only file system" in inside(machine, pid, "touch", f"{place}/planted"), place
    for place in ("", "/spool", "/run", "/redis", "/logs", "/backups", "/quarantine"):
        path = f"{program.home}{place}/planted"
        assert inside(machine, pid, "touch", path) == ""
        machine.root("rm", "-f", path)  # the spooler may have been quicker
    assert inside(machine, pid, "touch", "/tmp/planted") == ""
    assert machine.root("test", "-e", "/tmp/planted").returncode == 1
    # And what editors keep can be read
    assert inside(machine, pid, "cat", f"{HOME}/.claude/projects/p/s.jsonl") == ""
    for name in ("state.vscdb?mode=ro", "closed.vscdb?immutable=1"):
        read = (
            f"import sqlite3; c = sqlite3.connect('file:{HOME}/.cursor/{name}', uri=True);"
            "assert c.execute('SELECT x FROM t').fetchall() == [(7,)]"
        )
        assert inside(machine, pid, "/usr/bin/python3", "-c", read) == ""


@pytest.mark.fault("A2", "A14")
def test_service_is_started_again_when_it_is_killed(program: Program) -> None:
    """``kill -9``: another server within seconds, and every event is written once."""
    # Given a service with events before
    program.install_ready()
    machine, pid = program.machine, program.pid()
    program.capture(50)
    # When it is killed, with events on the way, and more come while there is none
    machine.signal(pid, signal.SIGKILL)
    program.capture(50)
    # Then
    wait_restarted(program, pid)
    assert restarts(machine) == 1
    program.capture(50)
    program.wait_written(150)


@from_source
@pytest.mark.fault("A15")
@pytest.mark.parametrize("point", ["writer_loop", "spooler_loop"])
def test_service_is_started_again_when_a_thread_hangs(program: Program, point: str) -> None:
    """One thread that carries events hangs, the others go on: the watchdog is not fed any more."""
    # Given a service in which a thread will hang, for ever as far as we are concerned
    machine = program.machine
    program.install_ready()
    program.run("stop")
    settings(
        machine, f"Environment=BLUEPLANE_FAULTS={point}:sleep=3600@15", "WatchdogSec=3s",
        "RestartSec=1s",
    )  # fmt: skip
    assert program.run("start").returncode == 0
    pid = program.pid()
    settings(machine, "WatchdogSec=3s", "RestartSec=1s")  # the next one is without the fault
    # When it does
    for _ in range(15):
        program.capture(1)
    program.capture(35)
    # Then it says which, is ended, and another one writes what is left
    wait_restarted(program, pid)
    assert restarts(machine) >= 1
    journal = machine.root("journalctl", "-o", "cat", "--no-pager").stdout
    assert "Watchdog timeout" in journal
    assert f"main hung threads={point.removesuffix('_loop')}" in program.log()
    program.wait_written(50)


def test_service_is_started_again_when_it_stands_still(program: Program) -> None:
    """A whole process that does nothing any more is ended by the watchdog as well."""
    # Given
    machine = program.machine
    program.install_ready()
    settings(machine, "WatchdogSec=3s", "RestartSec=1s", "TimeoutAbortSec=1s")
    assert program.run("restart").returncode == 0
    pid = program.pid()
    # When
    machine.signal(pid, signal.SIGSTOP)
    program.capture(10)
    # Then
    wait_restarted(program, pid)
    program.wait_written(10)


def test_service_lives_on_when_it_has_nothing_to_do(program: Program) -> None:
    """Threads that wait for work are not taken for hung ones."""
    # Given a watchdog that is less patient than a thread that waits for work
    machine = program.machine
    program.install_ready()
    settings(machine, "WatchdogSec=3s")
    assert program.run("restart").returncode == 0
    pid = program.pid()
    # When it was fed for several of its periods, and for more than the longest wait
    first = fed_s(machine)
    wait_until(lambda: fed_s(machine) > first + QUIET_S, WAIT_S, "fed all the time")
    # Then
    assert (program.pid(), restarts(machine)) == (pid, 0)


@pytest.mark.fault("A13")
def test_service_ends_in_order_when_it_is_stopped(program: Program) -> None:
    """It has ended within 15 s, Redis too, with nothing lost, and stays so."""
    # Given a service with events on the way
    machine = program.machine
    program.install_ready()
    program.capture(100)
    assert "redis.sock" in command_lines(machine)
    # When
    began = float(machine.read("/proc/uptime").split()[0])
    ended = program.run("stop")
    took = float(machine.read("/proc/uptime").split()[0]) - began
    # Then
    assert (ended.returncode, ended.stdout) == (0, "the server has stopped\n")
    assert took < STOP_S
    assert machine.show("ActiveState") == "inactive"
    assert machine.show("Result") == "success"
    assert machine.show("ExecMainStatus") == "0"
    assert "main stopped clean=true" in program.log().splitlines()[-1]
    assert "redis.sock" not in command_lines(machine)
    # And the manager leaves Redis to the server, which has use for it until the end
    assert machine.show("KillMode") == "mixed"
    assert program.run("stop").stdout == "no server runs\n"
    # And what was on the way is written by the next
    assert program.run("start").returncode == 0
    program.wait_written(100)


@pytest.mark.parametrize(
    ("config", "code", "says"), [("privacy: {level: loud}\n", 2, r"config.yaml, line 1")]
)
def test_service_is_not_started_again_when_the_settings_are_wrong(
    program: Program, config: str, code: int, says: str
) -> None:
    """It ends with 2 once, and ``start`` says why."""
    # Given
    machine = program.machine
    program.install_ready()
    program.run("stop")
    write = ["sh", "-c", 'printf %s "$2" > "$1"', "sh", f"{program.home}/config.yaml", config]
    machine.run(*write)
    # When
    ended = program.run("start")
    # Then
    assert ended.returncode == code
    assert re.search(rf"exit code {code}: .*{says}", ended.stderr)
    assert (machine.show("ActiveState"), restarts(machine)) == ("failed", 0)
    # And when they are right again, it starts
    machine.run("rm", f"{program.home}/config.yaml")
    assert program.run("start").returncode == 0


@pytest.mark.fault("F1")
def test_service_is_not_started_again_when_another_server_runs(program: Program) -> None:
    """A server in the foreground keeps its home; ``stop`` ends that one, too."""
    # Given a server that is none of the manager's
    machine = program.machine
    program.install_ready()
    program.run("stop")
    words = [PROGRAM, "serve", "--home", program.home]
    machine.run("systemd-run", "--user", "--unit=foreground", *words)
    program.wait_ready()
    # When the service is started all the same
    machine.systemctl("start", "--no-block", "blueplane.service")
    wait_until(lambda: machine.show("ActiveState") == "failed", WAIT_S, "refused")
    # Then
    assert (machine.show("ExecMainStatus"), restarts(machine)) == ("3", 0)
    assert "the server runs already" in program.run("start").stdout
    assert program.run("stop").stdout == "the server has stopped\n"
    assert machine.show("ActiveState", "foreground.service") == "inactive"


def test_service_is_started_when_its_user_comes_back(program: Program) -> None:
    """The manager of the user ends and starts: so does the server, and events pass."""
    # Given
    machine = program.machine
    program.install_ready()
    program.capture(10)
    # When
    assert machine.root("systemctl", "restart", f"user@{UID}.service").returncode == 0
    # Then
    program.wait_ready()
    assert machine.show("ActiveState") == "active"
    program.wait_written(10)


@pytest.mark.fault("F9")
@pytest.mark.parametrize(
    "home", [f"{ODD}/home", "/srv/telemetry", f"{HOME}/{'deep/' * 25}home"],
    ids=["odd", "elsewhere", "deep"],
)  # fmt: skip
def test_service_runs_when_its_home_is_somewhere_else(machine: Machine, home: str) -> None:
    """Spaces, quotes, percent signs, a place that is otherwise read-only, a very long path."""
    # Given a program in an odd place and a home in another one
    assert machine.root("chown", f"{UID}:{UID}", "/srv").returncode == 0
    program = Program(machine, home, f"{ODD}/data")
    # When it is installed
    status = program.install_ready()
    # Then
    assert status["home"] == home
    assert status["server"]["sandbox"] == {"level": "full", "writable": []}
    assert machine.read(UNIT).splitlines()[-1] == f"Home={home}"
    program.capture(5)
    program.wait_written(5)
    assert program.run("stop").stdout == "the server has stopped\n"
    assert program.run("start").stdout.startswith("the server runs under systemd, pid ")


def test_service_runs_without_namespaces_when_they_are_forbidden(program: Program) -> None:
    """The unit says so, the server too, and events pass."""
    # Given a user manager none of whose processes may make namespaces
    machine = program.machine
    place = "/etc/systemd/system/user@.service.d"
    machine.root("mkdir", "-p", place)
    text = "[Service]\nRestrictNamespaces=yes\n"
    machine.root("sh", "-c", 'printf %s "$1" > "$2"', "sh", text, f"{place}/no.conf")
    machine.root("systemctl", "daemon-reload")
    assert machine.root("systemctl", "restart", f"user@{UID}.service").returncode == 0
    # When
    status = program.install_ready()
    # Then
    unit = machine.read(UNIT)
    assert "# No namespaces: " in unit
    assert not re.search("^(Private|Protect|ReadWrite)", unit, re.MULTILINE)
    sandbox = status["server"]["sandbox"]
    assert (sandbox["level"], HOME in sandbox["writable"]) == ("filter", True)
    program.capture(5)
    program.wait_written(5)


@pytest.mark.fault("G13")
def test_service_runs_its_own_code_when_the_manager_has_a_hostile_environment(
    program: Program,
) -> None:
    """Variables that a shell has imported into the manager load no code into the server."""
    # Given a module that would be imported first, and a home that is another one
    machine = program.machine
    machine.run(
        "sh", "-c", 'mkdir evil && echo \'open("/home/u/ran", "w")\' > evil/sitecustomize.py'
    )
    machine.run("sh", "-c", "echo 'raise SystemExit(9)' > click.py")
    machine.systemctl(
        "set-environment", f"PYTHONPATH={HOME}/evil:{HOME}", f"PYTHONSTARTUP={HOME}/click.py",
        f"LD_PRELOAD={HOME}/evil.so", f"BLUEPLANE_HOME={HOME}/evil",
    )  # fmt: skip
    # When
    program.install_ready()
    # Then
    environ = machine.root("cat", f"/proc/{program.pid()}/environ").stdout
    assert not re.search("PYTHONPATH|PYTHONSTARTUP|LD_PRELOAD", environ)
    assert machine.root("test", "-e", f"{HOME}/ran").returncode == 1
    assert program.status()["home"] == program.home


def test_service_keeps_what_is_set_beside_the_unit_when_it_is_installed_again(
    program: Program,
) -> None:
    """What the user has set with ``systemctl --user edit`` is not ours to change."""
    # Given
    machine = program.machine
    program.install_ready()
    settings(machine, "Nice=5")
    # When
    program.install_ready()
    assert program.run("restart").returncode == 0
    # Then
    assert machine.show("Nice") == "5"
