import re
import shutil
from types import SimpleNamespace
from typing import Any

import pytest

from blueplane.config import load
from blueplane.interfaces.cli import survey as module
from blueplane.interfaces.cli.status import status
from blueplane.interfaces.cli.survey import PRESSURE_S, survey
from blueplane.paths import Home


def live(since_s: float | None) -> dict[str, Any]:
    """Return what a server says of itself whose sources have waited for so long."""
    waits = since_s is not None
    return {
        "pid": 1, "version": "0.1.0", "python": "3.11", "threads": {}, "deaths": 0,
        "redis": {"mode": "private", "connected": True, "version": "7", "persistence": "aof"},
        "store_error": None,
        "backpressure": {
            "state": "sources wait" if waits else "none",
            "reason": "the database is slow: a commit of 1000 took 900 ms" if waits else None,
            "since_s": since_s, "in_flight": 19_000, "window": 20_000,
        },
    }  # fmt: skip


@pytest.mark.parametrize("name", ["spool", "run"])
def test_status_answers_when_a_file_is_where_a_directory_should_be(home: Home, name: str) -> None:
    """What cannot be looked into is nothing that waits, and no bug."""
    # Given a home
    home.root.mkdir(mode=0o700, exist_ok=True)
    directory = home.root / name
    if directory.is_dir():
        shutil.rmtree(directory)
    directory.write_text("x")
    # When / Then
    assert survey(home, load(home, {}))["spool"]["files"] == 0


@pytest.mark.fault("F8")
@pytest.mark.parametrize(
    ("since_s", "waited"), [(None, None), (12.4, "12 s"), (PRESSURE_S + 1, "1 min")]
)
def test_status_tells_why_events_wait_when_the_server_is_behind(
    home: Home,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    since_s: float | None,
    waited: str | None,
) -> None:
    """A line while sources wait; not healthy once that has lasted a minute, with the reason."""
    # Given
    monkeypatch.setattr(module, "is_running", lambda _home: True)
    monkeypatch.setattr(module, "ask", lambda *_, **__: live(since_s))
    # When
    answer = survey(home, load(home, {}))
    status.main(["--home", str(home.root)], standalone_mode=False)
    # Then
    why = "the database is slow: a commit of 1000 took 900 ms"
    line = f"have waited for {waited}, 19,000 of 20,000 events on their way: {why}"
    assert re.findall(r"^sources +(.*)", capsys.readouterr().out, re.MULTILINE) == (
        [] if waited is None else [line]
    )
    healthy = (since_s or 0) < PRESSURE_S
    assert answer["healthy"] is healthy
    problem = f"sources have waited for {waited}: {why}"
    assert (problem in answer["problems"]) is not healthy


def test_status_says_what_is_left_to_read_when_a_server_runs(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """History that is not read yet, or cannot be, is noted, and is nothing wrong."""
    # Given
    history = {"bytes_left": 2048, "unread": 1}
    monkeypatch.setattr(module, "is_running", lambda _home: True)
    monkeypatch.setattr(module, "ask", lambda *_, **__: {**live(None), "history": history})

    # When
    answer = survey(home, load(home, {}))

    # Then
    assert answer["healthy"]
    assert [note.partition(" that editors keep ")[0] for note in answer["notes"]] == [
        "2.0 KB", "1 file"
    ]  # fmt: skip


@pytest.mark.fault("C1")
@pytest.mark.parametrize(
    ("free", "flag", "words"), [(3, 0, "is full: 3 B free"), (1 << 30, 1, "is read-only")]
)
def test_status_is_not_healthy_when_nothing_can_be_written(
    home: Home, monkeypatch: pytest.MonkeyPatch, free: int, flag: int, words: str
) -> None:
    """A full or read-only disk is named before an event needs it, server or not."""
    # Given
    disk = SimpleNamespace(f_bavail=free, f_frsize=1, f_flag=flag)
    monkeypatch.setattr(module.os, "statvfs", lambda _path: disk)

    # When
    answer = survey(home, load(home, {}))

    # Then
    assert not answer["healthy"]
    assert [each.endswith(words) for each in answer["problems"]] == [True]
