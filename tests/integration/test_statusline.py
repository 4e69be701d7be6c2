"""``blueplane statusline``: a line and exit code 0, whatever is wrong."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from blueplane.clock import MS_PER_DAY, NS_PER_MS, wall_ms
from blueplane.interfaces.cli import status_line
from blueplane.paths import Home
from helpers.cli import TIMEOUT_S, program_environment, run
from helpers.desk import Desk, answer


@pytest.fixture
def desk(home: Home) -> Iterator[Desk]:
    """Give the store of the home, with a call of now and one of long ago."""
    now_ms = wall_ms()
    desk = Desk(home.database)
    model = {"metadata": {"model": "claude-opus-4-1"}}
    desk.tell(
        answer(1, (0, 100_000, 0, 0), timestamp_ms=now_ms, captured_ns=now_ms * NS_PER_MS,
               session_id="now", **model),
        answer(2, (0, 40_000, 0, 0), timestamp_ms=now_ms - 30 * MS_PER_DAY,
               captured_ns=(now_ms - 30 * MS_PER_DAY) * NS_PER_MS, session_id="then", **model),
    )  # fmt: skip
    yield desk
    desk.close()


def line(home: Home, said: Any = None) -> str:
    """Return the line, made in this process."""
    return status_line.line_of(home, said or {})


@pytest.mark.usefixtures("desk")
def test_the_line_says_today_session_block_and_health_when_all_are_known(home: Home) -> None:
    """Of the session that Claude Code names; of others nothing."""
    # Given what Claude Code hands over
    said = {"session_id": "then", "model": {"id": "x"}, "cost": {"total_cost_usd": 99}}
    # When
    parts = line(home, said).split(" | ")
    # Then
    assert parts[:2] == ["today $7.50 100.0 k tok", "session $3.00 40.00 k tok"]
    assert parts[2].startswith("block $7.50, ")
    assert parts[2].endswith(" left")
    assert parts[3] == "server down"


@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ({"session_id": "unknown", "cost": {"total_cost_usd": 1.5}}, "session $1.50"),
        ({"session_id": "unknown", "cost": {"total_cost_usd": "much"}}, None),
        ({"session_id": ["x"], "cost": 3}, None),
        ({"session_id": "\x1b[2J", "cost": {"total_cost_usd": True}}, None),
        ({"session_id": "\ud800", "cost": {"total_cost_usd": float("nan")}}, None),
        ({"cost": {"total_cost_usd": float("inf")}}, None),
        ({"cost": {"total_cost_usd": 10**400}}, None),
        ({"cost": {"total_cost_usd": -1}}, None),
        ({}, None),
    ],
)
def test_the_session_is_what_the_editor_says_when_nothing_is_stored_of_it(
    home: Home, said: dict[str, Any], shown: str | None
) -> None:
    """What it costs by Claude Code's own count, or nothing at all."""
    # Given / When
    parts = [part for part in line(home, said).split(" | ") if part.startswith("session")]
    # Then
    assert parts == ([shown] if shown else [])


@pytest.mark.parametrize(
    ("text", "beginning"),
    [(None, "blueplane: nothing stored yet"), (b"", "blueplane: the database is another version's"),
     (b"no database" * 500, "blueplane: ")],
)  # fmt: skip
@pytest.mark.fault("D8")
def test_a_line_is_printed_when_there_is_no_store_to_read(
    home: Home, text: bytes | None, beginning: str
) -> None:
    """None, an empty one, or something else in its place; and input that is no JSON."""
    # Given
    if text is not None:
        home.database.write_bytes(text)
    # When
    ended = run(home, "statusline", stdin="\udcff{[[[".encode("utf-8", "replace").decode())
    # Then
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(beginning)
    assert ended.out.count("\n") == 1


@pytest.mark.usefixtures("desk")
def test_a_line_is_printed_when_the_input_stays_open(home: Home) -> None:
    """An editor that hands nothing over, and keeps the pipe, is not waited for."""
    # Given
    reading, writing = os.pipe()
    # When
    ended = subprocess.run(
        [sys.executable, "-m", "blueplane", "statusline"], env=program_environment(home),
        stdin=reading, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    # Then
    os.close(writing)
    os.close(reading)
    assert ended.returncode == 0
    assert ended.stdout.startswith("today $7.50")


@pytest.mark.usefixtures("desk")
@pytest.mark.fault("D3")
def test_the_line_has_its_figures_when_the_input_is_nested_without_end(home: Home) -> None:
    """What cannot be read costs what it would have said, and no more."""
    # Given / When
    ended = run(home, "statusline", stdin="[" * 200_000)
    # Then
    assert ended.out.startswith("today $7.50")


def test_the_input_is_not_waited_for_when_it_comes_in_drops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A drop within each moment of patience could go on for hours."""
    # Given a clock of which a tenth of a second passes between two drops
    monkeypatch.setattr(status_line, "monotonic_s", itertools.count(0.0, 0.1).__next__)
    reading, writing = os.pipe()
    # When
    drops = 0
    pieces = status_line._pieces(reading)
    while os.write(writing, b"x") and next(pieces, b"") and drops < 100:
        drops += 1
    # Then
    os.close(writing)
    os.close(reading)
    assert 0 < drops < 10


@pytest.mark.usefixtures("desk")
def test_a_line_is_printed_when_the_prices_are_wrong(home: Home) -> None:
    """The bundled ones hold then; the report says in one line what is wrong with the others."""
    # Given
    home.config_file.write_text("prices:\n  models: [claude-opus-4-1 input=x output=1]\n")
    # When
    report = run(home, "usage")
    # Then
    assert line(home).startswith("today $7.50")
    assert report.code == 2
    assert report.err.count("\n") == 1
    assert "'x' is no price" in report.err


@pytest.mark.usefixtures("desk")
def test_a_report_heeds_prices_when_the_configuration_has_them(home: Home) -> None:
    """In the file or in the environment."""
    # Given
    home.config_file.write_text("prices:\n  models: [claude-opus-4-1 input=1 output=10]\n")
    # When
    of_file = run(home, "usage", "--format", "json").json
    of_variable = run(
        home,
        "usage",
        "--format",
        "json",
        BLUEPLANE_PRICES_MODELS="claude-opus-4-1 input=1 output=1",
    ).json
    # Then
    assert of_file["total"]["cost_usd"] == 1.4
    assert of_variable["total"]["cost_usd"] == 0.14


@pytest.mark.usefixtures("desk")
def test_names_that_nothing_has_are_refused_when_a_report_is_asked_for(home: Home) -> None:
    """In one line that names the nearest, with the exit code of what is not found."""
    # Given / When
    ended = run(home, "usage", "--platform", "claude")
    # Then
    assert ended.code == 1
    assert "did you mean claude_code?" in ended.err


@pytest.mark.usefixtures("desk")
def test_the_live_block_is_shown_once_when_nobody_watches(home: Home) -> None:
    """In a pipe as facts, to programs as a row; of views without blocks there is none."""
    # Given / When
    facts, row = (
        run(home, "usage", "blocks", "--live"),
        run(home, "usage", "blocks", "--live", "--format", "json"),
    )
    wrong = run(home, "usage", "daily", "--live")
    # Then
    assert facts.code == 0
    assert "at its end" in facts.out
    assert json.loads(row.out)["rows"][0]["active"] is True
    assert wrong.code == 2
