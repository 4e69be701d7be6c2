"""The screens in docs/ are what commands show."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.screens import COLUMNS, Stage, plain, stage, there

ROOT = Path(__file__).parents[2]
PLACE = ROOT / "docs" / "screens"
MAKE = "they are stale: python scripts/make_screens.py"


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Give a stage."""
    with stage(tmp_path_factory.mktemp("stage")) as ready:
        yield ready


def test_screens_are_what_is_shown_when_commands_change(shown: Stage) -> None:
    """Each screen, made anew of the same data at the same time, is the one in docs/screens."""
    # Given / When
    made = {
        name: f"$ blueplane {words}\n{plain(shown.show(words))}" for name, words in there().items()
    }
    # Then
    kept = {path.stem: path.read_text() for path in PLACE.glob("*.txt")}
    assert made == kept, MAKE


def test_there_is_a_picture_of_each_screen_when_they_are_made() -> None:
    """Beside each text there is a picture, of the same words, which asks nothing of the web."""
    # Given / When
    texts = {path.stem for path in PLACE.glob("*.txt")}
    pictures = {path.stem: path.read_text() for path in PLACE.glob("*.svg")}
    # Then
    assert texts == pictures.keys(), MAKE
    for name, picture in pictures.items():
        assert f"blueplane {there()[name]}".replace(" ", "&#160;") in picture, MAKE
        assert "url(http" not in picture, name


@pytest.mark.parametrize(
    "path",
    # What is for a spreadsheet is as wide as it is.
    sorted(path for path in PLACE.glob("*.txt") if path.stem != "export"),
    ids=lambda path: path.stem,
)
def test_a_screen_fits_80_columns_when_it_is_shown(path: Path) -> None:
    """No line is wider than the terminal that it was made for."""
    # Given / When
    _, *lines = path.read_text().splitlines()
    # Then
    assert max(map(len, lines)) <= COLUMNS


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("sessions", "project"), ("sessions", "bakery"), ("sessions", "exit"),
        ("usage platform", "claude_code"),
        ("metrics --group-by model", "claude-sonnet-4-5-20250929"),
        ("metrics --group-by platform", "claude_code"),
    ],
)  # fmt: skip
def test_a_name_is_in_one_piece_when_it_is_as_long_as_most(
    shown: Stage, words: str, name: str
) -> None:
    """A table leaves out a column rather than break the names of its rows."""
    # Given / When
    drawn = plain(shown.show(words))
    # Then
    assert name in drawn.split()
