"""How far sources are: what counts as done, and the rate of late."""

from pathlib import Path

import pytest

from blueplane.event import Extent
from blueplane.pipeline import backfill
from blueplane.pipeline.backfill import Backfill, Origin
from blueplane.pipeline.commits import Commits

DONE = Extent(known=True, files=2, files_left=0, bytes=4000, bytes_left=0, waiting=0)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Give a database without a row."""
    Commits(tmp_path / "telemetry.db").close()
    return tmp_path / "telemetry.db"


@pytest.mark.parametrize(
    ("change", "done"),
    [
        ({}, True),
        ({"known": False}, False),
        ({"files_left": 1}, False),
        ({"bytes_left": 1}, False),
        ({"waiting": 1}, False),
    ],
)
def test_source_is_done_when_nothing_of_it_is_left(
    database: Path, change: dict[str, int], done: bool
) -> None:
    """Nothing is called read that was not looked for, is left, or has no outcome yet."""
    # Given
    extent = DONE._replace(**change)
    origin = Origin("files", lambda: extent, "claude_code", ("transcript",), even=True)

    # When
    found = Backfill(database, (origin,), lambda: None).status()

    # Then
    assert found["done"] is done


def test_rate_is_that_of_the_last_seconds_when_somebody_asks_again(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first answer has no rate; later ones have that of ten seconds at most."""
    # Given
    now, left = [100.0], [4000]
    monkeypatch.setattr(backfill, "monotonic_s", lambda: now[0])
    origin = Origin(
        "files", lambda: DONE._replace(files_left=1, bytes_left=left[0]), "cursor", (), even=True
    )
    asked = Backfill(database, (origin,), lambda: "redis is away")

    def rate_at(second: float, unread: int) -> int | None:
        now[0], left[0] = 100 + second, unread
        rate: int | None = asked.status()["rows"][0]["bytes_per_s"]
        return rate

    # When / Then
    assert rate_at(0, 4000) is None
    assert rate_at(5, 3000) == 200
    assert rate_at(15, 3000) == 0
    assert rate_at(16, 2000) == round(1000 / 11)
    assert asked.status()["trouble"] == "redis is away"
