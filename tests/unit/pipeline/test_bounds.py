"""What strangers put into the stream is of any size; what the server holds of it is not."""

import errno
import os
from typing import Any

import pytest

from blueplane.errors import OversizedEntryError, QueueUnavailableError
from blueplane.event import encode
from blueplane.pipeline import attach, consumer, entry, link, stream, writer
from blueplane.pipeline.batch import Batch, prepare
from blueplane.pipeline.consumer import Consumer
from blueplane.pipeline.dead_letters import unpack_fields
from blueplane.pipeline.stream import Stream
from blueplane.store.traces import Row
from helpers.road import Road, heal, ids, make_entry, make_event, poison, turn_clock
from helpers.waiting import wait_until

WAIT_S = 20.0
GIANT = [b"a", b"1", b"origin", b"spool:1.1.7:7", b"payload", b"x" * (entry.MAX_BYTES + 1)]
CROWD = [part for number in range(entry.MAX_PARTS) for part in (b"f%d" % number, b"v")]


@pytest.mark.fault("B24")
@pytest.mark.parametrize("fields", [GIANT, CROWD], ids=["bytes", "fields"])
def test_prepare_keeps_the_beginning_when_an_entry_is_larger_than_any_event(
    road: Road, fields: list[bytes]
) -> None:
    """Only the beginning is held, with a word that says so; what is beside it makes its row."""
    # Given
    event = make_event(1)
    # When
    entries = [make_entry(event), (b"9-0", fields), make_entry(make_event(2))]
    first, giant, last = prepare(entries, road.commits.codec)
    # Then
    assert isinstance(first.row, Row)
    assert isinstance(last.row, Row)
    assert isinstance(giant.row, OversizedEntryError)
    assert giant.size == sum(map(len, fields))
    assert str(giant.size) in str(giant.row)
    assert sum(map(len, giant.fields)) <= entry.MAX_BYTES
    assert len(giant.fields) <= entry.MAX_PARTS
    assert giant.fields[:2] == fields[:2]


def test_prepare_keeps_an_event_whole_when_it_is_as_large_as_one_can_be(road: Road) -> None:
    """No event of our own is ever cut."""
    # Given
    payload = b'{"a":"%s"}' % (b"x" * (256 * 1024 - 8))
    large = make_event(1, payload=payload, session_id="s" * 1_000, project="p" * 1_000)
    # When / Then
    ((_, fields, row, _),) = prepare([make_entry(large)], road.commits.codec)
    assert isinstance(row, Row)
    assert fields == encode(large)


@pytest.mark.fault("B24")
def test_writer_buries_a_giant_at_once_and_for_good_when_it_meets_one(road: Road) -> None:
    """Nothing can mend it: one failure is enough, it is nobody's, and cannot be sent again."""
    # Given a giant that claims to be ours, and an event of ours
    road.redis.command("XADD", road.stream.events, "*", *GIANT)
    event = make_event(1)
    road.append(event)
    # When
    road.drain()
    # Then
    assert road.rows() == ids(event)
    (letter_id,) = road.commits.letters.open_reasons()
    letter = road.commits.letters.get(letter_id)
    assert letter is not None
    assert (letter.failures, letter.truncated, letter.origin) == (1, True, "")
    assert len(unpack_fields(letter.raw)[5]) < entry.MAX_BYTES
    assert road.source.released == [event.origin]
    assert road.commits.retry([letter_id]) == []
    body = road.settle()
    assert (body["balanced"], body["dead_lettered"], body["captured"]) == (True, 1, 1)
    assert road.commits.drop([letter_id]) == [letter_id]


@pytest.mark.fault("B24")
def test_attach_takes_a_giant_for_a_strangers_when_it_claims_to_be_ours(road: Road) -> None:
    """An attach finds the same as the writer does later: both laws close."""
    # Given
    road.redis.command("XADD", road.stream.events, "*", *GIANT)
    road.append(make_event(1))
    # When
    road.writer.attach()
    # Then
    assert list(road.source.retold[-1]) == [make_event(1).origin]
    assert road.settle()["balanced"]


@pytest.mark.parametrize("limit", ["MAX_FAILURES", "FAILURE_BYTES"])
def test_writer_takes_no_new_batch_when_too_many_events_have_failed(
    road: Road, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """A flood of poison is tried again, and buried, before more of it is taken."""
    # Given two events that failed, and a writer that bears no more
    turned = turn_clock(monkeypatch)
    monkeypatch.setattr(writer, limit, 2)
    events = [make_event(number) for number in range(3)]
    for event in events[:2]:
        poison(road.commits._connection, event)
        road.append(event)
        road.drain()
        heal(road.commits._connection)
    deliveries = prepare([make_entry(events[2], b"9-0")], road.commits.codec)
    road.writer.inbox.put(Batch(deliveries, ()))
    # When / Then
    road.writer._take(0)
    assert (road.writer.inbox.qsize(), len(road.writer._failures)) == (1, 2)
    # and when they are done, it takes the next
    turned.sleepless(10)
    road.writer._retry_due()
    road.writer._take(0)
    assert (road.writer.inbox.qsize(), len(road.rows())) == (0, 3)


@pytest.mark.fault("B24")
def test_consumer_reads_few_entries_at_once_when_the_stream_is_heavy(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a stranger's giants may be, no answer has more than a few entries; all are written."""
    # Given a stream that counts as heavy, and notes of what is asked for and handed over
    monkeypatch.setattr(stream, "HEAVY_BYTES", 1_000)
    monkeypatch.setattr(stream, "HEAVY_AVERAGE", 1)
    asked: list[int] = []
    handed: list[int] = []
    read_new, put = Stream.read_new, writer.Writer.put

    def reading(self: Stream, count: int, block_ms: int) -> object:
        asked.append(count)
        return read_new(self, count, block_ms)

    def putting(self: writer.Writer, item: Batch, *arguments: Any) -> bool:
        if isinstance(item, Batch):
            handed.append(len(item))
        return put(self, item, *arguments)

    monkeypatch.setattr(Stream, "read_new", reading)
    monkeypatch.setattr(writer.Writer, "put", putting)
    road.append(*(make_event(number) for number in range(300)))
    reader = Consumer(road.stream, road.writer)
    # When
    road.writer.start()
    reader.start()
    wait_until(lambda: len(road.rows()) == 300, WAIT_S, "all rows")
    reader.stop()
    assert reader.join(WAIT_S)
    # Then the answers are short, and the batches are not
    assert max(asked) <= stream.FEW
    assert max(handed) >= consumer.BATCH


def test_stream_is_not_heavy_when_it_holds_many_small_entries(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large backlog of our own is read as quickly as ever; giants between its entries count."""
    # Given
    monkeypatch.setattr(stream, "HEAVY_BYTES", 10_000)
    road.append(*(make_event(number) for number in range(300)))
    # When / Then
    assert road.redis.command("MEMORY", "USAGE", road.stream.events) > 10_000
    assert not road.stream.is_heavy()
    road.redis.command("XADD", road.stream.events, "*", "giant", b"x" * 2_000_000)
    assert road.stream.is_heavy()


def test_consumer_ends_a_batch_when_it_has_bytes_enough(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After large entries fewer are asked for: a batch has about so many bytes, and no more."""
    # Given entries of which two make a batch
    monkeypatch.setattr(consumer, "BATCH_BYTES", 100_000)
    for number in range(10):
        road.append(make_event(number, payload=b'{"a":"%s"}' % (b"x" * 50_000)))
    reader = Consumer(road.stream, road.writer)
    reader._page = 1
    # When
    sizes = []
    while batch := reader._next_batch(consumer.BATCH):
        sizes.append(batch.bytes)
        if sum(sizes) > 500_000:
            break
    # Then
    assert max(sizes) < 160_000


def test_attach_finds_the_same_when_it_looks_at_few_entries_at_once(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A heavy stream is scanned in short pages, and nothing of it is passed over."""
    # Given some that are written and acknowledged by nobody, and some that wait
    monkeypatch.setattr(stream, "HEAVY_BYTES", 1_000)
    monkeypatch.setattr(stream, "HEAVY_AVERAGE", 1)
    monkeypatch.setattr(attach, "_LOOK_UP", 7)
    events = [make_event(number) for number in range(50)]
    road.append(*events)
    road.commits.write(
        [row for row in (each.row for each in prepare(_whole(road, 20), road.commits.codec))
         if isinstance(row, Row)]
    )  # fmt: skip
    # When
    road.writer.attach()
    # Then
    assert sorted(road.source.retold[-1]) == sorted(event.origin for event in events[20:])
    assert road.redis.command("XLEN", road.stream.events) == 30
    body = road.settle()
    assert (body["balanced"], body["lost"], len(road.rows())) == (True, 0, 50)


@pytest.mark.fault("F6")
def test_stream_is_away_for_a_moment_when_no_descriptor_is_left(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver opens a file of its own for each connection: that may fail, and ends no thread."""

    # Given
    def refuse(**_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    road.read(1)
    monkeypatch.setattr(link, "UnixDomainSocketConnection", refuse)
    monkeypatch.setattr(link, "parse_url", lambda _url: {"connection_class": refuse})
    # When / Then
    road.stream.unblock_reader()
    with pytest.raises(QueueUnavailableError, match="Too many open files"):
        road.stream.inspect()


def _whole(road: Road, count: int) -> list[tuple[bytes, list[bytes]]]:
    """Deliver entries, and return them."""
    return [(message_id, fields) for message_id, fields in road.read(count) if fields]
