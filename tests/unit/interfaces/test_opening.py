"""What a report opens: one state of the database, whatever is written meanwhile."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from blueplane.paths import Home
from blueplane.store.reading import Reads
from helpers.desk import Desk, answer
from helpers.told import answered, run, sessions, told


@pytest.fixture
def busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """Give a home of which a call is derived before each read of a report."""
    home = told(tmp_path, sessions())
    desk, numbers, rows = Desk(home.database), count(1_000), Reads.rows

    def after_another(reader: Reads, *asked: Any) -> list[tuple[Any, ...]]:
        if " usage_" in asked[0]:
            number = next(numbers)
            with monkeypatch.context() as patch:
                patch.setattr(Reads, "rows", rows)
                desk.tell(answer(number, session_id=f"s-{number % 3}", project="first"))
        return rows(reader, *asked)

    monkeypatch.setattr(Reads, "rows", after_another)
    yield home
    desk.close()


@pytest.mark.parametrize(
    "words",
    [
        ("usage", "daily", "--limit", "9"),
        ("usage", "session"),
        ("usage", "blocks"),
        ("sessions",),
        ("sessions", "--sort", "cost"),
    ],
)
def test_rows_sum_to_their_total_when_calls_are_derived_meanwhile(
    busy: Home, words: tuple[str, ...]
) -> None:
    """A report is of one moment; the next one has what came since."""
    # Given / When
    answers = [answered(busy, *words) for _ in range(2)]
    # Then
    sums = [sum(row["calls"] for row in each["rows"]) for each in answers]
    assert sums == [each["total"]["calls"] for each in answers]
    assert sums[0] < sums[1]


def test_a_damaged_database_is_one_line_that_says_what_helps(home: Home) -> None:
    """Where it is, what SQLite says, and the command that goes on from there."""
    # Given
    home.prepare()
    home.database.write_bytes(b"no database" * 1_000)
    # When
    said = str(run(home, "usage").exception)
    # Then
    assert said.startswith(f"{home.database}: file is not a database")
    assert said.endswith("; `blueplane doctor` says what helps")
