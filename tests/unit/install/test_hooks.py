import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from blueplane.capture.claude_code.hooks import PLATFORM as CLAUDE_CODE
from blueplane.capture.cursor.hooks import PLATFORM as CURSOR
from blueplane.errors import InstallError
from blueplane.install import hook_events, hooks
from blueplane.paths import Home
from helpers.redis_server import missing
from helpers.settings import NEW, editor, install, plant, settings_path

SHELLS = [["dash", "-c"], ["bash", "-c"], ["busybox", "sh", "-c"], ["zsh", "-c"]]
#: Homes that a shell would take apart without quotes.
ODD_HOMES = [
    "plain",
    "two words",
    "it's",
    'a"b',
    "$HOME",
    "`id`",
    "é\u202e",
    "a\nb",
    "back\\slash",
    "-n",
]


def run(shell: list[str], line: str, directory: Path) -> subprocess.CompletedProcess[bytes]:
    """Run a command line as an editor does."""
    if shutil.which(shell[0]) is None:
        missing(shell[0])
    return subprocess.run(
        [*shell, line], cwd=directory, capture_output=True, timeout=30, check=False, input=b"{}"
    )


@pytest.mark.parametrize("name", ODD_HOMES)
@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_command_runs_the_hook_and_nothing_else(
    tmp_path: Path, shell: list[str], name: str
) -> None:
    """Whatever is in the home's path, the line runs the script with platform and event, or not."""
    # Given a home without a script
    home = Home(tmp_path / name)
    home.hooks.mkdir(parents=True)
    line = hooks.command(home, "cursor", "stop")
    # When / Then it is silent and fine
    ended = run(shell, line, tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
    # Given one that may not be run
    script = hooks.hook_path(home)
    script.write_text('#!/bin/sh\necho "$1,$2,$#"; cat; exit 7\n')
    script.chmod(0o600)
    # When / Then
    assert run(shell, line, tmp_path).returncode == 0
    # Given one that may
    script.chmod(0o700)
    # When
    ended = run(shell, line, tmp_path)
    # Then it took the place of the shell
    assert (ended.returncode, ended.stdout, ended.stderr) == (7, b"cursor,stop,2\n{}", b"")


@pytest.mark.fault("G13")
@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_command_takes_nothing_from_the_repository_when_it_is_hostile(
    tmp_path: Path, shell: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs in the current directory and on a PATH through it are not run."""
    # Given a directory with programs of every name that the line has, and a PATH that begins there
    hostile = tmp_path / "repository"
    for name in ("blueplane-hook", "cursor", "exec", "[", "sh", "hooks/blueplane-hook"):
        path = hostile / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(f"#!/bin/sh\ntouch {tmp_path}/taken\n")
        path.chmod(0o755)
    (hostile / "stop").write_text("")
    monkeypatch.setenv("PATH", f".:{hostile}:{os.environ['PATH']}")
    home = Home(tmp_path / "home")
    home.hooks.mkdir(parents=True)
    # When the hook is not there / Then nothing at all is run
    shell = [str(shutil.which(shell[0], path=os.defpath)), *shell[1:]]
    assert run(shell, hooks.command(home, "cursor", "stop"), hostile).returncode == 0
    assert not (tmp_path / "taken").exists()
    # When it is / Then it is run by its absolute path
    script = hooks.hook_path(home)
    script.write_text("#!/bin/sh\nPATH=/usr/bin:/bin; printf ours\n")
    script.chmod(0o700)
    assert run(shell, hooks.command(home, "cursor", "stop"), hostile).stdout == b"ours"
    assert not (tmp_path / "taken").exists()


def test_events_are_those_that_capture_knows() -> None:
    """No event is asked for that means nothing to us, and none of Cursor's is forgotten."""
    # Given / When / Then
    hooks = {name for name, hook in CURSOR.hooks.items() if hook.source == "hook"}
    assert set(hook_events.CURSOR.since) == hooks
    assert set(CLAUDE_CODE.hooks) <= set(hook_events.CLAUDE_CODE.since)


@pytest.mark.parametrize(
    ("name", "version", "count", "last"),
    [
        ("cursor", None, 6, "stop"),
        ("cursor", (1, 6, 9), 0, ""),
        ("cursor", (1, 7), 6, "stop"),
        ("cursor", (2, 0, 77), 6, "stop"),
        ("cursor", (2, 1, 0), 11, "afterTabFileEdit"),
        ("cursor", (2, 6), 19, "preCompact"),
        ("cursor", (3, 24, 18), 20, "workspaceOpen"),
        ("claude_code", None, 9, "SessionEnd"),
        ("claude_code", (1, 0, 37), 0, ""),
        ("claude_code", (1, 0, 62), 8, "SessionStart"),
        ("claude_code", (2, 1, 88), 23, "TaskCreated"),
        ("claude_code", (2, 1, 290), 26, "DirectoryAdded"),
    ],
)
def test_events_grow_with_the_version(
    name: str, version: tuple[int, ...] | None, count: int, last: str
) -> None:
    """Each version is asked for what it knows, an unknown one for the first set."""
    # Given / When
    wanted = hooks.wanted_events(editor(name, version))
    # Then
    assert len(wanted) == count
    assert wanted[-1:] == ((last,) if last else ())
    assert not {"WorktreeCreate", "MessageDisplay", "FileChanged", "PostToolBatch"} & set(wanted)


def test_entries_have_timeouts_and_are_waited_for(home: Home) -> None:
    """Every hook has a limit; none is asynchronous; the end of a session gets no longer by us."""
    # Given / When
    install(home, "cursor", NEW["cursor"])
    install(home, "claude_code", NEW["claude_code"])
    cursor = json.loads(settings_path("cursor").read_bytes())
    claude = json.loads(settings_path("claude_code").read_bytes())
    # Then
    assert cursor["version"] == 1
    line = hooks.command(home, "cursor", "stop")
    assert cursor["hooks"]["stop"] == [{"command": line, "timeout": 5}]
    line = hooks.command(home, "claude_code", "Stop")
    handler = {"type": "command", "command": line, "timeout": 5}
    assert claude["hooks"]["Stop"] == [{"hooks": [handler]}]
    assert claude["hooks"]["SessionEnd"][0]["hooks"][0]["timeout"] == 1
    assert "async" not in settings_path("claude_code").read_text()


def test_file_stays_when_the_version_has_no_hooks(home: Home) -> None:
    """An editor without hooks is not given any, and what ours was there goes."""
    # Given
    path = plant("cursor", b'{"version": 1, "x": {}}')
    install(home, "cursor", (1, 7))
    # When
    install(home, "cursor", (1, 6))
    # Then
    assert path.read_bytes() == b'{"version": 1, "x": {}}'


def test_plan_says_what_it_is_for(home: Home) -> None:
    """A person sees how many hooks, and in what."""
    # Given / When / Then
    assert hooks.plan(editor("cursor", (1, 7)), home).why == "6 hooks in Cursor 1.7"
    assert hooks.plan(editor("claude_code", None), home).why == (
        "9 hooks in Claude Code of unknown version"
    )


@pytest.mark.parametrize("name", ["cursor", "claude_code"])
def test_read_only_file_is_refused_only_when_it_is_to_be_changed(home: Home, name: str) -> None:
    """A file that already is as it should be needs no right to change it."""
    # Given a file that has all of ours, or nothing, and is read-only since
    path = plant(name, b'{"version": 1}')
    path.chmod(0o400)
    # When / Then nothing is to be removed, but everything is to be put in
    assert not hooks.plan(editor(name, None), home, remove=True).is_needed
    with pytest.raises(InstallError, match="is read-only"):
        hooks.plan(editor(name, None), home)
    # And with all of ours it is the other way round
    path.chmod(0o600)
    install(home, name, None)
    path.chmod(0o400)
    assert not hooks.plan(editor(name, None), home).is_needed
    with pytest.raises(InstallError, match="is read-only"):
        hooks.plan(editor(name, None), home, remove=True)


def test_shared_group_loses_only_ours_when_hooks_are_removed(home: Home) -> None:
    """Somebody who put our hook into a group of his own keeps the group."""
    # Given
    ours = {"type": "command", "command": hooks.command(home, "claude_code", "Stop")}
    theirs = {"type": "command", "command": "notifyd"}
    settings = {"hooks": {"Stop": [{"matcher": "", "hooks": [theirs, ours]}, {"hooks": [ours]}]}}
    path = plant("claude_code", json.dumps(settings).encode())
    # When
    change = hooks.plan(editor("claude_code", None), home, remove=True)
    # Then
    assert json.loads(change.after or b"") == {
        "hooks": {"Stop": [{"matcher": "", "hooks": [theirs]}]}
    }
    # When it is installed / Then ours stands alone, once
    install(home, "claude_code", None)
    groups = json.loads(path.read_bytes())["hooks"]["Stop"]
    assert groups == [{"matcher": "", "hooks": [theirs]}, {"hooks": [{**ours, "timeout": 5}]}]


@pytest.mark.parametrize(
    "entry",
    [
        7, None, [], {}, {"command": 7}, {"command": None}, {"command": ["blueplane-hook"]},
        {"command": "echo 'blueplane-hook"}, {"command": "/other/hooks/blueplane-hook cursor stop"},
        {"hooks": 7}, {"hooks": [7, {"args": 3, "command": "x"}]},
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["cursor", "claude_code"])
def test_entry_is_not_ours_when_it_runs_something_else(
    home: Home, name: str, entry: object
) -> None:
    """Whatever others write is theirs."""
    # Given
    event = hooks.wanted_events(editor(name, None))[0]
    path = plant(name, json.dumps({"version": 1, "hooks": {event: [entry]}}).encode())
    before = path.read_bytes()
    # When
    install(home, name, None)
    # Then
    assert json.loads(path.read_bytes())["hooks"][event][0] == entry
    # When / Then
    assert hooks.plan(editor(name, None), home, remove=True).after == before


def test_backup_is_not_believed_when_it_was_changed(home: Home) -> None:
    """A backup that is not what was copied does not come back; ours goes all the same."""
    # Given
    path = plant("cursor", b'{"version": 1, "theirs": 1}')
    install(home, "cursor", None)
    for backup in home.backups.iterdir():
        backup.write_bytes(b'{"forged": 1}')
    # When
    change = hooks.plan(editor("cursor", None), home, remove=True)
    # Then
    assert change.after == b'{"version": 1, "theirs": 1}'
    assert path.exists()


def test_refusal_names_the_file(home: Home) -> None:
    """The error begins with the path, so that it can stand alone."""
    # Given
    path = plant("cursor", b"{")
    # When / Then
    with pytest.raises(InstallError) as caught:
        hooks.plan(editor("cursor", None), home)
    assert str(caught.value).startswith(f"{path}, line 1, column 2: ")
