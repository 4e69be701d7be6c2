"""What commands show on a terminal of 80 columns, of invented data, at an invented time.

Owns the data, the time, the commands, and ``Stage``, on which they are run within this process.
Promises the same screens each time, wherever and whenever they are made.
Leaves files to ``scripts/make_screens.py``, comparing to the test.
"""

import os
import re
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from datetime import UTC, datetime
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from unittest.mock import patch

from blueplane import clock
from blueplane.clock import NS_PER_MS
from blueplane.interfaces.cli.main import COMMANDS, main
from blueplane.paths import Home
from blueplane.selftest.corpus import Corpus, File
from blueplane.selftest.road import Road
from blueplane.selftest.story import BEGIN_MS, tell
from helpers import transcripts
from helpers.desk import SECRET
from helpers.transcripts import Scribe

#: The time at which all screens are made, and when the transcripts, of two weeks, begin.
NOW = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
BEGIN = datetime(2026, 11, 6, 9, tzinfo=UTC)
DAYS = 14
SEED, SIZE = 27, 1_000_000
#: When a story is told by hooks.
STORY_MS = round(NOW.timestamp() * 1000) - 300_000
COLUMNS = 80
#: Screens by their names: the words of a command.
SCREENS: Mapping[str, str] = {
    "usage": "usage --period 7d",
    "usage-weekly": "usage weekly",
    "usage-model": "usage model --period month",
    "usage-session": "usage session --period week --limit 8",
    "usage-blocks": "usage blocks --period 2d",
    "usage-live": "usage blocks --live",
    "usage-chart": "usage --format chart",
    "statusline": "statusline",
    "watch": "watch --once",
    "sessions": "sessions --limit 8",
    "analyze": "analyze 0a1b2c3d",
    "analyze-tools": "analyze 0a1b2c3d --tools",
    "analyze-timeline": "analyze 0a1b2c3d --timeline",
    "metrics": "metrics --category errors",
    "metrics-tools": "metrics --group-by tool",
    "metrics-chart": "metrics --metric error_rate --format chart",
    "insights": "insights",
    "export": "export usage --period 2d",
    "explain": "explain usage.output_tokens --day yesterday --limit 8",
    "selftest": "selftest",
}
_STEERING = frozenset({"NO_COLOR", "FORCE_COLOR", "COLORTERM"})
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal(TextIOWrapper):
    """A terminal to who asks."""

    def __init__(self) -> None:
        super().__init__(BytesIO(), "utf-8", newline="", write_through=True)

    def isatty(self) -> bool:
        """Say that it is one."""
        return True

    def drawn(self) -> str:
        """Return what was drawn there, with its colours."""
        self.seek(0)
        return self.read()


class Clock:
    """A clock that stands still, but for what lasts."""

    def __init__(self) -> None:
        self.tzname, self.timezone, self.altzone = time.tzname, time.timezone, time.altzone

    def time_ns(self) -> int:
        """Return the one time there is."""
        return round(NOW.timestamp() * 1000) * NS_PER_MS

    def __getattr__(self, name: str) -> object:
        return getattr(time, name)


class Stage:
    """A home with invented data, in which commands are run."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def show(self, words: str) -> str:
        """Return what a command draws, with its colours; it must succeed."""
        terminal = Terminal()
        arguments = shlex.split(words)
        if arguments[0] != "selftest":
            arguments += ["--home", str(self._home.root)]
        with redirect_stdout(terminal), patch.object(sys, "stdin", StringIO()):
            code = main(arguments)
        assert code == 0, words
        return terminal.drawn()


def there(screens: Mapping[str, str] = SCREENS) -> dict[str, str]:
    """Return the screens of commands that there are."""
    return {name: words for name, words in screens.items() if words.split()[0] in COMMANDS}


def plain(drawn: str) -> str:
    """Return a screen as text."""
    return "\n".join(line.rstrip() for line in _COLOURS.sub("", drawn).splitlines()) + "\n"


@contextmanager
def stage(directory: Path) -> Iterator[Stage]:
    """Give a stage below a directory, at the invented time and in its zone."""
    said = {"TZ": "UTC", "TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": "40",
            "HOME": str(directory)}  # fmt: skip
    kept = {name: value for name, value in os.environ.items() if not _steers(name)}
    with patch.dict(os.environ, {**kept, **said}, clear=True):
        time.tzset()
        with patch.object(clock, "time", Clock()), patch.object(transcripts, "START", BEGIN):
            home = Home(directory / ".blueplane")
            home.prepare()
            home.secret_file.touch(0o600)
            home.secret_file.write_bytes(SECRET)
            _fill(home, directory / ".claude" / "projects")
            yield Stage(home)
    time.tzset()


def _steers(name: str) -> bool:
    """Say whether a variable changes what is shown."""
    return name.startswith(("BLUEPLANE_", "CLAUDE_", "XDG_")) or name in _STEERING


def _fill(home: Home, root: Path) -> None:
    files: dict[str, File] = {}
    for path, raw in Scribe(seed=SEED, filler=30, days=DAYS, skew=0).lines(SIZE):
        files.setdefault(path, File(path, "", "")).raw.extend(raw)
    road = Road(home, root)
    road.read_files(files.values(), whole=True)
    later_ms = STORY_MS - BEGIN_MS
    road.take_hooks(each._replace(at_ms=each.at_ms + later_ms) for each in tell(Corpus()))
    road.close()
