"""Settings files of every kind: install, again, upgrade, uninstall; as before, byte for byte."""

import json
from pathlib import Path

import pytest

from blueplane.capture.claude_code.settings import user_settings_file
from blueplane.capture.cursor.settings import user_hooks_file
from blueplane.capture.settings_file import SettingsFile
from blueplane.install import hooks, manifest
from blueplane.install.validity import file_faults
from blueplane.paths import Home
from helpers.settings import (
    NEW,
    OLD,
    editor,
    install,
    make,
    plant,
    settings_path,
    strangers,
    uninstall,
)
from helpers.settings_texts import TEXTS

pytestmark = pytest.mark.fault("F12")

EVERY = pytest.mark.parametrize(("name", "odd"), TEXTS, ids=[" ".join(key) for key in TEXTS])


def seen(name: str) -> SettingsFile:
    """Return the settings file as the server sees it."""
    return user_hooks_file(Path.home()) if name == "cursor" else user_settings_file(Path.home(), {})


def test_texts_are_enough_when_they_are_counted() -> None:
    """There are twenty files and more, and each parses."""
    # Given / When
    values = [json.loads(data) for data in TEXTS.values()]
    # Then
    assert len(values) >= 20


@EVERY
def test_file_is_as_before_when_all_is_over(home: Home, name: str, odd: str) -> None:
    """Install, the same again, an upgrade of the editor, uninstall: the very bytes of before."""
    # Given
    before = TEXTS[name, odd]
    path = plant(name, before)
    # When it is installed
    install(home, name, OLD[name])
    # Then our hooks are in, nobody else's changed, and the editor takes the file
    assert seen(name).ours() == set(hooks.wanted_events(editor(name, OLD[name])))
    others = strangers(before, home)
    added = {"version": 1} if name == "cursor" else {}
    assert strangers(path.read_bytes(), home) == ({**added, **others[0]}, others[1])
    assert file_faults(editor(name, NEW[name])) == []
    # When it is installed again
    again = install(home, name, OLD[name])
    # Then nothing changes
    assert not again.is_needed
    # When another version knows more events
    install(home, name, NEW[name])
    # Then they are in, too
    assert seen(name).ours() == set(hooks.wanted_events(editor(name, NEW[name])))
    assert strangers(path.read_bytes(), home)[1] == others[1]
    # When all of it is removed
    uninstall(home, name)
    # Then
    assert path.read_bytes() == before
    assert manifest.load(home)[0].file(path) is not None


@EVERY
def test_only_ours_is_gone_when_another_tool_wrote_the_file_anew(
    home: Home, name: str, odd: str
) -> None:
    """A tool that adds a hook and writes the whole file its own way keeps all it wrote."""
    # Given an install, and a tool that wrote the file after it
    before = TEXTS[name, odd]
    path = plant(name, before)
    install(home, name, NEW[name])
    value = json.loads(path.read_text())
    theirs = {"command": "latecomer"} if name == "cursor" else {"hooks": []}
    value["hooks"]["stop" if name == "cursor" else "Stop"].append(theirs)
    value["late"] = [1]
    path.write_text(json.dumps(value, indent=4))
    # When it is installed again, for an older version, and removed
    install(home, name, OLD[name])
    uninstall(home, name)
    # Then what the tool wrote is there, and only that; lists that are empty are nobody's
    expected = json.loads(before)
    expected.setdefault("hooks", {}).setdefault("stop" if name == "cursor" else "Stop", [])
    expected["hooks"]["stop" if name == "cursor" else "Stop"].append(theirs)
    others, events = strangers(json.dumps(expected).encode(), home)
    after = strangers(path.read_bytes(), home)
    assert {**after[0], "version": 1} == {**others, "version": 1, "late": [1]}
    assert after[1] == events
    assert str(home.root) not in path.read_text()


@EVERY
def test_foreign_text_stays_when_it_is_changed_in_between(home: Home, name: str, odd: str) -> None:
    """A line that a person changed by hand stays; the rest is as before, byte for byte."""
    # Given an install, and a person who adds a line end
    before = TEXTS[name, odd]
    path = plant(name, before)
    install(home, name, NEW[name])
    path.write_bytes(path.read_bytes() + b"\n\n")
    # When
    uninstall(home, name)
    # Then no word differs, and but for containers that were empty, no space either
    after = path.read_bytes()
    assert after.split() == before.split() or b"".join(after.split()) == b"".join(before.split())
    assert after.endswith(b"\n\n")


@EVERY
def test_ours_is_gone_when_the_manifest_is_lost(home: Home, name: str, odd: str) -> None:
    """Without manifest and backups what is ours is known by the hook script that it runs."""
    # Given an install whose home lost all but the hook
    before = TEXTS[name, odd]
    path = plant(name, before)
    install(home, name, NEW[name])
    manifest.manifest_file(home).unlink()
    # When
    uninstall(home, name)
    # Then
    after, others = strangers(path.read_bytes(), home), strangers(before, home)
    assert str(home.root) not in path.read_text()
    assert after[1] == others[1]
    assert {**after[0], "version": 1} == {**others[0], "version": 1}


@pytest.mark.parametrize("name", ["cursor", "claude_code"])
@pytest.mark.parametrize("before", [None, b"", b" \n"])
def test_file_is_gone_when_there_was_none(home: Home, name: str, before: bytes | None) -> None:
    """A file that we made goes; an empty one, which counts as none, is empty again."""
    # Given
    path = settings_path(name)
    if before is not None:
        plant(name, before)
    # When
    change = install(home, name, NEW[name])
    # Then
    assert file_faults(editor(name, NEW[name])) == []
    assert path.read_bytes() == change.after
    assert path.stat().st_mode & 0o777 == 0o600 if before is None else True
    # When
    install(home, name, OLD[name])
    uninstall(home, name)
    # Then
    assert (path.read_bytes() if path.exists() else None) == before


@pytest.mark.parametrize("name", ["cursor", "claude_code"])
def test_file_stays_when_it_was_ours_and_another_tool_came(home: Home, name: str) -> None:
    """A file that we made belongs to whoever wrote into it since."""
    # Given
    install(home, name, NEW[name])
    path = settings_path(name)
    value = json.loads(path.read_bytes())
    value["theirs"] = {}
    path.write_text(json.dumps(value))
    # When
    uninstall(home, name)
    # Then
    assert json.loads(path.read_bytes()) == {"theirs": {}}


@pytest.mark.parametrize("name", ["cursor", "claude_code"])
def test_file_is_gone_when_it_was_ours_and_only_rewritten(home: Home, name: str) -> None:
    """A tool that wrote our file in another way added nothing to keep."""
    # Given
    install(home, name, NEW[name])
    path = settings_path(name)
    path.write_text(json.dumps(json.loads(path.read_bytes())))
    # When
    uninstall(home, name)
    # Then
    assert not path.exists()


#: A file of an older install, HOOK for the script, and what is not ours in it.
OLDER = {
    "cursor": (
        """{"version": 1, "hooks": {"stop": [{"command": "HOOK cursor stop"}, {"command": "n"}],
        "gone": [{"command": "sh 'HOOK' cursor gone"}]}}""",
        """{"version": 1, "hooks": {"stop": [{"command": "n"}]}}""",
    ),
    "claude_code": (
        """{"hooks": {"Stop": [{"matcher": "x", "hooks": [{"type": "prompt", "prompt": "n"},
        {"type": "command", "command": "HOOK", "args": ["claude", "Stop"]}]}],
        "Gone": [{"hooks": [{"type": "command", "command": "HOOK claude Gone"}]}]}}""",
        """{"hooks": {"Stop": [{"matcher": "x", "hooks": [{"type": "prompt", "prompt": "n"}]}]}}""",
    ),
}


@pytest.mark.parametrize("name", OLDER)
def test_older_entries_are_replaced_when_they_are_ours(home: Home, name: str) -> None:
    """What an older program wrote is ours: one entry for each event, and none is left over."""
    # Given a file of an older install, of which nothing else is known
    text, left = OLDER[name]
    path = plant(name, text.replace("HOOK", str(hooks.hook_path(home))).encode())
    # When
    install(home, name, NEW[name])
    # Then
    wanted = hooks.wanted_events(editor(name, NEW[name]))
    assert set(json.loads(path.read_bytes())["hooks"]) == set(wanted)
    # Twice in a guarded command, once for each event
    assert path.read_text().count(str(hooks.hook_path(home))) == 2 * len(wanted)
    # When / Then
    uninstall(home, name)
    assert path.read_text() == left


def test_hooks_of_another_home_stay_when_ours_come_and_go(home: Home, tmp_path: Path) -> None:
    """Ours are those that run the hook of this home, not of any."""
    # Given
    other = Home(tmp_path / "another")
    make(hooks.plan(editor("cursor", None), other), home)
    theirs = settings_path("cursor").read_bytes()
    manifest.manifest_file(home).unlink()
    # When
    install(home, "cursor", None)
    # Then
    assert strangers(settings_path("cursor").read_bytes(), home) == strangers(theirs, home)
    # When / Then
    uninstall(home, "cursor")
    assert settings_path("cursor").read_bytes() == theirs
