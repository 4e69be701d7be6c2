"""Figures: the same look for numbers, durations, ages, sizes and moments everywhere."""

import time
from collections.abc import Iterator

import pytest

from blueplane.figures import (
    UNKNOWN,
    age,
    count,
    lasting,
    milliseconds,
    moment,
    number,
    percent,
    shown,
    size,
)


@pytest.fixture
def _india(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give a time zone five and a half hours ahead of UTC."""
    monkeypatch.setenv("TZ", "IST-5:30")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (number(None), UNKNOWN),
        (number(0), "0"),
        (number(100), "100"),
        (number(1_234_567), "1,234,567"),
        (number(3.14159), "3.14"),
        (number(-1200.5), "-1,200.5"),
        (percent(None), UNKNOWN),
        (percent(1), "100 %"),
        (percent(0.999999), "99.99 %"),
        (percent(0.95), "95 %"),
        (percent(0), "0 %"),
        (milliseconds(None), UNKNOWN),
        (milliseconds(0.134), "0.13 ms"),
        (milliseconds(999.4), "999.4 ms"),
        (milliseconds(1500), "1.5 s"),
        (milliseconds(120_000), "2 min"),
        (milliseconds(86_400_000), "1 d"),
        (age(None), UNKNOWN),
        (age(999), "now"),
        (age(3999), "3 s ago"),
        (age(7_200_000), "2 h ago"),
        (age(-5000), "in 5 s"),
        (lasting(400), "less than 1 s"),
        (lasting(8_900), "8 s"),
        (lasting(7_200_000), "2 h"),
        (size(None), UNKNOWN),
        (size(1023), "1023 B"),
        (size(1536), "1.5 KB"),
        (size(5 * 1024**3), "5.0 GB"),
        (moment(None), UNKNOWN),
        (count(1, "event"), "1 event"),
        (count(1200, "event"), "1,200 events"),
        (shown(None), UNKNOWN),
        (shown(True), "yes"),  # noqa: FBT003 - the value under test
        (shown(b"\x0f"), "0f"),
    ],
)
def test_figure_reads_well_when_shown(text: str, wanted: str) -> None:
    """Numbers, durations, ages and sizes look the same everywhere; unknown is a dash."""
    assert text == wanted


@pytest.mark.usefixtures("_india")
def test_moment_is_local_when_shown() -> None:
    """A moment is shown to the millisecond, in the time zone of whoever looks."""
    # Given a moment near midnight in UTC / When it is shown / Then it is the next day there
    assert moment(1_795_130_999_007) == "2026-11-20 04:59:59.007"
