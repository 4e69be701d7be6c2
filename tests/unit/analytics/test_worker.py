"""The thread of the workers: watermarks, replay, failures that stay alone, and letters."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blueplane.analytics import worker as module
from blueplane.analytics.sessions import Sessions
from blueplane.analytics.usage import Usage
from blueplane.errors import StoreUnavailableError
from blueplane.event import Event
from blueplane.store.derived import Derivation, Derived, Trace
from blueplane.store.erasure import Erasure
from blueplane.store.letters import Letter
from blueplane.store.rebuilding import CLEARING
from helpers.desk import Desk, answer, at, hook, line
from helpers.road import database_file, make_event
from helpers.stories import everything
from helpers.waiting import wait_until

WAIT_S = 20.0
#: What nobody may see of an error.
TEXT = "a text of somebody"


class Fussy:
    """A worker that notes numbers of rows, and fails as it is told."""

    name = "fussy"

    def __init__(self) -> None:
        self.refused: set[int] = set()
        self.unwritable: set[int] = set()
        self.broken = False
        self.noted: list[int] = []

    def read(self, trace: Trace) -> int:
        if trace.sequence in self.refused:
            raise ValueError(TEXT)
        return trace.sequence

    def write(self, _tables: Derived, found: Sequence[int]) -> None:
        if self.broken or self.unwritable & set(found):
            raise LookupError(TEXT)
        self.noted += found


@pytest.fixture
def fussy() -> Fussy:
    """Give a worker that does not fail yet."""
    return Fussy()


@pytest.fixture
def strange(tmp_path: Path, fussy: Fussy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """Give a store with a worker that may fail, and one that does not."""
    monkeypatch.setitem(CLEARING, "fussy", lambda *_: fussy.noted.clear())
    desk = Desk(database_file(tmp_path), (fussy, Usage()))
    yield desk
    desk.close()


def marks(desk: Desk) -> dict[str, int]:
    """Return the watermarks."""
    return dict(desk.execute("SELECT worker, sequence FROM watermarks"))


def letters(desk: Desk) -> list[Letter]:
    """Return all dead letters."""
    return list(desk.commits.letters.all())


def mixed(count: int) -> list[Event]:
    """Make rows of every kind, several of each call, turn and session, some far apart.

    Sessions share calls, texts, tools and turns, and follow on lines of others that may come later.
    """
    chance = random.Random(7)
    events = []
    for number in range(count):
        name, turn = f"s-{number % 5}", f"p-{number // 9}"
        when = at(chance.choice((0, 1, 20, 45, 500)) + number / 100)
        call = {
            "id": f"msg_{number // 4}", "stop_reason": chance.choice((None, "end_turn")),
            "content": [{"type": "text", "text": "." * chance.randrange(1, 3)}],
        }  # fmt: skip
        common: dict[str, Any] = {"session_id": name, "turn_id": turn, **when}
        after = {"requestId": f"r_{number // 4}", "parentUuid": f"u-{(number + 7) // 5 * 5}"}
        copy = {**after, "requestId": "other", "isSidechain": True, "agentId": f"a{number % 3}"}
        events += [
            chance.choice(
                (
                    answer(
                        number, (number, chance.randrange(900), 1, 2), message=call,
                        payload=chance.choice((after, copy)), tool_use_id=f"t-{number // 3}",
                        project=chance.choice(("", "orchard", "meadow")), **common,
                    ),
                    hook(number, "PostToolUse", "tool_use", tool_use_id=f"t-{number}", **common),
                    hook(
                        number, "SessionEnd", "session_end", payload={"reason": "clear"}, **common
                    ),
                    hook(
                        number, "SessionStart", "session_start", **common,
                        payload={"source": chance.choice(("clear", "resume", "startup"))},
                    ),
                    line(number, "cost-state", payload={"totalCostUSD": number / 10}, **common),
                )
            )
        ]  # fmt: skip
    return events


@pytest.mark.fault("A7")
@pytest.mark.parametrize("batch", [1, 7, 1_000])
def test_a_replay_gives_the_same_whatever_the_batches_were(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """From zero, with or without what is there, in one piece or row by row: the same tables."""
    # Given rows that were derived as they came
    events = [*mixed(400), *everything()]
    monkeypatch.setattr(module, "BATCH", 100)
    for start in range(0, len(events), 37):
        desk.tell(*events[start : start + 37])
    before = desk.derived()
    assert all(before[table] for table in before)
    monkeypatch.setattr(module, "BATCH", batch)
    for emptied in (True, False):
        # When
        desk.begin_again(emptied=emptied)
        desk.derive()
        # Then
        assert desk.derived() == before
        assert set(marks(desk).values()) == {len(events)}


def test_workers_stand_at_the_last_row_when_there_is_nothing_after_it(desk: Desk) -> None:
    """Rows that are of no worker, and numbers without a row, are no backlog."""
    # Given
    desk.write(make_event(1), make_event(2), answer(3))
    desk.execute("DELETE FROM traces WHERE sequence > 1")
    # When
    desk.derive()
    # Then
    assert marks(desk) == dict.fromkeys(Desk.NAMES, 3)
    assert desk.workers._go_round() is False


@pytest.mark.fault("A7")
def test_nothing_is_stored_when_the_store_fails_between_rows_and_watermark(
    desk: Desk,
) -> None:
    """Rows and watermark are one transaction: the next round does all of it again."""
    # Given a store that fails after the rows
    desk.write(answer(1), answer(2))
    fail = pytest.MonkeyPatch()

    def refuse(*_: object) -> None:
        raise StoreUnavailableError("away")

    fail.setattr(Derived, "put_watermark", refuse)
    # When
    with pytest.raises(StoreUnavailableError):
        desk.derive()
    # Then
    assert (desk.usage(), marks(desk)) == ([], {})
    fail.undo()
    desk.derive()
    assert len(desk.usage()) == 2


def test_a_row_becomes_a_letter_when_nothing_can_be_derived_from_it(
    strange: Desk, fussy: Fussy
) -> None:
    """It costs only itself, says nothing of the event, and is outside of both laws."""
    # Given
    fussy.refused = {3}
    fussy.unwritable = {5}
    before = strange.commits.ledger.totals()
    # When
    strange.write(*(answer(number) for number in range(1, 8)))
    totals = strange.commits.ledger.totals()
    strange.derive()
    # Then
    assert fussy.noted == [1, 2, 4, 6, 7]
    assert marks(strange) == {"fussy": 7, "usage": 7, "metrics": 7}
    assert len(strange.usage()) == 7
    found = [(each.hop, each.hook_type, each.error_class, each.reason) for each in letters(strange)]
    assert sorted(found) == [
        ("derived", "assistant", "LookupError", "the worker fussy: LookupError"),
        ("derived", "assistant", "ValueError", "the worker fussy: ValueError"),
    ]
    assert before != totals == strange.commits.ledger.totals()
    counts = strange.commits.letters.counts()
    assert (counts["dead_lettered"], counts["waiting"]) == (0, 0)
    assert strange.workers.states()["fussy"].failures == 2
    with strange.reader() as reader:
        assert (reader.count_underived(), reader.count_open_letters()) == (2, 0)
        assert reader.letter_groups() == []


def test_a_damaged_row_becomes_a_letter_of_each_worker_that_needs_it(desk: Desk) -> None:
    """What cannot be decoded stops no worker, and the store says what is wrong."""
    # Given
    desk.write(answer(1), answer(2), answer(3))
    desk.execute("UPDATE traces SET codec = 1, event_data = x'00' WHERE sequence = 2")
    # When
    desk.derive()
    # Then
    assert len(desk.usage()) == 2
    ids = sorted(each.message_id.partition(":")[2] for each in letters(desk))
    assert ids == sorted(Desk.READERS)
    assert all("cannot be decoded" in each.reason for each in letters(desk))


def test_a_letter_is_derived_from_when_somebody_has_it_retried(strange: Desk, fussy: Fussy) -> None:
    """A retried letter is settled when it succeeds, and open again when it fails again."""
    # Given
    fussy.refused, fussy.unwritable = {1}, {2}
    strange.tell(answer(1), answer(2), answer(3))
    ids = [each.message_id for each in letters(strange)]
    # When it is tried while nothing has changed
    assert sorted(strange.commits.retry(ids)) == sorted(ids)
    strange.derive()
    # Then
    assert [(each.state, each.failures) for each in letters(strange)] == [("open", 2)] * 2
    # When it can be
    fussy.refused, fussy.unwritable = set(), set()
    strange.commits.retry(ids)
    assert strange.commits.letters.waiting(10) == []
    strange.derive()
    # Then
    assert sorted(fussy.noted) == [1, 2, 3]
    assert all(each.settled_ms is not None for each in letters(strange))
    with strange.reader() as reader:
        assert reader.letters_to_derive(10) == []


def test_a_rebuild_settles_letters_of_rows_that_can_be_derived_from_by_now(
    strange: Desk, fussy: Fussy
) -> None:
    """It tries all rows again: those that fail once more are open, one that was dropped is not."""
    # Given
    fussy.refused = {1, 2, 3}
    strange.tell(answer(1), answer(2), answer(3))
    strange.commits.drop([letters(strange)[2].message_id])
    # When
    fussy.refused = {2, 3}
    strange.rebuild("fussy")
    strange.derive()
    # Then
    found = [(each.state, each.failures, each.settled_ms is None) for each in letters(strange)]
    assert found == [("retried", 1, False), ("open", 2, True), ("dropped", 1, True)]


@pytest.mark.parametrize("damaged", [[1], range(1, 121, 7)], ids=str)
def test_what_is_derived_of_retried_letters_is_what_a_rebuild_gives(
    desk: Desk, damaged: Sequence[int]
) -> None:
    """A row that comes late counts where it stands, whatever later rows have said meanwhile."""
    # Given rows that nobody can read, among others that share calls, turns and sessions with them
    desk.write(*mixed(120))
    kept = "CREATE TEMP TABLE kept AS SELECT sequence, codec, event_data FROM traces"
    desk.execute(kept)
    rows = f"sequence IN ({', '.join(map(str, damaged))})"
    desk.execute(f"UPDATE traces SET codec = 1, event_data = x'00' WHERE {rows}")
    desk.derive()
    assert len(letters(desk)) >= len(damaged)
    # When they are whole again, and their letters are retried
    sound = "(SELECT codec, event_data FROM kept k WHERE k.sequence = traces.sequence)"
    desk.execute(f"UPDATE traces SET (codec, event_data) = {sound} WHERE {rows}")
    desk.commits.retry([each.message_id for each in letters(desk)][::-1])
    desk.derive()
    # Then
    after = desk.derived()
    assert all(each.settled_ms is not None for each in letters(desk))
    desk.begin_again(emptied=True)
    desk.derive()
    assert desk.derived() == after


def test_a_letter_is_settled_when_its_row_is_gone(strange: Desk, fussy: Fussy) -> None:
    """There is nothing left to derive from."""
    # Given
    fussy.refused = {1}
    strange.tell(answer(1))
    strange.execute("DELETE FROM traces")
    # When
    strange.commits.retry([letters(strange)[0].message_id])
    strange.derive()
    # Then
    assert letters(strange)[0].settled_ms is not None


def test_a_failing_worker_waits_alone_when_it_always_fails(
    strange: Desk, fussy: Fussy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its figures say so, the other one goes on, and it goes on where it was."""

    # Given a worker whose batch cannot even be made
    def refuse(*_: object) -> None:
        raise ZeroDivisionError

    read = module._read
    monkeypatch.setattr(
        module, "_read", lambda worker, rows: (refuse if worker is fussy else read)(worker, rows)
    )
    # When
    strange.tell(answer(1))
    strange.tell(answer(2))
    # Then
    assert marks(strange) == {"usage": 2}
    assert strange.workers._runs["fussy"].failing
    assert strange.workers.states()["fussy"].last_error == "ZeroDivisionError"
    # When it is well again, and its time has come
    monkeypatch.setattr(module, "_read", read)
    strange.workers._runs["fussy"].due_s = 0.0
    strange.derive()
    # Then
    assert fussy.noted == [1, 2]
    assert not strange.workers._runs["fussy"].failing


def test_nothing_of_a_forgotten_row_is_stored_when_it_was_read_before(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that go between reading and storing are not derived from."""
    # Given an erasure in that moment
    desk.write(answer(1), answer(2, session_id="session-2"))
    erased: list[bool] = []
    derive = desk.commits.derive

    def derive_late(done: Derivation) -> bool:
        if not erased:
            erased.append(True)
            desk.commits.erase(lambda erasure: Erasure.remove_rows(erasure, [1]))
        return derive(done)

    monkeypatch.setattr(desk.workers, "_store", replace(desk.workers._store, derive=derive_late))
    # When
    desk.derive()
    # Then
    assert desk.usage("session_id") == [("session-2",)]
    assert [row[1] for row in desk.derived()["sessions"]] == ["session-2"]


def test_the_thread_derives_when_it_is_woken_and_ends_when_it_is_asked(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wake-up is enough; it stops in the middle of its rest."""
    # Given a thread that has nothing to do for a long time
    monkeypatch.setattr(module, "IDLE_S", 1_000.0)
    monkeypatch.setattr(module, "GATHER_S", 0.001)
    desk.workers.start()
    # When
    desk.write(answer(1))
    desk.workers.wake()
    # Then
    wait_until(lambda: marks(desk).get("witnesses") == 1, WAIT_S, "the row is derived from")
    assert desk.workers.states()["usage"] == (True, 0, None)
    desk.workers.stop()
    assert desk.workers.join(WAIT_S)
    assert desk.workers.states()["usage"].running is False


def test_the_thread_gives_way_when_events_wait(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """While more rows are to be read and the pipeline is busy, it rests thrice its work."""
    # Given
    waited: list[float] = []
    monkeypatch.setattr(desk.workers.stopping, "wait", waited.append)
    # When
    desk.workers._rest(0.25, more=True)
    desk.busy = True
    desk.workers._rest(0.25, more=True)
    # Then
    assert waited == [0.75]


def test_workers_of_different_watermarks_catch_up_when_one_begins_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that was set back reads by itself until it is where the others are."""
    # Given
    monkeypatch.setattr(module, "BATCH", 2)
    desk.tell(*(answer(number) for number in range(1, 8)))
    before = desk.derived()
    desk.execute("DELETE FROM watermarks WHERE worker = 'sessions'")
    desk.execute("DELETE FROM stretches")
    # When
    desk.derive()
    # Then
    assert desk.derived() == before
    assert set(marks(desk).values()) == {7}
    assert Sessions.name in marks(desk)
