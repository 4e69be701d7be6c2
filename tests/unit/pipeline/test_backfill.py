"""How far sources are: what counts as done, and the rate of late."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from blueplane.event import Extent, Unread
from blueplane.pipeline import backfill
from blueplane.pipeline.backfill import Around, Backfill, Origin
from blueplane.pipeline.commits import Commits
from blueplane.store.derived import Derivation
from helpers.road import make_event, make_row

DONE = Extent(known=True, files=2, files_left=0, bytes=4000, bytes_left=0, waiting=0)
BROKEN = Unread("/somewhere/state.vscdb", 1000, "no database", since_s=0.0)
CALM = Around(trouble=lambda: None, workers=tuple)


def origin_of(extent: Callable[[], Extent], looks: list[str] | None = None) -> Origin:
    """Make a source of files."""
    noted = looks if looks is not None else []
    look_anew = partial(noted.append, "looked")
    return Origin("files", extent, look_anew, "claude_code", ("transcript",), even=True)


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
        ({"files_left": 1, "bytes_left": 1000, "unread": (BROKEN,)}, True),
        ({"files_left": 2, "bytes_left": 1500, "unread": (BROKEN,)}, False),
    ],
)
def test_source_is_done_when_nothing_of_it_is_left(
    database: Path, change: dict[str, Any], done: bool
) -> None:
    """Nothing is called read that was not looked for, is left, or has no outcome yet."""
    # Given
    extent = DONE._replace(**change)

    # When
    found = Backfill(database, (origin_of(lambda: extent),), CALM).status()

    # Then
    assert found["done"] is found["read"] is done
    assert found["unread"] == [
        {"path": each.path, "bytes": each.bytes, "reason": each.reason} for each in extent.unread
    ]


def test_nothing_is_done_when_workers_have_not_seen_what_was_read(tmp_path: Path) -> None:
    """It waits for every worker, up to the last row of when all was read, and no further."""
    # Given
    commits = Commits(tmp_path / "telemetry.db")
    commits.write([make_row(commits, make_event(number)) for number in range(3)])
    around = Around(trouble=lambda: None, workers=lambda: ("usage", "sessions"))
    asked = Backfill(commits.path, (origin_of(lambda: DONE),), around)

    def derived(worker: str, upto: int) -> tuple[bool, int]:
        commits.derive(Derivation(worker, upto, lambda _: None, commits.edition))
        body = asked.status()
        return body["done"], body["to_derive"]

    # When / Then
    assert derived("usage", 3) == (False, 3)
    assert derived("sessions", 2) == (False, 1)
    commits.write([make_row(commits, make_event(4))])
    assert derived("sessions", 3) == (True, 0)
    asked.look_anew()
    assert derived("usage", 4) == (False, 1)
    commits.close()


def test_sources_look_anew_when_somebody_asks(database: Path) -> None:
    """Every source is asked to look for what there is now."""
    # Given
    looks: list[str] = []

    # When
    Backfill(database, (origin_of(lambda: DONE, looks),), CALM).look_anew()

    # Then
    assert looks == ["looked"]


def test_rate_is_that_of_the_last_seconds_when_somebody_asks_again(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first answer has no rate; later ones have that of ten seconds at most."""
    # Given
    now, taken = [100.0], [0]
    monkeypatch.setattr(backfill, "monotonic_s", lambda: now[0])
    origin = origin_of(lambda: DONE._replace(files_left=1, bytes_left=10, taken=taken[0]))
    asked = Backfill(database, (origin,), replace(CALM, trouble=lambda: "redis is away"))

    def rate_at(second: float, read: int) -> int | None:
        now[0], taken[0] = 100 + second, read
        rate: int | None = asked.status()["rows"][0]["bytes_per_s"]
        return rate

    # When / Then
    assert rate_at(0, 0) is None
    assert rate_at(5, 1000) == 200
    assert rate_at(15, 1000) == 0
    assert rate_at(16, 2000) == round(1000 / 11)
    assert asked.status()["trouble"] == "redis is away"
