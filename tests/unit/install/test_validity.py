import json
import os
from pathlib import Path
from typing import Any

import pytest

from blueplane.install.editors import Editor
from blueplane.install.validity import (
    Fault,
    claude_faults,
    cursor_faults,
    file_faults,
    managed_faults,
)


def entry(**more: Any) -> dict[str, Any]:
    """Make an entry of Cursor's."""
    return {"command": "x", **more}


def cursor(hooks: object, **more: object) -> str:
    """Write a hooks file of Cursor's."""
    return json.dumps({"version": 1, "hooks": hooks, **more})


def handler(**more: Any) -> str:
    """Write settings of Claude Code's with one hook."""
    made = {"type": "command", "command": "x", **more}
    return json.dumps({"hooks": {"Stop": [{"hooks": [made]}]}})


@pytest.mark.parametrize(
    "text",
    [
        cursor({}),
        cursor({"stop": [entry(), entry(type="command", timeout=0.5, loop_limit=None)]}),
        cursor({"stop": [{"type": "prompt", "prompt": "ok?", "model": "m"}], "preCompact": []}),
        cursor({"stop": [entry(matcher="(?<name>a|b)\\d", failClosed=True, loop_limit=3)]}),
        cursor({"stop": [entry(matcher="*", own={"x": 1})]}, own=[]),
        '{"version": 2.0, "hooks": {}}',
    ],
)
def test_cursor_takes_a_file_when_it_is_right(text: str) -> None:
    """What the editor takes has no fault, unknown keys included."""
    # Given / When / Then
    assert cursor_faults(text, (3, 24, 18)) == []


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("{", "line 1, column 2"),
        ("", "line 1, column 1"),
        ("[]", "the whole"),
        ('{"hooks": {}}', "version"),
        ('{"version": "1", "hooks": {}}', "version"),
        ('{"version": 1.5, "hooks": {}}', "version"),
        ('{"version": true, "hooks": {}}', "version"),
        ('{"version": 0, "hooks": {}}', "version"),
        ('{"version": 1}', "hooks"),
        (cursor([]), "hooks"),
        (cursor({"stop": {}}), "hooks.stop"),
        (cursor({"stop": ["x"]}), "hooks.stop[0]"),
        (cursor({"stop": [entry(), {}]}), "hooks.stop[1].command"),
        (cursor({"stop": [{"command": ["x"]}]}), "hooks.stop[0].command"),
        (cursor({"stop": [entry(type="http")]}), "hooks.stop[0].type"),
        (cursor({"stop": [entry(type=["command"])]}), "hooks.stop[0].type"),
        (cursor({"stop": [{"type": "prompt", "prompt": " "}]}), "hooks.stop[0].prompt"),
        (cursor({"stop": [entry(timeout="5")]}), "hooks.stop[0].timeout"),
        (cursor({"stop": [entry(timeout=0)]}), "hooks.stop[0].timeout"),
        (cursor({"stop": [entry(timeout=True)]}), "hooks.stop[0].timeout"),
        (cursor({"stop": [entry()]}).replace('"x"', '"x", "timeout": 1e999'),
         "hooks.stop[0].timeout"),
        (cursor({"stop": [entry(loop_limit=0)]}), "hooks.stop[0].loop_limit"),
        (cursor({"stop": [entry(loop_limit=1.5)]}), "hooks.stop[0].loop_limit"),
        (cursor({"stop": [entry(failClosed="no")]}), "hooks.stop[0].failClosed"),
        (cursor({"stop": [entry(matcher={})]}), "hooks.stop[0].matcher"),
        (cursor({"stop": [entry(matcher="(a")]}), "hooks.stop[0].matcher"),
        (cursor({"Stop": []}), "hooks.Stop"),
    ],
)  # fmt: skip
def test_cursor_refuses_a_file_when_one_thing_is_wrong(text: str, where: str) -> None:
    """One fault, named with its place."""
    # Given / When / Then
    assert [fault.where for fault in cursor_faults(text, (3, 24, 18))] == [where]


def test_cursor_refuses_events_that_its_version_does_not_know() -> None:
    """What a newer version knows is a fault in an older one; of the newest nobody knows all."""
    # Given
    text, mistyped = cursor({"workspaceOpen": []}), cursor({"beforeSubmitPromt": []})
    # When / Then
    assert cursor_faults(text, (3, 24)) == []
    assert cursor_faults(text, None) == []
    assert cursor_faults(text, (3, 1, 2)) == [
        Fault("hooks.workspaceOpen", "version 3.1.2 knows no such event, and drops the whole file")
    ]
    assert cursor_faults(mistyped, None) == [
        Fault(
            "hooks.beforeSubmitPromt",
            "is the name of no event, for which the editor drops the whole file",
        )
    ]
    assert [each.where for each in cursor_faults(mistyped, (3, 2))] == ["hooks.beforeSubmitPromt"]
    assert cursor_faults(mistyped, (4, 0)) == []


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", '{"model": "x", "hooks": {}}', handler(timeout=3, statusMessage="x"),
        '{"disableAllHooks": false, "hooks": {"Stop": [{"matcher": "(", "hooks": []}]}}',
        """{"hooks": {"Stop": [{"hooks": [{"type": "http", "url": "u"}, {"type": "mcp_tool"},
        {"type": "agent", "prompt": "p"}]}]}}""",
    ],
)  # fmt: skip
def test_claude_code_takes_a_file_when_it_is_right(text: str) -> None:
    """What the editor takes has no fault, an empty file included."""
    # Given / When / Then
    assert claude_faults(text, (2, 1, 230)) == []


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("{ // mine\n}", "line 1, column 3"),
        ("7", "the whole"),
        ('{"disableAllHooks": true}', "disableAllHooks"),
        ('{"hooks": null}', "hooks"),
        ('{"hooks": {"Stop": {}}}', "hooks.Stop"),
        ('{"hooks": {"Stop": ["x"]}}', "hooks.Stop[0]"),
        ('{"hooks": {"Stop": [{"type": "command", "command": "x"}]}}', "hooks.Stop[0].hooks"),
        ('{"hooks": {"Stop": [{"hooks": {}}]}}', "hooks.Stop[0].hooks"),
        ('{"hooks": {"Stop": [{"matcher": {}, "hooks": []}]}}', "hooks.Stop[0].matcher"),
        ('{"hooks": {"Stop": [{"hooks": ["x"]}]}}', "hooks.Stop[0].hooks[0]"),
        (handler(type="shell"), "hooks.Stop[0].hooks[0].type"),
        (handler(type={}), "hooks.Stop[0].hooks[0].type"),
        (handler(type="http"), "hooks.Stop[0].hooks[0].url"),
        (handler(type="agent"), "hooks.Stop[0].hooks[0].prompt"),
        (handler(command=None), "hooks.Stop[0].hooks[0].command"),
        (handler(timeout=-1), "hooks.Stop[0].hooks[0].timeout"),
        (handler(timeout=None), "hooks.Stop[0].hooks[0].timeout"),
        (handler(**{"async": "yes"}), "hooks.Stop[0].hooks[0].async"),
        ('{"hooks": {"stop": []}}', "hooks.stop"),
        ('{"hooks": {"DirectoryAdded": []}}', "hooks.DirectoryAdded"),
    ],
)
def test_claude_code_refuses_a_file_when_one_thing_is_wrong(text: str, where: str) -> None:
    """One fault, named with its place."""
    # Given / When / Then
    assert [fault.where for fault in claude_faults(text, (2, 1, 218))] == [where]


@pytest.mark.parametrize("key", ["disableAllHooks", "allowManagedHooksOnly"])
def test_managed_settings_turn_our_hooks_off_when_they_say_so(key: str) -> None:
    """An administrator may leave only managed hooks, or none."""
    # Given / When / Then
    assert [fault.where for fault in managed_faults(json.dumps({key: True}))] == [key]
    assert managed_faults(json.dumps({key: False, "hooks": 7})) == []
    assert managed_faults("{")[0].where == "line 1, column 2"


def test_file_is_refused_when_it_is_not_one_that_an_editor_reads(tmp_path: Path) -> None:
    """No file is fine; a pipe is named; Cursor takes no link, and Claude Code does."""
    # Given
    path, target = tmp_path / "hooks.json", tmp_path / "target"
    target.write_text(cursor({}))
    editors = [Editor(name, None, path, "") for name in ("cursor", "claude_code")]
    # When / Then
    assert [file_faults(each) for each in editors] == [[], []]
    path.symlink_to(target)
    assert file_faults(editors[0]) == [Fault("file", "is a link, which Cursor refuses")]
    assert file_faults(editors[1]) == []
    path.unlink()
    os.mkfifo(path)
    assert file_faults(editors[1]) == [Fault("file", "is no plain file; move it away")]
    path.unlink()
    path.write_bytes("{}".encode("utf-16"))
    assert file_faults(editors[1]) == [Fault("line 1, column 1", "is UTF-16; save it as UTF-8")]
    path.write_bytes(b"\xef\xbb\xbf{}")
    assert [fault.where for fault in file_faults(editors[1])] == ["line 1, column 1"]
