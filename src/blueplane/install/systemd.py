"""The server as a unit of the user's systemd.

Owns the text of the unit, and the commands of systemctl.
Promises a unit that this machine can start: where users may make no namespaces, one without them,
which says so; and a path in it stays one path, whatever characters it has.
Leaves the settings of the unit to ``packaging/systemd/blueplane.service``.
"""

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from pwd import getpwuid
from typing import Final

from blueplane import shipped
from blueplane.errors import InstallError, ServiceError
from blueplane.install.background import output_file
from blueplane.install.changes import FileChange, plan, read
from blueplane.install.service_state import ServiceState, passed_on, refuse_another_s
from blueplane.install.system_programs import Ended, find, run
from blueplane.install.user_places import UserPlaces
from blueplane.paths import Home

UNIT: Final = "blueplane.service"
TEMPLATE: Final = f"packaging/systemd/{UNIT}"
#: Only its owner has a use for it.
_MODE: Final = 0o600

#: Seconds for a question, for a stop (the unit allows 15), and for a trial start.
_ASK_S: Final = 5.0
_STOP_S: Final = 25.0
_TRIAL_S: Final = 10.0

#: What a service with a /tmp of its own does not see.
_TEMPORARY: Final = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - nothing is put there
#: The paragraph of the template that needs namespaces, and what stands there without.
_NAMESPACES: Final = re.compile(r"^# Namespaces: .*?\n\n", re.MULTILINE | re.DOTALL)
_WITHOUT: Final = (
    "# No namespaces: a trial start with them failed, for this machine forbids them to users.\n"
    "# So the server may write wherever its user may. `blueplane install service` tries again.\n\n"
)
_TRIAL: Final = (
    "PrivateUsers=yes", "PrivateTmp=yes", "ProtectSystem=strict", "ProtectHome=read-only",
    "ProtectKernelTunables=yes", "ProtectControlGroups=yes",
)  # fmt: skip
_HOME: Final = re.compile(r"^Home=(.*)$", re.MULTILINE)
_ASKED: Final = (
    "ActiveState", "SubState", "UnitFileState", "MainPID", "Result", "NRestarts", "ExecMainCode",
    "ExecMainStatus", "StatusText",
)  # fmt: skip
#: Characters for which a line of a unit has no room, and what stands for bytes that are no UTF-8.
_UNWRITABLE: Final = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_EXEC: Final = 'exec "$0" "$@"'
#: Characters with which the path of a program is refused.
_REFUSED: Final = frozenset("\"'\\")
#: ``ExecMainCode`` of a process that exited by itself (CLD_EXITED).
_EXITED: Final = "1"
_LINGERING: Final = Path("/var/lib/systemd/linger")


class Systemd:
    """The user manager of systemd, and our unit in it."""

    kind = "systemd"

    def __init__(self, places: UserPlaces, environment: Mapping[str, str]) -> None:
        self._places = places
        runtime = environment.get("XDG_RUNTIME_DIR", "")
        if not runtime.startswith("/"):
            runtime = f"/run/user/{os.getuid()}"  # where it is after `su` or in a cron job
        self._environment = {**environment, "XDG_RUNTIME_DIR": runtime}
        self.path = places.config / "systemd" / "user" / UNIT

    def available(self) -> bool:
        """Whether a manager of this user runs, and can be asked."""
        runtime = Path(self._environment["XDG_RUNTIME_DIR"])
        if not (runtime / "systemd" / "private").exists():
            return False
        try:
            return self._ask("show", "--property=Version").code == 0
        except ServiceError:
            return False

    # -- the unit ----------------------------------------------------------------------------------

    def unit(self, program: Path, home: Home) -> FileChange:
        """Plan the unit that runs ``program`` for ``home``.

        Raises InstallError when a path cannot stand in a unit, or the file cannot be changed, or
        is another's.
        """
        refuse_another_s(self.path, self.home(), home)
        isolated = self.allows_namespaces()
        text = render(program, home, self._environment, isolated=isolated)
        return plan(self.path, text.encode(), mode=_MODE, why="have systemd run the server")

    def is_current(self, program: Path, home: Home) -> bool:
        """Whether the unit is as ``unit`` writes it, with namespaces or without.

        Raises InstallError as ``unit`` does.
        """
        ways = (
            render(program, home, self._environment, isolated=isolated)
            for isolated in (True, False)
        )
        return read(self.path) in [text.encode() for text in ways]

    def removal(self) -> FileChange:
        """Plan that there is no unit; raise InstallError when the file cannot be changed."""
        return plan(self.path, None, mode=_MODE, why="systemd runs no server any more")

    def home(self) -> Path | None:
        """Return the home that the unit was written for; None without a unit of ours."""
        with suppress(OSError, UnicodeDecodeError):
            found = _HOME.search(self.path.read_text("utf-8"))
            return Path(found[1]) if found else None
        return None

    def allows_namespaces(self) -> bool:
        """Try whether a unit with namespaces starts, and is kept from writing in the user's home.

        Only a start shows it: a kernel, a container or AppArmor may forbid what systemd thinks
        well of, and an old systemd ignores in silence what it cannot do.
        """
        program = find("systemd-run", self._environment)
        if program is None:
            return False
        command = [program, "--user", "--quiet", "--collect", "--service-type=oneshot"]
        command += [f"--property={each}" for each in _TRIAL]
        home = str(self._places.home)
        command += ["/bin/sh", "-c", 'test ! -w "$1"', "sh", home.replace("$", "$$")]
        with suppress(ServiceError):
            return run(command, self._environment, _TRIAL_S).code == 0
        return False

    # -- the commands ------------------------------------------------------------------------------

    def enable_and_start(self) -> None:
        """Have the manager read the unit, start it now and at every login; not waited for."""
        self._do("daemon-reload")
        self._do("enable", UNIT)
        self.start()

    def start(self) -> None:
        """Start it; not waited for."""
        self._do("start", "--no-block", UNIT)

    def stop(self) -> None:
        """Stop it, until it is started again or the user logs in."""
        self._do("stop", UNIT, timeout_s=_STOP_S)

    def restart(self) -> None:
        """Read the unit again, stop and start; not waited for."""
        self._do("daemon-reload")
        self._do("restart", "--no-block", UNIT)

    def disable(self) -> None:
        """Stop it, and start it never again by itself."""
        if self.path.exists():
            self._do("disable", "--now", UNIT, timeout_s=_STOP_S)

    def state(self) -> ServiceState:
        """Return how it is; raise ServiceError when the manager cannot be asked."""
        if not self.path.exists():
            return ServiceState(installed=False, detail="not installed")
        ended = self._do("show", UNIT, f"--property={','.join(_ASKED)}")
        lines = (line.partition("=") for line in ended.out.splitlines())
        return _state({name: value for name, _, value in lines})

    def hint(self) -> str | None:
        """Say that the service ends with the last session, unless it was allowed to stay."""
        with suppress(KeyError):  # a user without an entry: nobody can have allowed it
            if (_LINGERING / getpwuid(os.getuid()).pw_name).exists():
                return None
        return (
            "the server runs while you are logged in; "
            "`loginctl enable-linger` has it run from boot on, too"
        )

    def _do(self, *words: str, timeout_s: float = _ASK_S) -> Ended:
        ended = self._ask(*words, timeout_s=timeout_s)
        if ended.code:
            message = f"`systemctl --user {words[0]}` failed: {ended.last_words}"
            raise ServiceError(message)
        return ended

    def _ask(self, *words: str, timeout_s: float = _ASK_S) -> Ended:
        program = find("systemctl", self._environment)
        if program is None:
            message = "systemctl is not on PATH; is this a machine with systemd?"
            raise ServiceError(message)
        return run([program, "--user", *words], self._environment, timeout_s)


def _state(found: Mapping[str, str]) -> ServiceState:
    active, sub = found.get("ActiveState", ""), found.get("SubState", "")
    ended = active == "failed" or sub.startswith("auto-restart")
    code = int(found.get("ExecMainStatus") or 0) if found.get("ExecMainCode") == _EXITED else 0
    how = f"exit code {code}" if code else found.get("Result", "")
    words = [f"{active} ({sub})", how if ended else found.get("StatusText", "")]
    restarts = int(found.get("NRestarts") or 0)
    words.append(f"restarted {restarts} times" if restarts else "")
    return ServiceState(
        installed=True,
        enabled=found.get("UnitFileState") == "enabled",
        running=active in {"active", "reloading"},
        pid=int(found.get("MainPID") or 0) or None,
        detail=", ".join(filter(None, words)),
        exit_code=code if ended else None,
    )


# --- the text of the unit -------------------------------------------------------------------------


def render(program: Path, home: Home, environment: Mapping[str, str], *, isolated: bool) -> str:
    """Return the unit; ``isolated`` is with namespaces.

    Raises InstallError when a path has a character that cannot stand in a unit.
    """
    variables = [f"{name}={value}" for name, value in passed_on(environment).items()]
    hidden = not any(_is_temporary(path) for path in (program, home.root))
    values = {
        "PROGRAM": _program(program),
        "HOME": _argument(home.root),
        "OUTPUT": _plain(output_file(home)).replace("%", "%%"),
        "ENVIRONMENT": " ".join(map(quoted, variables)),
        "SOCKETS": _sockets(home),
        "PRIVATE_TMP": "yes" if hidden else "no",
        # One that is missing must not keep the server from saying so.
        "WRITABLE": " ".join(quoted(f"-{path}") for path in _writable_places(home)),
        "RAW_HOME": _plain(home.root),
    }
    template = shipped.find(TEMPLATE).read_text("utf-8")
    if not isolated:
        template = _NAMESPACES.sub(_WITHOUT, template)
    lines = [_filled(line, values) for line in template.splitlines(keepends=True)]
    return "".join(lines)


def _filled(line: str, values: Mapping[str, str]) -> str:
    """Fill in a line of the template; one whose value is empty is left out."""
    names = re.findall(r"@([A-Z_]+)@", line)
    if any(not values[name] for name in names):
        return ""
    return re.sub(r"@([A-Z_]+)@", lambda found: values[found[1]], line)


def quoted(word: object) -> str:
    """Return a word that systemd reads as it is, in settings that take several."""
    text = _plain(word).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text.replace("%", "%%")}"'


def _argument(word: object) -> str:
    """Return a word of a command line, in which "$" would begin a variable."""
    return quoted(word).replace("$", "$$")


def _program(path: Path) -> str:
    """Return the beginning of a command line; systemd itself runs no path with quotes in it."""
    if _REFUSED.isdisjoint(str(path)):
        return quoted(path)
    return f"/bin/sh -c {_argument(_EXEC)} {_argument(path)}"


def _plain(word: object) -> str:
    """Return a text that fits into a line; raise InstallError for one that does not."""
    text = str(word)
    if _UNWRITABLE.search(text):
        message = (
            f"{text!r}: systemd cannot be told of a path with such characters; "
            "use `--no-service`, or another directory"
        )
        raise InstallError(message)
    return text


def _writable_places(home: Home) -> Iterable[Path]:
    """Return where the server must be able to write: its home, and where links in it lead."""
    yield home.root
    with suppress(OSError):
        for path in sorted(home.root.iterdir()):
            if path.is_symlink() and path.is_dir():
                yield path.resolve()


def _sockets(home: Home) -> str:
    """Return the name of the runtime directory for the sockets, '' when they are in the home."""
    directory = home.control_socket.parent
    return "" if directory == home.run else directory.name


def _is_temporary(path: Path) -> bool:
    return any(path.resolve().is_relative_to(place) for place in _TEMPORARY)
