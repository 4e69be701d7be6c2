from pathlib import Path

import pytest

from blueplane.store.location import trouble

MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/export {root}/far nfs4 rw 0 0
//nas/share {root}/with\\040space cifs rw 0 0
user@host: {root}/far/sub fuse.sshfs rw 0 0
tmpfs {root}/far/near tmpfs rw 0 0
drvfs {root}/c 9p rw 0 0
half-a-line
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    """Give a list of mounts as Linux has it."""
    path = tmp_path / "mounts"
    path.write_text(MOUNTS.format(root=tmp_path))
    return path


@pytest.mark.fault("C17")
@pytest.mark.parametrize(
    ("place", "named"),
    [
        ("far", "nfs4"), ("far/home", "nfs4"), ("with space/home", "cifs"), ("c/home", "9p"),
        ("far/sub/home", "fuse.sshfs"), ("Dropbox/home", "Dropbox"),
        ("Dropbox (Garden)/home", "Dropbox"), ("OneDrive - Garden/a/home", "OneDrive"),
        ("Library/Mobile Documents/com~apple~CloudDocs/home", "iCloud"),
        ("Library/CloudStorage/GoogleDrive-me/home", "Google Drive"), ("marked/home", "Dropbox"),
    ],
)  # fmt: skip
def test_trouble_is_named_when_the_home_is_far_away_or_synced(
    tmp_path: Path, mounts: Path, place: str, named: str
) -> None:
    """A network file system, or a folder that a program copies elsewhere, is said in one line."""
    # Given
    (tmp_path / "marked" / ".dropbox.cache").mkdir(parents=True)
    home = tmp_path / place
    home.mkdir(parents=True)
    # When
    found = trouble(home, mounts)
    # Then
    assert found is not None
    assert named in found
    assert str(home) in found
    assert "\n" not in found


@pytest.mark.fault("C17")
@pytest.mark.parametrize("place", ["home", "farther/home", "far/near/home", "drop/box/home"])
def test_trouble_is_none_when_the_home_is_on_a_disk_of_this_machine(
    tmp_path: Path, mounts: Path, place: str
) -> None:
    """The nearest mount counts, and names that only look alike do not."""
    # Given
    home = tmp_path / place
    home.mkdir(parents=True)
    # When / Then
    assert trouble(home, mounts) is None
    assert trouble(home, tmp_path / "no such file") is None


@pytest.mark.fault("C17")
def test_trouble_is_found_when_the_home_is_a_link(tmp_path: Path, mounts: Path) -> None:
    """Where a link leads is where the database lies."""
    # Given
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "far")
    # When / Then
    assert "nfs4" in str(trouble(tmp_path / "link", mounts))
