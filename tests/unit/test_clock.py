import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueplane import clock
from blueplane.clock import iso_utc, monotonic_s, parse_iso_ms, wall_ms, wall_ns
from helpers.road import turn_clock


@given(st.integers(-30_610_224_000_000, 253_402_300_799_999))
def test_time_comes_back_when_it_is_written_and_read(ms: int) -> None:
    """A time survives as text, to the millisecond."""
    # Given / When / Then
    assert parse_iso_ms(iso_utc(ms)) == ms


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00", 0),
        ("1970-01-01", 0),
        ("1970-01-01T02:00:00.001+02:00", 1),
        ("1969-12-31T23:59:59.999Z", -1),
        ("2026-03-29T02:30:00+01:00", 1_774_747_800_000),
    ],
)
def test_time_is_read_when_its_zone_is_given_or_not(text: str, ms: int) -> None:
    """A time without a zone is UTC; one with a zone is the same moment."""
    # Given / When / Then
    assert parse_iso_ms(text) == ms


@pytest.mark.fault("D9")
@pytest.mark.parametrize(
    "text", ["", "now", "2026-13-01", "10000-01-01", "2026-02-30T00:00:00Z", "12"]
)
def test_time_is_refused_when_it_is_none(text: str) -> None:
    """What is no time is a ValueError, and nothing else."""
    # Given / When / Then
    with pytest.raises(ValueError, match=r"."):
        parse_iso_ms(text)


@pytest.mark.fault("D9")
@pytest.mark.parametrize("ms", [10**15, -(10**15), 10**30, -(10**30)])
def test_time_is_refused_when_no_calendar_has_it(ms: int) -> None:
    """A number beyond every calendar is a ValueError."""
    # Given / When / Then
    with pytest.raises(ValueError, match=r"."):
        iso_utc(ms)


@pytest.mark.fault("E1")
def test_clocks_can_be_turned_apart_when_a_test_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wall time may jump; the monotonic clock does not follow it."""
    # Given
    before = (monotonic_s(), wall_ms(), wall_ns())
    turned = turn_clock(monkeypatch)
    # When the wall clock goes back an hour
    turned.wall_shift_ns = -3_600 * clock.NS_PER_S
    # Then
    assert monotonic_s() >= before[0]
    assert wall_ms() < before[1] - 3_000_000
    assert wall_ns() < before[2]
