import errno
import os
import stat
from pathlib import Path

import pytest

from blueplane.store import reserve as module
from blueplane.store.reserve import LEAST_BYTES, MOST_BYTES, Reserve
from helpers.smallfs import SmallFs


@pytest.mark.fault("C1")
@pytest.mark.parametrize("allocates", [True, False])
def test_reserve_takes_up_its_room_when_there_is_plenty(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    allocates: bool,
) -> None:
    """The file is private, 8 MB, and really there, also where nothing can be allocated."""
    # Given
    if not allocates:

        def cannot(*_: int) -> None:
            raise OSError(errno.EOPNOTSUPP, "")

        monkeypatch.setattr(os, "posix_fallocate", cannot)
    # When
    Reserve(tmp_path / "reserve").keep()
    # Then
    found = (tmp_path / "reserve").stat()
    assert (found.st_size, stat.S_IMODE(found.st_mode)) == (MOST_BYTES, 0o600)
    assert found.st_blocks * 512 >= MOST_BYTES


@pytest.mark.fault("C1")
def test_reserve_takes_a_tenth_when_the_disk_is_small(tmp_path: Path) -> None:
    """It never takes more than a tenth of what is free, and comes back when there is room again."""
    with SmallFs(tmp_path / "disk", size_mb=4) as disk:
        reserve = Reserve(disk.directory / "reserve")
        # Given a small disk / When the reserve is made
        reserve.keep()
        # Then it is a tenth
        size = (disk.directory / "reserve").stat().st_size
        assert LEAST_BYTES <= size <= 4 * 1024 * 1024 // 10
        # When the disk is full, and the reserve given back
        disk.fill()
        assert reserve.release()
        # Then it is not made again, for the room is there to be used, nor given back twice
        reserve.keep()
        assert not reserve.release()
        # and not with less room than for one of its size
        disk.grow(6)
        reserve.keep()
        assert not (disk.directory / "reserve").exists()
        # but when there is room
        disk.grow(12)
        reserve.keep()
        assert (disk.directory / "reserve").stat().st_size >= size


@pytest.mark.parametrize("free", [0, LEAST_BYTES * 10 - 1])
def test_reserve_is_none_when_it_would_be_too_small_to_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    """Without room there is no reserve, and no error."""
    # Given
    monkeypatch.setattr("blueplane.store.reserve.free_bytes", lambda _directory: free)
    # When
    Reserve(tmp_path / "reserve").keep()
    # Then
    assert not (tmp_path / "reserve").exists()


def test_reserve_leaves_nothing_when_it_cannot_be_allocated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a reserve would look like a whole one."""

    # Given
    def full(_descriptor: int, _size: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(module, "_allocate", full)
    # When
    Reserve(tmp_path / "reserve").keep()
    # Then
    assert not (tmp_path / "reserve").exists()
