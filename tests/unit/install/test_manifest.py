import json
from pathlib import Path
from typing import Any

import pytest

from blueplane.errors import HomeError
from blueplane.install.changes import FileChange
from blueplane.install.manifest import FileRecord, Manifest, digest, load, manifest_file, save
from blueplane.paths import Home

PATH = Path("/home/u/.tool/file")
BACKUP = Path("/home/u/.blueplane/backups/1")
RECORD = FileRecord(PATH, None, "ab", BACKUP, "entries")
FILE = {"path": "/a", "sha256_before": None, "sha256_after": "a", "backup": None, "ours": "file"}


def change(before: bytes | None, after: bytes | None, *, ours: bool = False) -> FileChange:
    """Make a change of PATH."""
    return FileChange(PATH, before, after, 0o600, "", ours)


def test_manifest_is_the_same_when_it_is_read_again(home: Home) -> None:
    """What is saved is what is loaded, in a private file."""
    # Given
    manifest = Manifest("1.2.3", (RECORD,), "systemd", (Path("/home/u/.local/bin/blueplane"),))
    # When
    save(home, manifest)
    # Then
    assert load(home) == (manifest, "")
    assert manifest_file(home).stat().st_mode & 0o777 == 0o600
    assert json.loads(manifest_file(home).read_text())["format"] == 1


def test_manifest_is_empty_when_there_is_none(home: Home) -> None:
    """No manifest is no remark: nothing was installed."""
    # Given / When / Then
    assert load(home) == (Manifest(), "")


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"format": 1}', "[" * 100_000])
def test_manifest_is_not_used_when_it_is_none(home: Home, text: str) -> None:
    """Half a manifest, or something else, counts as none, and that is said."""
    # Given
    manifest_file(home).write_text(text)
    # When
    manifest, remark = load(home)
    # Then
    assert manifest == Manifest()
    assert remark == f"{manifest_file(home)}: is no manifest of this version; it is not used"


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2}, {"version": 7}, {"service": []}, {"links": [7]}, {"files": [{}]},
        {"programs": [7]},
        {"files": [{**FILE, "ours": "all"}]}, {"files": [{**FILE, "sha256_after": 7}]},
        {"files": [{**FILE, "sha256_before": 7}]}, {"files": [{**FILE, "backup": 7}]},
    ],
    ids=str,
)  # fmt: skip
def test_manifest_is_not_used_when_one_thing_is_wrong(home: Home, change: dict[str, Any]) -> None:
    """A manifest of another version, or one that somebody edited, counts as none."""
    # Given one that is right
    save(home, Manifest("1", (RECORD,), None, (PATH,)))
    right = json.loads(manifest_file(home).read_text())
    manifest_file(home).write_text(json.dumps({**right, "files": [FILE]}))
    assert load(home)[1] == ""
    # When
    manifest_file(home).write_text(json.dumps({**right, **change}))
    # Then
    assert load(home)[0] == Manifest()
    assert load(home)[1].endswith("it is not used")


def test_manifest_is_the_same_when_a_path_is_not_utf8(home: Home) -> None:
    """A user's home may have any name."""
    # Given
    manifest = Manifest(links=(Path("/home/\udcff\u00e9\n"),))
    # When
    save(home, manifest)
    # Then
    assert load(home) == (manifest, "")


def test_manifest_is_not_followed_when_it_is_a_link(home: Home, tmp_path: Path) -> None:
    """A link in its place is neither read nor written through."""
    # Given
    target = tmp_path / "target"
    target.write_text("theirs")
    manifest_file(home).symlink_to(target)
    # When / Then
    assert load(home)[0] == Manifest()
    assert "it is not used" in load(home)[1]
    save(home, Manifest("2"))
    assert (target.read_text(), load(home)[0].version) == ("theirs", "2")


def test_manifest_stays_when_the_new_one_cannot_be_written(home: Home) -> None:
    """One that cannot be replaced is named, and nothing is left beside it."""
    # Given
    manifest_file(home).mkdir()
    # When / Then
    with pytest.raises(HomeError, match=r"install\.json: Is a directory; it is as it was"):
        save(home, Manifest("2"))
    assert not list(home.root.glob(".install*"))


def test_first_state_is_remembered_when_nobody_else_writes() -> None:
    """Through upgrades the record keeps what the first install found."""
    # Given
    manifest = Manifest().with_change(change(b"theirs", b"one"), BACKUP)
    # When
    upgraded = manifest.with_change(change(b"one", b"two"), Path("/another"))
    # Then
    assert upgraded.file(PATH) == FileRecord(
        PATH, digest(b"theirs"), digest(b"two"), BACKUP, "entries"
    )
    assert len(upgraded.files) == 1


def test_state_is_a_new_one_when_somebody_else_wrote() -> None:
    """What others wrote in between is part of what must come back."""
    # Given
    manifest = Manifest().with_change(change(None, b"one", ours=True), None)
    assert manifest.file(PATH) == FileRecord(PATH, None, digest(b"one"), None, "file")
    # When
    upgraded = manifest.with_change(change(b"one and theirs", b"two"), BACKUP)
    # Then
    record = upgraded.file(PATH)
    assert record is not None
    assert (record.sha256_before, record.backup) == (digest(b"one and theirs"), BACKUP)


def test_record_is_gone_when_the_file_is() -> None:
    """A file that was removed has no record."""
    # Given
    manifest = Manifest("1").with_change(change(None, b"one"), None)
    # When / Then
    assert manifest.with_change(change(b"one", None), None) == Manifest("1")
    assert manifest.file(Path("/other")) is None
