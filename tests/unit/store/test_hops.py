"""The hops of an event."""

import pytest

from blueplane.store.hops import Hop, hops


def test_hops_have_distances_when_a_row_is_written() -> None:
    """Each hop has its time, the time since the capture and the time since the hop before."""
    # Given the times of a row
    row = {"captured_ms": 1000, "enqueued_ms": 1003, "delivered_ms": 1003, "ingested_ms": 1010}
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
    row = {"captured_ms": 4_000, "enqueued_ms": 4_003, "delivered_ms": 4_005, "ingested_ms": 10}
    # When / Then
    assert hops(row)[-2:] == [Hop("delivered", 4_005, 5, 2), Hop("written", 10, None, None)]
