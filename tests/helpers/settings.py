"""Installing into settings files as ``install`` does, step by step.

Owns the editors that are installed into, and their files.
Promises nothing that the program would not do: it is the program that does it.
Leaves what to expect to the tests.
"""

import json
from pathlib import Path
from typing import Any

from blueplane.capture.claude_code.settings import user_settings_path
from blueplane.capture.cursor.settings import user_hooks_path
from blueplane.install import hooks, making
from blueplane.install.changes import FileChange
from blueplane.install.editors import Editor
from blueplane.paths import Home

#: Of each editor a version of long ago, and one of today.
OLD = {"cursor": (2, 1, 0), "claude_code": (2, 0, 45)}
NEW = {"cursor": (3, 24, 18), "claude_code": (2, 1, 230)}


def settings_path(name: str) -> Path:
    """Return where an editor has its settings for the test's user."""
    if name == "cursor":
        return user_hooks_path(Path.home())
    return user_settings_path(Path.home(), {})


def editor(name: str, version: tuple[int, ...] | None) -> Editor:
    """Return an editor of the test's user."""
    return Editor(name, version, settings_path(name), "planted")


def plant(name: str, data: bytes) -> Path:
    """Write the settings file of an editor."""
    path = settings_path(name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def make(change: FileChange, home: Home) -> None:
    """Make a change and note it."""
    if change.is_needed:
        making.make(home, change)


def install(home: Home, name: str, version: tuple[int, ...] | None) -> FileChange:
    """Install into the settings of an editor; return what that changed."""
    change = hooks.plan(editor(name, version), home)
    make(change, home)
    return change


def uninstall(home: Home, name: str, version: tuple[int, ...] | None = None) -> FileChange:
    """Remove ours from the settings of an editor; return what that changed."""
    change = hooks.plan(editor(name, version), home, remove=True)
    make(change, home)
    return change


def strangers(data: bytes, home: Home) -> Any:
    """Return the value of a file without our entries, and without lists that are empty then."""
    value = json.loads(data.decode("utf-8-sig"))
    ours = str(hooks.hook_path(home))
    events = {
        event: [entry for entry in entries if ours not in json.dumps(entry)]
        for event, entries in value.pop("hooks", {}).items()
    }
    return value, {event: entries for event, entries in events.items() if entries}
