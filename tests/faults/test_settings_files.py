"""Settings files that cannot be changed, or must not be: refused in one line, and as they were."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from blueplane.errors import InstallError
from blueplane.install import changes, hooks
from blueplane.install.changes import FileChange
from blueplane.paths import Home
from helpers.redis_server import missing
from helpers.server import environment
from helpers.settings import NEW, editor, install, plant, settings_path, uninstall
from helpers.smallfs import SmallFs

NOBODY = 65534
BOTH = pytest.mark.parametrize("name", ["cursor", "claude_code"])


def complaint(name: str, home: Home) -> str:
    """Return why our hooks cannot be installed, without the path before it."""
    path = settings_path(name)
    with pytest.raises(InstallError) as caught:
        install(home, name, NEW[name])
    assert caught.value.exit_code == 2
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message.removeprefix(str(path))


@BOTH
@pytest.mark.fault("F12")
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{\n  "a": 1,\n}\n', ", line 3, column 1: "),
        (b'{\n  // mine\n  "a": 1\n}\n', ", line 2, column 3: "),
        (b'{"a": 1} /* the end */', ", line 1, column 10: "),
        (b'{"a": [1,\n NaN]}', ", line 2, column 2: NaN is no JSON"),
        (b'{"a": "b\nc"}', ", line 1, column 9: "),
        ('{"a": "ü"}'.encode("utf-16"), ", line 1, column 1: is UTF-16"),
        ('{"a": "ü"}'.encode("latin-1"), ", line 1, column 8: is not UTF-8"),
        (b'\xef\xbb\xbf{"a": 1}', ", line 1, column 1: begins with a byte order mark"),
        (b"[]", ", line 1, column 1: the whole is no object"),
        (b'{"hooks": []}', ", line 1, column 11: hooks is no object"),
        (b'{"hooks": null}', ", line 1, column 11: hooks is no object"),
        (b'{"hooks":\n {"stop": {}}}', ", line 2, column 11: hooks.stop is no list"),
        (b'{"hooks": {}, "hooks": {}}', ", line 1, column 15: hooks is there twice"),
        (b'{"hooks": {"stop": [],\n"stop": []}}', ", line 2, column 1: hooks.stop is there twice"),
        (b"[" * 100_000, ", line 1, column 1: "),
        (b'{"a": ' + b"1" * 5000 + b"}", ", line 1, column 1: has a number that is too long"),
        (b'{"a": "' + b"x" * 10_000_000 + b'"}', ": larger than 4 MB"),
    ],
    ids=lambda value: str(value[:24]),
)
def test_file_is_refused_when_its_text_cannot_be_edited(
    home: Home, name: str, data: bytes, said: str
) -> None:
    """What does not parse is refused with line and column, and stays."""
    # Given
    path = plant(name, data)
    # When / Then
    assert complaint(name, home).startswith(said)
    assert path.read_bytes() == data
    assert list(home.backups.iterdir()) == []


@BOTH
@pytest.mark.fault("F12")
def test_foreign_file_does_not_matter_when_ours_is_not_in_it(home: Home, name: str) -> None:
    """Uninstall has nothing to do with a file without us, whatever else is in it."""
    # Given
    path = plant(name, b"{ // no JSON")
    # When / Then
    assert not uninstall(home, name).is_needed
    assert path.read_bytes() == b"{ // no JSON"


@BOTH
@pytest.mark.fault("F12", "G9")
def test_file_is_refused_when_it_is_no_plain_file(home: Home, name: str, tmp_path: Path) -> None:
    """A directory, a pipe, a link out of the home: refused at once, and left as they are."""
    # Given
    path = settings_path(name)
    path.parent.mkdir()
    outside = tmp_path / "outside.json"
    outside.write_bytes(b"{}")
    # When / Then
    path.mkdir()
    assert complaint(name, home) == ": is no plain file; move it away"
    path.rmdir()
    os.mkfifo(path)
    assert complaint(name, home) == ": is no plain file; move it away"
    path.unlink()
    path.symlink_to(outside)
    assert complaint(name, home).startswith(f": a link leads to {outside}, which is outside of ")
    assert outside.read_bytes() == b"{}"
    path.unlink()
    path.symlink_to(path)
    assert "link" in complaint(name, home)
    path.unlink()
    path.parent.rmdir()
    path.parent.symlink_to(tmp_path)
    assert "which is outside of" in complaint(name, home)


@BOTH
@pytest.mark.fault("F12", "G9")
def test_target_is_replaced_when_a_link_stays_in_the_home(home: Home, name: str) -> None:
    """Who keeps his files elsewhere in his home keeps the link, and the file it leads to."""
    # Given
    before = b'{\n  "version": 1\n}'
    target = Path.home() / "dotfiles" / "settings"
    target.parent.mkdir()
    target.write_bytes(before)
    target.chmod(0o644)
    hard = target.with_name("another name")
    hard.hardlink_to(target)
    path = settings_path(name)
    path.parent.mkdir()
    path.symlink_to("../dotfiles/settings")
    # When
    change = install(home, name, NEW[name])
    # Then
    assert path.is_symlink()
    assert target.read_bytes() == change.after
    assert target.stat().st_mode & 0o777 == 0o644
    assert hard.read_bytes() == before  # another name of the old file is not written to
    # When / Then
    uninstall(home, name)
    assert path.is_symlink()
    assert target.read_bytes() == before


@pytest.fixture
def as_root() -> None:
    """Skip where files cannot be given to others."""
    if os.geteuid() != 0:
        missing("right to give files away (root)")


@BOTH
@pytest.mark.fault("F12")
@pytest.mark.usefixtures("as_root")
def test_file_is_refused_when_it_is_somebody_elses(home: Home, name: str) -> None:
    """A file of another user, or one that was made read-only, is that on purpose."""
    # Given / When / Then
    path = plant(name, b"{}")
    os.chown(path, NOBODY, NOBODY)
    assert complaint(name, home) == f": belongs to uid {NOBODY}, not to you; chown it"
    os.chown(path, 0, 0)
    path.chmod(0o444)
    assert complaint(name, home) == ": is read-only; `chmod u+w` it if it may be changed"
    assert path.read_bytes() == b"{}"


@pytest.mark.fault("F12")
def test_file_stays_when_its_file_system_is_read_only(home: Home) -> None:
    """A directory that cannot be written to is named, and the file is as it was."""
    # Given
    path = settings_path("cursor")
    with SmallFs(path.parent) as disk:
        path.write_bytes(b"{}")
        disk.protect(on=True)
        # When / Then
        with pytest.raises(InstallError) as caught:
            install(home, "cursor", NEW["cursor"])
        said = f"{path.parent}: Read-only file system; {path} is as it was"
        assert str(caught.value) == said
        disk.protect(on=False)
        assert path.read_bytes() == b"{}"


@BOTH
@pytest.mark.fault("F12")
def test_change_is_refused_when_the_file_changed_since_the_plan(home: Home, name: str) -> None:
    """What another program wrote after the plan was shown is not overwritten."""
    # Given three plans: for a file, for no file, and for one that will be gone
    path = settings_path(name)
    for_none = hooks.plan(editor(name, NEW[name]), home)
    plant(name, b"{}")
    for_file = hooks.plan(editor(name, NEW[name]), home)
    path.write_bytes(b'{"theirs": 1}')
    # When / Then
    for change in (for_none, for_file):
        with pytest.raises(InstallError, match="was changed since the plan; run it again"):
            changes.apply(change, home.backups)
    assert path.read_bytes() == b'{"theirs": 1}'
    path.unlink()
    with pytest.raises(InstallError, match="was changed since the plan"):
        changes.apply(for_file, home.backups)
    assert not path.exists()
    assert list(home.backups.iterdir()) == []


@pytest.mark.fault("F12")
def test_change_is_refused_when_the_file_changes_at_the_last_moment(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked at again when the new file is ready to take its place."""
    # Given a program that writes while we do
    path = plant("cursor", b"{}")

    def write(point: str) -> None:
        if point == "change_staged":
            path.write_bytes(b'{"theirs": 1}')

    monkeypatch.setattr(changes.faults, "point", write)
    # When / Then
    with pytest.raises(InstallError, match="was changed since the plan"):
        install(home, "cursor", NEW["cursor"])
    assert path.read_bytes() == b'{"theirs": 1}'
    assert [each.name for each in path.parent.iterdir()] == ["hooks.json"]


@pytest.mark.fault("A12")
def test_file_stays_when_the_disk_is_full_in_the_middle(home: Home) -> None:
    """Half of a new file is removed again, and the message says that the old one is there."""
    # Given a disk with room for half of it
    path = settings_path("cursor")
    with SmallFs(path.parent, size_mb=1) as disk:
        path.write_bytes(b"{}")
        disk.fill()
        os.truncate(path.with_name("filler"), 900 * 1024)
        # When
        change = FileChange(path, b"{}", b"x" * 500_000, 0o600, "test")
        with pytest.raises(InstallError) as caught:
            changes.apply(change, home.backups)
        # Then
        said = f"{path.parent}: No space left on device; {path} is as it was"
        assert str(caught.value) == said
        assert path.read_bytes() == b"{}"
        assert sorted(each.name for each in path.parent.iterdir()) == ["filler", "hooks.json"]


@pytest.mark.fault("A12")
def test_file_stays_when_there_is_no_room_for_the_backup(home: Home) -> None:
    """Without a backup nothing is changed."""
    # Given
    path = plant("cursor", b"{}" + b" " * 100_000)
    with SmallFs(home.backups, size_mb=1) as disk:
        disk.fill()
        # When / Then
        change = FileChange(path, path.read_bytes(), b"", 0o600, "test")
        with pytest.raises(InstallError) as caught:
            changes.apply(change, home.backups)
        said = f"{home.backups}: No space left on device; {path} is as it was"
        assert str(caught.value) == said
        assert path.stat().st_size == 100_002
        assert [each.name for each in home.backups.iterdir()] == ["filler"]


@pytest.fixture
def public() -> Iterator[Path]:
    """Give a directory that every user can reach and write to."""
    with tempfile.TemporaryDirectory(prefix="bp-", dir="/tmp") as name:
        path = Path(name)
        path.chmod(0o777)
        yield path


@pytest.mark.fault("F12")
@pytest.mark.usefixtures("as_root")
def test_change_is_refused_when_the_directory_is_read_only(public: Path) -> None:
    """Who may not write beside the file is told so; the file is as it was."""
    # Given a file of nobody's in a directory that he may not write to
    directory = public / ".cursor"
    directory.mkdir()
    directory.chmod(0o755)
    path = directory / "hooks.json"
    path.write_bytes(b"{}")
    os.chown(path, NOBODY, NOBODY)
    # When
    program = f"""
import os
from pathlib import Path
from blueplane.errors import InstallError
from blueplane.install.changes import FileChange, apply
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
try:
    apply(FileChange(Path({str(path)!r}), b"{{}}", b"", 0o600, ""), Path({str(public)!r}, "b"))
except InstallError as error:
    print(error)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(), capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    # Then
    assert ended.stdout.endswith(f"Permission denied; {path} is as it was\n")
    assert path.read_bytes() == b"{}"
