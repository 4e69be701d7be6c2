"""The editors on this machine, and which version each of them is.

Owns where Cursor and Claude Code put themselves on Linux and macOS.
Promises to start no window, and to run nothing but, where no file tells its version,
``claude --version``.
Leaves what is written into their settings to ``hooks.py``.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from blueplane.capture.claude_code.hooks import PLATFORM as CLAUDE_CODE
from blueplane.capture.claude_code.settings import user_settings_file, user_settings_path
from blueplane.capture.cursor.hooks import PLATFORM as CURSOR
from blueplane.capture.cursor.settings import user_hooks_file, user_hooks_path
from blueplane.capture.settings_file import SettingsFile
from blueplane.errors import InstallError, ServiceError
from blueplane.install.changes import read
from blueplane.install.hook_events import Version, dotted
from blueplane.install.system_programs import run

#: Seconds for ``claude --version``; it needs some tenths.
VERSION_S: Final = 2.0
#: The editors by the names that people choose them by, and their platforms.
NAMES: Final[Mapping[str, str]] = {"cursor": CURSOR.name, "claude": CLAUDE_CODE.name}

_VERSION: Final = re.compile(r"(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?")
_TITLES: Final = {CURSOR.name: "Cursor", CLAUDE_CODE.name: "Claude Code"}
#: How far above a program the directory of its application may be.
_LEVELS: Final = 6


@dataclass(frozen=True, slots=True)
class Editor:
    """An editor that was found: ``name`` is that of its platform, ``evidence`` where it is.

    ``version`` is the lowest that was found, for all of them read the same ``settings``; None when
    no file tells it.
    """

    name: str
    version: Version | None
    settings: Path
    evidence: str

    @property
    def title(self) -> str:
        """The editor and its version, for people."""
        version = dotted(self.version) if self.version else "of unknown version"
        return f"{_TITLES[self.name]} {version}"


@dataclass(frozen=True, slots=True)
class Machine:
    """Where to look: a user's home, the variables of the environment, and the root of the disk.

    ``patience_s`` is how long an editor has to tell its version itself.
    """

    user_home: Path
    environment: Mapping[str, str]
    root: Path = Path("/")
    patience_s: float = VERSION_S

    def programs(self, name: str) -> Iterator[Path]:
        """Yield the programs of a name on the PATH, links followed."""
        for directory in self.environment.get("PATH", "").split(os.pathsep):
            path = Path(directory, name)
            if path.is_absolute() and os.access(path, os.X_OK) and path.is_file():
                yield path.resolve()


@dataclass(frozen=True, slots=True)
class _Trace:
    """Something that an editor left on the disk, and the version that it tells."""

    place: Path
    version: Version | None = None


def find_editors(machine: Machine) -> list[Editor]:
    """Return the editors that are there, or have been used by this user."""
    return [*_found(CURSOR.name, machine), *_found(CLAUDE_CODE.name, machine)]


def find_editor(name: str, machine: Machine) -> Editor:
    """Return one editor by its platform's name, whether anything of it is there or not."""
    return next(_found(name, machine), Editor(name, None, _settings(name, machine), "not found"))


def settings_file(name: str, machine: Machine) -> SettingsFile:
    """Return the settings file of an editor, whether it is there or not."""
    if name == CURSOR.name:
        return user_hooks_file(machine.user_home)
    return user_settings_file(machine.user_home, machine.environment)


def _found(name: str, machine: Machine) -> Iterator[Editor]:
    traces = list(_TRACES[name](machine))
    told = [trace for trace in traces if trace.version is not None]
    chosen = min(told, key=lambda trace: trace.version or ()) if told else None
    if traces:
        trace = chosen or traces[0]
        yield Editor(name, trace.version, _settings(name, machine), str(trace.place))


def _settings(name: str, machine: Machine) -> Path:
    if name == CURSOR.name:
        return user_hooks_path(machine.user_home)
    return user_settings_path(machine.user_home, machine.environment)


# --- Cursor --------------------------------------------------------------------------------------

#: Directories that packages and people put the application into.
_CURSOR_PLACES: Final = (
    "usr/share/cursor",
    "usr/lib/cursor",
    "opt/cursor",
    "opt/Cursor",
    "Applications/Cursor.app/Contents",
)
_CURSOR_OWN_PLACES: Final = (
    ".local/share/cursor",
    ".local/opt/cursor",
    "Applications/Cursor.app/Contents",
)
#: What describes the application, from its directory.
_PRODUCTS: Final = (
    "product.json",
    "resources/app/product.json",
    "Resources/app/product.json",
)
_APP_IMAGES: Final = ("Applications", ".local/bin", "bin", "Downloads")
#: What Cursor makes for a user.
_CURSOR_DATA: Final = (".cursor", ".config/Cursor", "Library/Application Support/Cursor")


def _cursor(machine: Machine) -> Iterator[_Trace]:
    for program in machine.programs("cursor"):
        yield from _above(program)
        yield from _app_image(program)
    for place in _CURSOR_PLACES:
        yield from _application(machine.root / place)
    for place in _CURSOR_OWN_PLACES:
        yield from _application(machine.user_home / place)
    yield from _newest(_app_images(machine))
    yield from _newest(_servers(machine))
    yield from (_Trace(path) for path in _existing(machine.user_home, _CURSOR_DATA))


def _above(program: Path) -> Iterator[_Trace]:
    for directory in list(program.parents)[:_LEVELS]:
        traces = list(_application(directory))
        if traces:
            yield traces[0]
            return


def _application(directory: Path) -> Iterator[_Trace]:
    for name in _PRODUCTS:
        product = _read_json(directory / name)
        if product.get("applicationName") == "cursor":
            yield _Trace(directory, first_version(product.get("version")))


def _app_images(machine: Machine) -> Iterator[_Trace]:
    for place in _APP_IMAGES:
        for path in _listed(machine.user_home / place):
            yield from _app_image(path)


def _app_image(path: Path) -> Iterator[_Trace]:
    if path.suffix == ".AppImage" and path.name.lower().startswith("cursor"):
        yield _Trace(path, first_version(path.name))


def _servers(machine: Machine) -> Iterator[_Trace]:
    """Yield what Cursor puts on a machine that it works on from another one."""
    base = machine.user_home / ".cursor-server" / "bin"
    for directory in _listed(base):
        yield from _application(directory)
        for below in _listed(directory):
            yield from _application(below)


# --- Claude Code ---------------------------------------------------------------------------------

_CLAUDE_PACKAGE: Final = "@anthropic-ai/claude-code"
#: Editors whose extension brings a Claude Code of its own, which reads the same settings.
_EXTENSIONS: Final = (
    ".vscode/extensions",
    ".vscode-server/extensions",
    ".cursor/extensions",
    ".cursor-server/extensions",
)
_EXTENSION: Final = re.compile(r"anthropic\.claude-code-\d")


def _claude_code(machine: Machine) -> Iterator[_Trace]:
    programs = list(machine.programs("claude"))
    local = machine.user_home / ".claude" / "local" / "node_modules" / _CLAUDE_PACKAGE
    yield from _package(local)
    for program in programs[:1]:  # the others are not what a shell starts
        yield _Trace(program, _told_by_place(program) or _told_by_itself(program, machine))
    for place in _EXTENSIONS:
        yield from _newest(_extensions(machine.user_home / place))
    settings = user_settings_path(machine.user_home, machine.environment)
    yield from (_Trace(path) for path in _existing(settings.parent, (".",)))


def _told_by_place(program: Path) -> Version | None:
    """Return what names a version above a program: its own name, a directory, a package."""
    for path in (program, program.parent):
        if _VERSION.fullmatch(path.name):
            return first_version(path.name)
    packages = (trace for path in list(program.parents)[:_LEVELS] for trace in _package(path))
    return next((trace.version for trace in packages), None)


def _package(directory: Path) -> Iterator[_Trace]:
    package = _read_json(directory / "package.json")
    if package.get("name") == _CLAUDE_PACKAGE:
        yield _Trace(directory, first_version(package.get("version")))


def _extensions(directory: Path) -> Iterator[_Trace]:
    for path in _listed(directory):
        if _EXTENSION.match(path.name):
            yield _Trace(path, first_version(path.name.partition("claude-code-")[2]))


def _told_by_itself(program: Path, machine: Machine) -> Version | None:
    environment = {"HOME": str(machine.user_home), "PATH": machine.environment.get("PATH", "")}
    try:
        ended = run([str(program), "--version"], environment, machine.patience_s)
    except ServiceError:
        return None
    return None if ended.code else first_version(ended.out)


# --- both ----------------------------------------------------------------------------------------

_TRACES: Final[Mapping[str, Callable[[Machine], Iterator[_Trace]]]] = {
    CURSOR.name: _cursor,
    CLAUDE_CODE.name: _claude_code,
}


def first_version(text: object) -> Version | None:
    """Return the first version in a text, as numbers; None without one."""
    found = _VERSION.search(text) if isinstance(text, str) else None
    return tuple(int(part) for part in found.groups() if part) if found else None


def _newest(traces: Iterator[_Trace]) -> list[_Trace]:
    """Keep the newest of those that an update leaves behind."""
    return sorted(traces, key=lambda trace: trace.version or ())[-1:]


def _existing(directory: Path, names: tuple[str, ...]) -> list[Path]:
    return [directory / name for name in names if (directory / name).is_dir()]


def _listed(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []  # not there, or not ours to look into


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = orjson.loads(read(path) or b"{}")
    except (InstallError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
