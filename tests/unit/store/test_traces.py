from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blueplane.clock import NS_PER_MS
from blueplane.errors import RowRefusedError, StoreBrokenError, UndecodableEntryError
from blueplane.event import COLUMNS, Event, encode
from blueplane.pipeline.commits import Commits
from blueplane.store import traces as module
from blueplane.store.connection import transaction
from blueplane.store.traces import ROWS_AT_ONCE, Row, Traces, make_rows
from helpers.road import database_file, ids, make_event, make_row

METADATA = (
    b'{"cache_creation_tokens":5,"cache_read_tokens":4,"duration_ms":17,"input_tokens":2,'
    b'"lines_added":6,"lines_removed":7,"model":"model-1","output_tokens":3,"tool_name":"Edit"}'
)


@pytest.fixture
def commits(tmp_path: Path) -> Iterator[Commits]:
    """Give the writer of a new store."""
    commits = Commits(database_file(tmp_path))
    yield commits
    commits.close()


def view(commits: Commits, event: Event) -> dict[str, Any]:
    """Return a row as the view shows it."""
    found = commits._connection.execute(
        "SELECT * FROM raw_traces WHERE event_id = ?", (event.event_id.hex(),)
    )
    names = [column[0] for column in found.description]
    return dict(zip(names, found.fetchone(), strict=True))


def count(commits: Commits, table: str) -> int:
    """Return the number of rows of a table."""
    return int(commits._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


# --- making rows ----------------------------------------------------------------------------------


def make(
    commits: Commits, *entries: tuple[bytes, list[bytes]]
) -> list[Row | UndecodableEntryError]:
    """Make rows of entries."""
    return make_rows(entries, 1_795_150_000_005, commits.codec)


def test_rows_keep_their_order_when_some_entries_are_none(commits: Commits) -> None:
    """One entry that is no event costs itself: the others become rows, each in its place."""
    # Given good entries with a bad one in each place
    good = [encode(make_event(number)) for number in range(3)]
    entries = [
        (b"1-0", good[0]),
        (b"2-0", [b"junk"]),
        (b"3-0", good[1]),
        (b"4-0", []),
        (b"5-0", good[2]),
    ]
    # When
    made = make(commits, *entries)
    # Then
    assert [row.message_id if isinstance(row, Row) else None for row in made] == [
        "1-0", None, "3-0", None, "5-0",
    ]  # fmt: skip
    assert make(commits) == []


def test_rows_are_encoded_for_their_source_when_sources_are_mixed(commits: Commits) -> None:
    """Each row keeps its own text, whatever sources a batch holds."""
    # Given events of three sources
    events = [
        make_event(number, source=("hook", "transcript", "canary")[number % 3])
        for number in range(9)
    ]
    # When
    made = make(commits, *[(b"%d-0" % n, encode(event)) for n, event in enumerate(events, 1)])
    # Then
    for event, row in zip(events, made, strict=True):
        assert isinstance(row, Row)
        text = commits.codec.decode(row.codec, row.data)
        assert text == b'{"metadata":{},"payload":%b}' % event.payload
        assert row.kind[1] == event.source


@pytest.mark.fault("D11")
@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (b"event_id", b"zz", "event_id"),
        (b"event_id", b"00" * 15, "event_id"),
        (b"timestamp", b"yesterday", "timestamp"),
        (b"captured_at", b"-5", "captured_at"),
        (b"captured_at", b"9223372036854775808", "captured_at"),
        (b"captured_at", b"\xb2", "captured_at"),
        (b"captured_at", b"", "captured_at"),
        (b"metadata", b"[]", "metadata"),
        (b"metadata", b"{", "metadata"),
        (b"metadata", b'{"model":5}', "model"),
        (b"metadata", b'{"input_tokens":true}', "input_tokens"),
        (b"metadata", b'{"duration_ms":1.5}', "duration_ms"),
        (b"session_id", b"\xff", "UTF-8"),
        (b"v", b"9", "version"),
    ],
)
def test_row_is_refused_with_its_field_when_a_field_is_wrong(
    commits: Commits, name: bytes, value: bytes, words: str
) -> None:
    """What makes no row says which field is to blame, and quotes no payload."""
    # Given
    fields = encode(make_event(0))
    fields[fields.index(name) + 1] = value
    # When
    (row,) = make(commits, (b"1-0", fields))
    # Then
    assert isinstance(row, UndecodableEntryError)
    assert words in str(row)


def test_row_refuses_a_foreign_payload_when_it_is_no_object(commits: Commits) -> None:
    """What a stranger sends is checked: no row ever holds broken JSON."""
    # Given / When
    made = make(
        commits,
        *[
            (b"1-0", encode(make_event(0, origin="", payload=payload)))
            for payload in (b"{oops}", b"5", b"", b'{"a":1}')
        ],
    )
    # Then
    assert [isinstance(row, Row) for row in made] == [False, False, False, True]


# --- the view -------------------------------------------------------------------------------------


def test_view_shows_text_and_whole_times_when_it_is_read(commits: Commits) -> None:
    """What went in as text and times comes out as text and times."""
    # Given an event with everything
    event = make_event(
        7, metadata=METADATA, project="fernwharf", turn_id="turn-1", tool_use_id="toolu_01",
        timestamp_ms=make_event(7).timestamp_ms - 40,
    )  # fmt: skip
    captured_ms = event.captured_ns // NS_PER_MS
    row = make_row(commits, event, b"%d-3" % (captured_ms + 2))._replace(
        delivered_ms=captured_ms + 4
    )
    # When
    with transaction(commits._connection):
        commits._traces.insert([row], captured_ms + 9)
    # Then
    shown = view(commits, event)
    expected = {
        "sequence": 1,
        "event_id": event.event_id.hex(),
        "message_id": f"{captured_ms + 2}-3",
        "platform": "cursor",
        "source": "hook",
        "event_type": "tool_use",
        "hook_type": "postToolUse",
        "session_id": "session-1",
        "workspace_hash": "fedcba9876543210",
        "project": "fernwharf",
        "turn_id": "turn-1",
        "tool_use_id": "toolu_01",
        "timestamp_ms": captured_ms - 40,
        "captured_ms": captured_ms,
        "enqueued_ms": captured_ms + 2,
        "delivered_ms": captured_ms + 4,
        "ingested_ms": captured_ms + 9,
        "model": "model-1",
        "tool_name": "Edit",
        "duration_ms": 17,
        "input_tokens": 2,
        "output_tokens": 3,
        "cache_read_tokens": 4,
        "cache_creation_tokens": 5,
        "lines_added": 6,
        "lines_removed": 7,
    }
    assert {name: shown[name] for name in expected} == expected


def test_view_shows_empty_text_when_an_event_has_none(commits: Commits) -> None:
    """A missing id is an empty text, a missing number is none."""
    # Given
    event = make_event(0, session_id="", workspace_hash="")
    # When
    commits.write([make_row(commits, event)])
    # Then
    shown = view(commits, event)
    assert [shown[name] for name in ("session_id", "workspace_hash", "project", "turn_id")] == [
        ""
    ] * 4
    assert [shown[name] for name in COLUMNS] == [None] * len(COLUMNS)


@pytest.mark.fault("B23", "E3")
@pytest.mark.parametrize(
    ("captured_ns", "message_id"),
    [
        (0, b"1-0"),
        (5, b"0-1"),
        (2**63 - 1, b"1-0"),
        (1_795_150_000_000_000_000, b"9223372036854-5"),
        (1_795_150_000_000_000_000, b"5-9223372036854775807"),
    ],
)
def test_view_gives_the_message_back_when_clocks_are_far_apart(
    commits: Commits, captured_ns: int, message_id: bytes
) -> None:
    """Ids and times survive however far the clock of Redis is from ours."""
    # Given
    event = make_event(0, captured_ns=captured_ns, timestamp_ms=-62_135_596_800_000)
    # When
    commits.write([make_row(commits, event, message_id)])
    # Then
    shown = view(commits, event)
    assert shown["message_id"] == message_id.decode()
    assert shown["captured_ms"] == captured_ns // NS_PER_MS
    assert commits.ledger.settled_messages([(message_id.decode(), event.event_id.hex())]) == {
        message_id.decode()
    }


@pytest.mark.fault("B23")
def test_insert_refuses_the_row_when_its_message_id_does_not_fit(commits: Commits) -> None:
    """An id beyond what SQLite holds is the row's failure, and leads to a dead letter."""
    # Given
    row = make_row(commits, make_event(0), b"18446744073709551615-18446744073709551615")
    # When / Then
    with pytest.raises(RowRefusedError):
        commits.write([row])
    assert count(commits, "traces") == 0


# --- inserting ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "size",
    [
        1,
        ROWS_AT_ONCE - 1,
        ROWS_AT_ONCE,
        ROWS_AT_ONCE + 1,
        3 * ROWS_AT_ONCE,
        1_000,
        2 * ROWS_AT_ONCE + 7,
    ],
)
def test_insert_writes_all_in_order_when_a_batch_has_any_size(commits: Commits, size: int) -> None:
    """Every row of a batch is written, in its order, and the sequences are told."""
    # Given
    commits.write([make_row(commits, make_event(5_000))])
    events = [make_event(number) for number in range(size)]
    # When
    inserted = commits.write([make_row(commits, event) for event in events])
    # Then
    assert (inserted.first_sequence, inserted.last_sequence) == (2, size + 1)
    assert len(inserted.written) == size
    stored = commits._connection.execute(
        "SELECT event_id FROM traces WHERE sequence > 1 ORDER BY sequence"
    )
    assert [row[0].hex() for row in stored] == ids(*events)


@pytest.mark.parametrize("size", [ROWS_AT_ONCE - 1, ROWS_AT_ONCE, 2 * ROWS_AT_ONCE + 5])
def test_insert_tells_conflicts_apart_when_they_are_anywhere(commits: Commits, size: int) -> None:
    """Redelivered and doubled rows are found in whatever statement they fall."""
    # Given every third event written, half of these under another message
    events = [make_event(number) for number in range(size)]
    commits.write(
        [make_row(commits, event, b"%d-0" % n) for n, event in enumerate(events, 1) if n % 3 == 0]
    )
    batch = [
        make_row(commits, event, b"%d-%d" % (n, 1 if n % 6 == 0 else 0))
        for n, event in enumerate(events, 1)
    ]
    # When
    inserted = commits.write(batch)
    # Then
    numbers = range(1, size + 1)
    assert len(inserted.written) == sum(n % 3 != 0 for n in numbers)
    assert len(inserted.duplicates) == sum(n % 6 == 0 for n in numbers)
    assert count(commits, "traces") == size


def test_duplicate_says_whether_it_differs_when_it_conflicts(commits: Commits) -> None:
    """The first content wins, and another one is known to be another."""
    # Given
    commits.write([make_row(commits, make_event(0), b"1-0")])
    # When
    same = commits.write([make_row(commits, make_event(0), b"2-0")]).duplicates
    other = commits.write(
        [make_row(commits, make_event(0, payload=b'{"n":"x"}'), b"3-0")]
    ).duplicates
    # Then
    assert [(item.differs, item.same_origin) for item in (*same, *other)] == [
        (False, True),
        (True, True),
    ]


def test_duplicate_differs_when_only_a_column_does(commits: Commits) -> None:
    """What is stored as a column alone is content, too."""
    # Given
    commits.write([make_row(commits, make_event(0, metadata=METADATA), b"1-0")])
    more = METADATA.replace(b'"output_tokens":3', b'"output_tokens":4')
    # When
    same = commits.write([make_row(commits, make_event(0, metadata=METADATA), b"2-0")])
    other = commits.write([make_row(commits, make_event(0, metadata=more), b"3-0")])
    # Then
    assert [item.differs for item in (*same.duplicates, *other.duplicates)] == [False, True]


def test_duplicate_counts_as_different_when_the_stored_row_is_damaged(commits: Commits) -> None:
    """A damaged row does not hold up what comes after it."""
    # Given a row whose data was spoilt on the disk
    text = b'{"words":"%b"}' % (b"many words " * 40)
    commits.write([make_row(commits, make_event(0, payload=text), b"1-0")])
    commits._connection.execute("UPDATE traces SET event_data = x'00ff00ff', codec = 1")
    # When
    inserted = commits.write([make_row(commits, make_event(0, payload=text), b"2-0")])
    # Then
    assert [item.differs for item in inserted.duplicates] == [True]


@pytest.mark.fault("C9")
@pytest.mark.parametrize(("message_id", "duplicates"), [(b"1-0", 0), (b"2-0", 1)])
def test_an_event_is_known_when_what_its_row_refers_to_is_damaged(
    commits: Commits, message_id: bytes, duplicates: int
) -> None:
    """A message that comes again counts nothing, another one is a duplicate; nobody is held up."""
    # Given a row whose kind was spoilt on the disk: no view shows it
    commits.write([make_row(commits, make_event(0), b"1-0")])
    commits._connection.execute("UPDATE traces SET kind = 1000")
    assert commits._connection.execute("SELECT count(*) FROM raw_traces").fetchone() == (0,)
    # When
    inserted = commits.write([make_row(commits, make_event(0), message_id)])
    # Then
    assert (len(inserted.written), len(inserted.duplicates)) == (0, duplicates)


def test_an_index_is_damaged_when_it_names_a_row_that_is_not_there(
    commits: Commits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said so: the writer then has the whole database checked, and set aside."""
    # Given
    commits.write([make_row(commits, make_event(0), b"1-0")])
    monkeypatch.setattr(Traces, "_stored", lambda _traces, _ids: ())
    # When / Then
    with pytest.raises(StoreBrokenError, match="index"):
        commits.write([make_row(commits, make_event(0), b"2-0")])


# --- interning ------------------------------------------------------------------------------------


def test_names_are_stored_once_when_rows_repeat_them(commits: Commits) -> None:
    """A text that repeats is stored once, also after a restart and a full cache."""
    # Given
    commits.write([make_row(commits, make_event(number)) for number in range(5)])
    before = (count(commits, "names"), count(commits, "kinds"))
    # When the cache is gone
    commits._traces.forget_interned()
    commits.write([make_row(commits, make_event(9))])
    # Then
    assert (count(commits, "names"), count(commits, "kinds")) == before
    assert before[1] == 1


def test_names_are_forgotten_when_the_cache_is_full(
    commits: Commits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Very many sessions cost bounded memory, and every row keeps its own."""
    # Given
    monkeypatch.setattr(module, "MAX_CACHED_NAMES", 10)
    events = [make_event(number, session_id=f"session-{number}") for number in range(40)]
    # When
    for event in events:
        commits.write([make_row(commits, event)])
    # Then
    assert len(commits._traces._names) < 40
    assert [view(commits, event)["session_id"] for event in events] == [
        e.session_id for e in events
    ]


def test_names_survive_a_rollback_when_the_next_batch_uses_them(
    commits: Commits, tmp_path: Path
) -> None:
    """A text interned in a transaction that was undone is interned again."""
    # Given a transaction that is undone after its rows were inserted
    event = make_event(0, session_id="never-seen", platform="new-platform")
    rows = [make_row(commits, event)]
    with pytest.raises(KeyboardInterrupt):
        _undone(commits, rows)
    # When
    commits.write(rows)
    # Then
    shown = view(commits, event)
    assert (shown["session_id"], shown["platform"]) == ("never-seen", "new-platform")
    assert database_file(tmp_path).exists()


def _undone(commits: Commits, rows: list[Row]) -> None:
    """Write rows and be interrupted before the commit."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    count_them = commits._count
    commits._count = interrupt  # type: ignore[method-assign]
    try:
        commits.write(rows)
    finally:
        commits._count = count_them  # type: ignore[method-assign]


@pytest.mark.fault("D6")
def test_names_keep_any_text_when_it_is_odd(commits: Commits) -> None:
    """Control characters, NUL and any script come back as they were."""
    # Given
    texts = ["a\x00b", "\x1b[31m", "ünï", "名", " ", "a'b\"c", "x" * 5_000]
    events = [make_event(number, session_id=text) for number, text in enumerate(texts)]
    # When
    commits.write([make_row(commits, event) for event in events])
    # Then
    assert [view(commits, event)["session_id"] for event in events] == texts


def test_traces_continue_their_sequence_when_the_store_is_opened_again(tmp_path: Path) -> None:
    """A sequence is never used twice."""
    # Given
    first = Commits(database_file(tmp_path))
    first.write([make_row(first, make_event(0))])
    first.close()
    # When
    second = Commits(database_file(tmp_path))
    inserted = second.write([make_row(second, make_event(1))])
    # Then
    assert inserted.first_sequence == 2
    assert isinstance(second._traces, Traces)
    second.close()
