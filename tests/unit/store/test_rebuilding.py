"""What is derived anew: the same tables, of one worker or of all, whatever there was."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from blueplane.analytics import worker as module
from blueplane.store.conversation_tables import TABLES
from blueplane.store.derived import Derivation
from blueplane.store.metric_rollups import MEASURED
from blueplane.store.usage_columns import KEYS
from helpers.desk import MINUTE_MS, T0_MS, Desk, answer, at, hook
from helpers.road import database_file
from helpers.stories import everything


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Give a store of a story, of which everything is derived."""
    desk = Desk(database_file(tmp_path))
    desk.tell(*everything(), answer(1, **at(-500)), hook(2, "Stop", "turn_end", **at(500)))
    yield desk
    desk.close()


def test_a_rebuild_gives_the_same_as_before(desk: Desk) -> None:
    """Table by table; and what somebody broke is whole again."""
    # Given
    before = desk.derived()
    for table in ("calls", "conversation_turns", "responses"):
        desk.execute(f"UPDATE {table} SET model = NULL")
    desk.execute("UPDATE tool_calls SET outcome = 99, session = 1")
    desk.execute("INSERT INTO witnesses VALUES (1, 1, 1, 1, 1)")
    desk.execute("UPDATE sessions SET last_ms = 1, project = NULL")
    assert desk.derived() != before
    # When
    desk.rebuild()
    assert desk.execute("SELECT * FROM watermarks") == []
    desk.derive()
    # Then
    assert desk.derived() == before


@pytest.mark.parametrize("worker", Desk.NAMES)
def test_a_rebuild_of_one_worker_leaves_the_others_alone(desk: Desk, worker: str) -> None:
    """Only its watermark is set back, only its tables are emptied."""
    # Given
    before = desk.derived()
    # When
    desk.rebuild(worker)
    # Then
    changed = {table for table, rows in desk.derived().items() if rows != before[table]}
    assert (
        changed
        == {
            "usage": {"usage", *KEYS},
            "sessions": {"sessions", "stretches"},
            "witnesses": {"witnesses"},
            "conversations": set(TABLES.values()),
            "metrics": set(MEASURED),
        }[worker]
    )
    assert {row[0] for row in desk.execute("SELECT worker FROM watermarks")} == {
        name for name in Desk.NAMES if name != worker
    }
    # and when it is done
    desk.derive()
    assert desk.derived() == before


@pytest.mark.fault("A7")
def test_a_rebuild_goes_on_when_it_was_broken_off(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begun twice, and ended in the middle: the same tables in the end."""
    # Given
    before = desk.derived()
    monkeypatch.setattr(module, "BATCH", 20)
    # When it is broken off twice, the second time for good
    for _ in range(2):
        desk.rebuild()
        desk.workers._go_round()
    desk.commits.close()
    again = Desk(desk.database)
    assert again.derived() != before
    again.derive()
    # Then
    assert again.derived() == before
    again.close()


def test_what_was_read_before_a_rebuild_is_not_stored_after_it(desk: Desk) -> None:
    """It would set the watermark behind rows that nobody has derived from again."""
    # Given
    late = Derivation("usage", 50, lambda _: None, desk.commits.edition)
    # When
    desk.rebuild()
    # Then
    assert desk.commits.derive(late) is False
    assert desk.execute("SELECT * FROM watermarks") == []


def test_what_was_read_before_a_worker_began_anew_for_a_letter_is_not_stored(desk: Desk) -> None:
    """It begins anew with the derivation that says so, and only what is read later counts."""
    # Given
    edition = desk.commits.edition
    assert desk.commits.derive(Derivation("", None, lambda _: None, edition, anew=["usage"]))
    # When / Then
    assert desk.commits.derive(Derivation("usage", 50, lambda _: None, edition)) is False
    desk.derive()
    assert {mark for (mark,) in desk.execute("SELECT sequence FROM watermarks")} != {50}


def test_what_was_derived_from_rows_that_are_gone_stays(desk: Desk) -> None:
    """Retention removed them: what happened before the oldest row was written is not taken away."""
    # Given a row that was too old
    before = desk.derived()
    desk.execute("DELETE FROM traces WHERE sequence <= 10")
    desk.execute("INSERT INTO custody_totals VALUES ('rows.expired', 10)")
    written_ms = T0_MS + MINUTE_MS
    desk.execute("UPDATE traces SET ingested_lag = ? - captured_ns / 1000000", written_ms)
    # When
    desk.rebuild()
    # Then
    left = desk.execute("SELECT max(timestamp_ms) < ?, count(*) FROM calls", written_ms)
    assert left == [(1, len(before["usage"]) - 1)]
    desk.derive()
    assert desk.derived() == before


def test_nothing_is_taken_away_when_no_row_is_left(desk: Desk) -> None:
    """There is nothing to derive it from."""
    # Given
    before = desk.derived()
    desk.execute("DELETE FROM traces")
    desk.execute("INSERT INTO custody_totals VALUES ('rows.expired', 100)")
    # When
    desk.rebuild()
    desk.derive()
    # Then
    assert desk.derived() == before
