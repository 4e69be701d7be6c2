"""The wall clock is set by an hour or by ten years while events are on their way."""

import pytest

from blueplane.clock import NS_PER_S, wall_ms, wall_ns
from blueplane.paths import Home
from blueplane.store.hops import hops
from blueplane.store.queries import reading
from helpers.redis_server import RedisServer
from helpers.road import Road, ids, make_event, turn_clock

HOUR_S = 3_600
YEAR_S = 365 * 86_400


@pytest.mark.fault("E1", "E2")
@pytest.mark.parametrize("jump_s", [-HOUR_S, 10 * YEAR_S])
def test_nothing_is_claimed_or_sent_again_when_the_clock_jumps_and_comes_back(
    home: Home, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, jump_s: int
) -> None:
    """What is pending is taken up once by each server, whatever its clock says; both laws close."""
    turned = turn_clock(monkeypatch)
    events = [make_event(number, captured_ns=wall_ns() + number) for number in range(30)]
    road = Road(home, redis_server)
    # Given events that are written, events that are pending, and events that nobody has read
    road.writer.attach()
    road.append(*events[:10])
    road.drain()
    road.append(*events[10:20])
    road.read()
    road.append(*events[20:])
    # When the clock jumps and the server starts again, and once more when it is back
    for number, jump in enumerate((jump_s, -jump_s)):
        road.close()
        turned.wall_shift_ns += jump * NS_PER_S
        road = Road(home, redis_server)
        balance = road.settle()
        # Then everything has its one row, and nothing was recovered, lost or written twice
        assert sorted(road.rows()) == sorted(ids(*events))
        assert balance["balanced"]
        assert [balance[name] for name in ("recovered", "lost", "duplicate", "in_flight")] == [
            0
        ] * 4
        # and the snapshot is of this moment
        with reading(home.database) as reader:
            snapshot = reader.balance()
            assert snapshot is not None
            assert abs(snapshot.as_of_ms - wall_ms()) < HOUR_S * 1000 // 2
            # and no event took less than no time
            row = reader.traces("event_id", events[-1].event_id.hex())[0]
        passed = [hop.since_captured_ms for hop in hops(row)]
        assert min(each for each in passed if each is not None) == 0
        assert (passed[-1] is None) is (jump < 0)
        events.append(make_event(100 + number, captured_ns=wall_ns()))
        road.append(events[-1])  # by this clock, and written by the next
    road.close()
