"""Cursor's settings file for hooks.

Owns where it is and how it names hooks.
Promises never to write it.
Leaves installing to whoever does it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from blueplane.capture.settings_file import OUR_COMMAND, SettingsFile


def user_hooks_file(user_home: Path) -> SettingsFile:
    """Return the hooks file of the user whose home directory is ``user_home``."""
    return SettingsFile(user_home / ".cursor" / "hooks.json", _find_ours)


def _find_ours(settings: Any) -> Iterator[str]:  # noqa: ANN401 - whatever the file holds
    for event, entries in settings["hooks"].items():
        if any(OUR_COMMAND in entry.get("command", "") for entry in entries):
            yield event
