"""Claude Code's settings file of a user, as far as it names hooks.

Owns where it is and how it names hooks.
Promises never to write it.
Leaves installing to whoever does it.
"""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from blueplane.capture.settings_file import OUR_COMMAND, SettingsFile


def user_settings_path(user_home: Path, environment: Mapping[str, str]) -> Path:
    """Return where the settings file of a user is; ``CLAUDE_CONFIG_DIR`` moves it."""
    moved = environment.get("CLAUDE_CONFIG_DIR")
    return (Path(moved) if moved else user_home / ".claude") / "settings.json"


def user_settings_file(user_home: Path, environment: Mapping[str, str]) -> SettingsFile:
    """Return the settings file of a user; ``CLAUDE_CONFIG_DIR`` moves it."""
    return SettingsFile(user_settings_path(user_home, environment), _find_ours)


def _find_ours(settings: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - whatever the file holds
    if settings.get("disableAllHooks") is True:
        return
    for event, groups in settings["hooks"].items():
        handlers = (handler for group in groups for handler in group.get("hooks", ()))
        for line in map(words, handlers):
            if any(OUR_COMMAND in word for word in line):
                yield event, line[0] if len(line) == 1 else shlex.join(line)


def words(handler: Mapping[str, Any]) -> list[str]:
    """Return the command of a handler and its arguments, which only the exec form has."""
    return [handler.get("command", ""), *handler.get("args", ())]
