"""The service manager of the system, whichever it is, and the service of a home.

Owns which manager there is, what every one of them can do, and waiting for a server to answer.
Promises that a service is used only for the home that it was installed for.
Leaves units and commands to ``systemd.py`` and ``launchd.py``.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event as Flag
from typing import Final, Protocol

from blueplane.clock import monotonic_s
from blueplane.errors import HomeError, RemoteError, ServerUnavailableError
from blueplane.install import background
from blueplane.install.changes import FileChange
from blueplane.install.launchd import Launchd
from blueplane.install.service_state import ServiceState
from blueplane.install.systemd import Systemd
from blueplane.install.user_places import user_places
from blueplane.paths import Home

#: Seconds between two looks at a service that starts.
_TICK_S: Final = 0.05


class Service(Protocol):
    """One server as a service of its user.

    What asks the manager raises ServiceError when that refuses or cannot be asked.
    """

    kind: str
    #: The unit, whether it is there or not.
    path: Path

    def available(self) -> bool:
        """Whether the manager runs, and can be asked."""

    def unit(self, program: Path, home: Home) -> FileChange:
        """Plan the unit that runs ``program`` for ``home``; raise InstallError."""

    def is_current(self, program: Path, home: Home) -> bool:
        """Whether the unit is as ``unit`` writes it; nothing is started to find out."""

    def removal(self) -> FileChange:
        """Plan that there is no unit; ``disable`` comes before. Raises InstallError."""

    def home(self) -> Path | None:
        """Return the home that the unit was written for; None without a unit of ours."""

    def enable_and_start(self) -> None:
        """Have the manager read the unit, start it now and at every login; not waited for."""

    def start(self) -> None:
        """Start it; not waited for."""

    def stop(self) -> None:
        """Stop it, until it is started again or the user logs in; waited for."""

    def restart(self) -> None:
        """Read the unit again, stop and start; the start is not waited for."""

    def disable(self) -> None:
        """Stop it, and start it never again by itself."""

    def state(self) -> ServiceState:
        """Return how it is."""

    def hint(self) -> str | None:
        """Return one sentence about what the user might not expect; None where there is none."""


def find(environment: Mapping[str, str]) -> Service | None:
    """Return the manager that runs here; None without one. Raises HomeError without a HOME."""
    service = _service(environment)
    return service if service.available() else None


def of(home: Home, environment: Mapping[str, str]) -> Service | None:
    """Return the service of ``home``, if it is installed and its manager runs."""
    try:
        service = _service(environment)
    except HomeError:
        return None
    return service if is_of(service, home) and service.available() else None


def unit_name(environment: Mapping[str, str]) -> str:
    """Return the name of a unit, whether its manager runs or not; raise HomeError."""
    return _service(environment).path.name


def is_of(service: Service, home: Home) -> bool:
    """Whether the unit that is there runs the server of ``home``."""
    installed = service.home()
    return installed is not None and installed.resolve() == home.root.resolve()


def _service(environment: Mapping[str, str]) -> Service:
    places = user_places(environment)
    if sys.platform == "darwin":
        return Launchd(places, environment)
    return Systemd(places, environment)


def start(service: Service, home: Home, answers: Callable[[], int | None]) -> int:
    """Start the service and return the server's pid once ``answers()`` is not None.

    Raises as ``background.start`` does, and ServiceError.
    """
    home.prepare()  # the service may write in it, and not make it
    service.start()
    return await_answer(service, home, answers)


def await_answer(service: Service, home: Home, answers: Callable[[], int | None]) -> int:
    """Return the pid of a server that the manager is starting, once ``answers()`` is not None.

    Raises RemoteError with the last words of one that ended, ServerUnavailableError when it does
    not answer in time, and ServiceError.
    """
    deadline_s = monotonic_s() + background.START_S
    while monotonic_s() < deadline_s:
        pid = answers()
        if pid is not None:
            return pid
        state = service.state()
        if state.exit_code is not None:
            raise _ended(home, state)
        Flag().wait(_TICK_S)
    message = f"the service was started and does not answer yet; see {home.log_file}"
    raise ServerUnavailableError(message)


def _ended(home: Home, state: ServiceState) -> RemoteError:
    words = background.last_words(background.output_file(home)) or state.detail
    code = state.exit_code or ServerUnavailableError.exit_code
    return RemoteError(f"the server ended with {state.detail}: {words}", code)
