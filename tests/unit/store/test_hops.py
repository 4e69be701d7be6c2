"""The hops of an event."""

import pytest

from blueplane.store.hops import Hop, hops, written_after


def test_hops_have_distances_when_a_row_is_written() -> None:
    """Each hop has its time, the time since the capture and the time since the hop before."""
    # Given the times of a row
    row = {
        "source": "hook", "captured_ms": 1000, "enqueued_ms": 1003, "delivered_ms": 1003,
        "ingested_ms": 1010,
    }  # fmt: skip
    # When its hops are told / Then they are these
    assert hops(row) == [
        Hop("captured", 1000, 0, 0),
        Hop("enqueued", 1003, 3, 3),
        Hop("delivered", 1003, 3, 0),
        Hop("written", 1010, 10, 7),
    ]


@pytest.mark.fault("E2")
def test_hops_have_no_distance_when_the_clock_went_back() -> None:
    """A duration is never negative: it is not known."""
    # Given a row that was written an hour before it was delivered, by the clock
    row = {
        "source": "hook", "captured_ms": 4_000, "enqueued_ms": 4_003, "delivered_ms": 4_005,
        "ingested_ms": 10,
    }  # fmt: skip
    # When / Then
    assert hops(row)[-2:] == [Hop("delivered", 4_005, 5, 2), Hop("written", 10, None, None)]


@pytest.mark.parametrize(
    ("source", "waited_ms", "known"),
    [("transcript", 60_001, False), ("transcript", 900, True), ("hook", 86_400_000, True)],
)
def test_hops_begin_at_the_reading_when_an_event_is_from_history(
    source: str, waited_ms: int, known: bool
) -> None:
    """How old a line was when it was read is no time on the road; a hand-off's waiting is."""
    # Given an event that was captured some time before it was enqueued
    read_ms = 1_000_000_000
    row = {
        "source": source, "captured_ms": read_ms - waited_ms, "enqueued_ms": read_ms,
        "delivered_ms": read_ms + 3, "ingested_ms": read_ms + 5,
    }  # fmt: skip
    # When
    distances = [(hop.since_captured_ms, hop.since_previous_ms) for hop in hops(row)]
    # Then
    whole = [(0, 0), (waited_ms, waited_ms), (waited_ms + 3, 3), (waited_ms + 5, 2)]
    assert distances == (whole if known else [(None, None), (None, None), (None, 3), (None, 2)])
    assert written_after(row) == (waited_ms + 5 if known else None)
