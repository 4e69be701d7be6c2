"""Waiting for changes in many directories."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from blueplane.capture import tree_watch as module
from blueplane.capture.tree_watch import InotifyTree, PollTree, TreeWatch, watch_tree

WAIT_S = 20.0

linux = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


@pytest.fixture
def watch() -> Iterator[TreeWatch]:
    """Give the watch of this system."""
    watch = watch_tree()
    yield watch
    watch.close()


@linux
def test_watch_names_what_changed_in_any_of_its_directories(
    watch: TreeWatch, tmp_path: Path
) -> None:
    """A file that grows, one that appears and one that goes are named with their directory."""
    # Given
    directories = [tmp_path / name for name in ("one", "two", "three")]
    for directory in directories:
        directory.mkdir()
    (directories[0] / "grown").touch()
    (directories[2] / "gone").touch()
    for directory in directories:
        watch.add(str(directory))

    # When
    (directories[0] / "grown").write_text("leaf")
    (directories[1] / "new").mkdir()
    (directories[2] / "gone").unlink()

    # Then
    named = set(watch.wait(WAIT_S) or ())
    expected = zip(map(str, directories), ("grown", "new", "gone"), strict=True)
    assert named == set(expected)


@linux
def test_watch_gives_up_the_oldest_directory_when_there_are_too_many(
    watch: TreeWatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directories that were named last are watched, and no more of them than is allowed."""
    # Given
    monkeypatch.setattr(module, "MAX_WATCHES", 2)
    directories = [tmp_path / name for name in ("one", "two", "three")]
    for directory in directories:
        directory.mkdir()
        watch.add(str(directory))
    watch.add(str(tmp_path / "not there"))

    # When
    for directory in directories:
        (directory / "new").touch()

    # Then
    assert {directory for directory, _ in watch.wait(WAIT_S) or ()} == set(
        map(str, directories[1:])
    )


@pytest.mark.parametrize("make", [pytest.param(InotifyTree, marks=linux), PollTree])
def test_wait_ends_when_somebody_wakes_it(make: type[InotifyTree | PollTree]) -> None:
    """A wake ends a wait, also one that begins later; polling has the caller look."""
    # Given
    watch = make()
    watch.wake()

    # When
    found = watch.wait(WAIT_S)

    # Then
    assert found == ([] if make is InotifyTree else None)
    watch.close()


def test_watch_polls_when_the_system_has_no_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing tells of changes, or no descriptor is left, the caller looks by itself."""

    # Given
    def none_left() -> InotifyTree:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(module, "InotifyTree", none_left)

    # When
    watch = watch_tree()

    # Then
    assert isinstance(watch, PollTree)
    watch.close()
