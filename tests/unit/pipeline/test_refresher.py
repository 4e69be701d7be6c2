"""A refresh beside others that change what is stored."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event as Flag
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
from helpers.waiting import wait_until

T = TypeVar("T")
PATIENCE_S = 20.0


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
    share: int = 100

    def privacy(self) -> str:
        return self.levels[self.changed]

    def items(self, _transcripts: Mapping[str, Mark], _databases: Mapping[str, Mark]) -> list[Any]:
        return [self]

    def events(self) -> Iterator[list[Event]]:
        self.changed = self.levels[0] != self.levels[1]
        yield [self.event]

    def renewal(self) -> Callable[[bytes, str], bytes]:
        return lambda event, _: event


@dataclass
class Slow(Again):
    """The same, whose second event comes when somebody says so."""

    levels: tuple[str, ...] = ("strict", "strict")
    begun: Flag = field(default_factory=Flag)
    go_on: Flag = field(default_factory=Flag)

    def events(self) -> Iterator[list[Event]]:
        yield [self.event]
        self.begun.set()
        assert self.go_on.wait(PATIENCE_S)
        yield [self.event]


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


def test_second_refresh_has_the_same_answer_when_one_is_under_way(commits: Commits) -> None:
    """Whoever asks meanwhile is told how far it is, and how it ended."""
    # Given
    again = Slow(make_event(1))
    shared = refresher(commits, again, Lock())
    said: list[Mapping[str, Any]] = []
    with ThreadPoolExecutor() as pool:
        first = pool.submit(shared.refresh, lambda _: None)
        wait_until(again.begun.is_set, PATIENCE_S, "the first reads")

        # When
        second = pool.submit(shared.refresh, said.append)
        wait_until(lambda: said, PATIENCE_S, "the second is told how far it is")
        again.go_on.set()

        # Then
        assert first.result() == second.result()
    assert first.result()["rows"][0]["read"] == 2
    assert said[0]["of"] == 100


def test_refresh_is_refused_when_something_else_changes_what_is_stored(commits: Commits) -> None:
    """A forget, a scrub and a refresh go one after the other."""
    # Given
    busy = Lock()
    again = Again(make_event(1))

    # When / Then
    with busy, pytest.raises(StoreUnavailableError, match="under way"):
        refresher(commits, again, busy).refresh(lambda _: None)
    assert refresher(commits, again, busy).refresh(lambda _: None)["notes"] == []
