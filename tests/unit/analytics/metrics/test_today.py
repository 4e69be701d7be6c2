"""Today's figures are told once for all that was measured, and later when they cannot be."""

from collections.abc import Sequence

import pytest

from blueplane.analytics.metrics import today
from blueplane.analytics.metrics.today import Today
from blueplane.days import date_of, local_day
from blueplane.errors import QueueUnavailableError
from blueplane.pipeline.metric_log import Current, MetricLog
from blueplane.threads import Backoff
from helpers.desk import T0_MS, Desk
from helpers.histories import tell_days
from helpers.redis_server import RedisServer


class Log(MetricLog):
    """Takes what is told, unless it is away."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, float | None]]] = []
        self.away = False

    def write(self, day: str, at_ms: int, figures: Sequence[Current]) -> None:
        """Take the figures."""
        if self.away:
            raise QueueUnavailableError(str(at_ms))
        self.told.append((day, {each.name: each.value for each in figures}))


@pytest.fixture(autouse=True)
def calendar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have it be the day of the story."""
    monkeypatch.setattr(today, "today", lambda: local_day(T0_MS))


def test_figures_of_today_are_told_when_something_was_measured(desk: Desk) -> None:
    """Once, however many portions there were; what was yesterday is not in them."""
    # Given
    log = Log()
    teller = Today(desk.database, log)
    woken: list[None] = []
    desk.workers.followed = lambda: (woken.append(None), teller.wake())[0]
    teller.tell()
    assert log.told == []
    # When
    tell_days(desk, [1], T0_MS)
    tell_days(desk, [0], T0_MS)
    teller.tell()
    teller.tell()
    # Then
    assert len(woken) > 1
    ((day, figures),) = log.told
    assert day == date_of(local_day(T0_MS)).isoformat()
    assert figures["tool_calls"] == 16
    assert figures["prompt_words_avg"] is None


def test_figures_are_told_later_when_redis_was_away(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at every call, and nothing is raised."""
    # Given
    log = Log()
    teller = Today(desk.database, log)
    now_s = 100.0
    monkeypatch.setattr(today, "monotonic_s", lambda: now_s)
    monkeypatch.setattr(Backoff, "next_s", lambda _: 5.0)
    log.away = True
    # When
    teller.wake()
    teller.tell()
    log.away = False
    teller.tell()
    # Then
    assert log.told == []
    now_s = 106.0
    teller.tell()
    assert len(log.told) == 1


def test_figures_are_in_redis_when_a_portion_was_stored(
    desk: Desk, redis_server: RedisServer
) -> None:
    """Under their category and name, as the catalogue has them."""
    # Given
    teller = Today(desk.database, MetricLog(lambda: redis_server.url))
    desk.workers.followed = teller.wake
    # When
    tell_days(desk, [0], T0_MS)
    teller.tell()
    # Then
    assert redis_server.client.hget("metric:tools:tool_calls", "value") == b"16"
    assert redis_server.client.exists("metric:rhythm:prompt_words_avg") == 0
