"""The marks of sources: they move with outcomes, in whatever order these come."""

from pathlib import Path
from zlib import crc32

import pytest

from blueplane.event import Mark, Settlement
from blueplane.pipeline.commits import Commits
from helpers.road import database_file, heal, make_event, make_row, poison

ITEM = "0123456789abcdef"
FILE = Mark(0, 77, "feed", 0, 5)


@pytest.fixture
def commits(tmp_path: Path) -> Commits:
    """Give the writer of a new database, in which the file is announced."""
    commits = Commits(database_file(tmp_path))
    commits.announce({ITEM: FILE})
    return commits


def origin(start: int, end: int, generation: int = 0) -> str:
    """Name a line."""
    return f"t:{ITEM}-{generation}:{start}:{end}:{end + 7}"


def write(commits: Commits, *origins: str) -> None:
    """Write a row for each origin."""
    commits.write(
        [
            make_row(commits, make_event(crc32(each.encode()) % 10**6, origin=each))
            for each in origins
        ]
    )


def mark(commits: Commits) -> Mark | None:
    """Return what is stored of the file."""
    return commits.progress._offsets.get("transcript", ITEM)


def test_mark_waits_for_the_line_before_when_a_later_one_is_settled_first(
    commits: Commits,
) -> None:
    """A mark never passes a line without an outcome, and then passes all that are settled."""
    # Given
    write(commits, origin(0, 10), origin(20, 30), origin(30, 45))
    before = mark(commits)

    # When
    settlement = Settlement(origin(10, 20), "filtered", "rule", "claude_code", "", 10, "transcript")
    commits.settle([settlement])

    # Then
    assert before == Mark(10, 77, "feed", 0, 5, 17)
    assert mark(commits) == Mark(45, 77, "feed", 0, 5, 52)


def test_mark_stays_when_the_transaction_of_the_rows_fails(commits: Commits) -> None:
    """Marks move with the rows or not at all, in the store and in memory."""
    # Given
    write(commits, origin(0, 10))
    bad = make_event(9, origin=origin(10, 20))
    poison(commits._connection, bad)

    # When
    with pytest.raises(Exception, match="poison"):
        commits.write([make_row(commits, bad)])
    write(commits, origin(20, 30))
    before = mark(commits)
    heal(commits._connection)
    commits.write([make_row(commits, bad)])

    # Then
    assert before is not None
    assert before.offset == 10
    assert mark(commits) == Mark(30, 77, "feed", 0, 5, 37)


def stored(commits: Commits, item: str) -> Mark | None:
    """Return the mark of a store of Cursor's."""
    return commits.progress._offsets.get("database", item)


def test_mark_is_stored_with_the_last_outcome_when_it_covers_several(commits: Commits) -> None:
    """A mark waits for all that it covers, rows or not, and is in the transaction of the last."""
    # Given
    commits.cover("database", "lists", FILE, ["d:1", "d:2", "d:3"])
    write(commits, "d:1", "d:3", origin(0, 10))
    bad = make_event(9, origin="d:2")
    poison(commits._connection, bad)

    # When the last one fails, and is then filtered
    with pytest.raises(Exception, match="poison"):
        commits.write([make_row(commits, bad)])
    commits.announce({"other": FILE})
    before = stored(commits, "lists")
    commits.settle([Settlement("d:2", "filtered", "rule", "cursor", "", 10, "database")])

    # Then
    assert before is None
    assert stored(commits, "lists") == FILE
    assert mark(commits) == Mark(10, 77, "feed", 0, 5, 17)


def test_mark_is_stored_at_once_when_it_covers_nothing_new(commits: Commits) -> None:
    """What was settled before is not waited for; a mark that waited for more is given up."""
    # Given
    commits.cover("database", "lists", FILE, ["d:1"])

    # When
    commits.cover("database", "lists", Mark(7, 77, "", 0, 5), ())
    write(commits, "d:1")

    # Then
    assert stored(commits, "lists") == Mark(7, 77, "", 0, 5)


def test_mark_begins_anew_when_it_was_removed(commits: Commits) -> None:
    """A file that comes back after its mark went is settled from its beginning."""
    # Given
    write(commits, origin(0, 10))

    # When
    commits.remove_marks("transcript", [ITEM])
    before = mark(commits)
    commits.announce({ITEM: FILE})
    write(commits, origin(10, 20))

    # Then
    assert before is None
    assert mark(commits) == FILE


def test_mark_begins_anew_when_the_file_is_another_one(commits: Commits) -> None:
    """Lines of a later generation begin at 0, and those of an earlier one move nothing more."""
    # Given
    write(commits, origin(0, 10))
    commits.announce({ITEM: Mark(0, 78, "beef", 1, 6)})

    # When
    write(commits, origin(0, 7, generation=1))
    write(commits, origin(7, 10), origin(10, 20))

    # Then
    assert mark(commits) == Mark(7, 78, "beef", 1, 6, 14)


def test_mark_has_no_inode_when_nobody_announced_its_file(tmp_path: Path) -> None:
    """What an earlier server left in the stream is marked, for whoever reads the file next."""
    # Given
    commits = Commits(database_file(tmp_path))

    # When
    write(commits, origin(5, 10))
    before = mark(commits)
    commits.announce({ITEM: FILE})
    write(commits, origin(0, 5))

    # Then
    assert before == Mark(0, 0, "", 0, 0)
    assert mark(commits) == Mark(10, 77, "feed", 0, 5, 17)


@pytest.mark.parametrize(
    "foreign",
    ["t:", "t:x-0:0:5:1", f"t:{ITEM}-0:0:5", f"t:{ITEM}-0:-1:5:1", "t:" + "9" * 400, "spool:a:1"],
)
def test_mark_stays_when_a_stranger_invents_an_origin(commits: Commits, foreign: str) -> None:
    """An origin that is no line's moves nothing and stops nothing."""
    # When
    write(commits, foreign)

    # Then
    assert mark(commits) == FILE
