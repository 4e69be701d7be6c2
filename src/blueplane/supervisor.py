"""The service manager that started this server, if one did.

Owns what is said to it, and the judgement whether the threads that carry events go round.
Promises that systemd hears a sign of life only while all of them do, that a process which launchd
started ends when one does not, and that a manager which does not listen harms nothing.
Leaves the installing of a service to ``install/``, and a thread that died to the daemon.
"""

import os
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final

from blueplane.clock import monotonic_s
from blueplane.logs import get
from blueplane.threads import Service

_log = get("main")

#: What launchd calls our agent.
LAUNCHD_LABEL: Final = "com.blueplane.server"
#: Seconds after which a thread that does not go round is taken for hung, where nobody says.
PATIENCE_S: Final = 60.0
#: The same at least, however impatient systemd is: a thread without work goes round every 5 s.
LEAST_PATIENCE_S: Final = 10.0
#: Of the time that systemd waits for a sign of life, the part after which we give one.
_SHARE: Final = 3
#: Seconds between two looks after which the whole process stood still, and no thread is to blame.
_GAP_S: Final = 10.0
#: What a server exits with that gave up.
_EXIT_GAVE_UP: Final = 70


class Supervisor:
    """Whoever started us; use it in one thread.

    ``environment`` is what the manager gave us; ``abort`` ends the process at once, with a code.
    """

    def __init__(
        self, environment: Mapping[str, str], abort: Callable[[int], object] = os._exit
    ) -> None:
        self._address = _address(environment)
        self._watchdog_s = _watchdog_s(environment)
        self._abort = abort if environment.get("XPC_SERVICE_NAME") == LAUNCHD_LABEL else None
        self._patience_s = max(LEAST_PATIENCE_S, self._watchdog_s or PATIENCE_S)
        self._fed_s = float("-inf")
        self._looked_s = self._since_s = monotonic_s()
        self._said = ""
        #: Names of the threads that hang, as of the last look.
        self._hung: list[str] = []

    @property
    def kind(self) -> str | None:
        """``systemd``, ``launchd``, or None for a person, or a manager that we do not know."""
        if self._address:
            return "systemd"
        return "launchd" if self._abort else None

    def ready(self) -> None:
        """Say that every thread runs."""
        self._looked_s = self._since_s = monotonic_s()
        self._tell("READY=1")

    def stopping(self) -> None:
        """Say that the server ends on purpose."""
        self._tell("STOPPING=1")

    def look(self, carriers: Iterable[Service], trouble: str | None) -> None:
        """Give a sign of life when it is due, if every one of ``carriers`` goes round.

        ``trouble`` is what holds events up; a manager shows it.
        """
        now_s = monotonic_s()
        if now_s - self._looked_s > _GAP_S:
            self._since_s = now_s
        self._looked_s = now_s
        threads = list(carriers)
        self._judge([each.name for each in threads if self._hangs(each, now_s)])
        if self._hung:
            return
        self._say("events wait: " + trouble if trouble else "in order")
        if all(each.alive() for each in threads):
            self._feed(now_s)

    def _hangs(self, carrier: Service, now_s: float) -> bool:
        """Whether a thread that lives has not gone round for too long."""
        last_s = max(carrier.beat_s, self._since_s)
        late = now_s - last_s > self._patience_s
        return late and carrier.alive() and not carrier.at_length

    def _judge(self, hung: list[str]) -> None:
        if hung and hung != self._hung:
            _log.error("hung", threads=",".join(hung), manager=self.kind)
            self._say(f"hung: {', '.join(hung)}")
        self._hung = hung
        if hung and self._abort is not None:
            self._abort(_EXIT_GAVE_UP)

    def _feed(self, now_s: float) -> None:
        if self._watchdog_s and now_s - self._fed_s >= self._watchdog_s / _SHARE:
            self._fed_s = now_s
            self._tell("WATCHDOG=1")

    def _say(self, text: str) -> None:
        line = " ".join(text.split())
        if line != self._said:
            self._said = line
            self._tell(f"STATUS={line}")

    def _tell(self, message: str) -> None:
        if self._address is None:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
            connection.settimeout(0)  # a manager that is busy is no reason to wait
            connection.sendto(message.encode(errors="replace"), self._address)


def _address(environment: Mapping[str, str]) -> str | None:
    """Return where systemd listens; "@" stands for the abstract name space."""
    path = environment.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return None
    return f"\0{path[1:]}" if path.startswith("@") else path


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    """Return how long systemd waits for a sign of life; None when it does not wait for ours."""
    given, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID")
    if not given.isdecimal() or pid not in {None, str(os.getpid())}:
        return None
    return int(given) / 1e6 or None
