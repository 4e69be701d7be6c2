import os
from pathlib import Path

import orjson
import pytest

from blueplane.capture import settings_file
from blueplane.capture.claude_code.settings import user_settings_file
from blueplane.capture.cursor.settings import user_hooks_file
from blueplane.capture.settings_file import SettingsFile

OURS = "/opt/blueplane/blueplane-hook"


def cursor_file(user_home: Path) -> Path:
    """Return Cursor's file, whose directory is made."""
    path = user_home / ".cursor" / "hooks.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def claude_file(directory: Path) -> Path:
    """Return Claude Code's file in its directory, which is made."""
    directory.mkdir(parents=True, exist_ok=True)
    return directory / "settings.json"


def handler(command: str, *arguments: str) -> dict[str, object]:
    """Make a handler as Claude Code's settings have it."""
    made: dict[str, object] = {"type": "command", "command": command}
    return {**made, "args": list(arguments)} if arguments else made


def test_cursor_hooks_are_found_when_they_are_ours(tmp_path: Path) -> None:
    """An event has our hook when one of its commands is ours."""
    # Given
    hooks = {
        "stop": [{"command": "/bin/true"}, {"command": f"{OURS} cursor stop"}],
        "sessionStart": [{"command": "/bin/true"}],
        "sessionEnd": [],
    }
    cursor_file(tmp_path).write_bytes(orjson.dumps({"version": 1, "hooks": hooks}))
    # When
    file = user_hooks_file(tmp_path)
    # Then
    assert file.ours() == {"stop"}
    assert (file.has_ours("stop"), file.has_ours("sessionStart")) == (True, False)


def test_claude_hooks_are_found_when_they_are_ours(tmp_path: Path) -> None:
    """Ours may stand in any group, in the shell form or as an argument of the exec form."""
    # Given
    url = {"type": "http", "url": "http://127.0.0.1:1/"}
    hooks = {
        "PreToolUse": [
            {"matcher": "Bash"},
            {"matcher": "", "hooks": [url, handler(f"{OURS} a b")]},
        ],
        "Stop": [{"hooks": [handler("/bin/sh", OURS, "claude_code", "Stop")]}],
        "SessionEnd": [{"hooks": [handler("/bin/true")]}],
    }
    claude_file(tmp_path / ".claude").write_bytes(orjson.dumps({"hooks": hooks}))
    # When / Then
    assert user_settings_file(tmp_path, {}).ours() == {"PreToolUse", "Stop"}


def test_claude_hooks_are_looked_for_elsewhere_when_the_directory_was_moved(tmp_path: Path) -> None:
    """CLAUDE_CONFIG_DIR is where the settings are."""
    # Given
    body = orjson.dumps({"hooks": {"Stop": [{"hooks": [handler(OURS)]}]}})
    claude_file(tmp_path / "moved").write_bytes(body)
    # When
    file = user_settings_file(tmp_path, {"CLAUDE_CONFIG_DIR": str(tmp_path / "moved")})
    # Then
    assert file.ours() == {"Stop"}
    assert user_settings_file(tmp_path, {}).ours() == frozenset()


def test_claude_hooks_are_none_when_all_are_turned_off(tmp_path: Path) -> None:
    """What Claude Code does not run is not installed."""
    # Given
    body = {"disableAllHooks": True, "hooks": {"Stop": [{"hooks": [handler(OURS)]}]}}
    claude_file(tmp_path / ".claude").write_bytes(orjson.dumps(body))
    # When / Then
    assert user_settings_file(tmp_path, {}).ours() == frozenset()


def test_file_is_read_again_when_it_changed(tmp_path: Path) -> None:
    """What is installed, changed or removed while the server runs is seen."""
    # Given
    path, file = cursor_file(tmp_path), user_hooks_file(tmp_path)
    assert file.ours() == frozenset()
    # When / Then
    path.write_bytes(orjson.dumps({"hooks": {"stop": [{"command": OURS}]}}))
    assert file.ours() == {"stop"}
    path.write_bytes(orjson.dumps({"hooks": {"sessionStart": [{"command": OURS}]}}))
    assert file.ours() == {"sessionStart"}
    path.unlink()
    assert file.ours() == frozenset()


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "null", "7", "{", '{"hooks": []}', '{"hooks": {"stop": 7}}',
        '{"hooks": {"stop": [7]}}', '{"hooks": {"stop": [{"command": 7}]}}',
        '{"hooks": {"stop": [{"hooks": [{"command": "a", "args": 7}]}]}}',
    ],
)  # fmt: skip
def test_no_hook_is_found_when_the_file_is_none(tmp_path: Path, text: str) -> None:
    """Whatever stands there, there is an answer."""
    # Given
    cursor_file(tmp_path).write_text(text)
    claude_file(tmp_path / ".claude").write_text(text)
    # When / Then
    assert user_hooks_file(tmp_path).ours() == frozenset()
    assert user_settings_file(tmp_path, {}).ours() == frozenset()


def test_nothing_is_read_when_it_is_no_file_or_a_huge_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe would hold up whoever asks, for ever."""
    # Given
    monkeypatch.setattr(settings_file, "MAX_BYTES", 10)
    pipe, large = tmp_path / "pipe", tmp_path / "large"
    os.mkfifo(pipe)
    large.write_text('[["a", "b"]]')
    # When / Then
    assert SettingsFile(pipe, lambda found: found).ours() == frozenset()
    assert SettingsFile(large, lambda found: found).ours() == frozenset()
    large.write_text('[["a",1]]')
    assert SettingsFile(large, lambda found: found).ours() == {"a"}
