from collections.abc import Iterator
from pathlib import Path

import pytest

from blueplane.daemon import StoreRecords
from blueplane.errors import StoreBrokenError, StoreError
from blueplane.pipeline.commits import Commits
from helpers.road import database_file, make_event, make_row


class Suspicion:
    """What the records need of the writer: it counts how often the store is suspected."""

    def __init__(self) -> None:
        self.count = 0

    def suspect_store(self) -> None:
        """Count."""
        self.count += 1


@pytest.fixture
def suspicion() -> Suspicion:
    """Give a writer."""
    return Suspicion()


@pytest.fixture
def records(tmp_path: Path, suspicion: Suspicion) -> Iterator[StoreRecords]:
    """Give the records of a store that has one event, which was asked for."""
    commits = Commits(database_file(tmp_path))
    commits.write([make_row(commits, make_event())])
    commits.close()
    records = StoreRecords(database_file(tmp_path), suspicion)  # type: ignore[arg-type]
    assert records.settled([make_event()]) == {make_event().origin}
    yield records
    records.close()


@pytest.mark.fault("C12")
def test_records_ask_the_database_that_is_there_when_it_was_replaced(
    records: StoreRecords, tmp_path: Path
) -> None:
    """What a file without a name says of an event lets go of nothing."""
    # Given a new database in the place of the one that was read
    for file in tmp_path.iterdir():
        file.unlink()
    with pytest.raises(StoreError):
        records.settled([make_event()])
    Commits(database_file(tmp_path)).close()
    # When / Then
    assert records.settled([make_event()]) == set()


@pytest.mark.fault("C8")
def test_records_have_the_store_looked_at_when_they_cannot_read_it(
    records: StoreRecords, suspicion: Suspicion, tmp_path: Path
) -> None:
    """A damaged page that only a reader meets is told to the writer."""
    # Given
    records.close()
    database_file(tmp_path).write_bytes(b"rubbish!" * 2_000)
    # When / Then
    with pytest.raises(StoreBrokenError):
        records.settled([make_event()])
    assert suspicion.count == 1
