"""A platform that nobody here has heard of, installed as a package of its own: no line of ours."""

import fcntl
import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from blueplane.paths import Home
from blueplane.store.queries import reading
from helpers.server import ROOT, Server, environment
from helpers.waiting import wait_until

HOOK = ROOT / "hooks" / "blueplane-hook"
#: Seconds; a loaded machine is slow.
PATIENCE_S = 30.0
HOOK_S = 10.0

#: What its authors would write, and nothing else.
TEAHOUSE = '''
"""Teahouse, an editor that serves tea while it edits."""

from blueplane.capture.adapter import COLUMN_KEYS, Hook, OwnKeys, Platform
from blueplane.capture.lines import changed_lines


def _identity(body, hook_name):
    return ("teahouse", hook_name, body["brew"]) if "brew" in body else ()


def _lines(body):
    return changed_lines(body["before_text"], body["after_text"])


PLATFORM = Platform(
    name="teahouse",
    aliases=("tea-house",),
    hooks={
        "guest-arrives": Hook("session_start"),
        "guest-asks": Hook("user_prompt", "before"),
        "page-changed": Hook("file_edit", "after"),
        "kettle-boiled": Hook("tool_use", "after"),
    },
    session_keys=("visit",),
    workspace_keys=("table",),
    turn_key="cup",
    tool_use_key="brew",
    column_keys={**COLUMN_KEYS, "leaf": "model", "steeped_ms": "duration_ms"},
    identity=_identity,
    line_counts={"page-changed": _lines},
    own_keys=OwnKeys(
        ids={"waiter"},
        paths={"page"},
        code={"before_text", "after_text"},
        enumerations={"mood": {"calm", "busy"}},
    ),
)
'''
#: What else is installed: each costs one line of the log, and nothing else.
BROKEN = {
    "absent": ("no_such_module_at_all:PLATFORM", None),
    "raising": ("raising_platform:PLATFORM", "raise RuntimeError('out of tea')"),
    "exiting": ("exiting_platform:PLATFORM", "import sys\nsys.exit(3)"),
    "nothing": ("nothing_platform:PLATFORM", "PLATFORM = {'name': 'nothing'}"),
    "impostor": (
        "impostor_platform:PLATFORM",
        (
            "from blueplane.capture.adapter import Hook, Platform\n"
            "PLATFORM = Platform(name='cursor', hooks={'stop': Hook('error')})"
        ),
    ),
    "leaky": (
        "leaky_platform:PLATFORM",
        (
            "from blueplane.capture.adapter import Platform\n"
            "PLATFORM = Platform(name='leaky', session_keys=('prompt',))"
        ),
    ),
}
#: One that loads until its lock is free, and whose functions fail: its events are stored all the
#: same.
CLUMSY = """
import fcntl
from pathlib import Path

from blueplane.capture.adapter import Hook, Platform

Path(__file__).with_suffix(".begun").touch()
with Path(__file__).with_suffix(".lock").open("w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)


def _fail(*_):
    raise LookupError("dropped")


PLATFORM = Platform(
    name="clumsy",
    hooks={"drop": Hook("notification")},
    identity=_fail,
    line_counts={"drop": _fail},
)
"""


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """Give a directory in which these packages are installed."""
    directory = tmp_path / "packages"
    directory.mkdir()
    install(directory, "teahouse", "teahouse:PLATFORM", TEAHOUSE)
    install(directory, "clumsy", "clumsy_platform:PLATFORM", CLUMSY)
    for name, (value, text) in BROKEN.items():
        install(directory, name, value, text)
    return directory


def install(directory: Path, name: str, value: str, text: str | None) -> None:
    """Write what an installer leaves of one package: a module, and metadata with an entry point."""
    if text is not None:
        (directory / f"{value.partition(':')[0]}.py").write_text(text)
    metadata = directory / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[blueplane.platforms]\n{name} = {value}\n")


@pytest.fixture
def server(home: Home, packages: Path) -> Iterator[Server]:
    """Give a running server of a Python that has the packages."""
    paths = f"{environment()['PYTHONPATH']}:{packages}"
    with Server(home, PYTHONPATH=paths) as server:
        server.start_ready()
        yield server


@contextmanager
def slow_to_load(packages: Path) -> Iterator[None]:
    """Have the clumsy platform load for so long: a lock ends with whoever holds it."""
    with (packages / "clumsy_platform.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fire(home: Home, platform: str, hook_name: str, **body: object) -> None:
    """Have an editor fire one hook: the real script, which says nothing."""
    done = subprocess.run(
        [str(HOOK), platform, hook_name],
        input=json.dumps(body).encode(),
        env={"BLUEPLANE_HOME": str(home.root)},
        capture_output=True,
        timeout=HOOK_S,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def rows_of(server: Server, session: str, wanted: int) -> dict[str, dict[str, Any]]:
    """Wait for the rows of a session, and return them with their data by native hook."""

    def written() -> bool:
        with reading(server.home.database) as reader:
            return reader.count_session(session) >= wanted

    wait_until(written, PATIENCE_S, f"{wanted} rows of {session}: {server.log()[-2000:]}")
    with reading(server.home.database) as reader:
        rows = reader.traces("session_id", session)
        return {
            row["hook_type"]: {**row, **orjson.loads(reader.event_data(row["sequence"]))}
            for row in rows
        }


def test_third_platform_is_captured_like_our_own_when_it_is_installed(
    home: Home, server: Server
) -> None:
    """Its hooks, sessions, workspaces, identities, lines, columns and keys are its adapter's."""
    # Given a server, with the package of a platform that no line of ours names
    visit: dict[str, object] = {"visit": "visit-1", "table": "/srv/garden/pond", "waiter": "w-7"}
    asked = {"cup": "cup-1", "mood": "calm", "wish": "something quiet please"}
    brewed = {"cup": "cup-1", "brew": "brew-9", "leaf": "oolong-3", "steeped_ms": 1200}

    # When its hooks fire, one of them twice, one under its other name, and one with prose as words
    fire(home, "teahouse", "guest-arrives", **visit)
    fire(home, "tea-house", "guest-asks", **visit, **asked)
    fire(home, "teahouse", "page-changed", **visit, page="/srv/garden/pond/menu.md",
         before_text="black\ngreen\n", after_text="black\nwhite\nred\n")  # fmt: skip
    for _ in range(2):
        fire(home, "teahouse", "kettle-boiled", **visit, **brewed, mood="rather a secret mood")
    found = rows_of(server, "visit-1", 4)
    wait_until(lambda: server.balance()["duplicate"] == 1, PATIENCE_S, "a double is counted")

    # Then each row is what the adapter says
    types = {name: row["event_type"] for name, row in found.items()}
    assert types == {
        "guest-arrives": "session_start",
        "guest-asks": "user_prompt",
        "page-changed": "file_edit",
        "kettle-boiled": "tool_use",
    }
    assert {row["platform"] for row in found.values()} == {"teahouse"}
    assert {row["project"] for row in found.values()} == {"pond"}
    assert len({row["workspace_hash"] for row in found.values()} - {""}) == 1
    kettle, page, asks = (found[name] for name in ("kettle-boiled", "page-changed", "guest-asks"))
    assert (kettle["turn_id"], kettle["tool_use_id"]) == ("cup-1", "brew-9")
    assert (kettle["model"], kettle["duration_ms"]) == ("oolong-3", 1200)
    assert (page["lines_added"], page["lines_removed"]) == (2, 1)
    assert asks["metadata"]["phase"] == "before"
    # and of its payloads passes what it declared, as that, and no prose
    assert asks["payload"] == {"mood": "calm", "waiter": "w-7", "wish": {"chars": 22}}
    assert kettle["payload"] == {"mood": {"chars": 20}, "waiter": "w-7"}
    assert page["payload"]["page"].startswith("p:")
    assert page["payload"]["after_text"].keys() == {"chars", "lines", "hash"}
    # and both laws close
    assert server.balance()["balanced"]
    assert b"secret" not in home.database.read_bytes()


def test_broken_platforms_cost_a_line_of_the_log_when_they_are_installed(
    home: Home, server: Server, packages: Path
) -> None:
    """What cannot be loaded, or fails, harms neither its own events nor those of others."""
    # Given a server with platforms that are broken, each in its way, and not loaded yet
    begun = packages / "clumsy_platform.begun"
    assert not begun.exists()
    # When hooks of them fire, and of a built-in one whose name one of them takes; one loads slowly
    with slow_to_load(packages):
        for name in ("clumsy", "clumsy", "leaky", "raising"):
            fire(home, name, "drop", session_id="visit-2", prompt="hush")
        fire(home, "cursor", "stop", conversation_id="visit-3")
        fire(home, "teahouse", "guest-arrives", visit="visit-4")
        wait_until(begun.exists, PATIENCE_S, "the slow platform is being loaded")
        assert server.status()["deaths"] == 0

    # Then all are stored, as far as they are known
    stop = rows_of(server, "visit-3", 1)["stop"]
    arrival = rows_of(server, "visit-4", 1)["guest-arrives"]
    assert (stop["event_type"], arrival["event_type"]) == ("turn_end", "session_start")
    rows_of(server, "visit-2", 4)
    with reading(home.database) as reader:
        found = reader.traces("session_id", "visit-2")
    kinds = Counter((row["platform"], row["event_type"]) for row in found)
    assert kinds == {
        ("clumsy", "notification"): 2,
        ("leaky", "other"): 1,
        ("raising", "other"): 1,
    }
    # and each breakage is one line of the log
    log = server.log().splitlines()
    for name in BROKEN:
        lines = [line for line in log if "platform not loaded" in line and f"name={name} " in line]
        assert len(lines) == 1, (name, log)
    failed = [line for line in log if "platform failed" in line]
    assert ["identity" in line or "line count" in line for line in failed] == [True, True]
    assert server.status()["deaths"] == 0
    assert server.stop() == 0
