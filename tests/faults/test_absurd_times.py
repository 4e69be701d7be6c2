"""Events out of order, from long ago and from the far future: rows like any other."""

from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blueplane.config import load
from blueplane.event import MAX_INT
from blueplane.interfaces.cli.survey import survey
from blueplane.store.queries import reading
from helpers.road import Road, make_event

#: The first and the last millisecond that a calendar has.
YEAR_1_MS = -62_135_596_800_000
YEAR_9999_MS = 253_402_300_799_999
numbers = count(1)
moments = st.tuples(
    st.sampled_from([YEAR_1_MS, 0, YEAR_9999_MS]) | st.integers(YEAR_1_MS, YEAR_9999_MS),
    st.sampled_from([0, 1, MAX_INT]) | st.integers(0, MAX_INT),
    st.booleans(),
)


@pytest.mark.fault("E3", "D9")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(moments, min_size=1, max_size=20))
def test_events_are_rows_and_the_status_is_shown_whatever_time_they_have(
    road: Road, drawn: list[tuple[int, int, bool]]
) -> None:
    """Any time of the editor's and of ours, in any order: written once, as it was, and shown."""
    # Given events of any time, some of them a stranger's
    session = f"session-{next(numbers)}"
    before = road.settle()
    events = [
        make_event(next(numbers), session_id=session, timestamp_ms=timestamp, captured_ns=captured)
        for timestamp, captured, _ in drawn
    ]
    # When they are written
    for event, (_, _, is_foreign) in zip(events, drawn, strict=True):
        if is_foreign:
            road.append_foreign(event)
        else:
            road.append(event)
    balance = road.settle()
    # Then each is a row with its times
    with reading(road.home.database) as reader:
        rows = reader.traces("session_id", session)
    found = {(row["event_id"], row["timestamp_ms"], row["captured_ms"]) for row in rows}
    assert found == {
        (event.event_id.hex(), event.timestamp_ms, event.captured_ns // 1_000_000)
        for event in events
    }
    assert balance["written"] == before["written"] + len(events)
    assert balance["balanced"]
    # and the status can be told
    answer = survey(road.home, load(road.home, {}))
    assert answer["total"]["written"] == answer["store"]["rows"] == balance["written"]
    assert answer["rows"][0]["last_capture_age_ms"] >= 0
