import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from blueplane.pipeline.commits import Commits
from blueplane.store import wal as module
from blueplane.store.connection import BUSY_TIMEOUT_MS, Connection, open_reader
from blueplane.store.wal import LOOK_S, TRY_S, cut
from helpers.road import TurnedClock, database_file, make_event, make_row, turn_clock

LARGE = 64 * 1024


@pytest.fixture
def turned(monkeypatch: pytest.MonkeyPatch) -> TurnedClock:
    """Turn the clock, and have a -wal of 64 KB be large."""
    monkeypatch.setattr(module, "LARGE_BYTES", LARGE)
    return turn_clock(monkeypatch)


@pytest.fixture
def commits(tmp_path: Path, turned: TurnedClock) -> Iterator[Commits]:
    """Give the writer of a new store."""
    assert turned.shift_s == 0
    commits = Commits(database_file(tmp_path))
    yield commits
    commits.close()


@pytest.fixture
def reader(commits: Commits) -> Iterator[Connection]:
    """Give a reader in the middle of a statement."""
    connection = open_reader(commits.path)
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM traces").fetchone()
    yield connection
    connection.close()


def wal_bytes(commits: Commits) -> int:
    """Return the size of the -wal."""
    return commits.path.with_name(f"{commits.path.name}-wal").stat().st_size


def grow(commits: Commits, first: int) -> None:
    """Write rows until the -wal is large."""
    number = first
    while wal_bytes(commits) <= LARGE or number < first + 10:
        commits.write([make_row(commits, make_event(number))])
        number += 1


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged of the -wal."""
    return [record.message for record in caplog.records if record.message.startswith("wal ")]


@pytest.mark.fault("C5")
def test_wal_is_cut_when_it_is_large_and_nobody_reads(
    commits: Commits, turned: TurnedClock
) -> None:
    """A look after the commit finds it large, and it is empty afterwards."""
    # Given
    grow(commits, 0)
    turned.sleepless(LOOK_S)
    # When
    commits.tend_wal()
    # Then
    assert wal_bytes(commits) == 0


@pytest.mark.fault("C5")
def test_wal_is_cut_when_a_long_reader_has_ended(
    commits: Commits, reader: Connection, turned: TurnedClock, caplog: pytest.LogCaptureFixture
) -> None:
    """While a reader holds it, it is said once, and the writer goes on; then it is cut."""
    # Given a reader, and many commits
    caplog.set_level(logging.INFO)
    grow(commits, 0)
    # When it is looked at again and again
    for _ in range(5):
        turned.sleepless(TRY_S)
        commits.tend_wal()
    # Then it is large, which is said once, and the store takes rows
    assert wal_bytes(commits) > LARGE
    assert said(caplog) == ["wal large"]
    commits.write([make_row(commits, make_event(9_999))])
    # When the reader has ended
    reader.close()
    turned.sleepless(TRY_S)
    commits.tend_wal()
    # Then
    assert wal_bytes(commits) == 0
    assert said(caplog) == ["wal large", "wal is small again"]


@pytest.mark.fault("C5")
def test_wal_costs_next_to_nothing_when_batches_come_fast(
    commits: Commits, turned: TurnedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked at once a second at most, and a cut is tried every ten seconds at most."""
    # Given what is done
    cuts: list[float] = []
    looks: list[float] = []
    size = module.Wal._size

    def looking(wal: module.Wal) -> int:
        looks.append(turned.monotonic())
        return size(wal)

    monkeypatch.setattr(module.Wal, "_size", looking)
    monkeypatch.setattr(module, "cut", lambda _connection: cuts.append(turned.monotonic()))
    grow(commits, 0)
    # When there are ten batches a second, for 30 seconds
    for _ in range(300):
        turned.sleepless(0.1)
        commits.tend_wal()
    # Then
    assert 2 <= len(cuts) <= 4
    assert len(looks) <= 31 + len(cuts)


@pytest.mark.fault("C5")
def test_wal_waits_for_a_reader_only_for_a_moment_when_it_is_cut(
    commits: Commits, reader: Connection
) -> None:
    """The writer's patience with other processes is its own again afterwards."""
    # Given a reader / When
    assert reader.in_transaction
    grow(commits, 0)
    began = module.monotonic_s()
    done = cut(commits._connection)
    # Then
    assert not done
    assert module.monotonic_s() - began < BUSY_TIMEOUT_MS / 1000
    (patience,) = commits._connection.execute("PRAGMA busy_timeout").fetchone()
    assert patience == BUSY_TIMEOUT_MS


@pytest.mark.fault("C1")
def test_wal_is_cut_after_each_commit_when_the_disk_has_little_room(
    commits: Commits, turned: TurnedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pages need as much room in the database again, which a full disk would not give them."""
    # Given a disk that has less room than the -wal has taken, which was seen at the last look
    monkeypatch.setattr(module, "free_bytes", lambda _directory: LARGE // 2)
    monkeypatch.setattr(module, "TIGHT_BYTES", LARGE)
    turned.sleepless(LOOK_S)
    commits.tend_wal()
    for number in range(20):
        # When
        commits.write([make_row(commits, make_event(number))])
        commits.tend_wal()
        # Then it never takes more than its share, long before the next second
        assert wal_bytes(commits) <= LARGE // 2 // module.SHARE


def test_wal_waits_for_readers_when_the_disk_has_little_room(
    commits: Commits, reader: Connection, turned: TurnedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cut that a reader prevents is tried once a second: each would hold up the writer."""
    # Given
    assert reader.in_transaction
    tried: list[float] = []
    monkeypatch.setattr(module, "free_bytes", lambda _directory: 0)
    monkeypatch.setattr(module, "cut", lambda _connection: tried.append(turned.monotonic()))
    grow(commits, 0)
    # When there are ten batches a second, for ten seconds
    for _ in range(100):
        turned.sleepless(0.1)
        commits.tend_wal()
    # Then
    assert 9 <= len(tried) <= 11
