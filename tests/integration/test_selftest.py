"""``blueplane selftest``: the truth beside what is shown, and a word when they are apart."""

import json
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blueplane.analytics import blocks, usage, usage_report
from blueplane.analytics.metrics import measure
from blueplane.analytics.usage_report import VIEWS
from blueplane.capture.claude_code import transcript
from blueplane.errors import BlueplaneError, HomeError
from blueplane.event import derive_id
from blueplane.interfaces.cli import usage as usage_command
from blueplane.interfaces.cli.main import main
from blueplane.paths import Home
from blueplane.pipeline import custody
from blueplane.selftest import story, truth
from blueplane.selftest.corpus import Corpus
from helpers.cli import on_terminal

Found = dict[str, Any]
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    """Put the machine into a time zone."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


def tried(capsys: pytest.CaptureFixture[str]) -> tuple[int, Found]:
    """Run the command in this process; return its exit code, and where each view differs."""
    code = main(["selftest", "--format", "json"])
    rows = json.loads(capsys.readouterr().out)["rows"]
    return code, {row["view"]: row["differences"] for row in rows if row["result"] != "ok"}


@pytest.mark.parametrize(
    "zone", ["UTC", "America/St_Johns", "Pacific/Kiritimati"], indirect=True, ids=lambda name: name
)
@pytest.mark.usefixtures("zone")
def test_every_view_shows_the_truth_when_nothing_is_wrong(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All views, wherever days begin, and whatever is configured: exit 0, and none differs."""
    assert tried(capsys) == (0, {})


def test_all_views_are_asked_when_there_are_more() -> None:
    """A view of usage that is added has a truth to be held to."""
    views = {name.partition(" ")[2] for name in truth.KEYS if name.startswith("usage ")}
    assert views == set(usage_command._NAMES)


@pytest.mark.parametrize("name", ["BLUEPLANE_PRICES_MODELS", "BLUEPLANE_PRIVACY_LEVEL"])
def test_nothing_of_the_user_counts_when_something_is_set(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Settings of the environment are of the user's own home, and are there afterwards."""
    # Given
    said = "claude-opus-4-1 input=1 output=1"
    monkeypatch.setenv(name, said)
    # When
    found = tried(capsys)
    # Then
    assert found == (0, {})
    assert os.environ[name] == said


def test_nothing_is_left_when_it_is_done(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither in the temporary directory, nor in a home: there is none afterwards."""
    # Given an empty place for what is temporary, and a home that is not there
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("BLUEPLANE_HOME", str(tmp_path / "home"))
    # When
    code, _ = tried(capsys)
    # Then
    assert code == 0
    assert list(tmp_path.iterdir()) == []


def test_it_is_said_in_one_line_when_there_is_no_room(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A place for temporary files that is not there is the machine's, and no bug of ours."""
    # Given
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    # When
    code = main(["selftest"])
    # Then
    assert code == HomeError.exit_code
    assert "TMPDIR" in capsys.readouterr().err


def added(one: float | None, other: float | None) -> float:
    """Add up what is to be compared."""
    return (one or 0) + (other or 0)


def refuse(*_: object) -> None:
    """Show nothing."""
    message = "no report today"
    raise BlueplaneError(message)


def by_place(_body: object, line: transcript.Line, place: transcript.Place) -> bytes:
    """Know a line by where it stands, not by its id."""
    return derive_id(place.item, str(line.start))


def uncounted(*_: object) -> None:
    """Count nothing."""


@pytest.mark.parametrize(
    ("part", "broken", "view"),
    [
        ((usage, "largest"), added, "usage daily"),
        ((usage, "SYNTHETIC"), "", "usage model"),
        ((transcript, "_take_id"), by_place, "law of messages"),
        ((usage_report, "VIEWS"), {**VIEWS, "weekly": VIEWS["monthly"]}, "usage weekly"),
        ((blocks, "HOURS"), 4, "usage blocks"),
        ((measure, "UNDO_MS"), 0, "acceptance_rate"),
        ((custody.Tally, "settled"), uncounted, "law of events"),
        ((usage_command, "_report"), refuse, "usage session"),
    ],
)
def test_a_view_differs_when_a_part_is_broken(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    part: tuple[object, str],
    broken: object,
    view: str,
) -> None:
    """It says which view, and where; exit 1."""
    # Given
    monkeypatch.setattr(*part, broken)
    # When
    code, found = tried(capsys)
    # Then
    assert code == 1
    assert found[view]


def test_the_corpus_is_the_same_when_it_is_made_again() -> None:
    """Two programs can be compared: the same bytes, the same truth."""
    # Given / When
    one, other = Corpus(), Corpus()
    # Then
    assert [file.raw for file in one.files] == [file.raw for file in other.files]
    assert story.tell(one) == story.tell(other)
    assert one.calls == other.calls


def test_it_fits_a_terminal_when_it_is_shown_there(home: Home) -> None:
    """A row for each view, in 80 columns, with a word beside the colour."""
    # Given / When
    ended = on_terminal(home, "selftest")
    # Then
    lines = COLOURS.sub("", ended.out).splitlines()
    assert ended.code == 0
    assert max(map(len, lines)) <= 80
    assert sum(line.rstrip().endswith(" ok") for line in lines) > len(truth.KEYS)
