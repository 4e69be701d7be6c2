"""What the writer measures, alone and with the writer that notes it."""

import pytest

from blueplane.errors import RowRefusedError, StoreFullError, StoreUnavailableError
from blueplane.pipeline.commits import Commits
from blueplane.pipeline.measures import MAX_BATCHES, Measures
from blueplane.store.traces import Inserted, Row
from helpers.road import Road, heal, make_event, poison, turn_clock

HOUR_S = 3600.0


@pytest.fixture
def measures() -> Measures:
    """Give the measures of a server that has just started."""
    return Measures()


def test_measures_keep_batches_when_they_are_durable(measures: Measures) -> None:
    """A batch has its rows and milliseconds; each event its place in the histogram."""
    # Given / When
    measures.batch(0.004, [0, 1, 3, 700, -5])
    # Then the clock that went back counts as no time at all
    assert [(batch.rows, batch.ms) for batch in measures.batches] == [(5, 4.0)]
    assert (measures.succeeded, measures.failed, measures.last_error) == (5, 0, None)
    assert dict(measures.road_ms) == {0: 2, 1: 1, 2: 1, 10: 1}
    assert measures.road_sum_ms == 704


def test_measures_stay_small_when_the_server_runs_for_long(
    measures: Measures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The times of batches, and the minutes of an hour, are bounded."""
    # Given a day with a batch in every minute, and many in one of them
    turned = turn_clock(monkeypatch)
    for _ in range(24 * 60):
        turned.sleepless(60)
        measures.batch(0.001, [1])
    # When
    for _ in range(MAX_BATCHES):
        measures.batch(0.001, [1])
    # Then
    assert len(measures.batches) == MAX_BATCHES
    assert len(measures.minutes) == 60


def test_measures_forget_by_the_minute_when_an_hour_has_passed(
    measures: Measures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What counts in the last hour is this minute and the 59 before; the totals only grow."""
    # Given successes and failures, and more of both half an hour later
    turned = turn_clock(monkeypatch)
    measures.batch(0.001, [1] * 8)
    measures.failure(2, RowRefusedError("poison"))
    turned.sleepless(HOUR_S / 2)
    measures.batch(0.001, [1])
    # When / Then
    assert measures.last_hour(turned.monotonic()) == (9, 2)
    turned.sleepless(HOUR_S / 2)
    assert measures.last_hour(turned.monotonic()) == (1, 0)
    turned.sleepless(HOUR_S / 2)
    assert measures.last_hour(turned.monotonic()) == (0, 0)
    assert (measures.succeeded, measures.failed) == (9, 2)


def test_measures_count_one_batch_when_an_outage_refuses_many(measures: Measures) -> None:
    """However often the store is tried, an outage costs the first batch; the next one its own."""
    # Given an outage that was noticed without a batch
    full = StoreFullError("/home/nobody/telemetry.db: full")
    measures.outage(0, full)
    assert (measures.failed, measures.last_error) == (0, "StoreFullError")
    # When batches are refused / Then the first of them counts
    for events in (7, 7, 9):
        measures.outage(events, full)
    assert measures.failed == 7
    # and with the next outage one more
    measures.end_outage()
    measures.outage(5, full)
    measures.outage(0, full)
    measures.outage(5, full)
    assert measures.failed == 12


def test_writer_counts_an_event_once_when_it_fails_again_and_again(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A poisoned event is one failure, however often it is tried and its batch is halved."""
    # Given
    turned = turn_clock(monkeypatch)
    events = [make_event(number) for number in range(20)]
    poison(road.commits._connection, events[13])
    road.append(*events)
    # When
    road.drain()
    for _ in range(3):
        turned.sleepless(10)
        road.writer._retry_due()
    # Then the class of the error is kept, and none of its words
    measures = road.writer.measures
    assert (measures.succeeded, measures.failed) == (19, 1)
    assert measures.last_error == "RowRefusedError"
    assert measures.last_failure_ms is not None
    assert road.commits.letters.counts()["open"] == 1


def test_writer_counts_both_when_an_event_failed_and_was_written(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What failed and was written later has failed once, and succeeded once."""
    # Given
    turned = turn_clock(monkeypatch)
    poison(road.commits._connection, make_event(0))
    road.append(make_event(0))
    road.drain()
    # When
    heal(road.commits._connection)
    turned.sleepless(10)
    road.writer._retry_due()
    # Then
    assert (road.writer.measures.succeeded, road.writer.measures.failed) == (1, 1)


@pytest.mark.fault("C1")
def test_writer_counts_the_batch_once_when_the_store_is_away_for_a_while(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that is tried until the store takes it is one failure of its events per outage."""
    # Given a store that refuses three times
    write, refusals = Commits.write, [StoreUnavailableError("locked") for _ in range(3)]

    def refusing(commits: Commits, rows: list[Row]) -> Inserted:
        if refusals:
            raise refusals.pop()
        return write(commits, rows)

    monkeypatch.setattr(Commits, "write", refusing)
    road.append(*(make_event(number) for number in range(4)))
    # When
    road.drain()
    # Then
    measures = road.writer.measures
    assert (measures.succeeded, measures.failed) == (4, 4)
    assert measures.last_error == "StoreUnavailableError"
    # and another outage counts anew
    refusals.append(StoreUnavailableError("locked"))
    road.append(make_event(5))
    road.drain()
    assert (measures.succeeded, measures.failed) == (5, 5)


def test_writer_notes_acknowledgements_when_they_were_answered(road: Road) -> None:
    """Messages count as settled when Redis has said so; what is sent may still fail."""
    # Given a batch whose acknowledgement is sent
    measures = road.writer.measures
    road.append(make_event(0), make_event(1))
    before_s = measures.settled_s
    road.hand_over(road.read())
    assert (measures.settled, measures.settled_s) == (0, before_s)
    # When it is answered
    road.writer._finish()
    # Then
    assert measures.settled == 2
    assert measures.settled_s > before_s
    road.writer._finish()
    assert measures.settled == 2


def test_writer_notes_no_acknowledgement_when_redis_is_gone(road: Road) -> None:
    """A connection that ends with an acknowledgement on it has settled nothing."""
    # Given a batch in hand, and a Redis that ends
    road.append(make_event(0))
    entries = road.read()
    road.redis.kill()
    # When it is written and acknowledged
    road.hand_over(entries)
    road.writer._finish()
    road.writer._finish()
    # Then
    assert road.writer.measures.succeeded == 1
    assert road.writer.measures.settled == 0


@pytest.mark.parametrize("finishes", [True, False])
def test_writer_notes_no_acknowledgement_when_it_had_to_attach_again(
    road: Road, *, finishes: bool
) -> None:
    """An answer that was given up is nobody's; the attach takes it out and counts none."""
    # Given an acknowledgement that is sent, and a stream that is given up
    road.append(make_event(0))
    road.hand_over(road.read())
    road.writer.reattach()
    # When the writer goes on
    if finishes:
        road.writer._finish()
    road.writer.attach()
    road.append(make_event(1))
    road.drain()
    # Then
    assert road.writer.measures.succeeded == 2
    assert road.writer.measures.settled == 1
