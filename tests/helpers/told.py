"""A home whose store knows some sessions, and what commands print of them.

Owns ``HOSTILE``, names that try to steer what shows them, and running a command in this process.
Promises a session of each kind: a whole story, one of two days and two projects, one without an
end, one with calls alone.
Leaves what is true of them to the tests.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from blueplane.event import Event
from blueplane.interfaces.cli.main import blueplane
from blueplane.paths import Home, home_at
from helpers.desk import MINUTE_MS, T0_MS, Desk, answer, at, hook
from helpers.stories import Teller, claude_hooks, cursor_hooks

DAY_MINUTES = 24 * 60
#: When it is looked: some sessions have been idle for long, some may go on.
NOW_MS = T0_MS + 50 * MINUTE_MS
HOSTILE = (
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\x1b[2Jevil",
    "a,b",
    'a"b',
    "a\nb",
    "päron 果",
    "x" * 90,
)


def told(place: Path, events: Sequence[Event]) -> Home:
    """Make a home whose store was told events, with everything derived."""
    home = home_at(place)
    home.prepare()
    desk = Desk(home.database)
    desk.tell(*events)
    desk.close()
    return home


def sessions() -> list[Event]:
    """Return events of a session of each kind."""
    model = {"metadata": {"model": "claude-opus-4-1"}}
    return [
        *claude_hooks(Teller(session_id="story-claude")),
        *cursor_hooks(Teller(session_id="story-cursor")),
        answer(901, (100, 10, 5, 1), session_id="two-days", project="first",
               **at(10 - DAY_MINUTES), **model),
        answer(902, (200, 20, 5, 1), session_id="two-days", project="second",
               **at(10), **model),
        answer(903, (9, 9, 0, 0), session_id="calls", project="second", **at(20), **model),
        answer(904, (7, 7, 0, 0), session_id="unpriced", project="third", **at(30),
               metadata={"model": "llama"}),
        hook(905, "PreToolUse", "tool_start", session_id="going-on", tool_use_id="t-1",
             metadata={"tool_name": "Bash"}, **at(40)),
        hook(906, "SessionEnd", "session_end", session_id="two-days",
             payload={"reason": "logout"}, **at(10)),
    ]  # fmt: skip


def printed(home: Home, *words: str) -> str:
    """Return what a command prints; it must succeed."""
    ended = run(home, *words)
    assert ended.exit_code == 0, (words, ended.output, ended.exception)
    return ended.output


def answered(home: Home, *words: str) -> Any:
    """Return what a command answers to programs."""
    return json.loads(printed(home, *words, "--format", "json"))


def run(home: Home, *words: str) -> Result:
    """Run a command."""
    return CliRunner().invoke(blueplane, [*words, "--home", str(home.root)])


def hostile_sessions() -> list[Event]:
    """Return events of sessions, projects and tools that have each of the names."""
    return [
        hook(number, "PreToolUse", "tool_start", session_id=f"s{number}", tool_use_id=f"t-{number}",
             project=name, timestamp_ms=T0_MS + number,
             metadata={"tool_name": name})
        for number, name in enumerate(HOSTILE, 1)
    ]  # fmt: skip
