from pathlib import Path

import pytest

from blueplane.paths import Home
from blueplane.sandbox import Sandbox, look

FILTERED = "Name:\tblueplane\nNoNewPrivs:\t1\nSeccomp:\t2\n"


@pytest.mark.parametrize(
    ("status", "user_home", "level"),
    [
        (FILTERED, "nowhere", "full"),
        (FILTERED, "user", "filter"),
        (FILTERED.replace("2", "0"), "nowhere", "none"),
        (FILTERED.replace("1", "0"), "nowhere", "none"),
        ("", "user", "none"),
        (None, "user", "none"),
    ],
)
def test_sandbox_is_what_the_kernel_says_when_it_is_looked_at(
    tmp_path: Path, status: str | None, user_home: str, level: str
) -> None:
    """A filter and nothing to write is all, a filter alone is less, and no filter is nothing."""
    # Given what the kernel says, and a user's home in which something could be written, or none
    (tmp_path / "user" / ".claude").mkdir(parents=True)
    place = tmp_path / "status"
    if status is not None:
        place.write_text(status)
    home = Home(tmp_path / "user" / ".blueplane")
    before = sorted(tmp_path.rglob("*"))
    # When
    found = look(home, tmp_path / user_home, place)
    # Then
    expected = [str(tmp_path / "user"), str(tmp_path / "user" / ".claude")]
    assert found == Sandbox(level, tuple(expected if user_home == "user" else []))  # type: ignore[arg-type]
    assert sorted(tmp_path.rglob("*")) == before


def test_sandbox_leaves_the_home_out_when_it_is_one_of_the_places(tmp_path: Path) -> None:
    """What the server must write is not what it should not."""
    # Given a home of Blueplane in the place of ``.config``
    home = Home(tmp_path / ".config")
    home.root.mkdir()
    # When / Then
    assert look(home, tmp_path, tmp_path / "none").writable == (str(tmp_path),)
