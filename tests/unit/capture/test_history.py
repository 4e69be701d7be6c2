"""The history on the disk, seen from outside."""

from pathlib import Path

import pytest

from blueplane.capture import history
from blueplane.capture.history import STORES, TRANSCRIPTS, Amount, History
from blueplane.config import CaptureSettings
from helpers.cursor import CursorStores
from helpers.transcripts import Scribe, write

SETTINGS = CaptureSettings(
    transcripts=True, claude_dirs=(), databases=True, cursor_data=None, cursor_home=None
)


def test_survey_opens_nothing_when_it_says_how_much_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files, bytes and sessions are known from names and sizes; a shared file counts once."""
    # Given
    scribe = Scribe(seed=1, filler=10)
    projects = tmp_path / ".claude" / "projects"
    projects.mkdir(parents=True)
    write(projects, scribe.lines(60_000))
    stores = CursorStores(tmp_path, 16)
    monkeypatch.setattr(history, "OpenFile", None)
    monkeypatch.setattr(history, "make_reader", None)
    files = [path for path in projects.rglob("*") if path.is_file()]

    # When
    found = History(SETTINGS, tmp_path, {}, b"").survey()

    # Then
    sizes = sum(path.stat().st_size for path in files)
    databases = sum(path.stat().st_size for path in (stores.state, stores.local))
    assert found == [
        Amount(TRANSCRIPTS, len(files), sizes, len(scribe.truth.sessions)),
        Amount(STORES, 2, databases, None),
    ]


def test_nothing_is_found_when_it_is_not_wanted(tmp_path: Path) -> None:
    """What the settings leave out is no history either."""
    # Given
    (tmp_path / ".claude" / "projects").mkdir(parents=True)
    CursorStores(tmp_path, 16)
    settings = CaptureSettings(
        transcripts=False, claude_dirs=(), databases=False, cursor_data=None, cursor_home=None
    )

    # When
    found = History(settings, tmp_path, {}, b"").survey()

    # Then
    assert [each.files for each in found] == [0, 0]
