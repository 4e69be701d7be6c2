"""Going round through the rows of a database of Cursor's, to find what was changed in place."""

from pathlib import Path

import pytest

from blueplane.capture.cursor import rotation
from blueplane.capture.cursor.database import Database
from blueplane.capture.cursor.rotation import Rotation
from helpers.cursor import CursorStores


@pytest.fixture
def stores(tmp_path: Path) -> CursorStores:
    """Give a database of 3 conversations and 30 bubbles, of which 3 are orphans."""
    stores = CursorStores(tmp_path, 13)
    for number in range(3):
        stores.converse(number, turns=3)
    return stores


def go_round(found: Rotation) -> list[str]:
    """Go on until nothing is owed; return what differed."""
    found.owe()
    keys: list[str] = []
    while found.owed:
        keys += found.step()
    return keys


def test_rows_are_named_when_they_are_not_what_they_were(stores: CursorStores) -> None:
    """The first round learns; what differs in a later one is named once, and nothing else."""
    # Given
    found = Rotation(stores.state)
    learnt = go_round(found)
    same = go_round(found)
    (composer_id, bubble_id), *_ = stores.truth.bubbles

    # When
    stores.change_in_place(composer_id, bubble_id, "another")
    stores.change_composer_in_place(composer_id)

    # Then
    assert (learnt, same) == ([], [])
    assert go_round(found) == [f"bubbleId:{composer_id}:{bubble_id}", f"composerData:{composer_id}"]
    assert go_round(found) == []


def test_change_is_found_when_the_round_in_hand_has_passed_it(
    stores: CursorStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change during a round is owed another one."""
    # Given a round that has passed the first conversation
    monkeypatch.setattr(rotation, "ROWS", 15)
    found = Rotation(stores.state)
    go_round(found)
    found.owe()
    found.step()

    # When
    key = next(iter(stores.truth.bubbles))
    stores.change_in_place(*key, "another")

    # Then
    assert go_round(found) == [f"bubbleId:{key[0]}:{key[1]}"]


@pytest.mark.parametrize(("rows", "size", "steps"), [(100, 10**6, 3), (4, 10**6, 10), (33, 1, 5)])
def test_step_is_bounded_when_there_are_many_rows_or_large_ones(
    stores: CursorStores, monkeypatch: pytest.MonkeyPatch, rows: int, size: int, steps: int
) -> None:
    """A step ends after so many rows, or a few once they are large; another finds the end."""
    # Given
    monkeypatch.setattr(rotation, "ROWS", rows)
    monkeypatch.setattr(rotation, "BYTES", size)
    found = Rotation(stores.state)
    found.owe()

    # When
    taken = 0
    while found.owed:
        found.step()
        taken += 1

    # Then
    assert taken == steps


def test_nothing_is_read_when_no_round_is_owed(
    stores: CursorStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that does not change costs nothing once it was gone round through."""
    # Given
    found = Rotation(stores.state)
    go_round(found)
    monkeypatch.setattr(rotation, "reading", None)

    # When / Then
    assert found.step() == []


def test_secrets_are_not_read_when_it_goes_round(
    stores: CursorStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only keys of bubbles and composers are asked for."""
    # Given
    asked: list[str] = []
    values = Database.values

    def noting(self: Database, keys: list[str]) -> object:
        asked.extend(keys)
        return values(self, keys)

    monkeypatch.setattr(Database, "values", noting)

    # When
    go_round(Rotation(stores.state))

    # Then
    assert len(asked) == 33
    assert {key.partition(":")[0] for key in asked} == {"bubbleId", "composerData"}
