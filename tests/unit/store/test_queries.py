from collections.abc import Iterator
from pathlib import Path

import pytest

from blueplane.errors import (
    RowRefusedError,
    StoreBrokenError,
    StoreError,
    StoreUnavailableError,
)
from blueplane.event import Settlement
from blueplane.pipeline.batch import prepare
from blueplane.pipeline.commits import Commits
from blueplane.pipeline.custody import Balance
from blueplane.pipeline.dead_letters import make_letter
from blueplane.store import reading as module
from blueplane.store.connection import open_writer
from blueplane.store.ledger import Epoch, Incident
from blueplane.store.migrations import STEPS
from blueplane.store.queries import Alarm, Footprint, Reader, footprint, reading
from helpers.road import database_file, ids, make_entry, make_event, make_row, turn_clock


@pytest.fixture
def commits(tmp_path: Path) -> Iterator[Commits]:
    """Give the writer of a new store."""
    commits = Commits(database_file(tmp_path))
    yield commits
    commits.close()


@pytest.fixture
def reader(commits: Commits, tmp_path: Path) -> Iterator[Reader]:
    """Give a reader of the same store."""
    assert commits.ledger.totals() == {}
    with reading(database_file(tmp_path)) as reader:
        yield reader


def bury(commits: Commits, number: int, message_id: bytes) -> None:
    """Make an event a dead letter."""
    (delivery,) = prepare([make_entry(make_event(number), message_id)], commits.codec)
    commits.dead_letter(make_letter(delivery, 3, RowRefusedError("poison")))


def test_reader_shows_nothing_when_the_store_is_new(reader: Reader) -> None:
    """A new store has answers, and they are empty."""
    # Given / When / Then
    assert reader.schema_version() == len(STEPS)
    assert reader.balance() is None
    assert (reader.sources(), reader.rules(), reader.incidents(0)) == ([], [], [])
    assert (reader.count_rows(), reader.count_open_letters(), list(reader.letters())) == (0, 0, [])
    assert (reader.traces("session_id", "none"), reader.untrained_sources(1)) == ([], [])


@pytest.mark.fault("C5")
def test_reader_gives_up_when_a_read_takes_too_long(commits: Commits, tmp_path: Path) -> None:
    """A read has a limit, for the -wal grows as long as it runs; the next one has its own."""
    # Given a read of hours
    bury(commits, 1, b"1-0")
    endless = (
        "(WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 99999999)"
        " SELECT count(*) FROM c) = 0"
    )
    with reading(database_file(tmp_path), limit_s=0.05) as reader:
        # When / Then
        with pytest.raises(StoreUnavailableError, match=r"longer than 0\.05 s and was given up"):
            list(reader._letters(endless))
        assert reader.count_open_letters() == 1


def test_reader_takes_its_time_when_the_caller_does_between_two_reads(
    commits: Commits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only SQLite's time counts: a person may look at a list for as long as they like."""
    # Given two letters, and a look at the time at every step
    monkeypatch.setattr(module, "STEPS", 1)
    turned = turn_clock(monkeypatch)
    bury(commits, 1, b"1-0")
    bury(commits, 2, b"2-0")
    # When an hour passes after the first
    found = []
    with reading(database_file(tmp_path)) as reader:
        for letter in reader.letters():
            found.append(letter.message_id)
            turned.sleepless(3600)
    # Then
    assert found == ["1-0", "2-0"]


def test_reader_knows_how_many_rows_there_are_without_counting(
    commits: Commits, reader: Reader
) -> None:
    """The number of rows is that of the counters, which change with them."""
    # Given ten rows
    commits.write([make_row(commits, make_event(number)) for number in range(10)])
    assert reader.count_rows() == 10
    # When some are removed
    commits.expire(lambda _: {"rows.expired": 3})
    commits.expire(lambda _: {"rows.forgotten": 2})
    # Then
    assert reader.count_rows() == 5


def test_reader_raises_an_error_of_ours_when_the_database_is_none(tmp_path: Path) -> None:
    """A database without our tables is an error with words, not a traceback."""
    # Given
    open_writer(database_file(tmp_path)).close()
    # When / Then
    with (
        reading(database_file(tmp_path)) as reader,
        pytest.raises(StoreError, match="no such table"),
    ):
        reader.balance()


@pytest.mark.fault("A11")
def test_settled_knows_rows_duplicates_and_letters_when_a_source_asks(
    commits: Commits, reader: Reader
) -> None:
    """What was stored of a captured item is known by event and capture, or by its letter."""
    # Given a row, a second capture of it, and a letter
    second = make_event(1, event_id=make_event(0).event_id)
    commits.write([make_row(commits, make_event(0), b"1-0")])
    commits.write([make_row(commits, second, b"2-0")])
    bury(commits, 2, b"3-0")
    # When
    third = make_event(3, event_id=make_event(0).event_id)
    events = [make_event(0), second, make_event(2), third, make_event(4)]
    # Then
    assert reader.settled(events) == {event.origin for event in events[:3]}
    assert reader.settled([]) == set()


def test_settled_knows_what_was_filtered_but_not_what_was_quarantined(
    commits: Commits, reader: Reader
) -> None:
    """What a rule left out stays out without the rule; a file back from quarantine is new."""
    # Given
    filtered, quarantined = make_event(0), make_event(1)
    commits.settle(
        [
            Settlement(filtered.origin, "filtered", "hook:Stop", "", "", 1),
            Settlement(quarantined.origin, "quarantined", "half", "", "", 1),
        ]
    )
    # When / Then
    assert reader.settled([filtered, quarantined]) == {filtered.origin}


def test_settled_finds_all_when_more_are_asked_for_than_one_statement_takes(
    commits: Commits, reader: Reader
) -> None:
    """A long list is looked up in pieces."""
    # Given
    events = [make_event(number) for number in range(1_100)]
    commits.write([make_row(commits, event) for event in events[::2]])
    # When / Then
    assert reader.settled(events) == {event.origin for event in events[::2]}


def test_traces_are_found_when_they_are_asked_for_by_event_or_session(
    commits: Commits, reader: Reader
) -> None:
    """An event is found by its id, a session's events by theirs, oldest first and bounded."""
    # Given
    events = [make_event(number, session_id=f"s-{number % 2}") for number in range(6)]
    commits.write([make_row(commits, event) for event in reversed(events)])
    # When / Then
    (row,) = reader.traces("event_id", ids(events[3])[0])
    assert (row["event_id"], row["session_id"]) == (ids(events[3])[0], "s-1")
    assert [row["event_id"] for row in reader.traces("session_id", "s-0")] == ids(*events[::2])
    assert [row["event_id"] for row in reader.newest("s-0", 2)] == ids(*events[2::2])
    assert (reader.count_session("s-0"), reader.count_session("s-9")) == (3, 0)
    assert reader.count_rows() == 6


def test_event_ids_hold_rows_and_letters_when_a_range_is_asked_for(
    commits: Commits, reader: Reader
) -> None:
    """The beginning of an id finds what is written and what is a dead letter, once each."""
    # Given
    commits.write([make_row(commits, make_event(0))])
    bury(commits, 1, b"9-0")
    # When
    found = reader.event_ids(bytes(16), b"\xff" * 16, 10)
    # Then
    assert sorted(found) == sorted(ids(make_event(0), make_event(1)))
    assert len(reader.event_ids(bytes(16), b"\xff" * 16, 1)) == 1


def test_event_data_comes_back_when_it_is_decoded(commits: Commits, reader: Reader) -> None:
    """What was stored of an event is readable, one or many."""
    # Given
    texts = [b'{"metadata":{},"payload":%b}' % make_event(number).payload for number in range(3)]
    commits.write([make_row(commits, make_event(number)) for number in range(3)])
    commits.write([make_row(commits, make_event(9, source="transcript"))])
    # When / Then
    assert [reader.event_data(sequence) for sequence in (1, 2, 3)] == texts
    assert reader.recent_data("hook", 2) == [texts[2], texts[1]]


def test_event_data_is_whole_when_most_of_its_metadata_is_columns(
    commits: Commits, reader: Reader
) -> None:
    """What is a column is not stored a second time, and a reader of the event does not notice."""
    # Given
    metadata = b'{"input_tokens":2,"marks":1,"model":"model-1","tool_name":"Edit"}'
    # When
    commits.write([make_row(commits, make_event(0, metadata=metadata))])
    # Then
    payload = make_event(0).payload
    stored = b'{"metadata":{"marks":1,"tool_name":"Edit"},"payload":%b}' % payload
    assert reader.recent_data("hook", 1) == [stored]
    assert reader.event_data(1) == b'{"metadata":%b,"payload":%b}' % (metadata, payload)


def test_untrained_sources_are_those_with_enough_rows_when_they_are_asked_for(
    commits: Commits, reader: Reader
) -> None:
    """A source is due when it has the rows and no dictionary of its own; canaries never are."""
    # Given
    sources = ["hook"] * 5 + ["canary"] * 5 + ["transcript"] * 2
    events = [make_event(number, source=source) for number, source in enumerate(sources)]
    commits.write([make_row(commits, event) for event in events])
    # When / Then
    assert reader.untrained_sources(5) == ["hook"]
    commits.add_dictionary("hook", b"words of a dictionary" * 20)
    assert reader.untrained_sources(5) == []


def test_duplicates_are_listed_when_an_event_came_again(commits: Commits, reader: Reader) -> None:
    """Every other message of an event is named."""
    # Given
    for message_id in (b"1-0", b"2-0", b"3-0"):
        commits.write([make_row(commits, make_event(0), message_id)])
    # When
    found = reader.duplicates(make_event(0).event_id)
    # Then
    assert {item["message_id"] for item in found} == {"2-0", "3-0"}
    assert {item["same_origin"] for item in found} == {True}


def test_letters_are_chosen_when_they_are_asked_for(commits: Commits, reader: Reader) -> None:
    """Open letters by default, others by their state, oldest first."""
    # Given
    for number in range(3):
        bury(commits, number, b"%d-0" % number)
    commits.drop(["1-0"])
    # When / Then
    assert [letter.message_id for letter in reader.letters()] == ["0-0", "2-0"]
    assert [letter.message_id for letter in reader.letters(("dropped",))] == ["1-0"]
    assert reader.count_open_letters() == 2


def test_summaries_leave_canaries_out_when_they_count_sources(
    commits: Commits, reader: Reader
) -> None:
    """Rows by platform and source, without our own canaries; settlements by rule."""
    # Given
    events = [make_event(0), make_event(1), make_event(2, platform="claude_code")]
    events.append(make_event(3, platform="blueplane", source="canary"))
    commits.write([make_row(commits, event) for event in events])
    commits.settle(
        [
            Settlement(f"spool:{n}:1", "quarantined", rule, "", "", 1)
            for n, rule in enumerate(("half", "half", "depth"))
        ]
    )
    # When / Then
    assert {(item.platform, item.source): item.written for item in reader.sources()} == {
        ("cursor", "hook"): 2,
        ("claude_code", "hook"): 1,
    }
    assert [(each.outcome, each.rule, each.count) for each in reader.rules()] == [
        ("quarantined", "half", 2),
        ("quarantined", "depth", 1),
    ]


def test_balance_is_the_last_one_when_it_was_stored(commits: Commits, reader: Reader) -> None:
    """Everyone shows the snapshot that was stored, with its time."""
    # Given
    letters = {"open": 0, "dead_lettered": 0, "waiting": 0}
    epoch = Epoch("t", 0, 0, 0, 0, 0, 0)
    commits.put_balance(Balance({}, 0, 0, 0, letters, 0), epoch)
    # When
    commits.put_balance(Balance({}, 2, 2, 1, letters, 0), epoch)
    # Then
    snapshot = reader.balance()
    assert snapshot is not None
    assert (snapshot.body["enqueued"], snapshot.body["foreign"], snapshot.body["balanced"]) == (
        2,
        1,
        True,
    )
    assert snapshot.as_of_ms > 0


@pytest.mark.fault("C12")
def test_reader_knows_when_the_database_is_another_file(
    commits: Commits, reader: Reader, tmp_path: Path
) -> None:
    """Whoever keeps a reader asks whether it still reads the database of its name."""
    # Given
    commits.write([make_row(commits, make_event())])
    assert not reader.moved()
    # When it is renamed / Then
    database_file(tmp_path).rename(tmp_path / "away")
    assert reader.moved()
    # and so when there is another one
    Commits(database_file(tmp_path)).close()
    assert reader.moved()


def test_reader_tells_alarms_of_the_database_when_there_are_other_incidents(
    commits: Commits, reader: Reader
) -> None:
    """By kind, with how often, when last and what was lost; breaks of custody are none of them."""
    # Given
    for kind, at_ms, count in (
        ("store_missing", 999, 9), ("store_missing", 1_000, 3), ("store_missing", 2_000, 4),
        ("store_damaged", 1_500, 0), ("chain_break", 1_500, 7), ("storeXkind", 1_500, 1),
    ):  # fmt: skip
        commits.ledger.add_incident(Incident(kind, at_ms, count, 0, "invented", ()))
    # When / Then
    assert reader.alarms(1_000) == [
        Alarm("store_damaged", 1, 1_500, 0), Alarm("store_missing", 2, 2_000, 7),
    ]  # fmt: skip
    assert reader.alarms(3_000) == []


def test_reader_tells_how_far_workers_are_when_rows_have_gaps(
    commits: Commits, reader: Reader
) -> None:
    """The highest sequence ever given, each watermark, and when the next row was written."""
    # Given
    assert (reader.last_write_ms(), reader.last_sequence()) == (None, 0)
    assert (reader.watermarks(), reader.written_after(0)) == ({}, None)
    commits.write([make_row(commits, make_event(1))])
    commits.ledger.skip_to(10)
    commits.write([make_row(commits, make_event(2))])
    commits._connection.execute("INSERT INTO watermarks VALUES ('usage', 1)")
    # When / Then
    (last,) = commits._connection.execute(
        "SELECT ingested_ms FROM raw_traces WHERE sequence = 11"
    ).fetchone()
    assert reader.last_sequence() == 11
    assert reader.watermarks() == {"usage": 1}
    assert reader.written_after(1) == last
    assert reader.written_after(11) is None
    assert reader.last_write_ms() == last


def test_footprint_is_unknown_when_there_is_nothing(commits: Commits, tmp_path: Path) -> None:
    """The sizes of the files and of what is free; None, never 0, where there is no file."""
    # Given / When
    found = footprint(database_file(tmp_path))
    # Then
    assert found.database == database_file(tmp_path).stat().st_size
    assert found.wal is not None
    assert found.free is not None
    assert found.free > 0
    assert commits.path == database_file(tmp_path)
    assert footprint(tmp_path / "none" / "telemetry.db") == Footprint(None, None, None)


@pytest.mark.fault("C9")
@pytest.mark.parametrize("spoilt", [b"\xff", "{"])
def test_a_spoilt_balance_is_damage_when_it_is_read_and_replaced_when_one_is_stored(
    tmp_path: Path, spoilt: object
) -> None:
    """What is no JSON any more is said to be damage, and does not stop the next balance."""
    # Given
    path = database_file(tmp_path)
    commits = Commits(path)
    epoch = Epoch("t", 0, 0, 0, 0, 0, 0)
    letters = commits.letters.counts()
    commits.put_balance(Balance({}, 2, 2, 0, letters, 0), epoch)
    commits._connection.execute("UPDATE balance SET body = ?", (spoilt,))
    # When / Then
    with reading(path) as reader:
        with pytest.raises(StoreBrokenError, match="damaged"):
            reader.balance()
        commits.put_balance(Balance({}, 3, 3, 0, letters, 0), epoch)
        snapshot = reader.balance()
        # and nothing is counted as enqueued twice
        assert [each.count for each in reader.outcomes()] == [2]
    assert snapshot is not None
    assert snapshot.body["enqueued"] == 3
    commits.close()
