"""The canary as ``serve --canary`` shows it: sent, awaited, and every hop of its road.

Owns the waiting, the words, and the verdict: written, and both laws closed.
Promises one line that says how far it came when it was not written.
Leaves the sending to ``install/canary.py`` and the road to the running server.
"""

from textwrap import fill
from typing import Any, Final

from blueplane.clock import monotonic_s
from blueplane.daemon import Daemon
from blueplane.errors import BlueplaneError
from blueplane.figures import milliseconds, moment
from blueplane.health.laws import LAWS
from blueplane.install.canary import Canary
from blueplane.interfaces.cli import MAX_WIDTH, visible
from blueplane.interfaces.cli.law_words import law_text
from blueplane.interfaces.cli.screen import Screen
from blueplane.store.hops import hops
from blueplane.store.queries import Reader, Snapshot, reading

#: Seconds until a canary that is not written counts as lost on the way.
PATIENCE_S: Final = 15.0
#: Seconds between two looks for its row, and for the balance that counts it.
_POLL_S: Final = 0.01


def fly(daemon: Daemon, screen: Screen) -> bool:
    """Send a canary and say how it went; True when it was written and both laws close."""
    canary = Canary(daemon.home)
    deadline_s = monotonic_s() + PATIENCE_S
    try:
        canary.send()
        with reading(daemon.home.database) as reader:
            row = _await_row(canary, reader, daemon, deadline_s)
            if row is None:
                screen.say(f"canary not written: {visible(_whereabouts(canary, reader, daemon))}")
                return False
            _show_hops(row, screen)
            return _show_laws(_await_balance(row, reader, daemon, deadline_s), screen)
    except BlueplaneError as error:
        screen.say(f"canary failed: {visible(str(error))}")
        return False


def _await_row(
    canary: Canary, reader: Reader, daemon: Daemon, deadline_s: float
) -> dict[str, Any] | None:
    while (row := canary.row(reader)) is None:
        if monotonic_s() > deadline_s or daemon.stopping.wait(_POLL_S):
            return None
    return row


def _await_balance(
    row: dict[str, Any], reader: Reader, daemon: Daemon, deadline_s: float
) -> Snapshot | None:
    """Return the first balance that counts the row; None when it does not come."""
    daemon.writer.ask(daemon.writer.balance_now)
    while monotonic_s() < deadline_s:
        snapshot = reader.balance()
        if snapshot is not None and snapshot.as_of_ms >= row["ingested_ms"]:
            return snapshot
        if daemon.stopping.wait(_POLL_S):
            break
    return None


def _show_hops(row: dict[str, Any], screen: Screen) -> None:
    lines = [
        f"{hop.hop:<12}{moment(hop.at_ms)}{milliseconds(hop.since_captured_ms):>10}"
        f"{'+' + milliseconds(hop.since_previous_ms):>10}"
        for hop in hops(row)
    ]
    screen.say("\n".join([f"{'canary':<12}{row['event_id']}", *lines]))


def _show_laws(snapshot: Snapshot | None, screen: Screen) -> bool:
    if snapshot is None:
        screen.say(f"canary written, but in no balance after {PATIENCE_S:.0f} s; see the log")
        return False
    for law in LAWS:
        text = f"{law:<12}{law_text(law, snapshot.body)}"
        screen.say(fill(text, MAX_WIDTH, subsequent_indent=" " * 12))
    return bool(snapshot.body["balanced"])


def _whereabouts(canary: Canary, reader: Reader, daemon: Daemon) -> str:
    """Say how far a canary came, and what is in its way, as its server knows."""
    origin = canary.origin()
    if origin is None or canary.letter(reader) is not None:
        return canary.whereabouts(reader)
    if origin in daemon.writer.in_flight.origins():
        return f"it was enqueued, and then: {daemon.writer.store_error or 'nothing; see the log'}"
    return f"it was captured and waits in the spool: {_queue_trouble(daemon)}"


def _queue_trouble(daemon: Daemon) -> str:
    return daemon.redis.trouble or daemon.consumer.trouble or "nothing takes it; see the log"
