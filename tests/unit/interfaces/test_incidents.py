"""``blueplane health incidents``: what is shown of what was not green."""

import json

import pytest

from blueplane.clock import MS_PER_DAY, wall_ms
from blueplane.interfaces.cli.incidents import show
from blueplane.paths import Home
from blueplane.pipeline.commits import Commits
from blueplane.store.ledger import HealthIncident, Incident


def fill(home: Home) -> None:
    """Store one of each: an old one, one that ended, a break, and one that lasts."""
    now_ms = wall_ms()
    commits = Commits(home.database)
    old_ms = now_ms - 30 * MS_PER_DAY
    commits.put_changes(
        [
            HealthIncident("health:queue", old_ms, old_ms + 1, "yellow", "long ago"),
            HealthIncident("health:queue", now_ms - 9000, now_ms - 4000, "orange", "12,000 wait"),
            HealthIncident("health:chain", now_ms - 1000, None, "red", "2 messages lost"),
        ]
    )
    with commits._bookkeeping():
        commits.ledger.add_incident(Incident("chain_break", now_ms - 2000, 2, 1, "trimmed", ()))
    commits.close()


def test_incidents_are_listed_newest_first_when_there_are_some(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each has when it began, how long it lasted, what it was and why."""
    # Given
    fill(home)
    # When
    show(home, None, "table")
    # Then
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[-1] for line in lines[-3:]] == [
        "2 messages lost", "trimmed", "12,000 wait",
    ]  # fmt: skip
    assert "still lasts" in lines[-3]
    assert "chain_break" in lines[-2]
    assert "5 s" in lines[-1]
    assert "orange" in lines[-1]


def test_incidents_are_rows_when_a_program_asks(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    """Times are numbers, what is unknown is null, and the period is the one asked for."""
    # Given
    fill(home)
    # When
    show(home, 31 * 86_400, "json")
    # Then
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["what"] for row in rows] == ["chain", "chain_break", "queue", "queue"]
    assert [row["lasted_ms"] for row in rows] == [None, 0, 5000, 1]
    assert [row["count"] for row in rows] == [None, 2, None, None]
    assert [row["colour"] for row in rows] == ["red", None, "orange", "yellow"]


def test_nothing_is_said_in_words_when_there_was_nothing(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table without rows is a sentence."""
    # Given
    Commits(home.database).close()
    # When
    show(home, 60, "table")
    # Then
    assert capsys.readouterr().out == "no incidents\n"
