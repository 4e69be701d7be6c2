"""What ``blueplane backfill`` says while it waits, and when it ends."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from blueplane.capture.history import STORES
from blueplane.interfaces.cli import following

ROW = {
    "what": "transcripts", "files": 4, "files_left": 2, "bytes": 4096, "bytes_left": 3072,
    "events": 10, "events_left": 30, "bytes_per_s": 1024, "events_per_s": 10,
}  # fmt: skip
STORE = {**ROW, "what": STORES, "bytes_per_s": None, "events_left": None}
READ = {**ROW, "files_left": 0, "bytes_left": 0, "events_left": 0}
WAITS = {
    "rows": [ROW], "unread": [], "read": False, "to_derive": 0, "done": False, "trouble": None,
}  # fmt: skip
DONE = {**WAITS, "rows": [READ], "read": True, "done": True}
BROKEN = {"path": "/somewhere/\x1bstate.vscdb", "bytes": 10, "reason": "no database"}
AWAY = "redis\x1b is away."


class Act:
    """A server that gives one answer after the other, the last for ever."""

    def __init__(self, *bodies: Mapping[str, Any], running: bool = True) -> None:
        self.running = running
        self.asked: list[str] = []
        self._bodies = list(bodies)

    def __call__(self, operation: str, _report: object = None, **_arguments: object) -> object:
        self.asked.append(operation)
        if operation == "reload":
            return {}
        return self._bodies.pop(0) if len(self._bodies) > 1 else self._bodies[0]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nobody wait, and each look at the clock be a second after the one before."""
    now = [0.0]

    def tick() -> float:
        now[0] += 1
        return now[0]

    monkeypatch.setattr(following, "monotonic_s", tick)
    monkeypatch.setattr(following, "LOOK_S", 0.0)


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ({}, "1.0 KB of 4.0 KB read, 1.0 KB/s, 3 s left, 2 files left"),
        ({"rows": [{**ROW, "bytes_per_s": None}]}, "1.0 KB of 4.0 KB read, 2 files left"),
        (
            {"rows": [{**ROW, "bytes_per_s": None}, STORE]},
            "1.0 KB of 4.0 KB read, 2 files left; 2 of 4 stores of Cursor read",
        ),
        ({"rows": [READ, STORE]}, "2 of 4 stores of Cursor read"),
        ({"rows": [{**READ, "events_left": 3}]}, "the last events are written"),
        ({"rows": [READ]}, "looking for what there is"),
        (
            {"rows": [READ], "read": True, "to_derive": 1200},
            "all of it is read; figures are made of 1,200 events more",
        ),
        ({**DONE, "unread": [BROKEN]}, "1 file cannot be read, and is tried again"),
        (
            {"trouble": AWAY},
            "waits, and goes on by itself: redis\\x1b is away; see `blueplane doctor`",
        ),
    ],
)
def test_line_says_how_far_it_is_when_something_is_left(body: dict[str, Any], line: str) -> None:
    """A line says how much is read, the rate and the time left, or what holds it up."""
    # Given / When / Then
    assert following.words({**WAITS, **body}) == line


@pytest.mark.parametrize(
    ("rows", "bar"),
    [
        ([ROW, STORE], {"done": 1024, "of": 4096}),
        ([READ, STORE], {"done": 6, "of": 8}),
        ([{**READ, "files": 0}], {"done": 0, "of": None}),
    ],
)
def test_bar_shows_bytes_when_some_of_files_are_left(
    rows: list[dict[str, Any]], bar: dict[str, int]
) -> None:
    """A store of which little is read would be most of all bytes, so stores only count."""
    # Given / When / Then
    assert following._bar({"rows": rows}) == bar


def test_command_looks_anew_when_it_begins(capsys: pytest.CaptureFixture[str]) -> None:
    """What was changed a moment ago is looked at before anything is called read."""
    # Given
    act = Act(DONE)

    # When
    code = following.follow(act, "table")

    # Then
    assert code == 0
    assert act.asked == ["reload", "backfill.status"]
    assert "all of it is read" in capsys.readouterr().out


def test_command_ends_when_something_holds_everything_up(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whoever waits is told once why it does not get on, and is not kept waiting for ever."""
    # Given
    act = Act(WAITS, {**WAITS, "trouble": AWAY})

    # When
    code = following.follow(act, "table")

    # Then
    told = capsys.readouterr()
    assert code == 1
    assert told.out.count("redis\\x1b is away; see `blueplane doctor`") == 1
    assert "nothing went on for 1 min: redis\\x1b is away; what is read stays" in told.err


def test_command_names_what_cannot_be_read_when_all_else_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is tried again for a while, and then said with its path, its cause and exit code 1."""
    # Given
    act = Act({**DONE, "unread": [BROKEN]})

    # When
    code = following.follow(act, "table")

    # Then
    told = capsys.readouterr()
    assert code == 1
    assert "1 file cannot be read; see to it, and run this again:" in told.err
    assert "/somewhere/\\x1bstate.vscdb: no database" in told.err
    assert "all of it is read" not in told.out
    assert len(act.asked) > 3


def test_command_waits_for_figures_when_all_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    """The end is when workers are through."""
    # Given
    derive = {**DONE, "done": False, "to_derive": 7}

    # When
    code = following.follow(Act(derive, derive, DONE), "table")

    # Then
    assert code == 0
    assert "figures are made of 7 events more" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("running", "rest"), [(True, "the server goes on"), (False, "the next run, or server, goes on")]
)
def test_command_says_what_goes_on_when_it_is_broken_off(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], running: bool, rest: str
) -> None:
    """Ctrl-C is answered with how far it is."""

    # Given
    def interrupt(_self: object, _body: object) -> None:
        raise KeyboardInterrupt

    tell: Callable[..., None] = interrupt
    monkeypatch.setattr(following._Told, "tell", tell)

    # When
    with pytest.raises(KeyboardInterrupt):
        following.follow(Act(WAITS, running=running), "table")

    # Then
    assert f"2 files left; {rest}" in capsys.readouterr().err
