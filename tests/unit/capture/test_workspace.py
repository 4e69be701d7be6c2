"""Workspaces: one directory has one name."""

import os
import unicodedata
from pathlib import Path

import pytest

from blueplane.capture.workspace import (
    MAX_PATH,
    canonical,
    normalise,
    project_name,
    workspace_hash,
)

SECRET = b"s" * 32


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("/srv/shop", "/srv/shop"),
        ("/srv/shop/", "/srv/shop"),
        ("/srv//shop///", "/srv/shop"),
        ("file:///srv/shop", "/srv/shop"),
        ("file://localhost/srv/shop", "/srv/shop"),
        ("file:///srv/my%20shop/", "/srv/my shop"),
        ("/c:/src/proj", "c:/src/proj"),
        ("C:\\src\\proj\\", "c:/src/proj"),
        ("c:/src/proj", "c:/src/proj"),
        ("file:///c%3A/src/proj", "c:/src/proj"),
        ("/", "/"),
        ("", ""),
        ("README.md", "README.md"),
        ("a:b", "a:b"),
        ("vscode-remote://wsl/home/x", "vscode-remote:/wsl/home/x"),
    ],
)
def test_normalise_writes_a_path_in_one_way(written: str, normal: str):
    """Every spelling that an editor uses for one path becomes the same text."""
    assert normalise(written) == normal
    assert normalise(normal) == normal


def test_normalise_composes_letters_when_they_come_in_parts():
    """A name from a file system that takes letters apart is the same name."""
    assert normalise(unicodedata.normalize("NFD", "/srv/café")) == "/srv/café"


def test_canonical_follows_links(tmp_path: Path):
    """A link and what it leads to are one workspace."""
    # Given
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    # When
    names = {canonical(str(tmp_path / name)) for name in ("real", "link", "link/", "./link/.")}
    # Then
    assert names == {os.path.realpath(tmp_path / "real")}


@pytest.mark.parametrize("path", ["/srv/\0", "/" + "x" * 5000, "\x1b[0m", "//"])
def test_canonical_returns_a_name_when_no_such_file_can_be(path: str):
    """A path that the system refuses is still named, by its text."""
    assert canonical(path) == normalise(path)


@pytest.mark.fault("D6")
def test_canonical_is_text_when_a_link_leads_to_a_name_that_is_none(tmp_path: Path):
    """The target's bytes need not be UTF-8; the name that is stored is."""
    # Given
    (tmp_path / "odd").symlink_to(os.fsdecode(b"\xff\xfe"))
    # When
    name = canonical(str(tmp_path / "odd"))
    # Then
    assert name.encode("utf-8")


def test_workspace_hash_is_keyed_and_empty_for_no_path():
    """The hash has 16 digits, differs per install and per path, and no path has none."""
    assert workspace_hash("", SECRET) == ""
    hashes = {
        workspace_hash("/srv/shop", SECRET),
        workspace_hash("/srv/shop", b"t" * 32),
        workspace_hash("/srv/shop2", SECRET),
    }
    assert len(hashes) == 3
    assert all(len(text) == 16 and int(text, 16) >= 0 for text in hashes)


@pytest.mark.parametrize(
    ("path", "project"),
    [
        ("/home/ada/shop", "shop"),
        ("c:/src/proj", "proj"),
        ("shop", ""),
        ("a secret sentence of ada@example.org", ""),
        ("/mnt/c/Users/ada", "~"),
        ("c:/users/ada", "~"),
        ("/export/home/ada", "~"),
        ("/home/ada", "~"),
        ("/Users/ada", "~"),
        ("c:/Users/ada", "~"),
        ("/root", "~"),
        ("/", ""),
        ("", ""),
    ],
)
def test_project_name_is_the_last_component_but_never_a_person(path: str, project: str):
    """A home directory is named for its owner, so that name is not a project's."""
    assert project_name(path) == project


def test_canonical_does_not_look_at_the_disk_when_no_disk_can_hold_the_path(
    monkeypatch: pytest.MonkeyPatch,
):
    """A path longer than any system opens is not resolved, component by component."""
    # Given a look at the disk that would be noticed
    monkeypatch.setattr("os.path.realpath", lambda path: pytest.fail(f"resolved {len(path)}"))
    path = "/" + "a/" * MAX_PATH
    # When / Then
    assert canonical(path) == path.rstrip("/")
