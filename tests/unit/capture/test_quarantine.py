import os
import stat
from pathlib import Path

import pytest

from blueplane.capture.quarantine import MAX_NAME_BYTES, Quarantine
from helpers.waiting import wait_until

WAIT_S = 20.0
#: More files than any test makes.
MANY = 100


@pytest.fixture
def quarantine(tmp_path: Path) -> Quarantine:
    """Give an empty quarantine."""
    return Quarantine(tmp_path / "quarantine")


@pytest.fixture
def filled(quarantine: Quarantine) -> list[int]:
    """Put four files of 10 bytes in, each at a later moment; return these, oldest first."""
    quarantine.directory.mkdir()
    moments: list[int] = []
    for number in range(4):
        path = quarantine.directory / str(number)

        def later(path: Path = path) -> bool:
            path.write_bytes(b"0123456789")
            return not moments or path.stat().st_ctime_ns > moments[-1]

        wait_until(later, WAIT_S, "another moment")
        moments.append(path.stat().st_ctime_ns)
    return moments


def names(quarantine: Quarantine) -> set[str]:
    """Return what is in it."""
    return {path.name for path in quarantine.directory.iterdir()}


def test_quarantine_removes_the_oldest_when_it_is_too_large(
    quarantine: Quarantine, filled: list[int]
) -> None:
    """What does not fit goes, the oldest first; directories stay."""
    # Given
    assert len(filled) == 4
    (quarantine.directory / "directory").mkdir()
    # When there is room for two and a half
    removed = quarantine.prune(before_ns=0, max_bytes=25, most=MANY)
    # Then
    assert removed == 2
    assert names(quarantine) == {"2", "3", "directory"}


def test_quarantine_removes_what_is_too_old_when_it_would_fit(
    quarantine: Quarantine, filled: list[int]
) -> None:
    """A file that came before the moment goes, one of that moment stays."""
    # Given / When
    removed = quarantine.prune(before_ns=filled[2], max_bytes=MANY * 10, most=MANY)
    # Then
    assert removed == 2
    assert names(quarantine) == {"2", "3"}


@pytest.mark.fault("C18")
def test_quarantine_removes_no_more_than_it_may_when_all_is_too_old(
    quarantine: Quarantine, filled: list[int]
) -> None:
    """One round has a limit, whatever the clock says; it takes the oldest."""
    # Given / When / Then
    assert quarantine.prune(before_ns=filled[-1] + 1, max_bytes=0, most=1) == 1
    assert names(quarantine) == {"1", "2", "3"}
    assert quarantine.prune(before_ns=filled[-1] + 1, max_bytes=0, most=0) == 0
    assert names(quarantine) == {"1", "2", "3"}


def test_quarantine_is_made_again_when_somebody_took_it_away(quarantine: Quarantine) -> None:
    """A missing directory is made, private, and nothing else happens."""
    # Given / When
    removed = quarantine.prune(before_ns=0, max_bytes=0, most=MANY)
    # Then
    assert removed == 0
    assert stat.S_IMODE(quarantine.directory.stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["1.1.1", "n" * MAX_NAME_BYTES])
def test_quarantine_takes_a_file_as_it_came_when_its_name_is_long(
    quarantine: Quarantine, tmp_path: Path, name: str
) -> None:
    """The file keeps its bytes, becomes private, and its name says when it was captured."""
    # Given
    quarantine.directory.mkdir()
    (tmp_path / name).write_bytes(b"half")
    spool = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    # When
    quarantine.take(name, 1234, spool)
    os.close(spool)
    # Then
    (kept,) = quarantine.directory.iterdir()
    assert kept.name.startswith("1234-")
    assert (kept.read_bytes(), stat.S_IMODE(kept.stat().st_mode)) == (b"half", 0o600)
    assert not (tmp_path / name).exists()
