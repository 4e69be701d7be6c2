"""What several checks look at, looked at once.

Owns where the doctor looks, and the facts that more than one check needs: the settings, what the
server says, the database.
Promises that a fact is found out once, by whichever check wants it first, and that a check which
needs what is missing is skipped: another row says what is wrong with that.
Leaves the way to the running server to the interfaces, who pass it in.
"""

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Final, Generic, TypeVar

from blueplane.config import Settings, load
from blueplane.errors import BlueplaneError, ConfigError, HomeError, StoreError
from blueplane.install.editors import Editor, Machine, find_editors
from blueplane.lock import is_running
from blueplane.paths import Home
from blueplane.store.migrations import STEPS
from blueplane.store.queries import Reader, reading

#: Seconds that the server has for one answer, and the database for one read.
ASK_S: Final = 0.6
READ_S: Final = 0.5
#: Seconds that an editor has to tell its version, where no file does.
EDITOR_S: Final = 0.4

_Fact = TypeVar("_Fact")


class SkipError(BlueplaneError):
    """There is nothing to look at; the message says why."""


@dataclass(frozen=True, slots=True)
class ServerActions:
    """What the interfaces know to do with a server.

    ``ask(operation, timeout_s=..., **arguments)`` asks the running one; ``start`` and ``restart``
    come back when it answers. All raise BlueplaneError.
    """

    ask: Callable[..., Any]
    start: Callable[[], None]
    restart: Callable[[], None]


class Once(Generic[_Fact]):
    """A fact that whoever wants it first finds out; the others wait for it.

    What was raised then is raised for all.
    """

    def __init__(self, find: Callable[[], _Fact]) -> None:
        self._find = find
        self._lock = Lock()
        self._found: list[_Fact] = []
        self._error: BlueplaneError | OSError | None = None

    def __call__(self) -> _Fact:
        """Return the fact; raise what was raised when it was looked for."""
        with self._lock:
            if self._error is not None:
                raise self._error
            if not self._found:
                try:
                    self._found.append(self._find())
                except (BlueplaneError, OSError) as error:
                    self._error = error
                    raise
            return self._found[0]


class Scene:
    """One look at everything.

    ``place`` is the home, or the error that says why there can be none; ``system`` is where the
    machine's own files are, ``/`` but for tests.
    """

    def __init__(
        self,
        place: Home | HomeError,
        environment: Mapping[str, str],
        server: ServerActions,
        system: Path = Path("/"),
    ) -> None:
        self.place = place
        self.environment = environment
        self.server = server
        self.system = system
        self._settings = Once(lambda: load(self.home, environment))
        self._running = Once(lambda: is_running(self.home))
        self._live = Once(self._ask)
        self._editors = Once(
            lambda: find_editors(Machine(self.user_home, environment, system, EDITOR_S))
        )

    # -- places ------------------------------------------------------------------------------------

    @property
    def home(self) -> Home:
        """The home; raises SkipError when there is none that can be looked into."""
        if isinstance(self.place, HomeError) or not _can_enter(self.place.root):
            message = "there is no home directory to look into: see home.directory"
            raise SkipError(message)
        return self.place

    @property
    def user_home(self) -> Path:
        """The user's home directory, where the editors look; raises SkipError without one."""
        named = Path(self.environment.get("HOME", ""))
        if not named.is_absolute() or not named.is_dir():
            message = "HOME names no directory, so nobody knows where the editors' files are"
            raise SkipError(message)
        return named

    # -- facts -------------------------------------------------------------------------------------

    def settings(self) -> Settings:
        """Return the settings; raises SkipError when they cannot be read."""
        try:
            return self._settings()
        except ConfigError as error:
            message = "the configuration cannot be read: see config.valid"
            raise SkipError(message) from error

    def load(self) -> Settings:
        """Return the settings; raises ConfigError."""
        return self._settings()

    def editor(self, name: str) -> Editor:
        """Return an editor by its platform's name; raises SkipError when it is not there."""
        for each in self._editors():
            if each.name == name:
                return each
        message = "not found on this machine"
        raise SkipError(message)

    def running(self) -> bool:
        """Whether a server holds the lock of the home."""
        return self._running()

    def live(self) -> dict[str, Any]:
        """Return what the server says of itself; raises SkipError when none answers."""
        if not self.running():
            message = "no server runs: see server.running"
            raise SkipError(message)
        try:
            return self._live()
        except BlueplaneError as error:
            message = "the server does not answer: see server.running"
            raise SkipError(message) from error

    def history(self) -> dict[str, Any]:
        """Return how far the history is read; raises SkipError when no server answers."""
        self.live()
        try:
            found: dict[str, Any] = self.server.ask("backfill.status", timeout_s=ASK_S)
        except BlueplaneError as error:
            message = f"the server does not say how far it is: {error}"
            raise SkipError(message) from error
        return found

    def ask_status(self) -> dict[str, Any]:
        """Return what the server says of itself; raises BlueplaneError when it does not answer."""
        return self._live()

    @contextmanager
    def stored(self) -> Iterator[Reader]:
        """Open the database; raises SkipError when there is none, or none that can be read."""
        path = self.home.database
        if not path.exists():
            message = f"{path}: no database yet"
            raise SkipError(message)
        try:
            with reading(path, READ_S) as reader:
                if reader.schema_version() != len(STEPS):
                    message = "the database is of another version: see database.schema"
                    raise SkipError(message)
                yield reader
        except StoreError as error:
            message = f"the database cannot be read: see database.pages ({error})"
            raise SkipError(message) from error

    def _ask(self) -> dict[str, Any]:
        status: dict[str, Any] = self.server.ask("status", timeout_s=ASK_S, balance_s=0)
        return status


def _can_enter(directory: Path) -> bool:
    """Whether it is ours to look into: whoever opens another user's database leaves files there."""
    try:
        found = directory.stat()
    except OSError:
        return False
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    return is_ours and os.access(directory, os.R_OK | os.X_OK)
