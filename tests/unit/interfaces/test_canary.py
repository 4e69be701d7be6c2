"""What a canary says about the laws."""

import io

import pytest

from blueplane.interfaces.cli.canary import _show_laws
from blueplane.interfaces.cli.screen import Screen
from blueplane.store.queries import Snapshot

MESSAGES = {"enqueued": 2, "written": 1, "in_flight": 0}
EVENTS = {"captured": 1, "written": 1, "waiting": 0}


@pytest.mark.parametrize(
    ("snapshot", "says"),
    [
        (Snapshot(0, {"messages": MESSAGES, "events": EVENTS, "balanced": False}), "OPEN by 1: "),
        (None, "canary written, but in no balance after 15 s"),
    ],
)
def test_canary_fails_when_the_laws_do_not_close(snapshot: Snapshot | None, says: str) -> None:
    """A canary that was written is no success when a law is open, or no balance counts it."""
    # Given a balance that does not close, and none at all
    shown = io.StringIO()
    # When it is shown
    arrived = _show_laws(snapshot, Screen(shown))
    # Then that is no success, and the words say why
    assert not arrived
    assert says in shown.getvalue()
