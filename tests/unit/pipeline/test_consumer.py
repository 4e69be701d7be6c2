import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest

from blueplane.errors import QueueDetachedError
from blueplane.paths import Home
from blueplane.pipeline import consumer as module
from blueplane.pipeline.consumer import Consumer
from blueplane.pipeline.stream import Stream
from helpers.redis_server import RedisServer
from helpers.road import Road, ids, make_event
from helpers.waiting import wait_until

WAIT_S = 20.0


class Running:
    """A road whose writer and consumer run in their threads."""

    def __init__(self, road: Road) -> None:
        self.road = road
        self.consumer = Consumer(road.stream, road.writer)

    def start(self) -> None:
        self.road.writer.start()
        self.consumer.start()
        wait_until(lambda: self.road.stream.attached, WAIT_S, "attached")

    def wait_rows(self, count: int) -> None:
        wait_until(lambda: len(self.road.rows()) == count, WAIT_S, f"{count} rows")

    def stop(self) -> None:
        for service in (self.consumer, self.road.writer):
            service.stop()
            assert service.join(WAIT_S)


@pytest.fixture
def running(
    home: Home, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Running]:
    """Give consumer and writer, not started yet; they are stopped in the end."""
    monkeypatch.setattr(module, "ATTACH_S", (0.02, 0.1))
    monkeypatch.setattr(module, "ATTACH_APART_S", 0.02)
    running = Running(Road(home, redis_server))
    yield running
    running.stop()
    running.road.close()


def test_consumer_writes_what_is_appended_when_it_follows(running: Running) -> None:
    """An event that is appended is written without anybody asking."""
    # Given
    running.start()
    # When
    running.road.append(make_event(0))
    running.road.append(make_event(1))
    # Then
    running.wait_rows(2)
    assert running.consumer.trouble is None


@pytest.mark.fault("A3", "A4")
def test_consumer_takes_its_pending_entries_first_when_it_starts(running: Running) -> None:
    """What was delivered to a server that died is written before what is new."""
    # Given two entries delivered and never settled, and one that is new
    road = running.road
    road.writer.attach()
    road.append(make_event(0), make_event(1))
    road.read()
    road.append(make_event(2))
    # When
    running.start()
    # Then
    running.wait_rows(3)
    assert road.rows() == ids(make_event(0), make_event(1), make_event(2))


@pytest.mark.fault("B10")
def test_consumer_reads_larger_batches_when_a_backlog_waits(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches grow while more waits than fits, up to their bound, and all of it is written."""
    # Given a backlog, and a note of what is read
    asked: list[int] = []
    read_new = Stream.read_new

    def reading(stream: Stream, count: int, block_ms: int) -> object:
        asked.append(count)
        return read_new(stream, count, block_ms)

    monkeypatch.setattr(Stream, "read_new", reading)
    running.road.writer.attach()
    running.road.append(*(make_event(number) for number in range(2_500)))
    # When
    running.start()
    # Then
    running.wait_rows(2_500)
    assert asked[0] == module.BATCH
    assert max(asked) == module.MAX_BATCH


@pytest.mark.fault("B2")
def test_consumer_goes_on_when_redis_comes_back(running: Running) -> None:
    """Redis killed and started again is a pause, and nothing else."""
    # Given
    running.start()
    running.road.append(make_event(0))
    running.wait_rows(1)
    # When
    running.road.redis.kill()
    wait_until(lambda: running.consumer.trouble, WAIT_S, "trouble is known")
    assert "does not answer" in str(running.consumer.trouble)
    running.road.redis.start()
    wait_until(lambda: running.road.stream.attached, WAIT_S, "attached again")
    running.road.append(make_event(1))
    # Then
    running.wait_rows(2)


@pytest.mark.fault("B5")
def test_consumer_makes_the_group_anew_when_it_is_destroyed(running: Running) -> None:
    """A destroyed group costs an attach, and no event."""
    # Given
    running.start()
    # When
    running.road.redis.command("XGROUP", "DESTROY", running.road.stream.events, "processors")
    running.road.append_foreign(make_event(0))
    # Then
    running.wait_rows(1)


def test_consumer_says_a_trouble_once_when_it_lasts(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same trouble is one line of the log, however often attaching is tried."""
    # Given
    said: list[tuple[str, object]] = []
    monkeypatch.setattr(
        type(module._log), "_write", lambda _, __, event, fields: said.append((event, fields))
    )
    running.road.redis.kill()
    tried = threading.Event()
    attach = running.road.writer.attach
    times: list[int] = []

    def counting() -> None:
        times.append(1)
        if len(times) > 3:
            tried.set()
        attach()

    monkeypatch.setattr(running.road.writer, "attach", counting)
    # When
    running.road.writer.start()
    running.consumer.start()
    assert tried.wait(WAIT_S)
    # Then
    assert [event for event, _ in said].count("not reading") == 1
    running.road.redis.start()
    wait_until(lambda: running.road.stream.attached, WAIT_S, "attached")


def test_consumer_ends_at_once_when_it_waits_for_an_entry(running: Running) -> None:
    """A stop does not wait for the end of a read that waits."""
    # Given a consumer that waits
    running.start()
    running.road.append(make_event(0))
    running.wait_rows(1)
    # When
    running.consumer.stop()
    # Then
    assert running.consumer.join(4.0)


def test_consumer_ends_when_it_waits_for_a_writer_that_is_dead(running: Running) -> None:
    """An attach that nobody answers ends with the stop of the consumer."""
    # Given a consumer without a writer
    running.consumer.start()
    wait_until(lambda: not running.road.writer.inbox.empty(), WAIT_S, "the attach was asked for")
    # When
    running.consumer.stop()
    # Then
    assert running.consumer.join(WAIT_S)


def test_consumer_attaches_no_faster_than_it_may_when_told_to_again_and_again(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two attaches that succeed are apart, lest somebody makes a hot loop of us."""
    # Given a group that is never there
    monkeypatch.setattr(module, "ATTACH_APART_S", 0.2)
    moments: list[float] = []
    attach = running.road.writer.attach

    def noting() -> None:
        moments.append(module.monotonic_s())
        attach()

    def no_group(*_: object) -> None:
        raise QueueDetachedError("NOGROUP")

    monkeypatch.setattr(running.road.writer, "attach", noting)
    monkeypatch.setattr(Stream, "read_history", no_group)
    # When
    running.road.writer.start()
    running.consumer.start()
    wait_until(lambda: len(moments) > 3, WAIT_S, "several attaches")
    # Then
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    assert min(gaps) >= 0.19
