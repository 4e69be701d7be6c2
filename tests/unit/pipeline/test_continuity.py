from pathlib import Path

import pytest

from blueplane.pipeline.continuity import compare
from blueplane.store.marker import Mark

KNOWN = Mark(store=7, settled=100, own=80, rows=90, sequence=95)
NEW = Mark(0, 0, 0, 0, 0)
ASIDE = Path("telemetry.db.damaged-now")


@pytest.mark.fault("C10", "C11")
@pytest.mark.parametrize(
    ("mark", "held", "existed", "found"),
    [
        (None, NEW, False, None),
        (None, KNOWN, True, None),
        (KNOWN, KNOWN, True, None),
        (KNOWN, Mark(7, 120, 99, 99, 130), True, None),
        (KNOWN, NEW, False, ("store_missing", 100, 80)),
        (KNOWN, NEW, True, ("store_rolled_back", 100, 80)),
        (KNOWN, Mark(7, 90, 75, 80, 85), True, ("store_rolled_back", 10, 5)),
        (KNOWN, Mark(0, 90, 75, 80, 85), True, ("store_rolled_back", 10, 5)),
        (KNOWN, Mark(7, 98, 60, 80, 85), True, ("store_rolled_back", 2, 2)),
        (KNOWN, Mark(8, 500, 500, 500, 500), True, ("store_replaced", 100, 80)),
        (Mark(7, 0, 0, 0, 0), NEW, False, None),
    ],
)
def test_compare_says_what_is_missing_when_the_mark_knows_more(
    mark: Mark | None, held: Mark, found: tuple[str, int, int] | None, *, existed: bool
) -> None:
    """Missing is what the mark counts and the database does not; of another database, all of it."""
    # Given / When
    loss = compare(mark, held, existed=existed, aside=None)
    # Then
    assert (loss and (loss.kind, loss.settled, loss.own)) == found


@pytest.mark.fault("C8")
@pytest.mark.parametrize(("mark", "settled"), [(KNOWN, 100), (None, 0)])
def test_compare_names_the_file_when_a_damaged_one_was_set_aside(
    mark: Mark | None, settled: int
) -> None:
    """A damaged database is a loss whatever is known of it, and its new name is said."""
    # Given / When
    loss = compare(mark, Mark(0, 0, 0, 0, 0), existed=False, aside=ASIDE)
    # Then
    assert loss is not None
    assert (loss.kind, loss.settled) == ("store_damaged", settled)
    assert ASIDE.name in loss.cause
