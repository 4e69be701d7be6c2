import os
import select
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from blueplane.capture import watch as module
from blueplane.capture.watch import PollWatch, Watch, watch

LONG_S = 30.0

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
kqueue_only = pytest.mark.skipif(
    not hasattr(select, "kqueue"), reason="kqueue is macOS's and BSD's"
)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watch]:
    """Give the best watch of this system on an empty directory."""
    watched = watch(tmp_path)
    if sys.platform == "linux" and isinstance(watched, PollWatch):
        pytest.skip("all inotify instances of this machine are in use")
    yield watched
    watched.close()


def woken_by(watched: Watch, action: threading.Thread) -> list[str] | None:
    """Return what a wait says that begins before ``action`` does."""
    action.start()
    found = watched.wait(LONG_S)
    action.join(LONG_S)
    return found


@linux_only
def test_wait_names_a_file_when_its_writer_closes_it(watched: Watch, tmp_path: Path) -> None:
    """A file is named when it is finished, not when it is begun."""
    # Given a file that is being written
    with (tmp_path / "1.1.0").open("wb") as file:
        file.write(b"half")
        file.flush()
        assert watched.wait(0.05) is None
    # When it is closed / Then
    assert watched.wait(LONG_S) == ["1.1.0"]


@linux_only
def test_wait_names_every_file_when_many_are_finished(watched: Watch, tmp_path: Path) -> None:
    """No file is forgotten, whatever its name; a moved one counts as finished."""
    # Given
    names = [f"{number}.1.0" for number in range(40)] + ["ü b", "x" * 255, os.fsdecode(b"\xff\xfe")]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.write_bytes(b"")
    outside.rename(tmp_path / "moved")
    # When
    found: list[str] = []
    while len(found) < len(names) + 1:
        some = watched.wait(LONG_S)
        assert some
        found += some
    # Then
    assert found == [*names, "moved"]


@linux_only
def test_wait_has_the_caller_look_when_the_queue_overflowed(
    watched: Watch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """When the kernel dropped events the caller must look at the whole directory."""
    # Given events with a notice of overflow among them
    (tmp_path / "1.1.0").write_bytes(b"")
    overflow = struct.pack("iIII", -1, 0x4000, 0, 0)
    monkeypatch.setattr(module.os, "read", lambda *_: overflow)
    # When / Then
    assert watched.wait(LONG_S) is None
    monkeypatch.undo()


@linux_only
def test_watch_polls_when_the_kernel_gives_no_watch(tmp_path: Path) -> None:
    """Where no watch can be had, looking now and then takes its place."""
    # Given a directory that cannot be watched / When
    watched = watch(tmp_path / "missing")
    # Then
    assert isinstance(watched, PollWatch)
    watched.close()


def test_wait_ends_without_a_file_when_the_time_is_over(watched: Watch) -> None:
    """After the timeout the caller looks for itself."""
    # Given / When / Then
    assert watched.wait(0.01) is None


def test_wait_ends_when_another_thread_wakes_it(watched: Watch) -> None:
    """A wake ends a long wait, without the name of any file."""
    # Given / When / Then
    assert not woken_by(watched, threading.Thread(target=watched.wake))


def test_wait_is_woken_once_when_it_was_woken_many_times(watched: Watch) -> None:
    """Wakes before a wait are not lost, however many, and not counted either."""
    # Given more wakes than the pipe holds
    for _ in range(70_000):
        watched.wake()
    # When
    assert watched.wait(LONG_S) == []
    # Then, after what is left of them, it waits again
    assert watched.wait(0.01) is None


def test_poll_returns_soon_when_nothing_happens() -> None:
    """Polling looks again after its own short time, whatever it was given."""
    # Given
    watched = PollWatch()
    # When / Then: a wait of a day ends
    assert watched.wait(86_400) is None  # type: ignore[func-returns-value]
    watched.drain()
    watched.close()


@kqueue_only
def test_kqueue_ends_a_wait_when_a_file_is_made(tmp_path: Path) -> None:
    """A change of the directory ends the wait, and looks follow until it is quiet."""
    # Given
    watched = module.KqueueWatch(tmp_path)
    # When / Then
    thread = threading.Thread(target=(tmp_path / "1.1.0").write_bytes, args=(b"",))
    assert woken_by(watched, thread) is None
    watched.close()
