"""``blueplane watch``: what happens now, once, as lines, and on a small terminal."""

import io
import json
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from blueplane.analytics.prices import load_prices
from blueplane.analytics.recent import ACTIVE_MS, SESSIONS, THINGS, Recent
from blueplane.interfaces.cli import watch
from blueplane.interfaces.cli.main import EXIT_PIPE, EXIT_SIGNAL, main
from blueplane.interfaces.cli.watch_screen import screen
from blueplane.paths import Home
from blueplane.store.queries import reading
from helpers.cli import program_environment
from helpers.desk import T0_MS, Desk, answer, at
from helpers.stories import HOME, Teller

MINUTE_MS = 60_000
PRICES = load_prices()
PATIENCE_S = 30.0


def tell(home: Home) -> Desk:
    """Store a prompt, a call of a model, and three tools: one failed, one is open."""
    home.prepare()
    teller = Teller()
    desk = Desk(home.database)
    asked = {"tool_name": "Bash", "tool_input": {"command": "make"}}
    desk.tell(
        teller.claude(0, "UserPromptSubmit", prompt="plant a tree", prompt_id="p-1"),
        teller.claude(1, "PreToolUse", tool_use_id="t-1", **asked),
        teller.claude(3, "PostToolUse", tool_use_id="t-1", tool_response={}, **asked),
        teller.claude(4, "PreToolUse", tool_use_id="t-2", **asked),
        teller.claude(5, "PostToolUseFailure", tool_use_id="t-2", error="no", **asked),
        teller.claude(6, "PreToolUse", tool_use_id="t-3", **asked),
        answer(1, (1000, 100, 50, 20), session_id=teller.session_id, **at(0.1)),
    )
    return desk


def seen(home: Home, now_ms: int) -> dict[str, Any]:
    """Look once."""
    with reading(home.database) as reader:
        return {"health": "green", **Recent(PRICES).look(reader, now_ms)}


def run(home: Home, *arguments: str) -> tuple[int, str, str]:
    """Run the command; return its exit code and what it says."""
    out, said = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(said):
        code = main(["watch", *arguments, "--home", str(home.root)])
    return code, out.getvalue(), said.getvalue()


def test_a_look_has_the_last_things_with_their_outcomes(tmp_path: Path) -> None:
    """The newest first, with what became of each, how long it took, and today's cost."""
    # Given
    home = Home(tmp_path / "home")
    desk = tell(home)
    # When
    found = seen(home, T0_MS + MINUTE_MS)
    later = seen(home, T0_MS + MINUTE_MS + ACTIVE_MS)
    desk.close()
    # Then
    things = [(each["what"], each["outcome"], each["took_ms"]) for each in found["things"]]
    assert things == [
        ("Bash", "open", None), ("Bash", "failed", 1000), ("Bash", "ok", 2000),
        ("prompt", None, None),
    ]  # fmt: skip
    assert found["today"]["calls"] == found["sessions"][0]["calls"] == 1
    assert found["today"]["total_tokens"] == 1170
    assert found["today"]["cost_usd"] == found["sessions"][0]["cost_usd"] > 0
    assert [each["active"] for each in found["sessions"]] == [True]
    assert [each["active"] for each in later["sessions"]] == [False]


def test_a_session_of_the_future_is_not_recent_when_a_clock_was_wrong(tmp_path: Path) -> None:
    """What is said to happen next year does not stand before what happens now."""
    # Given
    home = Home(tmp_path / "home")
    desk = tell(home)
    # When
    found = seen(home, T0_MS - 400 * 86_400_000)
    desk.close()
    # Then
    assert (found["sessions"], found["things"]) == ([], [])


def test_a_conversation_is_read_again_only_when_its_session_went_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look a second costs little while nothing happens."""
    # Given
    home = Home(tmp_path / "home")
    desk = tell(home)
    recent = Recent(PRICES)
    with reading(home.database) as reader:
        before = recent.look(reader, T0_MS + MINUTE_MS)
    monkeypatch.setattr("blueplane.analytics.recent.conversation", None)
    # When
    with reading(home.database) as reader:
        again = recent.look(reader, T0_MS + MINUTE_MS)
    monkeypatch.undo()
    desk.tell(Teller().claude(9, "PreToolUse", tool_name="Read", tool_use_id="t-9", cwd=HOME))
    with reading(home.database) as reader:
        after = recent.look(reader, T0_MS + MINUTE_MS)
    desk.close()
    # Then
    assert again == before
    assert after["things"][0]["what"] == "Read"


def test_watch_tells_programs_each_change_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line at once, one for each change, none otherwise; Ctrl-C ends it without a word."""
    # Given
    home = Home(tmp_path / "home")
    desk = tell(home)
    rests = iter((
        lambda: None,
        lambda: desk.tell(answer(2, session_id="another", **at(0.2))),
        lambda: None,
        lambda: home.database.rename(tmp_path / "away"),
    ))  # fmt: skip

    def rest() -> None:
        """Have something happen, until somebody ends it."""
        step = next(rests, None)
        if step is None:
            raise KeyboardInterrupt
        step()

    monkeypatch.setattr(watch, "_rest", rest)
    monkeypatch.setattr(watch, "wall_ms", lambda: T0_MS + MINUTE_MS)
    # When
    code, text, said = run(home, "--format", "json")
    desk.close()
    # Then
    lines = [json.loads(line) for line in text.splitlines()]
    assert (code, said) == (EXIT_SIGNAL + signal.SIGINT, "")
    assert [len(line.get("sessions", ())) for line in lines] == [1, 2, 0]
    assert lines[0]["health"] == "down"
    assert "no database yet" in lines[2]["error"]


@pytest.mark.parametrize("closed", ["later", "from the beginning"])
def test_watch_ends_when_nobody_reads_its_lines(tmp_path: Path, closed: str) -> None:
    """Soon, also while nothing changes and there is no line to write."""
    # Given
    home = Home(tmp_path / "home")
    tell(home).close()
    words = [sys.executable, "-m", "blueplane", "watch", "--format", "json"]
    if closed != "later":
        words = ["sh", "-c", 'exec "$@" >&-', "sh", *words]
    command = subprocess.Popen(
        words, env=program_environment(home), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    with command:
        assert command.stdout is not None
        assert command.stderr is not None
        first = command.stdout.readline()
        # When
        command.stdout.close()
        # Then
        try:
            assert command.wait(PATIENCE_S) == EXIT_PIPE
        finally:
            command.kill()
        assert command.stderr.read() == b""
        assert bool(first) == (closed == "later")


@pytest.mark.parametrize("height", [24, 14])
@pytest.mark.parametrize("trouble", [None, "the database cannot be read: " + "very/long" * 20])
def test_the_screen_fits_a_small_terminal_when_much_happens(
    trouble: str | None, height: int
) -> None:
    """Names of projects are long, and everything is in use."""
    # Given
    session = {
        "session_id": "0a1b2c3d-0000", "project": "p" * 60, "branch": "b" * 60, "active": True,
        "last_ms": T0_MS, "total_tokens": 4_571_000_000, "cost_usd": 1234.5,
    }  # fmt: skip
    thing = {
        "at_ms": T0_MS, "session_id": "0a1b2c3d-0000", "what": "mcp__" + "x" * 60,
        "outcome": "interrupted", "took_ms": 123_456,
    }  # fmt: skip
    body = {
        "health": "orange", "sessions": [session] * SESSIONS, "things": [thing] * THINGS,
        "today": {"calls": 12_345, "total_tokens": 4_571_000_000, "cost_usd": 1234.5},
    }  # fmt: skip
    page = io.StringIO()
    console = Console(file=page, width=80, height=height)
    # When
    console.print(screen(body, trouble, console))
    # Then
    lines = page.getvalue().splitlines()
    assert len(lines) <= height
    assert max(map(len, lines)) <= 80
    assert "health orange, 5 sessions active" in page.getvalue()
    assert "$1,234.50 est., 4.571 G tokens in 12,345 calls" in page.getvalue()


def test_watch_is_a_page_in_a_pipe(tmp_path: Path) -> None:
    """Once; and words where nothing is stored."""
    # Given
    home, empty = Home(tmp_path / "home"), Home(tmp_path / "empty")
    tell(home).close()
    empty.prepare()
    Desk(empty.database).close()
    # When / Then
    code, text, _ = run(home)
    assert (code, text.count("Bash")) == (0, 3)
    code, text, _ = run(empty)
    assert code == 0
    assert "no session yet" in text
    code, _, said = run(Home(tmp_path / "nowhere"))
    assert code == 1
    assert said.count("\n") == 1
