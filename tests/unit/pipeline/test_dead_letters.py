import pytest

from blueplane.pipeline import dead_letters as module
from blueplane.pipeline.dead_letters import pack_fields, unpack_fields, with_origin
from helpers.road import Road, heal, ids, make_event, poison


def bury(road: Road, number: int = 0) -> str:
    """Make an event a dead letter; return its id."""
    event = make_event(number)
    poison(road.commits._connection, event)
    road.writer.max_retries = 1
    road.append(event)
    road.drain()
    heal(road.commits._connection)
    return list(road.commits.letters.open_reasons())[0]  # noqa: RUF015 - the newest


def test_retry_sends_the_letter_as_a_new_message_when_asked(road: Road) -> None:
    """A retried event is waiting, then written; the mirror forgets it at once."""
    # Given
    letter_id = bury(road)
    # When
    assert road.writer.letters.retry([letter_id, "1-1"]) == [letter_id]
    assert road.redis.client.hlen(road.stream.dead_letters) == 0
    road.writer.letters.send_waiting()
    road.writer.balance()
    assert (road.balance()["waiting"], road.balance()["balanced"]) == (1, True)
    road.writer.letters.send_waiting()
    road.drain()
    # Then
    body = road.settle()
    assert road.rows() == ids(make_event(0))
    assert (body["balanced"], body["captured"], body["written"], body["enqueued"]) == (
        True,
        1,
        1,
        2,
    )


@pytest.mark.fault("A8")
def test_retry_is_sent_by_the_next_server_when_this_one_dies(road: Road) -> None:
    """A letter whose retry was stored and not sent is sent by whoever attaches next."""
    # Given a retry that is stored and not sent
    letter_id = bury(road)
    road.writer.letters.retry([letter_id])
    road.close()
    # When
    later = Road(road.home, road.redis)
    later.writer.attach()
    later.writer.letters.send_waiting()
    body = later.settle()
    # Then
    assert later.rows() == ids(make_event(0))
    assert (body["balanced"], body["captured"]) == (True, 1)
    later.close()


def test_retry_waits_when_redis_is_away(road: Road) -> None:
    """A letter that cannot be sent now stays waiting."""
    # Given
    letter_id = bury(road)
    road.redis.kill()
    # When
    road.writer.letters.retry([letter_id])
    road.writer.letters.send_waiting()
    # Then
    assert road.stream.attached is False
    assert road.commits.letters.counts()["waiting"] == 1
    road.redis.start()
    assert road.settle()["balanced"] is True
    road.writer.letters.send_waiting()
    road.settle()
    assert road.rows() == ids(make_event(0))


@pytest.mark.fault("C9")
def test_others_are_sent_when_a_letter_cannot_be_read(road: Road) -> None:
    """A letter whose row is damaged waits, named and counted; the one behind it is written."""
    # Given two letters that are retried, the first of them damaged on the disk
    damaged, sound = bury(road, 0), bury(road, 1)
    road.commits._connection.execute(
        "UPDATE dead_letters SET raw = x'00' WHERE message_id = ?", [damaged]
    )
    road.writer.letters.retry([damaged, sound])
    # When
    road.writer.letters.send_waiting()
    road.drain()
    road.writer.balance()
    # Then
    body = road.balance()
    assert road.rows() == ids(make_event(1))
    assert (body["balanced"], body["waiting"]) == (True, 1)


def test_drop_gives_the_event_up_when_asked(road: Road) -> None:
    """A dropped event stays counted as dead-lettered, and leaves the mirror."""
    # Given
    letter_id = bury(road)
    # When
    assert road.writer.letters.drop([letter_id]) == [letter_id]
    assert road.writer.letters.drop([letter_id]) == []
    # Then
    body = road.settle()
    assert (body["balanced"], body["events"]["dead_lettered"], body["open_dead_letters"]) == (
        True,
        1,
        0,
    )
    assert road.redis.client.hlen(road.stream.dead_letters) == 0


@pytest.mark.parametrize(
    "fields",
    [[], [b"origin", b"old"], [b"a", b"\xff", b"origin", b"old", b"b", b""], [b"odd"]],
)
def test_fields_survive_when_they_are_packed(fields: list[bytes]) -> None:
    """Packing keeps every byte; another origin replaces the old one."""
    # Given / When / Then
    assert unpack_fields(pack_fields(fields)) == fields
    changed = with_origin(fields, "dlq:1-0")
    assert changed[-2:] == [b"origin", b"dlq:1-0"]
    assert b"old" not in changed


def test_retry_waits_when_too_much_is_in_flight(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Letters are a source like any other: they keep to the window."""
    # Given a letter to send, and as many messages in flight as may be
    monkeypatch.setattr(module, "MAX_IN_FLIGHT", 1)
    letter_id = bury(road)
    road.append(make_event(7))
    road.writer.letters.retry([letter_id])
    # When / Then
    road.writer.letters.send_waiting()
    assert len(road.in_flight) == 1
    # and when they are written, it goes
    road.drain()
    road.writer.letters.send_waiting()
    assert road.in_flight.origins() == [f"dlq:{letter_id}"]
