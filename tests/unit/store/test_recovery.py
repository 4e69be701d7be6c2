"""Reading around the damage of a database."""

import random
import sqlite3
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from blueplane.errors import StoreError
from blueplane.install.doctor.recover import set_aside
from blueplane.pipeline.commits import Commits
from blueplane.store import recovery
from blueplane.store.connection import open_writer, transaction
from blueplane.store.damage import find_damage
from blueplane.store.migrations import STEPS, migrate
from blueplane.store.queries import reading
from blueplane.store.recovery import Taken, recover
from blueplane.store.wal import empty_wal
from helpers.desk import Desk, answer
from helpers.road import make_event, make_row
from helpers.stories import everything

PAGE = 4096
ROWS = 3_000
#: Rows that one page holds at most, of events as small as these.
A_PAGE = 60


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Give a database with events, as bytes."""
    path = tmp_path_factory.mktemp("store") / "telemetry.db"
    commits = Commits(path)
    with commits._bookkeeping():
        for start in range(0, ROWS, 500):
            rows = [make_row(commits, make_event(number)) for number in range(start, start + 500)]
            commits._traces.insert(rows, 1_795_150_000_000)
        commits.ledger.add({"messages.written": ROWS})
        commits.ledger.skip_to(ROWS + 7)
    commits.empty_wal()
    commits.close()
    return path.read_bytes()


def spoil(data: bytes, *pages: int) -> bytes:
    """Overwrite pages."""
    spoilt = bytearray(data)
    for page in pages:
        spoilt[page * PAGE : (page + 1) * PAGE] = b"rubbish!" * (PAGE // 8)
    return bytes(spoilt)


def recovered(tmp_path: Path, data: bytes) -> tuple[Path, Taken]:
    """Recover a database; return the new one, and what was taken of the events."""
    damaged, target = tmp_path / "damaged.db", tmp_path / "new.db"
    damaged.write_bytes(data)
    taken = {each.table: each for each in recover(damaged, target)}
    assert damaged.read_bytes() == data
    assert {path.name for path in tmp_path.glob("new.db*")} == {"new.db"}
    assert find_damage(target, 30, whole=True) is None
    return target, taken.get("traces", Taken("traces", 0, None))


def rows(path: Path) -> dict[str, tuple[object, ...]]:
    """Return the events by their ids."""
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT event_id, * FROM raw_traces ORDER BY sequence")
        return {each[0]: each[1:] for each in found}


def outer_pages(path: Path) -> tuple[int, int]:
    """Return the pages of the first and the last events, of which the table's first page tells."""
    query = "SELECT rootpage FROM sqlite_master WHERE name = 'traces'"
    with closing(sqlite3.connect(path)) as connection:
        (number,) = connection.execute(query).fetchone()
    root = path.read_bytes()[(number - 1) * PAGE : number * PAGE]
    cell = int.from_bytes(root[12:14], "big")
    first, last = root[cell : cell + 4], root[8:12]
    return int.from_bytes(first, "big") - 1, int.from_bytes(last, "big") - 1


@pytest.mark.fault("C8")
@pytest.mark.parametrize("damage", ["none", "magic", "header", "first page"])
def test_everything_is_recovered_when_only_the_beginning_is_damaged(
    tmp_path: Path, whole: bytes, damage: str
) -> None:
    """Without a header, or without the first page, every event is found, as it was."""
    # Given
    lost = {"none": 0, "magic": 16, "header": 100, "first page": PAGE}[damage]
    (tmp_path / "whole.db").write_bytes(whole)
    # When
    target, taken = recovered(tmp_path, b"x" * lost + whole[lost:])
    # Then
    assert taken == Taken("traces", ROWS, 0)
    assert target.stat().st_mode & 0o777 == 0o600
    assert rows(target) == rows(tmp_path / "whole.db")
    with reading(target) as reader:
        assert reader.last_sequence() == ROWS + 7
        assert reader.event_data(1)


@pytest.mark.fault("C8")
def test_tables_of_later_versions_are_recovered_when_the_header_is_lost(tmp_path: Path) -> None:
    """In a database that was upgraded they lie elsewhere than in a new one."""
    # Given a database of the first version, with rows, that was brought to this one
    path = tmp_path / "old.db"
    writer = open_writer(path)
    migrate(writer, STEPS[:1])
    with transaction(writer):
        writer.executemany(
            "INSERT INTO names (text) VALUES (?)", [(f"{number:0200}",) for number in range(200)]
        )
        writer.execute("INSERT INTO custody_totals VALUES ('messages.written', 1)")
    migrate(writer)
    with transaction(writer):
        writer.execute("INSERT INTO hooks VALUES ('cursor', 'stop', 7, 0, 1)")
    empty_wal(writer)
    writer.close()
    data = path.read_bytes()
    # When its header is lost
    target, _ = recovered(tmp_path, b"x" * 100 + data[100:])
    # Then
    with reading(target) as reader:
        assert [(each.hook_type, each.succeeded) for each in reader.hooks()] == [("stop", 7)]


@pytest.mark.fault("C8")
@pytest.mark.parametrize("seed", range(6))
def test_what_is_readable_is_recovered_when_pages_are_damaged(
    tmp_path: Path, whole: bytes, seed: int
) -> None:
    """A few bad pages cost what is on them; every other event is there, and nothing is invented."""
    # Given a few damaged pages anywhere but at the beginning of tables
    (tmp_path / "whole.db").write_bytes(whole)
    pages = random.Random(seed).sample(range(len(whole) // PAGE // 2, len(whole) // PAGE), 3)
    # When
    target, taken = recovered(tmp_path, spoil(whole, *pages))
    # Then
    before, after = rows(tmp_path / "whole.db"), rows(target)
    assert after.items() <= before.items()
    assert len(after) == taken.rows
    assert ROWS - len(after) <= len(pages) * A_PAGE
    assert taken.unreadable == ROWS - len(after)


@pytest.mark.fault("C8")
def test_what_lies_between_is_recovered_when_the_first_and_the_last_events_are_damaged(
    tmp_path: Path, whole: bytes
) -> None:
    """Where the events can be read from neither end, all but those of the two pages are there."""
    # Given
    (tmp_path / "whole.db").write_bytes(whole)
    before = list(rows(tmp_path / "whole.db").values())
    # When
    target, taken = recovered(tmp_path, spoil(whole, *outer_pages(tmp_path / "whole.db")))
    # Then
    after = list(rows(target).values())
    assert before[0] not in after
    assert before[-1] not in after
    assert taken.rows == len(after) >= ROWS - 2 * A_PAGE


@pytest.mark.fault("C8")
def test_what_lies_above_is_recovered_when_a_large_hole_uses_up_the_search(
    tmp_path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is readable above a hole is there, though the rows in the hole cannot all be tried."""
    # Given a damaged end, and before it a hole with more rows than ranges are tried
    (tmp_path / "whole.db").write_bytes(whole)
    _, last = outer_pages(tmp_path / "whole.db")
    monkeypatch.setattr(recovery, "MAX_RANGES", 600)
    hole = range(last - 40, last - 15)
    # When
    target, taken = recovered(tmp_path, spoil(whole, *hole, last))
    # Then all is there but what is on these pages
    numbers = [row[0] for row in rows(target).values()]
    lost = sorted(set(range(1, ROWS + 1)) - set(numbers))
    assert len(lost) <= (len(hole) + 1) * A_PAGE
    assert sum(after - before > 1 for before, after in pairwise(numbers)) == 1
    assert taken.unreadable is None


@pytest.mark.fault("C8")
def test_lost_rows_are_counted_when_the_last_ones_are_damaged(tmp_path: Path, whole: bytes) -> None:
    """The number that was given last is where the search ends, so that it ends."""
    # Given
    (tmp_path / "whole.db").write_bytes(whole)
    # When
    target, taken = recovered(tmp_path, spoil(whole, *outer_pages(tmp_path / "whole.db")))
    # Then the numbers that were skipped at the end count, too: nobody knows what they were
    assert taken.unreadable == ROWS + 7 - len(rows(target))


@pytest.mark.fault("C8")
def test_half_a_database_is_recovered_when_the_other_half_is_gone(
    tmp_path: Path, whole: bytes
) -> None:
    """A file that was cut off has what is in its first half; the last number says what is not."""
    # Given / When
    target, taken = recovered(tmp_path, whole[: len(whole) // 2 // PAGE * PAGE])
    # Then
    assert taken.unreadable == ROWS + 7 - len(rows(target))
    assert 0 < len(rows(target)) < ROWS


@pytest.mark.fault("C8")
def test_an_event_that_cannot_be_decoded_is_left_out_when_a_bit_flipped(
    tmp_path: Path, whole: bytes
) -> None:
    """SQLite does not see a flipped bit in a text: such a row would break every reader."""
    # Given a row whose event is damaged
    path = tmp_path / "damaged.db"
    path.write_bytes(whole)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE traces SET event_data = x'00ff00ff', codec = 1 WHERE sequence=9")
        connection.commit()
    # When
    _, taken = recovered(tmp_path, path.read_bytes())
    # Then
    assert taken == Taken("traces", ROWS - 1, 1)


@pytest.mark.fault("C8")
def test_all_is_recovered_when_an_attempt_before_was_killed(tmp_path: Path, whole: bytes) -> None:
    """What a killed attempt left is taken neither for the new database nor for the damaged one."""
    # Given
    damaged = tmp_path / "telemetry.db.damaged-20260101T000000000Z"
    damaged.write_bytes(spoil(whole, 0))
    made = tmp_path / f"{damaged.name}.recovered"
    for ending in (".new", ".new-wal", ".copy", ".copy-wal"):
        Path(f"{made}{ending}").write_bytes(whole[: 20 * PAGE])
    # When / Then
    assert set_aside(tmp_path / "telemetry.db") == [damaged]
    recover(damaged, made)
    assert len(rows(made)) == ROWS
    assert {path.name for path in tmp_path.iterdir()} == {damaged.name, made.name}


@pytest.mark.fault("C8")
@pytest.mark.parametrize("content", [b"", b"a letter to my aunt\n" * 1_000])
def test_nothing_is_left_behind_when_nothing_can_be_recovered(
    tmp_path: Path, content: bytes
) -> None:
    """What is no database of ours is said to be none, and makes no new one."""
    # Given
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(content)
    # When / Then
    with pytest.raises(StoreError, match="nothing of the damaged database can be read"):
        recover(damaged, tmp_path / "new.db")
    assert [path.name for path in tmp_path.iterdir()] == ["damaged.db"]
    # And a file that is there is not written over
    (tmp_path / "new.db").write_bytes(b"mine")
    with pytest.raises(StoreError, match="is there already"):
        recover(damaged, tmp_path / "new.db")
    assert (tmp_path / "new.db").read_bytes() == b"mine"


def test_everything_is_derived_anew_when_a_database_was_recovered(tmp_path: Path) -> None:
    """What is derived fits the events that are left, whatever was lost of either."""
    # Given a database whose workers are done
    desk = Desk(tmp_path / "damaged.db")
    desk.tell(*(answer(number, tool_use_id=f"t-{number}") for number in range(50)), *everything())
    before = desk.derived()
    desk.commits.empty_wal()
    desk.close()
    # When
    target, _ = recovered(tmp_path, (tmp_path / "damaged.db").read_bytes())
    # Then
    again = Desk(target)
    assert not any(again.derived().values())
    again.derive()
    assert again.derived() == before
    again.close()
