import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from blueplane.errors import RowRefusedError, StoreError
from blueplane.event import Event, Settlement
from blueplane.pipeline.batch import Delivery, prepare
from blueplane.pipeline.commits import MAX_NAMED, Commits
from blueplane.pipeline.custody import Balance, Verdict, letter_origin
from blueplane.pipeline.dead_letters import make_letter
from blueplane.store.codec import FIRST_LOCAL_ID
from blueplane.store.queries import reading
from helpers.road import database_file, heal, make_entry, make_event, make_row, poison

#: An event of another capture that has the identity of event 0: Cursor sent it twice.
SECOND = make_event(1, event_id=make_event(0).event_id)


@pytest.fixture
def commits(tmp_path: Path) -> Iterator[Commits]:
    """Give the writer of a new store."""
    commits = Commits(database_file(tmp_path))
    yield commits
    commits.close()


def write(commits: Commits, event: Event, message_id: bytes) -> None:
    """Write one message."""
    commits.write([make_row(commits, event, message_id)])


def bury(commits: Commits, event: Event, message_id: bytes) -> bool:
    """Make one message a dead letter."""
    (delivery,) = prepare([make_entry(event, message_id)], commits.codec)
    return commits.dead_letter(make_letter(delivery, 3, RowRefusedError("poison")))


def retry_of(event: Event, message_id: str) -> Event:
    """Return the event of a letter as its retry carries it."""
    return make_event(0, event_id=event.event_id, captured_ns=event.captured_ns,
                      origin=letter_origin(message_id))  # fmt: skip


def close(commits: Commits, messages: int, in_flight: int = 0) -> dict[str, int]:
    """Check both laws, when so many messages were enqueued; return the totals that are not 0."""
    totals = commits.ledger.totals()
    body = Balance(totals, messages, in_flight, 0, commits.letters.counts(), 0).body()
    assert body["balanced"] is True, body
    return {name: value for name, value in totals.items() if value}


# --- messages -------------------------------------------------------------------------------------


def test_write_counts_message_and_event_when_it_is_new(commits: Commits) -> None:
    """A new event of ours counts once in either law."""
    # Given / When
    write(commits, make_event(0), b"1-0")
    # Then
    assert close(commits, 1) == {
        "messages.written": 1,
        "messages.own": 1,
        "events.captured": 1,
        "events.written": 1,
    }


def test_write_counts_only_the_message_when_a_stranger_sent_it(commits: Commits) -> None:
    """A foreign entry counts in the first law only."""
    # Given / When
    write(commits, make_event(0, origin=""), b"1-0")
    # Then
    assert close(commits, 1) == {"messages.written": 1}


@pytest.mark.fault("A6")
def test_write_counts_nothing_when_the_message_is_redelivered(commits: Commits) -> None:
    """The same message again is a redelivery: no row, no duplicate, no count."""
    # Given
    write(commits, make_event(0), b"1-0")
    before = close(commits, 1)
    # When
    write(commits, make_event(0), b"1-0")
    # Then
    assert close(commits, 1) == before


@pytest.mark.fault("A2")
def test_write_counts_a_duplicate_message_when_the_same_file_was_sent_twice(
    commits: Commits,
) -> None:
    """The same captured file under another message is one event, and two messages."""
    # Given
    write(commits, make_event(0), b"1-0")
    # When it comes as another message, twice
    write(commits, make_event(0), b"2-0")
    write(commits, make_event(0), b"2-0")
    # Then
    assert close(commits, 2) == {
        "messages.written": 1,
        "messages.duplicate": 1,
        "messages.own": 1,
        "events.captured": 1,
        "events.written": 1,
    }


def test_write_counts_a_duplicate_event_when_it_was_captured_twice(commits: Commits) -> None:
    """Two captures of one event are two events, one of which is a duplicate; the first wins."""
    # Given
    write(commits, make_event(0), b"1-0")
    # When
    write(commits, SECOND, b"2-0")
    # Then
    totals = close(commits, 2)
    assert (totals["events.captured"], totals["events.duplicate"]) == (2, 1)
    with reading(commits_path(commits)) as reader:
        (duplicate,) = reader.duplicates(SECOND.event_id)
    assert (duplicate["same_origin"], duplicate["differs"]) == (False, True)


def test_write_counts_a_duplicate_event_once_when_its_file_was_sent_twice(commits: Commits) -> None:
    """A second capture that is sent twice is one duplicate event, and two messages."""
    # Given an event and its second capture
    write(commits, make_event(0), b"1-0")
    write(commits, SECOND, b"2-0")
    # When the second capture is sent again
    write(commits, SECOND, b"3-0")
    # Then
    totals = close(commits, 3)
    assert (totals["events.captured"], totals["events.duplicate"]) == (2, 1)
    assert totals["messages.duplicate"] == 2


def test_write_counts_no_event_when_the_duplicate_is_foreign(commits: Commits) -> None:
    """A copy that a stranger made of our event is a message only."""
    # Given
    write(commits, make_event(0), b"1-0")
    # When
    write(commits, make_event(0, origin=""), b"2-0")
    # Then
    totals = close(commits, 2)
    assert (totals["messages.duplicate"], totals["messages.own"], totals["events.captured"]) == (
        1,
        1,
        1,
    )


def test_write_sorts_a_batch_when_everything_is_in_it(commits: Commits) -> None:
    """New, doubled, redelivered and foreign rows of one batch are told apart."""
    # Given
    write(commits, make_event(0), b"1-0")
    # When
    batch = [
        (make_event(0), b"1-0"),
        (make_event(2), b"3-0"),
        (SECOND, b"2-0"),
        (make_event(2), b"4-0"),
        (make_event(5, origin=""), b"5-0"),
    ]
    inserted = commits.write([make_row(commits, event, key) for event, key in batch])
    # Then
    assert [row.message_id for row in inserted.written] == ["3-0", "5-0"]
    assert [item.row.message_id for item in inserted.duplicates] == ["2-0", "4-0"]
    assert (inserted.first_sequence, inserted.last_sequence) == sequences(commits, "3-0", "5-0")
    close(commits, 5)


def test_write_announces_real_sequences_when_conflicts_came_before(commits: Commits) -> None:
    """First and last sequence are those of the rows, also after a batch full of conflicts."""
    # Given a batch of conflicts
    write(commits, make_event(0), b"1-0")
    commits.write([make_row(commits, make_event(0), b"%d-0" % n) for n in range(2, 150)])
    # When
    batch = [make_row(commits, make_event(n), b"%d-0" % (n + 1_000)) for n in (1, 2)]
    inserted = commits.write([*batch, make_row(commits, make_event(0), b"9-9")])
    # Then
    expected = sequences(commits, "1001-0", "1002-0")
    assert (inserted.first_sequence, inserted.last_sequence) == expected


# --- dead letters ---------------------------------------------------------------------------------


@pytest.mark.fault("A8")
def test_dead_letter_counts_once_when_its_message_comes_again(commits: Commits) -> None:
    """A message has one letter; the second death of it counts nothing."""
    # Given
    assert bury(commits, make_event(0), b"1-0") is True
    before = close(commits, 1)
    # When / Then
    assert bury(commits, make_event(0), b"1-0") is False
    assert close(commits, 1) == before
    assert before == {"messages.dead_lettered": 1, "messages.own": 1, "events.captured": 1}


def test_dead_letter_counts_only_the_message_when_a_stranger_sent_it(commits: Commits) -> None:
    """A foreign letter is in the first law only, whatever becomes of it."""
    # Given
    bury(commits, make_event(0, origin=""), b"1-0")
    assert close(commits, 1) == {"messages.dead_lettered": 1}
    # When it is retried and written
    commits.retry(["1-0"])
    close(commits, 1)
    write(commits, retry_of(make_event(0), "1-0"), b"2-0")
    # Then
    totals = close(commits, 2)
    assert (totals["messages.own"], "events.captured" in totals) == (1, False)


def test_dead_letter_is_settled_when_its_retry_is_written(commits: Commits) -> None:
    """A retried event that is written moves from waiting to written."""
    # Given a letter that is retried
    bury(commits, make_event(0), b"1-0")
    assert commits.retry(["1-0", "none"]) == ["1-0"]
    assert commits.letters.counts() == {"open": 0, "dead_lettered": 0, "waiting": 1}
    close(commits, 2, in_flight=1)
    # When its message is written, and then delivered again
    for _ in range(2):
        write(commits, retry_of(make_event(0), "1-0"), b"2-0")
    # Then
    totals = close(commits, 2)
    assert (totals["events.captured"], totals["events.written"]) == (1, 1)
    assert commits.letters.counts() == {"open": 0, "dead_lettered": 0, "waiting": 0}
    assert commits.retry(["1-0"]) == []


def test_dead_letter_is_settled_when_its_retry_is_a_duplicate(commits: Commits) -> None:
    """A retried event whose row is there already ends as a duplicate."""
    # Given a letter of an event that was written by another capture meanwhile
    bury(commits, make_event(0), b"1-0")
    write(commits, SECOND, b"2-0")
    commits.retry(["1-0"])
    # When
    write(commits, retry_of(make_event(0), "1-0"), b"3-0")
    # Then
    totals = close(commits, 3)
    assert (totals["events.captured"], totals["events.duplicate"]) == (2, 1)


def test_dead_letter_goes_on_in_a_new_one_when_its_retry_fails(commits: Commits) -> None:
    """A retried event that fails again is one open letter, with the event's own origin."""
    # Given
    bury(commits, make_event(0), b"1-0")
    commits.retry(["1-0"])
    # When the retry dies, and is delivered and dies again
    assert bury(commits, retry_of(make_event(0), "1-0"), b"2-0") is True
    assert bury(commits, retry_of(make_event(0), "1-0"), b"2-0") is False
    # Then
    totals = close(commits, 2)
    assert (totals["events.captured"], totals["messages.dead_lettered"]) == (1, 2)
    letter = commits.letters.get("2-0")
    assert letter is not None
    assert letter.origin == make_event(0).origin
    assert commits.letters.counts() == {"open": 1, "dead_lettered": 1, "waiting": 0}


def test_dead_letter_of_a_dropped_event_stays_counted_when_it_is_dropped(commits: Commits) -> None:
    """A dropped event stays dead-lettered in the second law, and cannot be retried."""
    # Given
    bury(commits, make_event(0), b"1-0")
    # When
    assert commits.drop(["1-0", "1-0", "none"]) == ["1-0"]
    # Then
    close(commits, 1)
    assert commits.letters.counts() == {"open": 0, "dead_lettered": 1, "waiting": 0}
    assert commits.retry(["1-0"]) == []


def test_retry_counts_one_event_when_it_was_sent_twice(commits: Commits) -> None:
    """A retry that was appended twice is written once; the other message is a duplicate."""
    # Given
    bury(commits, make_event(0), b"1-0")
    commits.retry(["1-0"])
    # When
    write(commits, retry_of(make_event(0), "1-0"), b"2-0")
    write(commits, retry_of(make_event(0), "1-0"), b"3-0")
    # Then
    totals = close(commits, 3)
    assert (totals["events.captured"], totals["events.written"]) == (1, 1)
    assert "events.duplicate" not in totals


# --- what never reached the stream ----------------------------------------------------------------


def test_settle_counts_each_origin_once_when_it_is_repeated(commits: Commits) -> None:
    """A settlement that is stored twice, because its file could not be removed, counts once."""
    # Given
    filtered = Settlement("spool:a:1", "filtered", "cursor-compat", "cursor", "stop", 9)
    spoiled = Settlement("spool:b:2", "quarantined", "half", "", "", 5)
    commits.settle([filtered, spoiled])
    # When
    commits.settle([spoiled, filtered])
    # Then
    totals = close(commits, 0)
    assert totals == {"events.captured": 2, "events.filtered": 1, "events.quarantined": 1}


def test_refuse_counts_and_moves_the_offset_when_hooks_refused(commits: Commits) -> None:
    """Refusals and how far they were read are one transaction."""
    # Given / When
    commits.refuse(3, {"f": 2, "p": 1})
    commits.refuse(3, {})
    # Then
    totals = close(commits, 0)
    assert (totals["events.refused"], totals["refused.f"], totals["refused.p"]) == (3, 2, 1)
    assert commits.ledger.cursor("refused") == 3


# --- epochs and breaks ----------------------------------------------------------------------------


def test_epoch_begins_after_the_count_of_what_vanished_when_it_turns(commits: Commits) -> None:
    """What vanished is settled before the new epoch begins to count."""
    # Given one written message
    write(commits, make_event(0), b"1-0")
    verdict = Verdict(turn=True, recovered=2, lost=1, ids=("2-0", "3-0"), cause="flushed")
    # When
    epoch = commits.begin_epoch(verdict, "next", 0)
    # Then
    assert epoch == commits.ledger.epoch()
    assert (epoch.token, epoch.settled_at_start, epoch.own_at_start) == ("next", 4, 3)
    with reading(commits_path(commits)) as reader:
        (incident,) = reader.incidents(0)
    assert (incident["count"], incident["recovered"], incident["cause"]) == (3, 2, "flushed")


def test_break_names_no_more_than_it_may_when_very_many_vanish(commits: Commits) -> None:
    """An incident names a bounded number of messages; the count is whole."""
    # Given
    names = tuple(f"{number}-0" for number in range(MAX_NAMED + 5))
    # When
    commits.note_break(Verdict(turn=False, recovered=len(names), lost=0, ids=names, cause="x"))
    # Then
    with reading(commits_path(commits)) as reader:
        (incident,) = reader.incidents(0)
    assert (incident["count"], len(incident["ids"])) == (MAX_NAMED + 5, MAX_NAMED)
    assert commits.ledger.epoch() is None


def test_epoch_begins_without_an_incident_when_nothing_vanished(commits: Commits) -> None:
    """A first epoch is no break."""
    # Given / When
    verdict = Verdict(turn=True, recovered=0, lost=0, ids=(), cause="first epoch")
    epoch = commits.begin_epoch(verdict, "first", 3)
    # Then
    with reading(commits_path(commits)) as reader:
        assert reader.incidents(0) == []
    assert epoch == commits.ledger.epoch()
    assert (epoch.base, epoch.high, epoch.own_high) == (3, 3, 0)


# --- all or nothing -------------------------------------------------------------------------------


@pytest.mark.fault("A5")
def test_write_leaves_nothing_when_one_row_is_refused(commits: Commits) -> None:
    """A failing batch writes no row, no counter, and no interned text that a later row may miss."""
    # Given a store that refuses one event
    bad = make_event(1, session_id="session-of-the-bad")
    poison(commits._connection, bad)
    # When
    rows = [make_row(commits, make_event(0, session_id="new-one")), make_row(commits, bad)]
    with pytest.raises(RowRefusedError, match="poison"):
        commits.write(rows)
    # Then nothing of it is there, and the next batch is whole
    assert commits.ledger.totals() == {}
    heal(commits._connection)
    commits.write(rows)
    with reading(commits_path(commits)) as reader:
        assert len(reader.traces("session_id", "new-one")) == 1
        assert len(reader.traces("session_id", "session-of-the-bad")) == 1
    close(commits, 2)


def test_write_uses_a_new_dictionary_when_one_was_added(commits: Commits) -> None:
    """Rows before and after the training of a dictionary can be read; its id is a local one."""
    # Given a row, and then a dictionary
    payload = b'{"words":"%b"}' % b" ".join(b"word%d" % number for number in range(60))
    write(commits, make_event(0, payload=payload), b"1-0")
    commits.add_dictionary("hook", payload * 20)
    # When
    write(commits, make_event(1, payload=payload), b"2-0")
    # Then
    with reading(commits_path(commits)) as reader:
        texts = [reader.event_data(sequence) for sequence in (1, 2)]
        assert reader.untrained_sources(1) == []
    assert texts == [b'{"metadata":{},"payload":%b}' % payload] * 2
    codecs = [row[0] for row in commits._connection.execute("SELECT codec FROM traces")]
    assert codecs[0] < FIRST_LOCAL_ID <= codecs[1]


def test_commits_close_the_file_when_it_cannot_be_used(tmp_path: Path) -> None:
    """A database that is too new is refused with both versions, and left as it is."""
    # Given
    path = database_file(tmp_path)
    Commits(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO schema_version VALUES (99, 'future', 0)")
    connection.close()
    # When / Then
    with pytest.raises(StoreError, match=r"schema 99.*knows"):
        Commits(path)


def commits_path(commits: Commits) -> Path:
    """Return the file of a store."""
    (row,) = commits._connection.execute("PRAGMA database_list").fetchall()
    return Path(row[2])


def sequences(commits: Commits, *message_ids: str) -> tuple[int, ...]:
    """Return the sequences of messages."""
    return tuple(
        commits._connection.execute(
            "SELECT sequence FROM raw_traces WHERE message_id = ?", (message_id,)
        ).fetchone()[0]
        for message_id in message_ids
    )


def test_letter_keeps_every_byte_when_its_entry_is_no_event(commits: Commits) -> None:
    """The fields of an entry survive in its letter, whatever they are."""
    # Given an entry that is no event
    fields = [b"v", b"\xff\x00", b"", b"lone", b"origin", b"\xfe"]
    (delivery,) = prepare([(b"7-0", fields)], commits.codec)
    assert isinstance(delivery, Delivery)
    # When
    letter = make_letter(delivery, 3, ValueError("not an event"))
    commits.dead_letter(letter)
    # Then
    from_store = commits.letters.get("7-0")
    assert from_store is not None
    assert (from_store.event_id, from_store.hop, from_store.error_class) == (
        None,
        "delivered",
        "ValueError",
    )
    assert from_store.raw == letter.raw
