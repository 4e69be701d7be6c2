"""The laws in words."""

import pytest

from blueplane.health.laws import remainder
from blueplane.interfaces.cli.law_words import law_text
from blueplane.pipeline.custody import Balance


def balance(**changes: int) -> dict[str, object]:
    """Return a stored balance of 1,200 written messages, one in flight, with ``changes``."""
    totals = {"messages.written": 1200, "events.written": 1200, "events.captured": 1200}
    return Balance(
        totals={**totals, **{name.replace("_", ".", 1): n for name, n in changes.items()}},
        enqueued=1201,
        in_flight=1,
        foreign=1,
        dead_letters={"open": 0, "dead_lettered": 0, "waiting": 0},
        waiting=0,
    ).body()


@pytest.mark.parametrize(
    ("law", "changes", "start"),
    [
        ("messages", {}, "closed: enqueued 1,201 = written 1,200 + duplicate 0 + "),
        ("events", {}, "closed: captured 1,200 = written 1,200 + duplicate 0 + "),
        ("messages", {"messages_written": 1198}, "OPEN by 2: enqueued 1,201 = written 1,198 + "),
        ("events", {"events_filtered": 3}, "OPEN by -3: captured 1,200 = written 1,200 + "),
    ],
)
def test_law_says_whether_it_closes_when_shown(
    law: str, changes: dict[str, int], start: str
) -> None:
    """A law is one line: whether it closes, and by how much not, and every number of it."""
    # Given a balance / When a law of it is shown
    body = balance(**changes)
    text = law_text(law, body)
    # Then the verdict comes first, and agrees with the stored one
    assert text.startswith(start)
    assert body["balanced"] is (not changes)
    assert bool(remainder(law, body)) is bool(changes)
    assert text.count(" + ") == len(body[law]) - 2  # type: ignore[arg-type]
