"""The extension in Cursor: putting it in, and taking it out.

Owns where Cursor's command is, and what Cursor notes of the extensions that it has.
Promises to run nothing but that command, which opens no window, and to believe what Cursor noted
and not its exit code.
Leaves the package to ``vsix.py``, and the order of steps to the plans.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import orjson

from blueplane.errors import InstallError
from blueplane.install import changes, system_programs, vsix
from blueplane.install.changes import FileChange
from blueplane.paths import Home

#: Publisher and name, as ``package.json`` has them.
IDENTITY: Final = "blueplane.blueplane"
#: Seconds that Cursor's command has; it starts a whole runtime, which needs one or two.
TIMEOUT_S: Final = 60.0

_MODE: Final = 0o600
#: Where Cursor keeps extensions: on this machine, and on one that it works on from another.
_PLACES: Final = (".cursor/extensions", ".cursor-server/extensions")
_MAC_COMMAND: Final = "Applications/Cursor.app/Contents/Resources/app/bin/cursor"


def plan(home: Home) -> FileChange:
    """Plan the package in its place; raise InstallError, or HomeError when none was shipped."""
    why = "the extension for Cursor"
    return changes.plan(home.extension_file, vsix.pack(), mode=_MODE, why=why)


def find_command(user_home: Path, environment: Mapping[str, str]) -> str | None:
    """Return Cursor's command; None without one. An AppImage is none: it would open a window."""
    found = system_programs.find("cursor", environment)
    if found and Path(found).resolve().suffix.lower() != ".appimage":
        return found
    bundled = (root / _MAC_COMMAND for root in (Path("/"), user_home))
    return next((str(path) for path in bundled if path.is_file()), None)


def installed_version(user_home: Path) -> str | None:
    """Return the version of the extension that Cursor has; None when it has none."""
    return next(_versions(user_home), None)


def put_in(command: str, home: Home, version: str, user_home: Path, env: Mapping[str, str]) -> None:
    """Have Cursor install the package; raise InstallError unless it then has this version."""
    arguments = ["--install-extension", str(home.extension_file), "--force"]
    ended = system_programs.run([command, *arguments], env, TIMEOUT_S)
    if installed_version(user_home) != version:
        message = f"{command}: {ended.last_words}; {by_hand(home)}"
        raise InstallError(message)


def take_out(command: str, user_home: Path, environment: Mapping[str, str]) -> None:
    """Have Cursor remove the extension; raise InstallError when it still has it."""
    ended = system_programs.run(
        [command, "--uninstall-extension", IDENTITY], environment, TIMEOUT_S
    )
    if installed_version(user_home) is not None:
        message = f"{command}: {ended.last_words}; remove Blueplane in Cursor, under Extensions"
        raise InstallError(message)


def by_hand(home: Home) -> str:
    """Say how a person installs the package."""
    return f"in Cursor, run `Extensions: Install from VSIX...` and take {home.extension_file}"


def _versions(user_home: Path) -> Iterator[str]:
    for place in _PLACES:
        for entry in _noted(user_home / place / "extensions.json"):
            with suppress(KeyError, TypeError, AttributeError):  # an entry of another form
                if entry["identifier"]["id"].lower() == IDENTITY:
                    yield str(entry["version"])


def _noted(path: Path) -> list[Any]:
    try:
        found = orjson.loads(changes.read(path) or b"[]")
    except (InstallError, ValueError):
        return []
    return found if isinstance(found, list) else []
