"""``blueplane ignore`` with a real server: what it leaves out, counts, shows and hides."""

import os
from pathlib import Path

import pytest

from blueplane.paths import Home
from helpers.cli import run
from helpers.issued import Issued
from helpers.redis_server import RedisServer
from helpers.server import Server, stored_balance
from helpers.waiting import wait_until

PATIENCE_S = 30.0
#: Part of every ignored path here; nothing that is stored may hold it.
SECRET_NAME = "zq9wombat"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Give a directory to ignore, and a link to it beside it."""
    directory = tmp_path / SECRET_NAME / "client"
    directory.mkdir(parents=True)
    (tmp_path / "link").symlink_to(directory)
    return directory


def test_ignored_directory_is_left_out_counted_and_named_nowhere(
    home: Home, redis_server: RedisServer, directory: Path
) -> None:
    """From the command on its events are counted by rule; no file but config.yaml has its name."""
    # Given a server that stores what happens beside the directory
    issued = Issued(home)
    beside = directory.parent.parent / "beside"
    with Server(home, redis_server) as server:
        server.start_ready()
        issued.hook(1, cwd=str(beside))
        # When
        ended = run(home, "ignore", os.path.relpath(directory))
        # Then it says from when it holds
        assert ended.code == 0
        assert ended.out.startswith(f"{directory} is ignored from now on\n")
        # and what happens there, under any name, is filtered
        left_out = Issued(home)
        left_out.hook(1, cwd=str(directory))
        left_out.hook(1, cwd=f"file://{directory}/src")
        left_out.hook(1, cwd=str(beside), tool_input={"file_path": "../link/a.py"})
        wait_until(lambda: filtered(server) == 3, PATIENCE_S, "they are filtered")
        issued.hook(1, cwd=str(beside))
        # and both laws close, with the others written
        issued.settle(server, redis_server)
        (row,) = run(home, "ignore", "--format", "json").json["rows"]
        assert (row["rule"], row["events"], row["configured"]) == (str(directory), 3, True)
        assert_named_nowhere(home)
        # and status shows the rule in clear, and is healthy
        shown = run(home, "status")
        assert (shown.code, str(directory) in shown.out) == (0, True)
        # When it is ignored no longer
        assert "from now on" in run(home, "ignore", "--remove", str(directory)).out
        issued.hook(1, cwd=str(directory))
        # Then its events are stored, and the count stays under the hash
        issued.settle(server, redis_server)
        (row,) = run(home, "ignore", "--format", "json").json["rows"]
        assert (row["kind"], row["events"], row["configured"]) == ("workspace", 3, False)
        assert row["name"] == f"workspace:{row['rule']}"
        assert row["rule"] in run(home, "status").out


def filtered(server: Server) -> int:
    """Return how many events were filtered, by the server's own sum."""
    server.balance()
    count: int = stored_balance(server.home).get("events", {}).get("filtered", 0)
    return count


def assert_named_nowhere(home: Home) -> None:
    """Fail when a file of the home, but the configuration, holds the name."""
    for path in home.root.rglob("*"):
        if path.is_file() and path != home.config_file:
            assert SECRET_NAME.encode() not in path.read_bytes(), path


def test_files_that_wait_are_judged_by_the_rules_that_hold_when_they_are_read(
    home: Home, redis_server: RedisServer, directory: Path
) -> None:
    """A rule that is made while no server runs holds for what was captured before."""
    # Given an event in the spool
    left_out, issued = Issued(home), Issued(home)
    left_out.hook(1, cwd=str(directory))
    # When
    ended = run(home, "ignore", str(directory))
    assert ended.out.startswith(f"{directory} is ignored as soon as a server runs\n")
    with Server(home, redis_server) as server:
        server.start_ready()
        issued.hook(1)
        # Then
        issued.settle(server, redis_server)
        assert filtered(server) == 1


def test_ignore_lists_every_rule_when_there_is_none_to_add(home: Home) -> None:
    """Every filter of the configuration is listed, before anything was filtered."""
    # Given
    assert "no filters" in run(home, "ignore").out
    home.config_file.write_text(
        "filter:\n  platforms: [cursor]\n  event_types: [file_read]\n  hooks: [Stop]\n"
        "  projects: [shop]\n  workspaces: [/srv/secret]\n"
    )
    # When
    rows = run(home, "ignore", "--format", "json").json["rows"]
    # Then
    assert {(row["kind"], row["rule"]) for row in rows} == {
        ("platform", "cursor"),
        ("event_type", "file_read"),
        ("hook", "Stop"),
        ("project", "shop"),
        ("workspace", "/srv/secret"),
    }
    assert all(row["events"] == 0 and row["last_ms"] is None for row in rows)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--remove"], 2, "--remove needs a directory"),
        (["--remove", "/srv/other"], 1, "/srv/other is not ignored"),
        (["a\nb"], 2, "cannot be written"),
        ([""], 2, "cannot be written"),
    ],
)
def test_ignore_says_in_one_line_what_is_wrong(
    home: Home, arguments: list[str], code: int, words: str
) -> None:
    """A mistake is one line, and changes nothing."""
    ended = run(home, "ignore", *arguments)
    assert (ended.code, ended.out, ended.err.count("\n")) == (code, "", 1)
    assert words in ended.err
    assert not home.config_file.exists()


def test_ignore_adds_a_directory_once_and_says_what_is_odd(home: Home, directory: Path) -> None:
    """Another spelling is the same rule; what is not there, or overridden, is said."""
    # Given
    run(home, "ignore", f"{directory}/")
    # When
    again = run(home, "ignore", f"{directory}/../client", f"{directory}/none")
    hidden = run(home, "ignore", "/srv/a", BLUEPLANE_FILTER_WORKSPACES="/srv/b")
    # Then
    first, second, third = again.out.splitlines()
    assert first == f"{directory} is ignored already"
    assert "though nothing is there" in second
    assert third == "what is stored already stays; `blueplane forget` removes it"
    assert "BLUEPLANE_FILTER_WORKSPACES in this shell overrides" in hidden.err
    rules = [row["rule"] for row in run(home, "ignore", "--format", "json").json["rows"]]
    assert rules == [str(directory), f"{directory}/none", "/srv/a"]
