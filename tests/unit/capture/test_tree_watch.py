"""Waiting for changes in many directories."""

import ctypes
import errno
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
        watch.add(str(directory), lasting=True)

    # When
    (directories[0] / "grown").write_text("leaf")
    (directories[1] / "new").mkdir()
    (directories[2] / "gone").unlink()

    # Then
    named = set(watch.wait(WAIT_S) or ())
    expected = zip(map(str, directories), ("grown", "new", "gone"), strict=True)
    assert named == set(expected)


@linux
def test_watch_gives_up_the_oldest_of_its_kind_when_there_are_too_many(tmp_path: Path) -> None:
    """Those that were named last are watched, and none that lasts goes for one that does not."""
    # Given room for three that last, and one that does not
    few = InotifyTree(limit=4)
    lasting = [tmp_path / f"project {number}" for number in range(4)]
    passing = [tmp_path / f"session {number}" for number in range(9)]
    add(few, lasting, lasting=True)
    add(few, passing, lasting=False)
    few.add(str(tmp_path / "not there"), lasting=True)
    few.add(str(lasting[1]), lasting=True)  # something changed there
    add(few, [tmp_path / "project 4"], lasting=True)

    # When
    for directory in (*lasting, *passing):
        (directory / "new").touch()

    # Then
    named = {directory for directory, _ in few.wait(WAIT_S) or ()}
    few.close()
    assert named == {str(each) for each in (lasting[1], lasting[3], passing[-1])}


@linux
def test_watch_of_a_project_is_had_when_the_system_allows_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest directory that does not last goes for it."""
    # Given a system that allows two
    full = InotifyTree()
    add_watch = full._libc.inotify_add_watch

    def add_few(*arguments: object) -> int:
        if len(full._directories.keys() - gone) >= 2:
            ctypes.set_errno(errno.ENOSPC)
            return -1
        number: int = add_watch(*arguments)
        return number

    gone: set[int] = set()
    remove = full._libc.inotify_rm_watch
    monkeypatch.setattr(full._libc, "inotify_add_watch", add_few)
    monkeypatch.setattr(
        full._libc, "inotify_rm_watch", lambda fd, number: (gone.add(number), remove(fd, number))
    )
    sessions = [tmp_path / "session 1", tmp_path / "session 2"]
    add(full, sessions, lasting=False)

    # When
    add(full, [tmp_path / "project"], lasting=True)
    for directory in (*sessions, tmp_path / "project"):
        (directory / "new").touch()

    # Then
    named = {directory for directory, _ in full.wait(WAIT_S) or ()}
    full.close()
    assert named == {str(sessions[1]), str(tmp_path / "project")}


def add(watch: TreeWatch, directories: list[Path], *, lasting: bool) -> None:
    """Make directories and have them watched."""
    for directory in directories:
        directory.mkdir()
        watch.add(str(directory), lasting=lasting)


def test_limit_leaves_room_for_others_when_the_system_allows_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quarter of what a user may have is ours, where that is known."""
    # Given
    allowed = tmp_path / "max_user_watches"
    monkeypatch.setattr(module, "_ALLOWED", allowed)

    # When / Then
    assert module._limit() == module.MAX_WATCHES
    allowed.write_text("8192\n")
    assert module._limit() == 2048
    allowed.write_text("1000000\n")
    assert module._limit() == module.MAX_WATCHES


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
    def none_left(_limit: int) -> InotifyTree:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(module, "InotifyTree", none_left)

    # When
    watch = watch_tree()

    # Then
    assert isinstance(watch, PollTree)
    watch.close()
