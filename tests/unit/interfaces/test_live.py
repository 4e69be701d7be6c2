"""The hops of ``blueplane top``, and its screen."""

import io
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from blueplane.clock import wall_ms
from blueplane.interfaces.cli.live import screen
from blueplane.interfaces.cli.main import EXIT_PIPE
from blueplane.interfaces.cli.top import rows
from helpers.cli import program_environment
from helpers.told import sessions, told

PATIENCE_S = 30.0


def make_body(findings: int = 0) -> dict[str, Any]:
    """Make a body of health with large figures."""
    queue = {
        "health_status": "red" if findings else "green",
        "findings": [
            {
                "metric": "queue_depth",
                "colour": ("yellow", "red")[number % 2],
                "sentence": f"finding {number} " + "which has very much to say " * 4,
                "command": "blueplane status",
            }
            for number in range(findings)
        ],
        "queue_depth": 1_234_567, "consumer_lag_ms": 123_456_789, "dlq_size": 12_345,
        "enqueue_rate_events_per_sec": 12_345.67, "processing_rate_events_per_sec": 12_345.67,
        "pending_messages": 1_234_567, "oldest_pending_age_ms": 9_876_543,
        "spool_files": 123_456, "oldest_spool_age_ms": 98_765,
    }  # fmt: skip
    good: dict[str, Any] = {"health_status": "green", "findings": []}
    hooks = [{"failure_count": count, "overhead_ms_p99": p99} for count, p99 in ((3, None), (4, 5))]
    worker = {"processed_per_sec": 2.5, "backlog": 7, "lag_ms": 1, "failures": None}
    return {
        "as_of_ms": wall_ms(),
        "health_status": queue["health_status"],
        "queue": queue,
        "database": {**good, "write_failure_count": 9, "write_latency_p99_ms": 12.345},
        "capture": {
            **good, "capture_rate_events_per_min": 120.0,
            "cursor_hooks": hooks[0], "claude_hooks": hooks[1],
        },
        "workers": {**good, "usage": worker, "metrics": {**worker, "backlog": 70}},
    }  # fmt: skip


def test_rows_have_a_hop_each_when_a_body_has_all_parts() -> None:
    """Each hop has the figures of the component that knows them."""
    # Given
    body = make_body()

    # When
    found = {row["hop"]: row for row in rows(body)}

    # Then
    assert list(found) == ["captured", "enqueued", "delivered", "written", "derived"]
    assert found["captured"]["rate_per_sec"] == 2.0
    assert (found["captured"]["errors"], found["captured"]["p99_ms"]) == (7, 5)
    assert found["captured"]["p50_ms"] is None
    assert found["enqueued"]["backlog"] == 1_234_567
    assert found["delivered"]["oldest_ms"] == 9_876_543
    assert (found["written"]["errors"], found["written"]["dead_letters"]) == (9, 12_345)
    assert (found["derived"]["rate_per_sec"], found["derived"]["backlog"]) == (5.0, 70)
    assert found["derived"]["errors"] is None


def test_rows_are_unknown_when_nothing_was_looked_at_yet() -> None:
    """A body without parts has five hops of which nothing is known."""
    # Given, When
    found = rows({"as_of_ms": 0, "health_status": "green"})

    # Then
    assert len(found) == 5
    assert {value for row in found for key, value in row.items() if key != "hop"} == {None}


@pytest.mark.parametrize("trouble", [None, "the server does not answer on " + "very/long" * 12])
def test_screen_fits_the_smallest_terminal_when_everything_is_wrong(trouble: str | None) -> None:
    """80 columns and 24 lines are enough, the worst is on them, and the server's silence first."""
    # Given
    page = io.StringIO()
    console = Console(file=page, width=80, height=24)

    # When
    console.print(screen(make_body(findings=30), trouble, console))

    # Then
    lines = page.getvalue().splitlines()
    assert len(lines) < 24
    assert max(map(len, lines)) <= 80
    text = page.getvalue()
    state = "red (queue red)" if trouble is None else "down, was red (queue red)"
    assert f"blueplane is {state}" in lines[0]
    assert "finding 1 " in text
    assert "finding 0 " not in text
    assert trouble is None or "the server does not answer" in text
    for hop in ("captured", "enqueued", "delivered", "written", "derived"):
        assert sum(line.startswith(hop) for line in lines) == 1


@pytest.mark.parametrize("words", [("watch",), ("usage", "blocks", "--live")])
def test_a_screen_ends_without_a_word_when_its_terminal_is_gone(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    """As with a pipe that nobody reads; a shell need not have said that it hangs up."""
    # Given
    home = told(tmp_path / "home", sessions())
    controller, inner = pty.openpty()
    command = subprocess.Popen(
        [sys.executable, "-m", "blueplane", *words], stdin=inner, stdout=inner,
        stderr=subprocess.PIPE, env=program_environment(home, TERM="xterm"),
    )  # fmt: skip
    os.close(inner)
    with command:
        assert command.stderr is not None
        os.read(controller, 1)  # it draws
        # When
        os.close(controller)
        # Then
        try:
            assert command.wait(PATIENCE_S) == EXIT_PIPE
        finally:
            command.kill()
        assert command.stderr.read() == b""
