import threading

import pytest

from blueplane.errors import (
    QueueDetachedError,
    QueueError,
    QueueRefusedError,
    QueueUnavailableError,
)
from blueplane.pipeline.intake import Intake
from helpers.road import Road, ids, make_event, turn_clock
from helpers.waiting import wait_until

WAIT_S = 20.0
BIG = 1 << 40


def test_emit_appends_when_there_is_room(road: Road) -> None:
    """Events enter the stream and are in flight until they are written."""
    # Given
    intake = Intake(road.stream, road.writer, 10, BIG)
    # When
    intake.emit([make_event(0), make_event(1)], threading.Event())
    # Then
    assert (intake.open, len(road.in_flight)) == (True, 2)
    road.drain()
    assert road.rows() == ids(make_event(0), make_event(1))


@pytest.mark.fault("B10", "F8")
@pytest.mark.parametrize("bound", ["entries", "bytes"])
def test_emit_waits_when_the_window_is_full(road: Road, bound: str) -> None:
    """A source waits, by number or by size, until the writer has caught up."""
    # Given a full window
    limits = (1, BIG) if bound == "entries" else (BIG, 10)
    intake = Intake(road.stream, road.writer, *limits)
    intake.emit([make_event(0)], threading.Event())
    done = threading.Event()

    def emit() -> None:
        intake.emit([make_event(1)], threading.Event())
        done.set()

    thread = threading.Thread(target=emit, daemon=True)
    thread.start()
    assert not done.wait(0.1)
    # When the first event is written
    road.drain()
    # Then the second is sent
    assert done.wait(WAIT_S)
    thread.join(WAIT_S)
    road.drain()
    assert road.rows() == ids(make_event(0), make_event(1))


def test_emit_counts_foreign_entries_when_they_fill_the_window(road: Road) -> None:
    """What strangers put into the stream takes room in the window as well."""
    # Given a stream full of foreign entries, as the last answer of Redis has it
    for number in range(3):
        road.append_foreign(make_event(number))
    road.stream.counts()
    intake = Intake(road.stream, road.writer, 3, BIG)
    # When / Then
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(QueueDetachedError, match="window"):
        intake.emit([make_event(9)], stopping)


@pytest.mark.fault("F8")
def test_emit_gives_the_source_back_when_the_window_stays_full(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A window that stays full is a refusal: the source has other things to look after."""
    # Given a full window and a writer that does nothing
    turned = turn_clock(monkeypatch)
    intake = Intake(road.stream, road.writer, 1, BIG)
    intake.emit([make_event(0)], threading.Event())
    caught: list[QueueError] = []

    def emit() -> None:
        try:
            intake.emit([make_event(1)], threading.Event())
        except QueueError as error:
            caught.append(error)

    thread = threading.Thread(target=emit, daemon=True)
    thread.start()
    # When time passes
    wait_until(thread.is_alive, WAIT_S, "the thread runs")

    def pass_time() -> bool:
        turned.sleepless(1)
        return bool(caught)

    wait_until(pass_time, WAIT_S, "emit gave up")
    # Then
    assert isinstance(caught[0], QueueRefusedError)
    intake.recover(caught[0])
    assert road.stream.attached
    assert len(road.in_flight) == 1


def test_emit_ends_when_the_stream_is_detached_meanwhile(road: Road) -> None:
    """Nobody waits for room in a stream that is not there."""
    # Given a full window
    intake = Intake(road.stream, road.writer, 1, BIG)
    intake.emit([make_event(0)], threading.Event())
    caught: list[QueueError] = []

    def emit() -> None:
        try:
            intake.emit([make_event(1)], threading.Event())
        except QueueError as error:
            caught.append(error)

    thread = threading.Thread(target=emit, daemon=True)
    thread.start()
    # When
    road.stream.detach()
    thread.join(WAIT_S)
    # Then
    assert isinstance(caught[0], QueueDetachedError)
    assert intake.open is False


@pytest.mark.parametrize(
    ("error", "attached"),
    [(QueueRefusedError("full"), True), (QueueUnavailableError("gone"), False)],
)
def test_recover_has_the_stream_looked_at_when_it_is_not_known(
    road: Road, error: QueueError, *, attached: bool
) -> None:
    """A refusal changes nothing; an unknown outcome needs an attach."""
    # Given
    intake = Intake(road.stream, road.writer, 10, BIG)
    # When
    intake.recover(error)
    # Then
    assert road.stream.attached is attached
    intake.recover(error)
    assert road.stream.attached is attached
