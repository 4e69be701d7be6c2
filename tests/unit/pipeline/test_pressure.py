from types import SimpleNamespace
from typing import Any, cast

import pytest

from blueplane.pipeline import pressure as module
from blueplane.pipeline.intake import WINDOW_FULL
from blueplane.pipeline.measures import BatchTime
from blueplane.pipeline.pressure import Pressure
from helpers.road import TurnedClock, turn_clock


class Stand:
    """Intake, stream and writer as ``Pressure`` sees them, and what it logs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock: TurnedClock = turn_clock(monkeypatch)
        self.intake = SimpleNamespace(
            open=True, holders=set(), waits_for="", waited_s=float("-inf"), in_flight=7, window=9
        )
        self.stream = SimpleNamespace(attached=True)
        self.writer = SimpleNamespace(
            store_error=None, measures=SimpleNamespace(batches=[BatchTime(0.0, 100, 250.0)])
        )
        self.held = 0
        self.lines: list[tuple[str, Any]] = []
        log = SimpleNamespace(
            warning=lambda _event, **fields: self.lines.append(("on", fields["reason"])),
            info=lambda _event, **fields: self.lines.append(("off", round(fields["seconds"]))),
        )
        monkeypatch.setattr(module, "_log", log)
        self.pressure = Pressure(
            cast("Any", self.intake),
            cast("Any", self.stream),
            cast("Any", self.writer),
            backlog=lambda: self.held,
            trouble=lambda: "frozen",
        )

    def wait(self, seconds: float, reason: str = WINDOW_FULL) -> None:
        """Let a source wait, and look once a second."""
        for _ in range(int(seconds)):
            self.clock.sleepless(1)
            self.intake.waits_for, self.intake.waited_s = reason, self.clock.monotonic()
            self.pressure.look()

    def flow(self, seconds: float) -> None:
        """Let time pass without a wait."""
        for _ in range(int(seconds)):
            self.clock.sleepless(1)
            self.pressure.look()


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Stand:
    """Give a server that is well."""
    return Stand(monkeypatch)


def test_pressure_is_one_line_at_each_end_when_sources_wait(stand: Stand) -> None:
    """However long it lasts, and if the window empties now and then meanwhile."""
    # When sources wait, flow for a moment, wait, and flow
    stand.wait(10)
    stand.flow(3)
    stand.wait(10)
    status = stand.pressure.status()
    stand.flow(10)
    # Then
    assert stand.lines == [("on", "the database is slow: a commit of 100 took 250 ms"), ("off", 22)]
    assert (status["state"], round(status["since_s"])) == ("sources wait", 22)
    assert (status["in_flight"], status["window"]) == (7, 9)
    assert stand.pressure.status()["state"] == "none"


def test_pressure_is_no_word_worth_when_it_was_brief(stand: Stand) -> None:
    """A window that is full for a moment is how it is meant to work."""
    stand.wait(1)
    stand.flow(10)
    assert stand.lines == []


def test_pressure_tells_a_slow_database_from_one_that_is_away(stand: Stand) -> None:
    """The reason is that of the moment, in the order of what a person must do."""
    # Given
    stand.wait(3)
    assert "slow" in stand.pressure.status()["reason"]
    # When / Then: the disk is full
    stand.held = 5
    stand.writer.store_error = "SQLITE_FULL"
    stand.flow(1)
    assert stand.pressure.status()["reason"] == "the database cannot be written: SQLITE_FULL"
    # When / Then: redis is away
    stand.writer.store_error = None
    stand.intake.open = stand.stream.attached = False
    stand.flow(1)
    assert stand.pressure.status()["reason"] == "redis is away: frozen"
    # When / Then: redis is there, and takes nothing
    stand.intake.open = stand.stream.attached = True
    stand.wait(1, "OOM")
    assert stand.pressure.status()["reason"] == "OOM"
    # When / Then: something holds the sources back
    stand.intake.open = False
    stand.intake.holders = {"forget"}
    stand.flow(1)
    assert "forget" in stand.pressure.status()["reason"]


def test_pressure_is_none_when_nothing_waits(stand: Stand) -> None:
    """A Redis that is away while nobody has an event for it holds up nobody."""
    stand.intake.open = stand.stream.attached = False
    stand.flow(10)
    assert (stand.lines, stand.pressure.status()["state"]) == ([], "none")
