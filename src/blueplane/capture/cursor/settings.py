"""Cursor's settings file for hooks.

Owns where it is and how it names hooks.
Promises never to write it.
Leaves installing to whoever does it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from blueplane.capture.settings_file import OUR_COMMAND, SettingsFile


def user_hooks_path(user_home: Path) -> Path:
    """Return where the hooks file is of the user whose home directory is ``user_home``."""
    return user_home / ".cursor" / "hooks.json"


def user_hooks_file(user_home: Path) -> SettingsFile:
    """Return the hooks file of the user whose home directory is ``user_home``."""
    return SettingsFile(user_hooks_path(user_home), _find_ours)


def words(entry: Mapping[str, Any]) -> list[str]:
    """Return the command of an entry in the list of an event."""
    return [entry.get("command", "")]


def _find_ours(settings: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - whatever the file holds
    for event, entries in settings["hooks"].items():
        for (command,) in map(words, entries):
            if OUR_COMMAND in command:
                yield event, command
