"""The health thread: what it publishes, and what a failing part costs."""

import pytest

from blueplane.errors import StoreUnavailableError
from blueplane.health.check import Colour, Moment, Report, Snapshot
from blueplane.health.sampler import Sampler


class Fixed:
    """A monitor that finds, or raises, what the test says."""

    def __init__(self, component: str, error: Exception | None = None) -> None:
        self.component = component
        self.error = error

    def look(self, _moment: Moment) -> Report:
        if self.error is not None:
            raise self.error
        return Report(self.component, {"figure": 1})


@pytest.mark.parametrize("error", [StoreUnavailableError("away"), ZeroDivisionError("a bug")])
def test_sampler_goes_on_when_a_monitor_fails(error: Exception) -> None:
    """A monitor that raises costs its own figures, and is no reason to end the thread."""
    # Given a monitor that fails, and one that does not
    failing = Fixed("queue", error)
    sampler = Sampler([failing, Fixed("chain")])
    # When a look is taken, and another when it is over
    first = sampler.take()
    failing.error = None
    second = sampler.take()
    # Then
    assert (first.reports["queue"].colour, first.reports["chain"].colour) == (
        Colour.ORANGE, Colour.GREEN,
    )  # fmt: skip
    assert "away" not in str(first.body())
    assert second.colour is Colour.GREEN
    assert sampler.snapshot is second


def test_sampler_tells_every_listener_also_when_one_fails(caplog: pytest.LogCaptureFixture) -> None:
    """A listener that raises does not keep the next from hearing, and is logged once."""
    # Given
    heard: list[Snapshot] = []

    def broken(_snapshot: Snapshot, _moment: Moment) -> None:
        raise ZeroDivisionError

    sampler = Sampler([Fixed("chain")], [broken, lambda snapshot, _: heard.append(snapshot)])
    # When
    with caplog.at_level("ERROR", "blueplane"):
        looks = [sampler.take(), sampler.take()]
    # Then
    assert heard == looks
    assert caplog.text.count("failed") == 1
