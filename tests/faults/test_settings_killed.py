"""Killed while a settings file is changed: the old file or the new one, never half of one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from blueplane.install import changes
from blueplane.install.changes import FileChange
from blueplane.paths import Home
from helpers.server import environment

pytestmark = pytest.mark.fault("A12")

OLD = b'{"hooks": {"stop": [{"command": "theirs"}]}}\n'
NEW = b'{"hooks": {"stop": [{"command": "theirs"}, {"command": "ours"}]}}\n' * 500
PATIENCE_S = 30.0
#: Changes argv[1] from what it is to the other of OLD and NEW, so often as argv[3] says.
PROGRAM = f"""
import sys
from pathlib import Path
from blueplane.install.changes import FileChange, apply, read_to_change
path, backups, times = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
texts = [{OLD!r}, {NEW!r}]
for _ in range(times):
    now = read_to_change(path)
    other = texts[now == texts[0]]
    apply(FileChange(path, now, other, 0o600, "test"), backups)
    print("done", flush=True)
"""


def start(path: Path, home: Home, faults: str, times: int) -> subprocess.Popen[str]:
    """Start a process that changes a file."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, path, home.backups, str(times)],
        env={**environment(), "BLUEPLANE_FAULTS": faults}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def settings(home: Home) -> Path:
    """Plant a settings file."""
    path = Path(os.environ["HOME"], ".cursor", "hooks.json")
    path.parent.mkdir()
    path.write_bytes(OLD)
    path.chmod(0o640)
    assert home.backups.is_dir()
    return path


def whole_backups(home: Home) -> list[bytes]:
    """Return what is in the backups, but for what is not one yet."""
    return [path.read_bytes() for path in home.backups.iterdir() if path.name[0] != "."]


@pytest.mark.parametrize(
    ("faults", "now", "backups"),
    [
        ("change_backup_staged:kill@1", OLD, []),
        ("change_backed_up:kill@1", OLD, [OLD]),
        ("change_opened:kill@1", OLD, [OLD]),
        ("change_staged:kill@1", OLD, [OLD]),
        ("change_made:kill@1", NEW, [OLD]),
    ],
)
def test_file_is_whole_when_the_change_is_killed(
    home: Home, faults: str, now: bytes, backups: list[bytes]
) -> None:
    """At every instant the file is the old or the new one, and the old one is in the backups."""
    # Given
    path = settings(home)
    # When
    with start(path, home, faults, 1) as process:
        process.wait(PATIENCE_S)
    # Then
    assert process.returncode == -signal.SIGKILL
    assert path.read_bytes() == now
    assert path.stat().st_mode & 0o777 == 0o640
    assert whole_backups(home) == backups
    # When the same is tried again
    changes.apply(FileChange(path, now, NEW, 0o600, "again"), home.backups)
    # Then it is done, and the leftovers of the dead are gone
    assert path.read_bytes() == NEW
    assert [each.name for each in path.parent.iterdir()] == ["hooks.json"]
    assert not [each for each in home.backups.iterdir() if each.name[0] == "." and now == OLD]


def test_file_is_whole_when_the_process_is_killed_at_any_moment(home: Home) -> None:
    """Wherever a kill falls, the file is one of the two, and each backup is whole."""
    # Given a process that changes a file again and again
    path = settings(home)
    for changes_before in range(1, 13):
        with start(path, home, "", 100_000) as process:
            assert process.stdout is not None
            for _ in range(changes_before):
                assert process.stdout.readline() == "done\n"
            # When it is killed in the middle of the next one
            process.kill()
            process.stdout.read()
        # Then
        assert path.read_bytes() in {OLD, NEW}
        assert set(whole_backups(home)) <= {OLD, NEW}
        assert path.read_bytes() == OLD or OLD in whole_backups(home)
