"""HOME as nobody expects it: hook, server and background server work in it, or say why not."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from blueplane.paths import Home
from helpers.issued import SCRIPT
from helpers.server import Server, environment
from helpers.waiting import wait_until

PATIENCE_S = 30.0
REFUSED = 4

ODD = {
    "spaces": " two  blanks ",
    "unicode": "häus-λ-家-👩‍🌾",
    "newline": "new\nline",
    "quotes": 'it\'s "quoted" $(touch hijacked) `x` %41 \\n',
    "option": "-n",
    "uri": "a?b#c&mode=ro%2e",
    "long": "/".join(["d" * 60] * 5),
}


@dataclass(frozen=True)
class User:
    """Somebody whose HOME is that."""

    home: str | None
    directory: Path = Path("/")

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Run ``blueplane`` to its end."""
        ended = subprocess.run(
            [sys.executable, "-m", "blueplane", *arguments],
            env=self.environment(), cwd=self.directory,
            capture_output=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        out, said = (text.decode("utf-8", "replace") for text in (ended.stdout, ended.stderr))
        assert "Traceback" not in out + said
        assert "a bug of ours" not in said
        return ended.returncode, out, said

    def hook(self, session: str) -> None:
        """Run the hook as an editor does; it must be silent."""
        ended = subprocess.run(
            ["sh", SCRIPT, "claude_code", "Stop"],
            env=self.environment(), cwd=self.directory,
            input=json.dumps({"session_id": session}).encode(),
            capture_output=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")

    def environment(self) -> dict[str, str]:
        """Return what such a person's programs get."""
        found = {name: value for name, value in environment().items() if name != "BLUEPLANE_HOME"}
        found.pop("HOME", None)
        return found if self.home is None else {**found, "HOME": self.home}


def rows(database: Path) -> int:
    """Return how many events are written; none where the database is being made."""
    try:
        with closing(sqlite3.connect(database)) as connection:
            return int(connection.execute("SELECT count(*) FROM raw_traces").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


@pytest.mark.fault("F10")
@pytest.mark.parametrize("name", ODD.values(), ids=ODD)
def test_everything_works_when_home_has_an_odd_name(home: Home, tmp_path: Path, name: str) -> None:
    """Hook, background server, status, log and stop work wherever a person lives."""
    # Given a person with an odd HOME, in which nothing of ours ever ran
    assert home, "the fixture gives a short directory for sockets"
    user_home = tmp_path / name
    user_home.mkdir(parents=True)
    user = User(str(user_home))
    theirs = Home(user_home / ".blueplane")
    try:
        # When a server is started, and a hook runs
        assert user.run("start")[0] == 0
        user.hook("first")
        # Then its event is written
        wait_until(lambda: rows(theirs.database) == 1, PATIENCE_S, "the event is written")
        assert user.run("status")[0] == 0
        assert user.run("logs", "-n", "1")[0] == 0
        # And in a pause none is
        assert user.run("pause", "1h")[0] == 0
        user.hook("second")
        assert [*theirs.spool.iterdir()] == []
        assert user.run("stop")[:2] == (0, "the server has stopped\n")
        # And a server in the foreground brings a canary home
        assert user.run("resume")[0] == 0
        assert user.run("serve", "--once")[0] == 0
    finally:
        user.run("stop")
        Server(theirs).kill_redis()


@pytest.mark.fault("F10")
@pytest.mark.parametrize(
    "home_variable", [None, "", "relative/home"], ids=["none", "empty", "relative"]
)
@pytest.mark.parametrize("command", ["serve", "start", "stop", "status", "logs", "pause"])
def test_command_says_what_to_set_when_there_is_no_home(
    home: Home, tmp_path: Path, command: str, home_variable: str | None
) -> None:
    """Without a HOME that is a path nothing is made anywhere, and one line says what to set."""
    # Given somebody without HOME, or with one that depends on where they are
    assert home, "the fixture keeps the test out of the user's home"
    user = User(home_variable, tmp_path)
    before = sorted(tmp_path.rglob("*"))
    # When a hook runs, and a command
    user.hook("lost")
    code, out, said = user.run(command)
    # Then
    assert (code, out) == (REFUSED, "")
    assert said.count("\n") == 1
    assert "set BLUEPLANE_HOME to a directory" in said
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.fault("F10")
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("/".join(["d" * 99] * 5), "too long"),
        ("/".join(["d" * 99] * 50), "too long"),
        (os.fsdecode(b"caf\xe9"), "not UTF-8"),
    ],
    ids=["longer than SQLite takes", "longer than the system takes", "bytes"],
)
@pytest.mark.parametrize("command", ["serve", "start", "status"])
def test_command_says_so_when_home_cannot_hold_us(
    home: Home, tmp_path: Path, command: str, name: str, says: str
) -> None:
    """A path that the system or SQLite cannot open is named, and the hook stays silent."""
    # Given somebody whose HOME is such a path
    assert home, "the fixture gives a short directory for sockets"
    user = User(str(tmp_path / name))
    # When a hook runs, and a command
    user.hook("lost")
    code, out, said = user.run(command)
    # Then it says why, and makes nothing
    assert (code, out) == (REFUSED, "")
    assert said.count("\n") == 1
    assert says in said
    assert not (tmp_path / name[:99]).exists()
