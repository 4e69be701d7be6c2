"""What ``blueplane backfill`` says while it waits."""

import pytest

from blueplane.errors import UsageError
from blueplane.interfaces.cli import backfill
from blueplane.paths import Home

ROW = {
    "what": "transcripts", "files": 4, "files_left": 2, "bytes": 4096, "bytes_left": 3072,
    "lines": 10, "lines_left": 30, "bytes_per_s": 1024, "lines_per_s": 10,
}  # fmt: skip


class Act:
    """A server that gives the same answer for ever."""

    running = True

    def __init__(self, **said: object) -> None:
        self.body = {"rows": [ROW], "done": False, "trouble": None, **said}

    def __call__(self, operation: str, _report: object = None, **_arguments: object) -> object:
        assert operation == "backfill.status"
        return self.body


@pytest.mark.parametrize(
    ("row", "trouble", "words"),
    [
        ({}, None, "1.0 KB of 4.0 KB read, 1.0 KB/s, 3 s left, 2 files"),
        ({"bytes_per_s": None}, None, "1.0 KB of 4.0 KB read, 2 files"),
        (
            {"files_left": 0, "bytes_left": 0}, None,
            "4.0 KB of 4.0 KB read, the last events are on their way",
        ),
        ({}, "redis\x1b is away", "waits: redis\\x1b is away"),
    ],
)  # fmt: skip
def test_line_says_how_far_it_is_when_files_are_left(
    row: dict[str, object], trouble: str | None, words: str
) -> None:
    """A line says how much is read, the rate and the time left, or what holds it up."""
    # Given
    body = {"rows": [{**ROW, **row}], "trouble": trouble}

    # When / Then
    assert backfill._words(body) == words


def test_command_ends_when_something_holds_everything_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever waits is told why it does not get on, and is not kept waiting for ever."""
    # Given
    monkeypatch.setattr(backfill, "PATIENCE_S", -1.0)

    # When
    code = backfill._follow(Act(trouble="redis is away"), "table")

    # Then
    told = capsys.readouterr()
    assert code == 1
    assert "waits: redis is away" in told.out
    assert "does not get on: redis is away" in told.err


def test_command_is_refused_when_both_are_asked_for(home: Home) -> None:
    """A refresh has no dry run."""
    # Given
    command = backfill.backfill.callback
    assert command is not None

    # When / Then
    with pytest.raises(UsageError, match="one of"):
        command(home=home, form="table", dry_run=True, refresh=True)
