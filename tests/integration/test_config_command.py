"""``blueplane config``: settings seen and changed, with and without a server."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blueplane.config import SETTINGS
from blueplane.interfaces.cli.main import main
from blueplane.paths import Home
from blueplane.server.control import ControlServer
from helpers.redis_server import RedisServer
from helpers.server import Server
from helpers.waiting import wait_until

HOOK = Path(__file__).parents[2] / "hooks" / "blueplane-hook"
SETTLE_S = 20.0
#: Gives exit code, standard output and standard error of a command.
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(home: Home, capsys: pytest.CaptureFixture[str]) -> Run:
    """Give a way to run ``blueplane config``."""

    def run(*arguments: str) -> tuple[int, str, str]:
        verb, *rest = arguments
        code = main(["config", verb, "--home", str(home.root), *rest])
        return code, *capsys.readouterr()

    return run


def rows(run: Run) -> dict[str, tuple[Any, str]]:
    """Return value and origin of every setting, as a program sees them."""
    code, out, _ = run("list", "--format", "json")
    assert code == 0
    return {row["key"]: (row["value"], row["from"]) for row in json.loads(out)["rows"]}


def test_list_shows_value_and_origin_of_every_setting_when_asked(
    home: Home, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every setting is listed with what holds, and whether default, file or environment says so."""
    # Given values in the file and in the environment
    home.config_file.write_text("log: {level: debug, max_mb: 3}\nfilter: {hooks: [a, b]}\n")
    monkeypatch.setenv("BLUEPLANE_LOG_MAX_MB", "4")
    # When they are listed
    found = rows(run)
    # Then each has its value and its origin
    defaults = {
        s.key: (list(s.default) if isinstance(s.default, tuple) else s.default, "default")
        for s in SETTINGS
    }
    assert found == defaults | {
        "log.level": ("debug", "file"),
        "log.max_mb": (4, "environment"),
        "filter.hooks": (["a", "b"], "file"),
        "http.port": (0, "environment"),
    }
    # When a person looks / Then it is a line each
    _, out, _ = run("list")
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    assert lines["key"] == ["value", "from"]
    assert lines["log.max_mb"] == ["4", "environment"]
    assert lines["filter.hooks"] == ["a,", "b", "file"]
    assert lines["privacy.hash_project_names"] == ["false", "default"]
    assert lines["redis.url"] == ["\u2013", "default"]


@pytest.mark.fault("G14")
def test_password_is_hidden_when_settings_are_shown(home: Home, run: Run) -> None:
    """No form of the answer has the password of an address."""
    # Given an address with one
    assert run("set", "redis.url", "redis://me:sesame@h:1/2")[0] == 0
    # When it is shown in every way
    shown = [
        run(*words)
        for words in (
            ("list",),
            ("list", "--format", "json"),
            ("get", "redis.url"),
            ("get", "redis.url", "--format", "json"),
            ("set", "redis.url", "redis://me:sesame@h:1/2"),
            ("set", "redis.url", "redis://me:sesame#@h"),
        )
    ]
    # Then it is nowhere, and the file has it
    assert "sesame" not in str(shown)
    assert "redis://me:***@h:1/2" in shown[0][1]
    assert "sesame" in home.config_file.read_text()


@pytest.mark.parametrize(
    ("key", "shown", "as_json"),
    [
        ("log.level", "info\n", "info"),
        ("log.max_mb", "10\n", 10),
        ("privacy.hash_project_names", "true\n", True),
        ("redis.url", "", None),
        ("filter.projects", "a b\nc\\x1b\n", ["a b", "c\x1b"]),
        ("filter.hooks", "", []),
    ],
)
def test_get_prints_the_value_alone_when_asked_for_one(
    home: Home, run: Run, key: str, shown: str, as_json: object
) -> None:
    """A script gets the bare value, one line an item, and nothing where there is none."""
    # Given some values
    home.config_file.write_text(
        'privacy: {hash_project_names: yes}\nfilter: {projects: [a b, "c\\e"]}\n'
    )
    # When one is asked for / Then it is printed alone
    assert run("get", key) == (0, shown, "")
    # When it is asked for as JSON / Then it has its type
    assert json.loads(run("get", key, "--format", "json")[1])["value"] == as_json


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("get", "log.lebel"), "no setting 'log.lebel'; did you mean log.level?"),
        (("set", "log.lebel", "info"), "no setting 'log.lebel'; did you mean log.level?"),
        (("unset", "log.lebel"), "no setting 'log.lebel'; did you mean log.level?"),
        (("get", "spool"), "spool is a section; its keys are spool.max_mb, spool.lease_days"),
        (("set", "log.level", "loud"), "log.level: 'loud' is not one of debug, info,"),
        (("set", "log.level", "info", "x"), "log.level takes one value;"),
        (("set", "spool.max_mb", "--", "-1"), "spool.max_mb: '-1' is not a whole number from 1"),
        (("set", "filter.hooks", "a", "b c"), "filter.hooks: must be 1 to 64 letters"),
        (("set", "filter.projects", "caf\udce9"), "filter.projects: is not UTF-8"),
        (("set", "redis.mode", "external"), "redis.mode is external, and redis.url is not set;"),
        (("set", "log.level"), "Missing argument 'VALUE...'"),
    ],
)
def test_command_is_refused_in_one_line_when_it_makes_no_sense(
    home: Home, run: Run, words: tuple[str, ...], says: str
) -> None:
    """A wrong key or value exits with 2 and one line, and writes nothing."""
    # Given a home / When a command makes no sense
    code, out, err = run(*words)
    # Then it is refused
    assert (code, out) == (2, "")
    assert err.startswith(f"blueplane: {says}")
    assert err.count("\n") == 1
    assert not home.config_file.exists()


@pytest.mark.parametrize("words", [("list",), ("get", "log.level"), ("set", "log.level", "info")])
def test_command_names_the_place_when_the_file_is_wrong(
    home: Home, run: Run, words: tuple[str, ...]
) -> None:
    """A file that is wrong is not worked with; the message says where."""
    # Given a wrong file
    home.config_file.write_text("log:\n  level: loud\n")
    # When a command needs it
    code, out, err = run(*words)
    # Then it is refused with its place, and `path` still tells where it is
    assert (code, out) == (2, "")
    assert err.startswith(f"blueplane: {home.config_file}, line 2, column 10: log.level: 'loud'")
    assert run("path") == (0, f"{home.config_file}\n", "")


def test_change_is_for_the_next_server_when_none_runs(
    home: Home, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a server a change is written, and an environment that hides it is named."""
    # Given no server / When a setting is changed, and taken out twice
    said = [run("set", "log.level", "debug"), run("unset", "log.level"), run("unset", "log.level")]
    # Then each says what happened
    assert said == [
        (0, "log.level: set; the next server uses it\n", ""),
        (0, "log.level: unset; the next server uses it\n", ""),
        (0, "log.level: was not set there\n", ""),
    ]
    assert home.config_file.read_text() == "log:\n"
    # When the environment of the shell has another value
    monkeypatch.setenv("BLUEPLANE_LOG_LEVEL", "error")
    code, _, err = run("set", "log.level", "debug")
    # Then that is said, too
    assert code == 0
    assert err.startswith("blueplane: BLUEPLANE_LOG_LEVEL in this shell's environment overrides it")


def test_running_server_uses_a_change_at_once_when_it_can(
    home: Home, run: Run, redis_server: RedisServer
) -> None:
    """A server that runs takes a change over, or needs a restart, and the command says which."""
    # Given a server
    with Server(home, redis_server, BLUEPLANE_SPOOL_MAX_MB="9") as server:
        server.start_ready()

        # When something is changed that it can take over, and an event comes
        assert " DEBUG " not in home.log_file.read_text()
        live = run("set", "log.levels", "writer=debug", "control=error")
        event = b'{"session_id": "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d", "prompt": "hello"}'
        environ = {"BLUEPLANE_HOME": str(home.root)}
        hook = ["sh", str(HOOK), "claude_code", "UserPromptSubmit"]
        subprocess.run(hook, env=environ, input=event, check=True)
        # Then it has: its log shows what it did not show before
        assert live == (0, "log.levels: set; the server uses it from now on\n", "")
        wait_until(
            lambda: " DEBUG writer flush rows=1 ms=" in home.log_file.read_text(),
            SETTLE_S,
            "the writer tells of a commit",
        )
        # When something is changed that it cannot
        later = run("set", "redis.key_prefix", "other:")
        # Then that is said
        assert later == (0, "redis.key_prefix: set; needs `blueplane restart`\n", "")
        # When its own environment wins
        hidden = run("set", "spool.max_mb", "5")
        # Then nothing changes for it
        assert hidden == (0, "spool.max_mb: set; nothing changes for the running server\n", "")


def test_change_is_kept_when_the_server_refuses_it(home: Home, run: Run) -> None:
    """A server that cannot reload goes on as it was; the file has the change."""
    # Given a server that knows no reload
    control = ControlServer(home.socket("control.sock"), {})
    control.start()
    try:
        wait_until(home.socket("control.sock").exists, SETTLE_S, "it listens")
        # When a setting is changed
        code, out, _ = run("set", "log.level", "debug")
    finally:
        control.stop()
        control.join(SETTLE_S)
    # Then that is said, in the server's words
    assert code == 0
    assert out.startswith("log.level: set; the server goes on without it: ")
    assert home.config_file.read_text() == "log:\n  level: debug\n"


def test_home_is_made_when_a_setting_is_the_first_thing_in_it(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    """A setting can be chosen before anything ever ran, and only its owner can read it."""
    # Given a home that does not exist
    new = Home(home.root / "new")
    # When a setting is changed
    code = main(["config", "set", "log.level", "debug", "--home", str(new.root)])
    # Then it is there, private
    assert (code, capsys.readouterr().err) == (0, "")
    assert new.config_file.read_text() == "log:\n  level: debug\n"
    assert new.root.stat().st_mode & 0o777 == 0o700


def test_directory_that_is_not_there_is_said_when_a_setting_names_it(
    tmp_path: Path, run: Run
) -> None:
    """It may come later, so it is set; one that is there is worth no word."""
    # When
    code, out, told = run("set", "capture.claude_dirs", str(tmp_path), str(tmp_path / "none"))

    # Then
    assert (code, out.partition(";")[0]) == (0, "capture.claude_dirs: set")
    assert told == f"blueplane: there is no directory {tmp_path / 'none'} now\n"
