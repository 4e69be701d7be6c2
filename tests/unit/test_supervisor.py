"""What the service manager hears, from a real socket in its place."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from blueplane import supervisor as module
from blueplane.supervisor import LAUNCHD_LABEL, LEAST_PATIENCE_S, Supervisor
from blueplane.threads import Service

PATIENCE_S = 30.0
ALIVE, READY = "WATCHDOG=1", "READY=1"


class Carrier(Service):
    """A thread as the supervisor sees it."""

    def __init__(self, name: str, clock: "Clock") -> None:
        super().__init__(name)
        self.lives = True
        self.beat_s = clock()

    def loop(self) -> None:
        raise NotImplementedError

    def alive(self) -> bool:
        return self.lives


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Manager:
    """Who listens where systemd does."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(0)

    def heard(self) -> list[str]:
        """Return what was said since the last time."""
        found: list[str] = []
        while True:
            try:
                found.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return found


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Give a clock that a test turns."""
    clock = Clock()
    monkeypatch.setattr(module, "monotonic_s", clock)
    monkeypatch.setattr("blueplane.threads.monotonic_s", clock)
    return clock


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """Give a manager at a path."""
    manager = Manager(str(tmp_path / "notify"))
    yield manager
    manager.socket.close()


def environment(manager: Manager, watchdog_s: float | None = PATIENCE_S) -> dict[str, str]:
    """Return what systemd would give a service."""
    found = {"NOTIFY_SOCKET": str(manager.socket.getsockname())}
    if watchdog_s is not None:
        found |= {"WATCHDOG_USEC": str(int(watchdog_s * 1e6)), "WATCHDOG_PID": str(os.getpid())}
    return found


def test_supervisor_says_when_the_server_is_ready_and_when_it_ends(manager: Manager) -> None:
    """A service of type notify is active from READY on."""
    # Given
    supervisor = Supervisor(environment(manager))
    # When
    supervisor.ready()
    supervisor.stopping()
    # Then
    assert manager.heard() == [READY, "STOPPING=1"]
    assert supervisor.kind == "systemd"


def test_supervisor_feeds_the_watchdog_when_every_thread_goes_round(
    manager: Manager, clock: Clock
) -> None:
    """Three times in its period, not at every look; the words only when they change."""
    # Given
    supervisor = Supervisor(environment(manager))
    carriers = [Carrier("one", clock), Carrier("two", clock)]
    # When it looks once a second for two periods
    for _ in range(60):
        clock.now_s += 1
        for carrier in carriers:
            carrier.beat()
        supervisor.look(carriers, None)
    # Then
    assert manager.heard() == ["STATUS=in order", *[ALIVE] * 6]


@pytest.mark.fault("A15")
@pytest.mark.parametrize("at_length", [False, True])
def test_supervisor_starves_the_watchdog_when_a_thread_hangs(
    manager: Manager, clock: Clock, *, at_length: bool
) -> None:
    """One of them is enough, unless it said that it would take long; it is fed again later."""
    # Given a thread that does not go round any more
    supervisor = Supervisor(environment(manager))
    well, hung = Carrier("well", clock), Carrier("hung", clock)
    hung.at_length = at_length

    def look(seconds: int) -> list[str]:
        for _ in range(seconds):
            clock.now_s += 1
            well.beat()
            supervisor.look([well, hung], None)
        return manager.heard()

    # When its patience ends / Then
    assert look(int(PATIENCE_S)).count(ALIVE) == 3
    later = look(int(PATIENCE_S) * 2)
    assert later == [ALIVE] * 6 if at_length else later == ["STATUS=hung: hung"]
    hung.beat()
    assert look(1) == ([ALIVE] if at_length else ["STATUS=in order", ALIVE])


def test_supervisor_starves_the_watchdog_when_a_thread_is_dead(
    manager: Manager, clock: Clock
) -> None:
    """A thread that died and was not started again carries nothing."""
    # Given
    supervisor = Supervisor(environment(manager))
    dead = Carrier("dead", clock)
    dead.lives = False
    # When / Then
    supervisor.look([dead], None)
    assert ALIVE not in manager.heard()


@pytest.mark.fault("A14")
def test_supervisor_blames_no_thread_when_the_whole_process_stood_still(
    manager: Manager, clock: Clock
) -> None:
    """After SIGCONT, or a sleep of the machine, every thread has its whole patience again."""
    # Given a process that did nothing for an hour
    supervisor = Supervisor(environment(manager))
    carrier = Carrier("one", clock)
    clock.now_s += 3600
    # When / Then
    supervisor.look([carrier], None)
    assert ALIVE in manager.heard()


def test_supervisor_is_patient_when_the_watchdog_is_not(manager: Manager, clock: Clock) -> None:
    """A thread that waits for work is not hung, whatever the user has set."""
    # Given a watchdog of a second
    supervisor = Supervisor(environment(manager, 1.0))
    carrier = Carrier("one", clock)
    # When
    for _ in range(int(LEAST_PATIENCE_S)):
        clock.now_s += 1
        supervisor.look([carrier], None)
    # Then
    assert manager.heard().count(ALIVE) == LEAST_PATIENCE_S


def test_supervisor_tells_what_holds_events_up_in_one_line(manager: Manager) -> None:
    """What an error says cannot be taken for another message."""
    # Given
    supervisor = Supervisor(environment(manager, None))
    # When
    for trouble in ("disk\nWATCHDOG=1\nfull \udcff", "disk\nWATCHDOG=1\nfull \udcff", None):
        supervisor.look([], trouble)
    # Then
    assert manager.heard() == ["STATUS=events wait: disk WATCHDOG=1 full ?", "STATUS=in order"]


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"NOTIFY_SOCKET": ""},
        {"NOTIFY_SOCKET": "relative/path"},
        {"NOTIFY_SOCKET": "/nowhere/at/all", "WATCHDOG_USEC": "1000"},
        {"NOTIFY_SOCKET": "/" + "x" * 300, "WATCHDOG_USEC": "1000"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "0"},
        {"XPC_SERVICE_NAME": "com.apple.terminal"},
    ],
)
def test_supervisor_harms_nothing_when_nobody_listens(
    variables: dict[str, str], clock: Clock
) -> None:
    """No manager, or one that is not there, is no error, and no end either."""
    # Given a hung thread, so that there is something to say
    ends: list[int] = []
    supervisor = Supervisor(variables, ends.append)
    carrier = Carrier("hung", clock)
    supervisor.ready()
    # When
    for _ in range(200):
        clock.now_s += 1
        supervisor.look([carrier], None)
    supervisor.stopping()
    # Then
    assert ends == []


def test_supervisor_feeds_no_watchdog_when_it_is_another_process_s(
    manager: Manager, clock: Clock
) -> None:
    """The variables of a manager are inherited; what they say is for one process."""
    # Given
    found = {**environment(manager), "WATCHDOG_PID": str(os.getppid())}
    # When
    Supervisor(found).look([Carrier("one", clock)], None)
    # Then
    assert ALIVE not in manager.heard()


@pytest.mark.skipif(not Path("/proc").exists(), reason="only Linux has abstract sockets")
def test_supervisor_finds_the_manager_when_its_socket_is_abstract() -> None:
    """A leading "@" stands for the byte zero."""
    # Given
    name = f"blueplane-test-{os.getpid()}"
    manager = Manager(f"\0{name}")
    # When
    Supervisor({"NOTIFY_SOCKET": f"@{name}"}).ready()
    # Then
    heard = manager.heard()
    manager.socket.close()
    assert heard == [READY]


@pytest.mark.fault("A15")
def test_supervisor_ends_the_process_when_launchd_keeps_it_and_a_thread_hangs(
    clock: Clock,
) -> None:
    """It has no watchdog: a server that is stuck ends by itself, and is started again."""
    # Given
    ends: list[int] = []
    supervisor = Supervisor({"XPC_SERVICE_NAME": LAUNCHD_LABEL}, ends.append)
    carrier = Carrier("hung", clock)
    # When it goes round, and then does not
    for _ in range(60):
        clock.now_s += 1
        supervisor.look([carrier], None)
    assert (supervisor.kind, ends) == ("launchd", [])
    clock.now_s += 1
    supervisor.look([carrier], None)
    # Then
    assert ends == [70]
