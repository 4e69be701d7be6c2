import os
from pathlib import Path

import pytest

from blueplane.errors import InstallError
from blueplane.install import changes
from blueplane.install.changes import FileChange, apply, plan, read, read_to_change
from blueplane.paths import Home


def change(
    path: Path, before: bytes | None, after: bytes | None, *, ours: bool = False
) -> FileChange:
    """Make a change of a file."""
    return FileChange(path, before, after, 0o640, "a test", ours)


def test_diff_shows_the_change_when_it_is_text(tmp_path: Path) -> None:
    """A person reads what a change would do as a unified diff, line ends included."""
    # Given
    path = tmp_path / "file"
    # When / Then
    assert change(path, b"a\nb\n", b"a\nc\n").diff() == (
        f"--- {path}\n+++ {path}\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n"
    )
    assert change(path, None, b"a").diff() == (
        f"--- /dev/null\n+++ {path}\n@@ -0,0 +1 @@\n+a\n\\ No newline at end of file\n"
    )
    assert change(path, b"a\x0cb\r\n", None).diff() == (
        f"--- {path}\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\x0cb\r\n"
    )
    assert change(path, b"a", b"a").diff() == ""
    assert "\ufffd" in change(path, b"\xff\n", b"").diff()


def test_nothing_is_done_when_nothing_is_needed(home: Home, tmp_path: Path) -> None:
    """A file that is as it should be is not even looked at."""
    # Given
    path = tmp_path / "missing"
    # When / Then
    assert apply(change(path, b"a", b"a"), home.backups) is None
    assert not path.exists()


def test_file_is_made_when_there_is_none(home: Home, tmp_path: Path) -> None:
    """A new file has the planned mode, and its directories are made; there is nothing to copy."""
    # Given
    path = tmp_path / "user" / "deep" / "file"
    # When
    backup = apply(change(path, None, b"new"), home.backups)
    # Then
    assert backup is None
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", 0o640)
    assert [each.name for each in path.parent.iterdir()] == ["file"]


def test_backup_is_dated_and_private_when_others_have_a_share(home: Home, tmp_path: Path) -> None:
    """What was there is copied, each time under another name; the file keeps its mode."""
    # Given
    path = tmp_path / "user" / ".tool" / "file"
    path.parent.mkdir()
    path.write_bytes(b"one")
    path.chmod(0o604)
    # When
    first = apply(change(path, b"one", b"two"), home.backups)
    second = apply(change(path, b"two", None), home.backups)
    # Then
    assert first is not None
    assert second is not None
    assert (first.read_bytes(), second.read_bytes()) == (b"one", b"two")
    assert first.name[:2] == "20"
    assert first.name.endswith("Z-tool-file")
    assert {each.stat().st_mode & 0o777 for each in home.backups.iterdir()} == {0o600}
    assert sorted(home.backups.iterdir()) == sorted([first, second])
    assert not path.exists()


def test_mode_is_kept_when_the_file_is_not_ours(home: Home, tmp_path: Path) -> None:
    """Only a file that is ours alone gets the planned mode, and no backup."""
    # Given
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    for path in (theirs, ours):
        path.write_bytes(b"one")
        path.chmod(0o755)
    # When
    apply(change(theirs, b"one", b"two"), home.backups)
    backup = apply(change(ours, b"one", b"two", ours=True), home.backups)
    # Then
    assert backup is None
    assert theirs.stat().st_mode & 0o777 == 0o755
    assert ours.stat().st_mode & 0o777 == 0o640


def test_two_backups_differ_when_they_are_of_one_instant(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No backup takes the place of another."""
    # Given
    monkeypatch.setattr(changes, "wall_ms", lambda: 1_795_000_000_000)
    path = tmp_path / "file"
    path.write_bytes(b"0")
    # When
    for number in range(3):
        apply(change(path, b"%d" % number, b"%d" % (number + 1)), home.backups)
    # Then
    assert sorted(each.read_bytes() for each in home.backups.iterdir()) == [b"0", b"1", b"2"]


def test_plan_is_of_a_file_of_ours_when_made_by_itself(tmp_path: Path) -> None:
    """What is planned knows what is there now."""
    # Given
    path = tmp_path / "file"
    # When / Then
    assert plan(path, b"a", mode=0o600, why="w") == FileChange(
        path, None, b"a", 0o600, "w", ours=True
    )
    path.write_bytes(b"b")
    assert plan(path, b"a", mode=0o600, why="w").before == b"b"


def test_leftovers_stay_when_their_writer_lives(home: Home, tmp_path: Path) -> None:
    """Another install that is at it at this moment is not disturbed; what the dead left goes."""
    # Given
    path = tmp_path / "file"
    alive = tmp_path / f".file.blueplane-new-{os.getppid()}-1"
    dead = tmp_path / f".file.blueplane-new-{2**22 + 1}-1"
    other = tmp_path / ".file.blueplane-new-x-1"
    for each in (alive, dead, other):
        each.write_bytes(b"")
    # When
    apply(change(path, None, b"new"), home.backups)
    # Then
    assert sorted(tmp_path.glob(".file*")) == sorted([alive, other])


def test_file_elsewhere_may_be_changed_when_the_user_named_its_directory(
    home: Home, tmp_path: Path
) -> None:
    """A directory outside of the home is the user's choice; a link that leaves it is not."""
    # Given
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "link").symlink_to(tmp_path / "outside")
    # When / Then
    apply(change(elsewhere / "file", None, b"a"), home.backups)
    assert (elsewhere / "file").read_bytes() == b"a"
    with pytest.raises(InstallError, match=r"a link leads to .* outside of .*elsewhere"):
        apply(change(elsewhere / "link", None, b"a"), home.backups)


def test_read_takes_files_that_may_not_be_changed(tmp_path: Path) -> None:
    """Looking is allowed where changing is not: through any link, and in a read-only file."""
    # Given
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_bytes(b"a")
    path.chmod(0o400)
    link.symlink_to(path)
    # When / Then
    assert (read(path), read(link), read(tmp_path / "none")) == (b"a", b"a", None)
    with pytest.raises(InstallError, match="read-only"):
        read_to_change(path)
    with pytest.raises(InstallError, match="no plain file"):
        read(tmp_path)


def test_data_is_on_the_disk_before_it_takes_its_place(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut leaves a whole backup and the old file, or a whole new one."""
    # Given a record of what is synced and what is moved
    path = tmp_path / "file"
    path.write_bytes(b"one")
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def record_sync(descriptor: int) -> None:
        done.append(f"sync {Path(f'/proc/self/fd/{descriptor}').resolve().name.split('-')[0]}")
        fsync(descriptor)

    def record_move(self: Path, target: Path) -> Path:
        done.append(f"move to {target.parent.name}")
        return replace(self, target)

    monkeypatch.setattr(changes.os, "fsync", record_sync)
    monkeypatch.setattr(Path, "replace", record_move)
    # When
    apply(change(path, b"one", b"two"), home.backups)
    # Then
    assert done == [
        "sync .backup.blueplane", "move to backups", "sync backups",
        "sync .file.blueplane", f"move to {tmp_path.name}", f"sync {tmp_path.name.split('-')[0]}",
    ]  # fmt: skip


@pytest.mark.fault("G9")
def test_link_is_refused_when_the_file_is_ours_alone(home: Home, tmp_path: Path) -> None:
    """What a link in place of a file of ours leads to is neither overwritten nor removed."""
    # Given
    precious, path = tmp_path / "precious", tmp_path / "script"
    precious.write_bytes(b"precious")
    path.symlink_to(precious)
    # When / Then
    with pytest.raises(InstallError, match="is a link"):
        plan(path, b"ours", mode=0o700, why="a test")
    for after in (b"ours", None):
        with pytest.raises(InstallError, match="is a link"):
            apply(change(path, b"precious", after, ours=True), home.backups)
    assert (path.is_symlink(), precious.read_bytes()) == (True, b"precious")
