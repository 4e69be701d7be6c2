"""What the running server says of its hooks."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from blueplane.paths import Home
from helpers.cli import run
from helpers.issued import SCRIPT
from helpers.server import Server, environment
from helpers.waiting import wait_until

PATIENCE_S = 30.0


@pytest.fixture
def server(home: Home) -> Iterator[Server]:
    """Give a server of a user of Claude Code who has our hook for Stop."""
    settings = Path.home() / ".claude" / "settings.json"
    settings.parent.mkdir()
    command = {"type": "command", "command": f"{SCRIPT} claude_code Stop"}
    settings.write_bytes(orjson.dumps({"hooks": {"Stop": [{"hooks": [command]}]}}))
    with Server(home) as server:
        server.start_ready()
        yield server


def hook(home: Home, payload: bytes, platform: str = "claude_code", name: str = "Stop") -> None:
    """Run the hook script; it must be silent."""
    ended = subprocess.run(
        [SCRIPT, platform, name],
        input=payload,
        env={**environment(), "BLUEPLANE_HOME": str(home.root)},
        capture_output=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert (ended.stdout, ended.stderr) == (b"", b"")


def seen(server: Server, name: str = "claude_hooks") -> dict[str, Any]:
    """Return the figures of a platform's hooks."""
    figures: dict[str, Any] = server.ask("health")["capture"].get(name, {})
    return figures


def test_hooks_are_counted_when_they_run(home: Home, server: Server) -> None:
    """What ran, what failed and what is installed is seen, and a pause is said."""
    # Given
    wait_until(lambda: "capture" in server.ask("health"), PATIENCE_S, "it has looked")
    assert server.ask("health")["capture"]["state"] == "idle"
    # When hooks run, one of them with a payload that is none, and one under another of its names
    for number in range(20):
        hook(home, b'{"session_id": "s", "prompt_id": "%d"}' % number)
    hook(home, b"no json", "claude")
    hook(home, b'{"visit": 1}', "claude", "SessionStart")
    hook(home, b'{"visit": 1}', "teahouse", "kettle-boiled")
    # Then
    wait_until(lambda: seen(server)["total_executions"] == 22, PATIENCE_S, "all are counted")
    wait_until(lambda: seen(server, "teahouse_hooks"), PATIENCE_S, "the third party is there")
    figures = seen(server)
    assert (figures["installed"], seen(server, "cursor_hooks")["installed"]) == (True, False)
    assert (figures["success_count"], figures["failure_count"]) == (21, 1)
    assert figures["success_rate"] == 21 / 22
    assert figures["hooks_active"] == {"SessionStart": True, "Stop": True}
    capture = server.ask("health")["capture"]
    assert (capture["state"], capture["health_status"]) == ("ok", "yellow")
    assert [each["metric"] for each in capture["findings"]] == ["claude_hooks.success_rate"]
    # And when capture is paused
    run(home, "pause")
    wait_until(
        lambda: server.ask("health")["capture"]["findings"][-1]["metric"] == "paused",
        PATIENCE_S,
        "the pause is said",
    )
    hook(home, b'{"session_id": "s"}')
    assert server.ask("health")["capture"]["state"] == "idle"
    assert seen(server)["failure_count"] == 1
