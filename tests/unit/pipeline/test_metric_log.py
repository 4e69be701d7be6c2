"""Figures of today in a real Redis, and in one with the module TimeSeries."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blueplane.errors import QueueError
from blueplane.pipeline.metric_log import CHANNEL, HASH_MS, SERIES_MS, Current, MetricLog
from helpers.redis_server import RedisServer
from helpers.series_server import SeriesServer

DAY = "2026-11-20"
AT_MS = 1_795_000_000_000
KEY = b"ours:metric:errors:error_rate"


def figure(value: float | None, name: str = "error_rate") -> Current:
    """Make a figure of errors."""
    return Current("errors", name, "share", "exact", value, 8)


@pytest.fixture
def told(redis_server: RedisServer) -> Iterator[Any]:
    """Give a subscription to the channel of changes."""
    with redis_server.client.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe(f"ours:{CHANNEL}")
        while listener.get_message(timeout=5) is None and not listener.subscribed:
            pass
        yield listener


def heard(listener: Any) -> dict[str, Any]:
    """Return the next message."""
    message = None
    while message is None:
        message = listener.get_message(timeout=5)
    found: dict[str, Any] = json.loads(message["data"])
    return found


def test_figures_are_hashes_when_the_server_has_no_module(redis_server: RedisServer) -> None:
    """With unit, n and day; they go by themselves, and one that is not known any more at once."""
    # Given
    log = MetricLog(lambda: redis_server.url, "ours:")
    # When
    log.write(DAY, AT_MS, [figure(0.25), figure(None, "recovery_rate")])
    # Then
    assert redis_server.command("KEYS", "*") == [KEY]
    fields = redis_server.client.hgetall(KEY)
    assert (fields[b"value"], fields[b"n"], fields[b"unit"]) == (b"0.25", b"8", b"share")
    assert (fields[b"day"], fields[b"at_ms"]) == (DAY.encode(), str(AT_MS).encode())
    assert 0 < redis_server.command("PTTL", KEY) <= HASH_MS
    log.write(DAY, AT_MS, [figure(None)])
    assert redis_server.command("KEYS", "*") == []


def test_changes_are_told_when_somebody_listens(redis_server: RedisServer, told: Any) -> None:
    """Only what changed; nothing when nothing did."""
    # Given
    log = MetricLog(lambda: redis_server.url, "ours:")
    # When
    log.write(DAY, AT_MS, [figure(0.25), figure(0.5, "recovery_rate")])
    log.write(DAY, AT_MS, [figure(0.25), figure(0.5, "recovery_rate")])
    log.write(DAY, AT_MS + 1, [figure(0.25), figure(None, "recovery_rate")])
    # Then
    first, second = heard(told), heard(told)
    assert first["figures"] == {"errors:error_rate": 0.25, "errors:recovery_rate": 0.5}
    assert second == {"day": DAY, "at_ms": AT_MS + 1, "figures": {"errors:recovery_rate": None}}


def test_key_of_a_stranger_stays_when_it_has_our_name(redis_server: RedisServer) -> None:
    """It is an error, and the stranger's value is as it was."""
    # Given
    redis_server.command("SET", KEY, "theirs")
    log = MetricLog(lambda: redis_server.url, "ours:")
    # When / Then
    for value in (0.25, None):
        with pytest.raises(QueueError):
            log.write(DAY, AT_MS, [figure(value)])
    assert redis_server.command("GET", KEY) == b"theirs"


def test_figures_are_series_when_the_server_has_the_module(tmp_path: Path) -> None:
    """With labels, and kept by the server for a week."""
    # Given
    with SeriesServer(tmp_path) as server:
        log = MetricLog(lambda: server.url, "ours:")
        # When
        log.write(DAY, AT_MS, [figure(0.25), figure(None, "recovery_rate")])
        # Then
        assert server.series == {KEY.decode(): {AT_MS: 0.25}}
        labels = {"blueplane=ours:metric", "category=errors", "metric=error_rate"}
        assert server.labels[KEY.decode()] == labels
        (added,) = (words for words in server.commands if words[0] == "TS.ADD")
        assert added[added.index("RETENTION") + 1] == str(SERIES_MS)
