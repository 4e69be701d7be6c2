"""A refresh beside others that change what is stored."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar, cast

import pytest

from blueplane.errors import StoreUnavailableError
from blueplane.event import Event, Mark
from blueplane.pipeline.commits import Commits
from blueplane.pipeline.refresher import Refresher
from blueplane.pipeline.writer import Writer
from blueplane.store.offsets import Offsets
from blueplane.store.queries import reading
from helpers.road import make_event, make_row

T = TypeVar("T")


class Direct:
    """A writer without a thread."""

    def __init__(self, commits: Commits) -> None:
        self.commits = commits

    def ask(self, work: Callable[[], T], _timeout_s: float = 0) -> T:
        """Do it at once."""
        return work()


@dataclass
class Again:
    """Settings that may change, and one file with one event."""

    event: Event
    changed: bool = False
    levels: tuple[str, ...] = ("strict", "balanced")
    key: str = "file"
    size: int = 100

    def privacy(self) -> str:
        return self.levels[self.changed]

    def items(self, _transcripts: Mapping[str, Mark], _databases: Mapping[str, Mark]) -> list[Any]:
        return [self]

    def events(self) -> Iterator[list[Event]]:
        self.changed = self.levels[0] != self.levels[1]
        yield [self.event]

    def renewal(self) -> Callable[[bytes, str], bytes]:
        return lambda event, _: event


@pytest.fixture
def commits(tmp_path: Path) -> Iterator[Commits]:
    """Give a store with one event."""
    commits = Commits(tmp_path / "telemetry.db")
    commits.write([make_row(commits, make_event(1))])
    yield commits
    commits.close()


def stored(commits: Commits) -> bytes:
    """Return the content of the one row."""
    with reading(commits.path) as reader:
        return reader.event_data(1)


def refresher(commits: Commits, again: Again, busy: Lock) -> Refresher:
    """Make what refreshes through ``commits``."""
    return Refresher(commits.path, cast("Writer", Direct(commits)), again, busy)


def test_row_stays_when_the_settings_change_while_it_is_read_again(commits: Commits) -> None:
    """What was read at one level is not stored at another: a scrub may have been there since."""
    # Given
    before = stored(commits)
    again = Again(make_event(1, payload=b'{"more":1}'))

    # When
    with pytest.raises(StoreUnavailableError, match="run it again"):
        refresher(commits, again, Lock()).refresh(lambda _: None)

    # Then
    assert stored(commits) == before


def test_row_is_replaced_when_it_is_the_same_capture(commits: Commits) -> None:
    """A row of the same event id and time of capture is replaced, another one never."""
    # Given
    other = Again(make_event(1, payload=b'{"more":1}', captured_ns=5), levels=("full", "full"))
    same = Again(make_event(1, payload=b'{"more":1}'), levels=("full", "full"))
    before = stored(commits)

    # When / Then
    refresher(commits, other, Lock()).refresh(lambda _: None)
    assert stored(commits) == before
    refresher(commits, same, Lock()).refresh(lambda _: None)
    assert stored(commits) == b'{"metadata":{},"payload":{"more":1}}'


def test_nothing_is_left_of_a_refresh_when_it_has_ended(commits: Commits) -> None:
    """How far it was in each item is of use only to one that was killed."""
    # Given
    again = Again(make_event(1))

    # When
    refresher(commits, again, Lock()).refresh(lambda _: None)

    # Then
    assert Offsets(commits._connection).all("refresh").keys() == {""}


def test_refresh_is_refused_when_something_else_changes_what_is_stored(commits: Commits) -> None:
    """A forget, a scrub and a refresh go one after the other."""
    # Given
    busy = Lock()
    again = Again(make_event(1))

    # When / Then
    with busy, pytest.raises(StoreUnavailableError, match="under way"):
        refresher(commits, again, busy).refresh(lambda _: None)
    assert refresher(commits, again, busy).refresh(lambda _: None)["notes"] == []
