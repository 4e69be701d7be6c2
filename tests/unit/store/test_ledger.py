from collections.abc import Iterator
from pathlib import Path

import pytest

from blueplane.event import Settlement
from blueplane.pipeline.commits import Commits
from blueplane.store.ledger import Epoch, Ledger
from helpers.road import database_file, make_event, make_row


@pytest.fixture
def commits(tmp_path: Path) -> Iterator[Commits]:
    """Give the writer of a new store."""
    commits = Commits(database_file(tmp_path))
    yield commits
    commits.close()


@pytest.fixture
def ledger(commits: Commits) -> Ledger:
    """Give the ledger of a new store."""
    return commits.ledger


def minutes(commits: Commits) -> list[tuple[object, ...]]:
    """Return the counters by minute."""
    return commits._connection.execute(
        "SELECT minute, platform, source, outcome, count FROM custody_minutes ORDER BY 1, 2, 3, 4"
    ).fetchall()


def test_totals_add_up_when_amounts_come_again(ledger: Ledger) -> None:
    """A counter is the sum of what was added; nothing is added for nothing."""
    # Given / When
    ledger.add({"a": 2, "b": 0})
    ledger.add({"a": 3, "c": -1})
    # Then
    assert ledger.totals() == {"a": 5, "c": -1}


def test_minutes_add_up_when_they_are_the_same_minute(commits: Commits) -> None:
    """Counters are kept by minute, platform, source and outcome."""
    # Given
    key = ("cursor", "hook", "written")
    # When
    commits.ledger.add_minute(60_000, {key: 2, ("", "", "lost"): 0})
    commits.ledger.add_minute(119_999, {key: 1})
    commits.ledger.add_minute(120_000, {key: 4})
    # Then
    assert minutes(commits) == [(1, *key, 3), (2, *key, 4)]


def test_epoch_is_one_when_it_is_replaced(ledger: Ledger) -> None:
    """There is one epoch, the last that was put."""
    # Given
    assert ledger.epoch() is None
    first, second = Epoch("a", 1, 2, 3, 4, 5, 6), Epoch("b", 7, 8, 9, 10, 11, 12)
    # When
    ledger.put_epoch(first)
    ledger.put_epoch(second)
    # Then
    assert ledger.epoch() == second


def test_settlements_return_what_is_new_when_some_are_repeated(ledger: Ledger) -> None:
    """An origin is settled once; the first outcome stays."""
    # Given
    one = Settlement("spool:a:1", "filtered", "cursor-compat", "cursor", "stop", 5)
    other = Settlement("spool:a:1", "quarantined", "half", "", "", 7)
    # When / Then
    assert ledger.add_settlements([one, other], 1) == [one]
    assert ledger.add_settlements([other], 2) == []


def test_settlements_are_counted_by_rule_when_they_are_new(commits: Commits) -> None:
    """A rule has the number of what it settled, and the time of the last; a repeat is no more."""
    # Given
    compat, half = ("filtered", "cursor-compat"), ("quarantined", "half")
    items = [Settlement(f"spool:{n}:1", *compat, "cursor", "stop", 5) for n in range(3)]
    items.append(Settlement("spool:3:1", *half, "", "", 5))
    # When
    commits.ledger.add_settlements(items[1:], 20)
    commits.ledger.add_settlements(items, 10)  # the clock was set back
    commits.ledger.add_settlements(items, 30)
    # Then
    rules = commits._connection.execute("SELECT * FROM rules ORDER BY outcome").fetchall()
    assert rules == [(*compat, 3, 20), (*half, 1, 20)]


def test_cursor_is_zero_when_it_was_never_put(ledger: Ledger) -> None:
    """An offset begins at the beginning."""
    # Given
    ledger.put_cursor("refused", 5)
    ledger.put_cursor("refused", 3)
    # When / Then
    assert (ledger.cursor("refused"), ledger.cursor("other")) == (3, 0)


@pytest.mark.fault("A6")
def test_settled_messages_are_those_with_an_outcome_when_they_are_asked_for(
    commits: Commits,
) -> None:
    """A message is done by its own id: as a row or as a duplicate, not because its event is."""
    # Given a row and a duplicate
    event = make_event(0)
    commits.write([make_row(commits, event, b"1795150000001-0")])
    commits.write([make_row(commits, event, b"1795150000002-7")])
    hexed = event.event_id.hex()
    # When
    asked = [
        ("1795150000001-0", hexed),
        ("1795150000002-7", hexed),
        ("1795150000003-0", hexed),
        ("1795150000001-0", "00" * 16),
        ("1795150000009-0", "not hex"),
        ("", ""),
    ]
    done = commits.ledger.settled_messages(asked)
    # Then
    assert done == {"1795150000001-0", "1795150000002-7"}


# --- hooks ----------------------------------------------------------------------------------------

HOOK = ("cursor", "stop")


def hooks(commits: Commits) -> list[tuple[object, ...]]:
    """Return the counts of all hooks."""
    return commits._connection.execute("SELECT * FROM hooks ORDER BY 1, 2").fetchall()


def test_hooks_add_up_when_they_run_again(commits: Commits) -> None:
    """A hook has the sum of its executions, and the time of the last, in whatever order."""
    # Given / When
    commits.ledger.add_hooks(100, {(*HOOK, "succeeded"): 2}, {HOOK: 50})
    commits.ledger.add_hooks(101, {(*HOOK, "failed"): 1, (*HOOK, "succeeded"): 3}, {HOOK: 40})
    # Then
    assert hooks(commits) == [(*HOOK, 5, 1, 50)]


def test_hooks_have_no_time_ahead_of_the_clock_when_it_was_wrong(commits: Commits) -> None:
    """A capture of the future counts as now, and a clock that is put back takes its time along."""
    # Given an execution that claims to be of the future
    commits.ledger.add_hooks(1_000, {(*HOOK, "succeeded"): 1}, {HOOK: 99_999})
    assert hooks(commits) == [(*HOOK, 1, 0, 1_000)]
    # When the clock is put back
    commits.ledger.add_hooks(500, {(*HOOK, "succeeded"): 1}, {HOOK: 499})
    # Then
    assert hooks(commits) == [(*HOOK, 2, 0, 500)]
