"""The server as an agent of the user's launchd.

Owns the property list, and the commands of launchctl.
Promises a list that plistlib has written, with absolute paths only.
Leaves the settings to ``packaging/launchd/com.blueplane.server.plist``.
"""

import os
import plistlib
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Event as Flag
from typing import Any, Final

from blueplane import shipped
from blueplane.clock import monotonic_s
from blueplane.errors import InstallError, ServiceError
from blueplane.install.background import output_file
from blueplane.install.changes import FileChange, plan, read
from blueplane.install.service_state import ServiceState, passed_on, refuse_another_s
from blueplane.install.system_programs import Ended, find, run
from blueplane.install.user_places import UserPlaces
from blueplane.paths import Home
from blueplane.supervisor import LAUNCHD_LABEL

TEMPLATE: Final = f"packaging/launchd/{LAUNCHD_LABEL}.plist"
#: launchd refuses a list that others may write.
_MODE: Final = 0o600
#: Seconds for a question, and for a stop: the list allows 15.
_ASK_S: Final = 5.0
_STOP_S: Final = 20.0
_TICK_S: Final = 0.1
_VALUE: Final = re.compile(r"^\s*(state|pid|last exit code) = (.*)$", re.MULTILINE)


class Launchd:
    """The agents of one user, and ours among them."""

    kind = "launchd"

    def __init__(self, places: UserPlaces, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._domain = f"gui/{os.getuid()}"
        self._target = f"{self._domain}/{LAUNCHD_LABEL}"
        self.path = places.home / "Library" / "LaunchAgents" / f"{LAUNCHD_LABEL}.plist"

    def available(self) -> bool:
        """Whether launchd can be asked, and the user is logged in where agents run."""
        try:
            return self._ask("print", self._domain).code == 0
        except ServiceError:
            return False

    # -- the property list -------------------------------------------------------------------------

    def unit(self, program: Path, home: Home) -> FileChange:
        """Plan the agent that runs ``program`` for ``home``.

        Raises InstallError when a path cannot stand in it, or the file cannot be changed, or is
        another's.
        """
        refuse_another_s(self.path, self.home(), home)
        data = render(program, home, self._environment)
        return plan(self.path, data, mode=_MODE, why="have launchd run the server")

    def is_current(self, program: Path, home: Home) -> bool:
        """Whether the agent is as ``unit`` writes it; raises InstallError as that does."""
        return read(self.path) == render(program, home, self._environment)

    def removal(self) -> FileChange:
        """Plan that there is no agent; raise InstallError when the file cannot be changed."""
        return plan(self.path, None, mode=_MODE, why="launchd runs no server any more")

    def home(self) -> Path | None:
        """Return the home that the agent was written for; None without an agent of ours."""
        with suppress(OSError, ValueError, LookupError, TypeError, plistlib.InvalidFileException):
            words = plistlib.loads(self.path.read_bytes())["ProgramArguments"]
            return Path(words[words.index("--home") + 1])
        return None

    # -- the commands ------------------------------------------------------------------------------

    def enable_and_start(self) -> None:
        """Have launchd read the list, start it now and at every login; not waited for."""
        self._do("enable", self._target)
        self._unload()
        self._do("bootstrap", self._domain, str(self.path))

    def start(self) -> None:
        """Start it; not waited for."""
        if self._is_loaded():
            self._do("kickstart", self._target)
        else:
            self._do("bootstrap", self._domain, str(self.path))

    def stop(self) -> None:
        """Stop it, until it is started again or the user logs in.

        It is unloaded: a server that launchd is about to start again would not hear a signal.
        """
        self._unload()

    def restart(self) -> None:
        """Read the list again, stop and start; the start is not waited for."""
        self._unload()
        self._do("bootstrap", self._domain, str(self.path))

    def disable(self) -> None:
        """Stop it, and start it never again by itself."""
        if self.path.exists():
            self._unload()
            self._do("disable", self._target)

    def state(self) -> ServiceState:
        """Return how it is; raise ServiceError when launchd cannot be asked."""
        if not self.path.exists():
            return ServiceState(installed=False, detail="not installed")
        ended = self._ask("print", self._target)
        if ended.code:
            return ServiceState(installed=True, enabled=self._is_enabled(), detail="not loaded")
        return _state(ended.out, enabled=self._is_enabled())

    def hint(self) -> str | None:
        """Say nothing: an agent runs as long as its user is logged in, as everybody expects."""
        return None

    def _is_loaded(self) -> bool:
        return self._ask("print", self._target).code == 0

    def _is_enabled(self) -> bool:
        disabled = re.escape(f'"{LAUNCHD_LABEL}"') + r" => (true|disabled)"
        return re.search(disabled, self._ask("print-disabled", self._domain).out) is None

    def _unload(self) -> None:
        """Stop it and wait for its end: launchd refuses to load what is still ending."""
        if not self._is_loaded():
            return
        self._do("bootout", self._target, timeout_s=_STOP_S)
        deadline_s = monotonic_s() + _STOP_S
        while self._is_loaded():
            if monotonic_s() > deadline_s:
                message = f"{LAUNCHD_LABEL} did not end within {_STOP_S:.0f} s"
                raise ServiceError(message)
            Flag().wait(_TICK_S)

    def _do(self, *words: str, timeout_s: float = _ASK_S) -> None:
        ended = self._ask(*words, timeout_s=timeout_s)
        if ended.code:
            message = f"`launchctl {words[0]}` failed: {ended.last_words}"
            raise ServiceError(message)

    def _ask(self, *words: str, timeout_s: float = _ASK_S) -> Ended:
        program = find("launchctl", self._environment)
        if program is None:
            message = "launchctl is not on PATH; is this a Mac?"
            raise ServiceError(message)
        return run([program, *words], self._environment, timeout_s)


def _state(printed: str, *, enabled: bool) -> ServiceState:
    found: dict[str, str] = {}
    for name, value in _VALUE.findall(printed):
        found.setdefault(name, value)  # what is indented more deeply comes later
    running = found.get("state") == "running"
    code = re.match(r"\d+", found.get("last exit code", ""))
    return ServiceState(
        installed=True,
        enabled=enabled,
        running=running,
        pid=int(found["pid"]) if found.get("pid", "").isdecimal() else None,
        detail=found.get("state", "loaded"),
        exit_code=int(code[0]) or None if code and not running else None,
    )


# --- the text of the list -------------------------------------------------------------------------


def render(program: Path, home: Home, environment: Mapping[str, str]) -> bytes:
    """Return the property list; raise InstallError when a path has a character that XML lacks."""
    values = {
        "@PROGRAM@": str(program), "@HOME@": str(home.root), "@OUTPUT@": str(output_file(home)),
    }  # fmt: skip
    agent = _filled(plistlib.loads(shipped.find(TEMPLATE).read_bytes()), values)
    agent["EnvironmentVariables"] = passed_on(environment)
    try:
        return plistlib.dumps(agent, sort_keys=False)
    except (ValueError, UnicodeEncodeError):
        message = f"{program}, {home.root}: launchd cannot be told of a path with such characters"
        raise InstallError(message) from None


def _filled(value: Any, values: Mapping[str, str]) -> Any:  # noqa: ANN401 - what a list may hold
    if isinstance(value, dict):
        return {key: _filled(each, values) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, values) for each in value]
    return values.get(value, value) if isinstance(value, str) else value
