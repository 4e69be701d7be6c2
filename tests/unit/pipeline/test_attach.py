import pytest

from blueplane.errors import QueueUnavailableError, QueueUnusableError
from blueplane.paths import Home
from blueplane.pipeline.stream import Stream
from blueplane.store.queries import reading
from helpers.redis_server import RedisServer
from helpers.road import Road, heal, ids, make_event, make_row, poison


def restarted(road: Road) -> Road:
    """Return a new server's road on the same home and Redis, not attached yet."""
    road.close()
    return Road(road.home, road.redis)


def test_attach_counts_nothing_when_the_server_is_new(road: Road) -> None:
    """The first attach begins an epoch, and both laws close at zero."""
    # Given an attached server / When the balance is taken
    body = road.settle()
    # Then
    assert body["balanced"] is True
    assert {name: body[name] for name in ("enqueued", "captured", "lost")} == {
        "enqueued": 0,
        "captured": 0,
        "lost": 0,
    }


def test_attach_tells_the_sources_what_is_in_the_stream_when_a_server_restarts(road: Road) -> None:
    """After a restart a source learns which of its origins wait, and nothing of the rest."""
    # Given one event written and two still in the stream, one of them delivered
    done, delivered, waiting = (make_event(number) for number in range(3))
    road.append(done)
    road.drain()
    road.append(delivered, waiting)
    road.read(1)
    # When a new server attaches
    later = restarted(road)
    later.writer.attach()
    # Then
    assert set(later.source.retold[0]) == {delivered.origin, waiting.origin}
    body = later.settle()
    assert later.rows() == ids(done, delivered, waiting)
    assert (body["balanced"], body["written"], body["recovered"], body["lost"]) == (True, 3, 0, 0)
    later.close()


@pytest.mark.fault("B3", "B4")
def test_attach_counts_by_id_when_the_stream_is_lost(road: Road) -> None:
    """What vanished with the stream is recovered if it was ours, else lost, and named."""
    # Given one written event, two of ours and one of a stranger in flight
    road.append(make_event(0))
    road.drain()
    road.append(make_event(1), make_event(2))
    road.append_foreign(make_event(3))
    road.writer.balance()
    own = [key.decode() for key in road.in_flight.ids()]
    # When Redis forgets everything
    road.redis.flush()
    body = road.settle()
    # Then
    assert (body["balanced"], body["recovered"], body["lost"]) == (True, 2, 1)
    with reading(road.home.database) as reader:
        (incident,) = reader.incidents(0)
    assert (incident["count"], incident["recovered"], incident["ids"]) == (3, 2, own)
    assert road.source.retold[-1] == {}


@pytest.mark.fault("B3")
@pytest.mark.parametrize("step", ["begin_epoch", "mirror_dead_letters"])
def test_attach_counts_a_break_once_when_redis_goes_away_in_the_middle(
    road: Road, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """An attach that fails after the break was stored does not count it again when repeated."""
    # Given two events in flight and a stream that is lost
    road.append(make_event(0), make_event(1))
    road.writer.balance()
    road.redis.flush()
    # When Redis goes away in the middle of the attach
    with monkeypatch.context() as patch:

        def gone(*_: object, **__: object) -> None:
            raise QueueUnavailableError(step)

        patch.setattr(Stream, step, gone)
        with pytest.raises(QueueUnavailableError):
            road.writer.attach()
    body = road.settle()
    # Then
    assert (body["balanced"], body["recovered"], body["lost"]) == (True, 2, 0)


@pytest.mark.fault("B11")
def test_attach_counts_deleted_entries_once_when_redis_goes_away_in_the_middle(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the epoch goes on, a break is counted once, however often attaching fails."""
    # Given three events in flight, one of which somebody deletes
    road.append(make_event(0), make_event(1), make_event(2))
    road.writer.balance()
    road.redis.command("XDEL", road.stream.events, road.in_flight.ids()[1])
    # When the attach fails twice after judging
    with monkeypatch.context() as patch:

        def gone(*_: object, **__: object) -> None:
            raise QueueUnavailableError("gone")

        patch.setattr(Stream, "mirror_dead_letters", gone)
        for _ in range(2):
            with pytest.raises(QueueUnavailableError):
                road.writer.attach()
    body = road.settle()
    # Then
    assert (body["balanced"], body["recovered"], body["lost"], body["written"]) == (True, 1, 0, 2)


@pytest.mark.parametrize("held", [0, 4])
def test_attach_loses_nothing_when_killed_between_store_and_redis(
    home: Home, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    """A server killed between storing an epoch and setting it in Redis counts no loss for that."""
    # Given a stream that strangers filled before the first start
    road = Road(home, redis_server)
    for number in range(held):
        road.append_foreign(make_event(number))
    # When the first server dies after the epoch was stored
    with monkeypatch.context() as patch:

        def die(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(Stream, "begin_epoch", die)
        with pytest.raises(KeyboardInterrupt):
            road.writer.attach()
    later = restarted(road)
    body = later.settle()
    # Then
    assert (body["balanced"], body["lost"], body["recovered"]) == (True, 0, 0)
    assert (body["written"], body["foreign"]) == (held, held)
    later.close()


@pytest.mark.fault("B2")
def test_attach_turns_the_epoch_when_redis_lost_the_end_of_its_log(road: Road) -> None:
    """A counter below what was settled shows a lost end: what was in flight there is recovered."""
    # Given three events, written or in flight, and a server that forgets the two last entries
    road.append(make_event(0))
    road.drain()
    road.append(make_event(1), make_event(2))
    road.writer.balance()
    road.redis.command("XTRIM", road.stream.events, "MAXLEN", 0)
    road.redis.command("XSETID", road.stream.events, "9999999999999-0", "ENTRIESADDED", 1,
                       "MAXDELETEDID", "0-0")  # fmt: skip
    # When a new server attaches
    later = restarted(road)
    body = later.settle()
    # Then
    assert (body["balanced"], body["recovered"], body["lost"]) == (True, 2, 0)
    later.close()


def test_attach_removes_entries_that_are_done_when_redis_shows_them_again(road: Road) -> None:
    """An entry that was settled, and is back because Redis lost its end, is not written again."""
    # Given an event that was written, whose entry comes back under its old id
    event = make_event(0)
    road.append(event)
    ((message_id, fields),) = road.read()
    assert fields is not None
    road.hand_over([(message_id, fields)])
    road.redis.command("DEL", road.stream.events)
    road.redis.command("XADD", road.stream.events, message_id, *fields)
    # When a new server attaches
    later = restarted(road)
    later.writer.attach()
    # Then it is gone from the stream at once, and nothing is counted twice
    assert later.redis.client.xlen(later.stream.events) == 0
    body = later.settle()
    assert (body["balanced"], body["written"], body["duplicate"]) == (True, 1, 0)
    assert later.rows() == ids(event)
    later.close()


@pytest.mark.fault("A6")
def test_attach_removes_entries_that_are_done_when_they_were_acknowledged_only(road: Road) -> None:
    """An entry that was acknowledged, and not removed before the server died, is removed."""
    # Given a written event whose entry is acknowledged and still in the stream
    road.append(make_event(0))
    ((message_id, fields),) = road.read()
    road.redis.command("XACK", road.stream.events, "processors", message_id)
    road.commits.write([make_row(road.commits, make_event(0), message_id)])
    assert fields
    # When a new server attaches
    later = restarted(road)
    later.writer.attach()
    # Then
    assert later.redis.client.xlen(later.stream.events) == 0
    body = later.settle()
    assert (body["balanced"], body["written"], body["in_flight"]) == (True, 1, 0)
    later.close()


@pytest.mark.fault("B20")
def test_attach_is_refused_when_the_stream_belongs_to_another_home(road: Road) -> None:
    """A stream with another home's epoch is left alone, and both homes are named."""
    # Given a stream of another home
    road.redis.command("SET", "telemetry:epoch", "feedfacefeedface:abc")
    # When our server attaches / Then
    with pytest.raises(QueueUnusableError, match=r"feedfacefeedface.*0123456789abcdef"):
        road.writer.attach()
    assert road.stream.attached is False


@pytest.mark.fault("B18")
def test_attach_takes_over_pending_entries_when_another_consumer_is_gone(road: Road) -> None:
    """Entries that were delivered to a consumer that is no more are written."""
    # Given an entry delivered to somebody else in our group
    road.append(make_event(0))
    road.redis.command(
        "XREADGROUP", "GROUP", "processors", "stranger", "STREAMS", road.stream.events, ">"
    )
    # When a new server attaches
    later = restarted(road)
    later.settle()
    # Then
    assert later.rows() == ids(make_event(0))
    later.close()


def test_attach_scans_all_of_it_when_the_stream_has_many_entries(road: Road) -> None:
    """Every origin is found, however many pages the stream has."""
    # Given more entries than a page of the scan
    events = [make_event(number) for number in range(1_203)]
    road.append(*events)
    # When a new server attaches
    later = restarted(road)
    later.writer.attach()
    # Then
    assert set(later.source.retold[0]) == {event.origin for event in events}
    assert later.in_flight.bytes > 0
    later.close()


@pytest.mark.fault("B7")
def test_attach_drains_the_stream_when_redis_is_out_of_memory(road: Road) -> None:
    """A server that starts while Redis is full attaches and empties it, whatever else must wait."""
    # Given a stream with events, an open dead letter, and no memory left
    bad, waiting = make_event(0), make_event(1)
    road.writer.max_retries = 1
    connection = road.commits._connection
    road.append(bad, waiting)
    poison(connection, bad)
    road.hand_over(road.read(1))
    heal(connection)
    (letter,) = road.commits.letters.open_reasons()
    road.writer.balance()
    road.redis.config_set("maxmemory", 1)
    # When a new server starts, and the letter is retried
    later = restarted(road)
    later.writer.attach()
    later.writer.letters.retry([letter])
    later.writer.letters.send_waiting()
    # Then the stream is emptied, and the letter is sent once there is room
    assert later.stream.attached
    later.settle()
    assert later.rows() == ids(waiting)
    assert later.redis.client.xlen(later.stream.events) == 0
    later.redis.config_set("maxmemory", 0)
    later.writer.letters.send_waiting()
    body = later.settle()
    assert later.rows() == ids(waiting, bad)
    assert (body["balanced"], body["lost"], body["recovered"]) == (True, 0, 0)
    later.close()
