"""Claude Code's settings file of a user, as far as it names hooks.

Owns where it is and how it names hooks.
Promises never to write it.
Leaves installing to whoever does it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from blueplane.capture.settings_file import OUR_COMMAND, SettingsFile


def user_settings_file(user_home: Path, environment: Mapping[str, str]) -> SettingsFile:
    """Return the settings file of a user; ``CLAUDE_CONFIG_DIR`` moves it."""
    moved = environment.get("CLAUDE_CONFIG_DIR")
    return SettingsFile(
        (Path(moved) if moved else user_home / ".claude") / "settings.json", _find_ours
    )


def _find_ours(settings: Any) -> Iterator[str]:  # noqa: ANN401 - whatever the file holds
    if settings.get("disableAllHooks") is True:
        return
    for event, groups in settings["hooks"].items():
        handlers = (handler for group in groups for handler in group.get("hooks", ()))
        if any(OUR_COMMAND in word for handler in handlers for word in _words(handler)):
            yield event


def _words(handler: Mapping[str, Any]) -> list[str]:
    """Return the command of a handler and its arguments, which only the exec form has."""
    return [handler.get("command", ""), *handler.get("args", ())]
