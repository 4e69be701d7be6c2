"""What is left in the home after a full run: private files, and no word of what was typed."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from blueplane.paths import Home
from helpers.issued import Issued
from helpers.nursery import Nursery
from helpers.payloads import payloads
from helpers.server import Server
from helpers.waiting import wait_until

PATIENCE_S = 30.0
CANARY = "zq7canary"


def walk(directory: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Give everything below a directory, and itself."""
    yield directory, directory.lstat()
    for path in directory.rglob("*"):
        yield path, path.lstat()


@pytest.mark.fault("G10")
def test_files_are_private_when_the_umask_is_not(
    home: Home, issued: Issued, nursery: Nursery
) -> None:
    """After a full run on a private Redis, with bad files, nothing is open to others."""
    # Given a server that was started with an open umask, and has seen everything
    before = os.umask(0)
    try:
        with Server(home, nursery=nursery) as server:
            server.start_ready()
            for path in full_run(server, issued):
                # When the home is walked while it runs / Then all of it is ours alone
                assert_private(path)
            wait_until(lambda: server.balance()["quarantined"] == 2, PATIENCE_S, "it is counted")
            server.stop()
            # and afterwards too
            assert_private(home.root)
            assert_private(home.socket("control.sock").parent)
    finally:
        os.umask(before)


def full_run(server: Server, issued: Issued) -> Iterator[Path]:
    """Have every kind of file made; give the directories to look at."""
    home = issued.home
    issued.hook(20)
    (home.spool / "800.1.1").write_bytes(b"{ no json\n\x1eclaude_code Stop\n")
    (home.spool / "stranger").write_bytes(b"")
    with (home.run / "refused").open("ab") as refused:
        refused.write(b"ff")
        os.fchmod(refused.fileno(), 0o600)
    issued.settle(server, None)
    names = {path.name for path, _ in walk(home.root)}
    assert {"telemetry.db", "telemetry.db-wal", "telemetry.db-shm", "server.log"} <= names
    assert {"redis.log", "appendonlydir", "secret", "lease"} <= names
    assert home.socket("control.sock").exists()
    yield home.root
    yield home.socket("control.sock").parent
    yield home.socket("redis.sock").parent


def assert_private(directory: Path) -> None:
    """Fail on anything that somebody else may read, write or enter."""
    for path, found in walk(directory):
        wanted = 0o700 if stat.S_ISDIR(found.st_mode) else 0o600
        assert stat.S_IMODE(found.st_mode) == wanted, (path, oct(found.st_mode))


def with_canaries(value: Any, path: str) -> Any:
    """Return a payload with a canary in every text of it but the few that must mean something."""
    if isinstance(value, dict):
        planted = {key: with_canaries(item, key) for key, item in value.items()}
        return {**planted, f"{CANARY} in {path}": f"{CANARY} value"}
    if isinstance(value, list):
        return [with_canaries(item, path) for item in value]
    if not isinstance(value, str) or path == "hook_event_name":
        return value
    if path in {"cwd", "workspace_roots"}:  # its last part is the project's name, and is stored
        return f"/{CANARY}-{path}{value}"
    return f"{value} {CANARY}-{path}"


@pytest.mark.fault("G14")
def test_no_word_of_a_payload_is_left_when_the_level_is_strict(
    home: Home, issued: Issued, nursery: Nursery
) -> None:
    """Canaries in every text of every payload are nowhere: database, WAL, AOF, log, letters."""
    # Given a server at level strict
    with Server(home, nursery=nursery) as server:
        server.start_ready()
        # When payloads of both editors pass, with canaries in every key and text
        sent = 0
        for number, payload in enumerate(payloads(300, seed=7)):
            raw = orjson.dumps(with_canaries(payload.body, "root"))
            trailer = f"\n\x1e{payload.platform} {payload.hook_name}\n".encode()
            (home.spool / f"801.1.{number}").write_bytes(raw + trailer)
            sent += 1
        # and some as they are, but for the texts that people and models write
        for number, payload in enumerate(payloads(300, seed=8)):
            raw = orjson.dumps(secretive(payload.body))
            trailer = f"\n\x1e{payload.platform} {payload.hook_name}\n".encode()
            (home.spool / f"802.1.{number}").write_bytes(raw + trailer)
            sent += 1
        wait_until(lambda: server.balance().get("written", 0) >= sent - 20, PATIENCE_S, "written")
        wait_until(issued.is_drained, PATIENCE_S, "the spool is empty")
        # Then no file of the home holds one, while the server runs and after it was killed
        assert_no_canary(home)
        server.kill()
        assert_no_canary(home)
    # and the rows can still be read
    assert sum(issued.rows().values()) >= sent - 20


def secretive(body: dict[str, Any]) -> dict[str, Any]:
    """Return a payload whose free texts are canaries, of every alphabet that a secret may have."""
    texts = ("prompt", "text", "command", "output", "content", "result_json", "error_message")
    planted = {key: f"{CANARY} {key} sk-ant-{CANARY}" for key in texts if key in body}
    if isinstance(body.get("tool_input"), dict):
        planted["tool_input"] = {
            key: f"{CANARY} {key}" if isinstance(value, str) else value
            for key, value in body["tool_input"].items()
        }
    return {**body, **planted, "user_email": f"{CANARY}@example.org"}


def assert_no_canary(home: Home) -> None:
    """Fail when a file of the home holds a canary, as it is or in UTF-16."""
    needles = (CANARY.encode(), CANARY.upper().encode(), CANARY.encode("utf-16-le"))
    for path, found in walk(home.root):
        if stat.S_ISREG(found.st_mode):
            content = path.read_bytes()
            assert not any(needle in content for needle in needles), path


@pytest.mark.fault("G14")
def test_a_payload_that_cannot_be_read_is_kept_in_quarantine_alone(
    home: Home, issued: Issued, nursery: Nursery,
) -> None:  # fmt: skip
    """What is quarantined is kept raw, there and nowhere else: no log line quotes it."""
    # Given a server
    with Server(home, nursery=nursery) as server:
        server.start_ready()
        # When payloads come that cannot be read
        half = f'{{"prompt": "{CANARY}", '.encode()
        for number, raw in enumerate([half, f'"{CANARY}"'.encode(), CANARY.encode()]):
            (home.spool / f"803.1.{number}").write_bytes(raw + b"\n\x1ecursor stop\n")
        (home.spool / "foreign").write_bytes(CANARY.encode())
        issued.settle(server, None)
        server.stop()
    # Then their bytes are in the quarantine, and nowhere else
    holders = [
        path for path, found in walk(home.root)
        if stat.S_ISREG(found.st_mode) and CANARY.encode() in path.read_bytes()
    ]  # fmt: skip
    assert len(holders) == 4
    assert {path.parent for path in holders} == {home.quarantine}
