"""What ``blueplane backfill`` takes, and what it says of a refresh."""

import pytest

from blueplane.errors import UsageError
from blueplane.interfaces.cli import backfill
from blueplane.paths import Home


def test_command_is_refused_when_both_are_asked_for(home: Home) -> None:
    """A refresh has no dry run."""
    # Given
    command = backfill.backfill.callback
    assert command is not None

    # When / Then
    with pytest.raises(UsageError, match="only one of"):
        command(home=home, form="table", dry_run=True, refresh=True, malformed=False)


def test_refresh_says_rate_and_time_when_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first word of it has no rate yet."""
    # Given
    now = [100.0]
    monkeypatch.setattr(backfill, "monotonic_s", lambda: now[0])
    pace = backfill._Pace()

    def say(done: int) -> str:
        step: str = pace.words({"step": "reading again", "done": done, "of": 4096})["step"]
        return step

    # When / Then
    assert say(1024) == "reading again: 1.0 KB of 4.0 KB"
    now[0] += 1
    assert say(2048) == pace.last == "reading again: 2.0 KB of 4.0 KB, 1.0 KB/s, 2 s left"


class Broken:
    """A way to a server whose user presses Ctrl-C."""

    def __init__(self, *, running: bool) -> None:
        self.running = running

    def __call__(self, operation: str, report: object = None, **_arguments: object) -> object:
        if operation == "reload":
            return {}
        assert callable(report)
        report({"step": "reading again", "done": 0, "of": 4096})
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("running", "rest"), [(True, "the server goes on with it"), (False, "run this again")]
)
def test_refresh_says_what_goes_on_when_it_is_broken_off(
    capsys: pytest.CaptureFixture[str], running: bool, rest: str
) -> None:
    """Whoever does not want to wait is told how far it is, and who goes on with it."""
    # When
    with pytest.raises(KeyboardInterrupt):
        backfill._refresh(Broken(running=running), "table")

    # Then
    assert f"reading again: 0 B of 4.0 KB; {rest}" in capsys.readouterr().err
