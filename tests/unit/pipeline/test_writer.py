import sqlite3
import threading
from queue import Queue
from typing import Any

import pytest

from blueplane.errors import (
    QueueUnavailableError,
    RowRefusedError,
    StoreFullError,
    StoreUnavailableError,
    UndecodableEntryError,
)
from blueplane.event import encode
from blueplane.pipeline import writer as module
from blueplane.pipeline.balance import REFRESH_S
from blueplane.pipeline.batch import MAX_BATCH, Batch, prepare
from blueplane.pipeline.dead_letters import unpack_fields
from blueplane.pipeline.jobs import Job
from blueplane.pipeline.stream import Stream
from blueplane.store import connection
from blueplane.store.codec import FIRST_LOCAL_ID, train
from blueplane.store.queries import reading
from helpers.road import Road, heal, ids, make_event, poison, turn_clock
from helpers.waiting import wait_until

WAIT_S = 20.0


# --- batches --------------------------------------------------------------------------------------


@pytest.mark.fault("C7")
def test_writer_releases_only_what_is_committed_when_it_lets_go(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commit, then acknowledgement, then release: each step finds the one before it done."""
    # Given what each step can see of the one before it
    seen: list[tuple[str, int]] = []
    settle, release = Stream.settle, road.source.release

    def settling(stream: Stream, message_ids: list[bytes], commit: object) -> None:
        with sqlite3.connect(f"file:{road.home.database}?mode=ro", uri=True) as other:
            seen.append(("settle", other.execute("SELECT count(*) FROM traces").fetchone()[0]))
        other.close()
        settle(stream, message_ids, commit)  # type: ignore[arg-type]

    def releasing(origins: list[str]) -> None:
        seen.append(("release", len(origins)))
        release(origins)

    monkeypatch.setattr(Stream, "settle", settling)
    monkeypatch.setattr(road.source, "release", releasing)
    # When two events are written
    road.append(make_event(0), make_event(1))
    road.drain()
    # Then
    assert seen == [("settle", 2), ("release", 2)]
    assert road.source.released == [make_event(0).origin, make_event(1).origin]
    assert len(road.in_flight) == 0


def test_writer_releases_nothing_when_the_entries_are_foreign(road: Road) -> None:
    """What no source of ours sent is written, and nobody is told."""
    # Given / When
    road.append_foreign(make_event(0))
    road.drain()
    # Then
    assert road.rows() == ids(make_event(0))
    assert road.source.released == []
    assert road.settle()["foreign"] == 1


@pytest.mark.fault("B17")
def test_writer_buries_only_the_culprit_when_one_of_many_is_refused(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One poisoned event among many costs itself, after three failures, and is kept whole."""
    # Given one event that the store refuses
    turned = turn_clock(monkeypatch)
    events = [make_event(number) for number in range(150)]
    bad = events[77]
    poison(road.commits._connection, bad)
    road.append(*events)
    # When the batch is written, and its failures are tried again
    road.drain()
    assert len(road.rows()) == 149
    assert road.commits.letters.counts()["open"] == 0
    for _ in range(2):
        turned.sleepless(10)
        road.writer._retry_due()
    # Then
    assert road.rows() == ids(*(event for event in events if event is not bad))
    (letter_id,) = road.commits.letters.open_reasons()
    letter = road.commits.letters.get(letter_id)
    assert letter is not None
    assert (letter.failures, letter.hop, letter.event_id) == (3, "written", bad.event_id)
    assert unpack_fields(letter.raw) == encode(bad)
    assert "poison" in letter.reason
    assert bad.origin in road.source.released
    body = road.settle()
    assert (body["balanced"], body["dead_lettered"], body["open_dead_letters"]) == (True, 1, 1)
    assert road.redis.client.hkeys(road.stream.dead_letters) == [letter_id.encode()]


def test_writer_writes_the_event_when_it_is_well_before_it_is_buried(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event that failed for a while is written, and leaves no trace of its failures."""
    # Given an event that failed once
    turned = turn_clock(monkeypatch)
    poison(road.commits._connection, make_event(0))
    road.append(make_event(0))
    road.drain()
    assert road.rows() == []
    # When the store takes it
    heal(road.commits._connection)
    road.writer._retry_due()
    assert road.rows() == []
    turned.sleepless(10)
    road.writer._retry_due()
    # Then
    assert road.rows() == ids(make_event(0))
    body = road.settle()
    assert (body["balanced"], body["open_dead_letters"], road.writer._failures) == (True, 0, {})


@pytest.mark.fault("D11")
@pytest.mark.parametrize(
    "spoil",
    [
        lambda fields: fields[2:],
        lambda fields: [*fields[:3], b"not-hex", *fields[4:]],
        lambda _fields: [b"alone", b"\xff\xfe"],
        lambda fields: [b"{" if field == b'{"number":0}' else field for field in fields],
        lambda fields: [b"[]" if field == b"{}" else field for field in fields],
        lambda fields: [
            b'{"input_tokens":"many"}' if field == b"{}" else field for field in fields
        ],
        lambda fields: [
            b'{"input_tokens":99999999999999999999}' if f == b"{}" else f for f in fields
        ],
        lambda fields: [b"\xff" if field == b"cursor" else field for field in fields],
    ],
)
def test_writer_keeps_the_bytes_when_an_entry_is_no_event(
    road: Road, monkeypatch: pytest.MonkeyPatch, spoil: object
) -> None:
    """A foreign entry that is no event becomes a dead letter with its raw fields; others flow."""
    # Given a spoilt entry between two good ones
    turned = turn_clock(monkeypatch)
    fields = spoil(encode(make_event(0, origin="")))  # type: ignore[operator]
    road.append(make_event(1))
    road.redis.command("XADD", road.stream.events, "*", *fields)
    road.append(make_event(2))
    # When
    road.drain()
    for _ in range(2):
        turned.sleepless(10)
        road.writer._retry_due()
    # Then
    assert road.rows() == ids(make_event(1), make_event(2))
    (letter_id,) = road.commits.letters.open_reasons()
    letter = road.commits.letters.get(letter_id)
    assert letter is not None
    assert unpack_fields(letter.raw) == fields
    body = road.settle()
    assert (body["balanced"], body["captured"], body["dead_lettered"]) == (True, 2, 1)


@pytest.mark.fault("B11")
def test_writer_stores_nothing_when_an_entry_was_deleted_after_its_delivery(road: Road) -> None:
    """An entry without fields is acknowledged, and what it was is recovered, not stored."""
    # Given a delivered entry that somebody deletes
    road.append(make_event(0))
    ((key, _),) = road.read()
    road.redis.command("XDEL", road.stream.events, key)
    # When it is read again and handed over
    road.hand_over(road.stream.read_history(b"0", 10))
    body = road.settle()
    # Then
    assert road.rows() == []
    assert (body["balanced"], body["recovered"], body["lost"]) == (True, 1, 0)
    assert road.redis.client.xpending(road.stream.events, "processors")["pending"] == 0


# --- the store fails ------------------------------------------------------------------------------


@pytest.mark.fault("C3")
def test_writer_waits_and_blames_no_event_when_the_store_is_busy(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another process holds the database everything waits; then it goes on by itself."""
    # Given somebody who holds the write lock
    road.commits._connection.execute("PRAGMA busy_timeout = 20")
    monkeypatch.setattr(module, "STORE_RETRY_S", (0.01, 0.05))
    other = sqlite3.connect(road.home.database, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    road.append(make_event(0))
    entries = road.read()
    # When the batch is taken, and the lock is given back after a failure
    thread = threading.Thread(target=road.hand_over, args=(entries,))
    thread.start()
    wait_until(lambda: road.writer.store_error, WAIT_S, "the writer noticed")
    assert "locked" in str(road.writer.store_error)
    other.execute("ROLLBACK")
    thread.join(WAIT_S)
    other.close()
    # Then
    assert not thread.is_alive()
    assert (road.rows(), road.writer.store_error) == (ids(make_event(0)), None)
    assert road.settle()["balanced"] is True


def test_writer_stops_in_time_when_the_store_stays_away(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop does not wait for the store: what is in hand stays pending."""

    # Given a running writer whose store is away
    def away(_rows: object) -> None:
        raise StoreUnavailableError("full")

    monkeypatch.setattr(road.commits, "write", away)
    road.append(make_event(0))
    entries = road.read()
    road.writer.start()
    road.writer.put(Job(lambda: road.hand_over(entries)), road.writer.stopping)
    wait_until(lambda: road.writer.store_error, WAIT_S, "the writer noticed")
    # When
    road.writer.stop()
    # Then
    assert road.writer.join(WAIT_S)
    assert road.redis.client.xpending(road.stream.events, "processors")["pending"] == 1


# --- redis fails ----------------------------------------------------------------------------------


@pytest.mark.fault("A6", "B2")
def test_writer_counts_nothing_twice_when_the_acknowledgement_is_lost(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit whose acknowledgement failed is known by its ids when the entries come again."""
    # Given Redis gone between commit and acknowledgement
    road.append(make_event(0), make_event(1))
    entries = road.read()
    with monkeypatch.context() as patch:

        def gone(*_: object) -> None:
            raise QueueUnavailableError("gone")

        patch.setattr(Stream, "settle", gone)
        road.hand_over(entries)
    # Then the gate is closed, and the next attach cleans up
    assert road.stream.attached is False
    body = road.settle()
    assert (body["balanced"], body["written"], body["duplicate"]) == (True, 2, 0)
    assert road.redis.client.xlen(road.stream.events) == 0


@pytest.mark.fault("B8")
def test_writer_goes_on_when_redis_is_read_only_for_a_while(road: Road) -> None:
    """Rows are written, entries stay until they can be acknowledged, and nothing counts twice."""
    # Given entries in hand and a Redis that takes no writes
    road.append(make_event(0), make_event(1))
    entries = road.read()
    road.redis.command("REPLICAOF", "127.0.0.1", "1")
    # When
    road.hand_over(entries)
    road.writer.balance()
    # Then
    assert len(road.rows()) == 2
    road.redis.command("REPLICAOF", "NO", "ONE")
    road.stream.detach()
    body = road.settle()
    assert (body["balanced"], body["written"], body["duplicate"], body["recovered"]) == (
        True,
        2,
        0,
        0,
    )


def test_writer_takes_no_balance_when_redis_is_away(road: Road) -> None:
    """Without Redis the last balance stays as it was."""
    # Given a balance
    before = road.settle()
    # When Redis is gone
    road.redis.kill()
    road.writer.balance()
    road.writer.balance()
    # Then
    assert road.balance() == before
    assert road.stream.attached is False


def test_writer_attaches_anew_when_the_balance_does_not_close(road: Road) -> None:
    """A message that is nowhere closes the gate; nothing wrong is stored."""
    # Given an event that vanishes unread
    road.append(make_event(0))
    road.writer.balance()
    before = road.balance()
    road.redis.command("XDEL", road.stream.events, *road.in_flight.ids())
    # When
    road.writer.balance()
    # Then
    assert road.stream.attached is False
    assert road.balance() == before
    assert road.settle()["recovered"] == 1


# --- for other threads ----------------------------------------------------------------------------


def test_ask_returns_or_raises_what_the_work_does_when_it_is_done(road: Road) -> None:
    """The asker gets the answer or the error; the writer goes on."""
    # Given
    road.writer.start()

    def fail() -> None:
        raise RowRefusedError("no")

    # When / Then
    assert road.writer.ask(lambda: 6 * 7) == 42
    with pytest.raises(RowRefusedError):
        road.writer.ask(fail)
    assert road.writer.ask(lambda: "still there") == "still there"


def test_ask_gives_up_when_the_writer_is_dead_or_busy(road: Road) -> None:
    """Who asks a writer that does not answer is told so in time."""
    # Given a writer that does not run / When / Then
    with pytest.raises(StoreUnavailableError, match="did not get to it"):
        road.writer.ask(lambda: 1, 0.2)
    # Given a full inbox / When / Then
    while not road.writer.inbox.full():
        road.writer.inbox.put(Job(lambda: None))
    with pytest.raises(StoreUnavailableError, match="did not get to it"):
        road.writer.ask(lambda: 1, 0.05)


def test_put_gives_up_when_its_asker_stops(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for room in the inbox after being asked to stop."""
    # Given a full inbox
    monkeypatch.setattr(module, "TICK_S", 0.01)
    while not road.writer.inbox.full():
        road.writer.inbox.put(Job(lambda: None))
    stopping = threading.Event()
    answers: list[bool] = []
    thread = threading.Thread(
        target=lambda: answers.append(road.writer.put(Job(lambda: None), stopping))
    )
    thread.start()
    # When
    stopping.set()
    thread.join(WAIT_S)
    # Then
    assert answers == [False]


def test_put_beats_as_long_as_it_waits(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for a writer that is busy for long is not taken for hung itself."""
    # Given a full inbox, and an asker that gives up after some beats
    monkeypatch.setattr(module, "TICK_S", 0.001)
    while not road.writer.inbox.full():
        road.writer.inbox.put(Job(lambda: None))
    stopping = threading.Event()
    beats: list[int] = []

    def beat() -> None:
        beats.append(1)
        if len(beats) == 3:
            stopping.set()

    # When / Then
    assert road.writer.put(Job(lambda: None), stopping, beat) is False
    assert len(beats) == 3


def test_writer_is_not_hung_while_it_writes_the_database_anew(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That takes as long as the database is large."""
    # Given
    seen: list[bool] = []
    monkeypatch.setattr(road.commits, "rewrite", lambda: seen.append(road.writer.at_length) or True)
    # When / Then
    assert road.writer.rewrite() is True
    assert (seen, road.writer.at_length) == ([True], False)


def test_loop_takes_what_is_left_when_it_is_stopped(road: Road) -> None:
    """A stop empties the inbox, and ends with a balance that counts it."""
    # Given a writer that is told to stop before it starts to work
    road.append(make_event(0))
    entries = road.read()
    road.writer.inbox.put(Job(lambda: road.hand_over(entries)))
    road.writer.stop()
    # When
    road.writer.start()
    # Then
    assert road.writer.join(WAIT_S)
    assert road.rows() == ids(make_event(0))
    assert road.balance()["written"] == 1


def test_batches_are_one_commit_when_they_wait_for_the_writer(road: Road) -> None:
    """What waits is written together, up to a full batch, and no job is overtaken."""
    # Given two batches, a job and a batch that wait, and after it two that are too much for one
    road.settle()
    events = [make_event(number) for number in range(MAX_BATCH + 4)]
    road.append(*events)
    first, second, third, *rest = (
        Batch(prepare(road.read(count), road.commits.codec), ())
        for count in (1, 1, 1, 1, MAX_BATCH)
    )
    rows_at_job: list[int] = []
    job = Job(lambda: rows_at_job.append(len(road.rows())))
    inbox: Queue[Batch | Job[Any]] = Queue()
    road.writer.inbox = inbox
    for item in (first, second, job, third, *rest):
        inbox.put(item)
    # When
    while not inbox.empty():
        road.writer._take(0.0)
    # Then
    assert rows_at_job == [2]
    assert [batch.rows for batch in road.writer.measures.batches] == [2, 2, MAX_BATCH]
    assert road.rows() == ids(*events)
    assert road.settle()["balanced"]


def test_balance_is_stored_anew_when_it_is_old_or_changed(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unchanged balance is written seldom, a changed one at once."""
    # Given
    turned = turn_clock(monkeypatch)
    road.settle()
    stored: list[object] = []
    put = road.commits.put_balance
    monkeypatch.setattr(
        road.commits, "put_balance", lambda *given: (stored.append(given), put(*given))
    )
    # When / Then
    road.writer.balance()
    assert len(stored) == 0
    turned.sleepless(REFRESH_S + 1)
    road.writer.balance()
    assert len(stored) == 1
    road.append(make_event(0))
    road.writer.balance()
    assert len(stored) == 2


def test_undecodable_error_is_the_rows_place_when_an_entry_is_none() -> None:
    """A delivery says why it makes no row."""
    # Given / When
    ((_, _, row, _),) = module.prepare([(b"1-0", [b"v", b"1"])], _Codeless())  # type: ignore[arg-type]
    # Then
    assert isinstance(row, UndecodableEntryError)
    assert "event_id" in str(row)


class _Codeless:
    codec = None


def test_transactions_begin_immediate_when_they_write(road: Road) -> None:
    """C4: a transaction waits for the write lock at its beginning, not in its middle."""
    # Given what SQLite is told
    told: list[str] = []
    road.commits._connection.set_trace_callback(told.append)
    # When
    with connection.transaction(road.commits._connection):
        pass
    # Then
    assert told == ["BEGIN IMMEDIATE", "COMMIT"]


# --- a store that is opened anew ------------------------------------------------------------------


def remove_store(road: Road) -> None:
    """Remove the database under its writer."""
    for file in road.home.root.glob("telemetry.db*"):
        file.unlink()


@pytest.mark.fault("C12")
def test_rows_are_readable_when_the_dictionary_went_with_the_store(road: Road) -> None:
    """What was encoded for a store that is gone is encoded anew, not written as it is."""
    # Given batches that were made with a dictionary of the old store
    text = b'{"number":1,"text":"' + b"orchard " * 20 + b'"}'
    samples = [b'{"metadata":{},"payload":{"number":%d,"text":"orchard"}}' % n for n in range(500)]
    road.commits.add_dictionary("hook", train("hook", [s * 8 for s in samples], 1024))
    events = [make_event(number, payload=text) for number in range(4)]
    road.append(*events)
    first, second = (Batch(prepare(road.read(2), road.commits.codec), ()) for _ in range(2))
    assert {delivery.row.codec for delivery in first.deliveries} == {FIRST_LOCAL_ID}
    # When the store is gone, one batch is in hand, and the other one waits
    remove_store(road)
    road.writer.inbox.put(second)
    with pytest.raises(StoreUnavailableError, match="opened anew"):
        road.writer._take_batch(first)
    road.writer._take(0.0)
    assert road.rows() == []
    # Then the next attach has both written, and they can be read
    assert road.settle()["balanced"]
    assert road.rows() == ids(*events)
    with reading(road.home.database) as reader:
        assert [text in reader.event_data(sequence) for sequence in range(1, 5)] == [True] * 4


@pytest.mark.fault("C12")
def test_a_job_that_finds_the_store_gone_has_it_opened_anew(road: Road) -> None:
    """Whoever asked is told, and the next one is served."""
    # Given a writer whose store goes in the middle of a job
    road.writer.start()

    def lose_it() -> None:
        remove_store(road)
        road.commits.refuse(1, {"full": 1})

    # When that is asked of it / Then
    with pytest.raises(StoreUnavailableError):
        road.writer.ask(lose_it)

    def served() -> bool:
        try:
            road.writer.ask(lambda: road.commits.refuse(1, {"full": 1}))
        except StoreUnavailableError:
            return False
        return True

    wait_until(served, WAIT_S, "the next one is served")
    assert road.writer.alive()
    assert road.totals()["refused.full"] == 1


@pytest.mark.fault("C1", "C12")
def test_a_store_that_cannot_be_opened_anew_is_waited_for_when_the_disk_is_full(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any open store the writer goes on trying, and says why, until there is room."""
    # Given a store that is gone, and a disk that has no room for another for a while
    errors = [StoreFullError("no room")] * 2
    reopen = road.commits.reopen

    def full(_stopping: object) -> None:
        if errors:
            road.commits.close()
            raise errors.pop()
        reopen()

    monkeypatch.setattr(road.commits, "reopen", full)
    road.writer.relieve = road.commits.cut_wal
    remove_store(road)
    # When an event is written / Then it waits, and is written into the new store
    event = make_event()
    road.append(event)
    with pytest.raises(StoreUnavailableError, match="opened anew"):
        road.drain()
    assert errors == []
    assert road.settle()["balanced"]
    assert road.rows() == ids(event)


def test_the_writer_lives_when_a_read_of_the_store_fails(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of SQLite's in what is only read costs an attach, and no thread."""
    # Given a store that fails in a read, some times
    fails = iter([sqlite3.OperationalError("disk I/O error")] * 2)
    totals = road.commits.ledger.totals

    def failing() -> dict[str, int]:
        for error in fails:
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            error.sqlite_errorname = "SQLITE_IOERR"
            raise error
        return totals()

    monkeypatch.setattr(road.commits.ledger, "totals", failing)
    # When the balance is due
    road.writer._balancer.note_change()
    road.writer._balancer.due_s = 0.0
    road.writer.start()
    # Then it says so, and is well again
    wait_until(lambda: next(fails, None) is None, WAIT_S, "it has failed")
    wait_until(lambda: road.writer.store_error is None, WAIT_S, "it is well")
    assert road.writer.alive()
