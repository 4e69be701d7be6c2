from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from blueplane.pipeline.commits import Commits
from blueplane.store.letters import Letter, Letters
from helpers.road import database_file

PLAIN = Letter(
    message_id="1-0",
    event_id=bytes(16),
    captured_ns=5,
    origin="spool:a:1",
    platform="cursor",
    source="hook",
    hook_type="stop",
    raw=b"[]",
    reason="poison",
    error_class="IntegrityError",
    failures=3,
    hop="written",
)


@pytest.fixture
def letters(tmp_path: Path) -> Iterator[Letters]:
    """Give the dead letters of a new store."""
    commits = Commits(database_file(tmp_path))
    yield commits.letters
    commits.close()


def test_letter_comes_back_whole_when_it_was_opened(letters: Letters) -> None:
    """A letter keeps every field, and is open from its time on."""
    # Given
    strange = replace(
        PLAIN, message_id="2-0", event_id=None, captured_ns=None, origin="", raw=b"\xff\x00"
    )
    # When
    opened = [letters.open(PLAIN, 10), letters.open(strange, 11)]
    # Then
    assert opened == [True, True]
    assert letters.get("1-0") == replace(PLAIN, opened_ms=10)
    assert letters.get("2-0") == replace(strange, opened_ms=11)
    assert letters.get("3-0") is None


def test_letter_stays_as_it_is_when_its_message_fails_again(letters: Letters) -> None:
    """A message has one letter, and its first reason."""
    # Given
    letters.open(PLAIN, 10)
    letters.drop(["1-0"], 11)
    # When / Then
    assert letters.open(replace(PLAIN, reason="other"), 12) is False
    letter = letters.get("1-0")
    assert letter is not None
    assert (letter.reason, letter.state, letter.dropped_ms) == ("poison", "dropped", 11)


def test_letter_changes_once_when_it_is_retried_or_dropped(letters: Letters) -> None:
    """Only an open letter can be retried or dropped, and only once."""
    # Given
    for number in range(3):
        letters.open(replace(PLAIN, message_id=f"{number}-0"), number)
    # When / Then
    assert letters.retry(["0-0", "0-0", "9-9"], 20) == ["0-0"]
    assert letters.drop(["0-0", "1-0"], 21) == ["1-0"]
    assert letters.retry(["1-0"], 22) == []
    assert list(letters.open_reasons()) == ["2-0"]


def test_letter_settles_once_when_its_new_message_has_an_outcome(letters: Letters) -> None:
    """A retried letter is settled by the first outcome; an open or dropped one is not."""
    # Given
    for number in range(2):
        letters.open(replace(PLAIN, message_id=f"{number}-0"), number)
    letters.retry(["0-0"], 5)
    # When
    settled = letters.settle("0-0", 6)
    # Then
    assert settled is not None
    assert (settled.settled_ms, settled.retried_ms) == (6, 5)
    assert letters.settle("0-0", 7) is None
    assert letters.settle("1-0", 7) is None
    assert letters.settle("9-0", 7) is None


def test_waiting_gives_the_oldest_retries_first_when_there_are_many(letters: Letters) -> None:
    """What waits to be sent comes in the order of its retries, and no more than asked."""
    # Given
    for number in range(4):
        letters.open(replace(PLAIN, message_id=f"{number}-0"), number)
    for at, number in enumerate((2, 0, 3)):
        letters.retry([f"{number}-0"], at)
    # When / Then
    assert letters.waiting(2) == ["2-0", "0-0"]
    letters.settle("2-0", 9)
    assert letters.waiting(9) == ["0-0", "3-0"]


def test_counts_leave_foreign_letters_out_when_they_count_events(letters: Letters) -> None:
    """All open letters count as open; in the second law only those of our own events."""
    # Given
    for number, origin in enumerate(("spool:a:1", "spool:b:1", "spool:c:1", "", "")):
        letters.open(replace(PLAIN, message_id=f"{number}-0", origin=origin), number)
    letters.drop(["0-0"], 9)
    letters.retry(["1-0", "3-0"], 9)
    # When / Then
    assert letters.counts() == {"open": 2, "dead_lettered": 2, "waiting": 1}


def test_open_reasons_are_the_newest_when_there_are_too_many(letters: Letters) -> None:
    """The mirror is bounded: it has the newest."""
    # Given
    for number in range(5):
        letters.open(replace(PLAIN, message_id=f"{number}-0", reason=f"r{number}"), number)
    # When / Then
    assert letters.open_reasons(2) == {"4-0": "r4", "3-0": "r3"}
