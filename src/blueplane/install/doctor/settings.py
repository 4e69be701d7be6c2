"""The editors as the checks see them: which are there, and what their settings run.

Owns looking at an editor once, and telling our hooks from those of other tools.
Promises to run no hook.
Leaves where settings are and how hooks are written to ``capture`` and ``install/hooks.py``.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blueplane.capture.claude_code import settings as claude_code
from blueplane.capture.cursor import settings as cursor
from blueplane.capture.cursor.hooks import PLATFORM as CURSOR
from blueplane.capture.settings_file import OUR_COMMAND
from blueplane.errors import InstallError
from blueplane.install import json_text
from blueplane.install.changes import read
from blueplane.install.doctor.scene import Scene, SkipError
from blueplane.install.editors import NAMES, Editor, Machine, settings_file


@dataclass(frozen=True, slots=True)
class Handler:
    """One hook in a settings file; ``timeout_s`` is None where it is the editor's to say."""

    event: str
    words: list[str]
    timeout_s: Any

    @property
    def is_ours(self) -> bool:
        """Whether it runs a hook script of ours."""
        return any(OUR_COMMAND in word for word in self.words)


def settings_of(editor: Editor) -> dict[str, Any]:
    """Return what is in the settings file of an editor; raises SkipError when it is no such file.

    Without a file that is nothing.
    """
    try:
        return read_settings(editor.settings)
    except InstallError as error:
        message = f"{editor.settings} cannot be read: see {short(editor)}.settings"
        raise SkipError(message) from error


def read_settings(path: Path) -> dict[str, Any]:
    """Return what is in a settings file, nothing without one; raise InstallError."""
    text = json_text.decode(read(path) or b"")
    found = {} if json_text.is_blank(text) else json_text.parse(text)
    return found if isinstance(found, dict) else {}


def short(editor: Editor) -> str:
    """Return how the ids of an editor's rows begin."""
    return next(name for name, platform in NAMES.items() if platform == editor.name)


def commands(editor: Editor, scene: Scene) -> Mapping[str, str]:
    """Return our command lines by event, as they stand in the settings."""
    return settings_file(editor.name, Machine(scene.user_home, scene.environment)).commands()


def handlers(editor: Editor) -> list[Handler]:
    """Return every hook in the settings of an editor that is a command."""
    hooks = settings_of(editor).get("hooks")
    found = []
    for event, items in hooks.items() if isinstance(hooks, dict) else ():
        for item in items if isinstance(items, list) else ():
            found += [_handler(editor, event, each) for each in _in_item(editor, item)]
    return [each for each in found if each.words]


def _in_item(editor: Editor, item: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - any JSON
    if not isinstance(item, dict):
        return
    inner: Any = [item] if editor.name == CURSOR.name else item.get("hooks")
    for each in inner if isinstance(inner, list) else ():
        if isinstance(each, dict) and each.get("type", "command") == "command":
            yield each


def _handler(editor: Editor, event: str, found: dict[str, Any]) -> Handler:
    tell = cursor.words if editor.name == CURSOR.name else claude_code.words
    words: list[Any] = []
    with suppress(TypeError):  # what the editor refuses, and another row says
        words = tell(found)
    words = [word for word in words if isinstance(word, str) and word]
    return Handler(event, words, found.get("timeout"))
