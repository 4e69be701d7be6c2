"""An event of our own, down the whole road.

Owns waiting for it.
Promises the very command line of an editor's settings, where one of ours is in one.
Leaves the sending to ``install/canary.py``.
"""

from typing import Final

from blueplane.capture.pausing import paused
from blueplane.errors import BlueplaneError
from blueplane.install.canary import Canary, road_text
from blueplane.install.doctor import settings
from blueplane.install.doctor.check import Check, Result, fail, ok
from blueplane.install.doctor.scene import READ_S, Scene, SkipError
from blueplane.install.editors import NAMES
from blueplane.store.hops import hops
from blueplane.store.queries import reading

#: Seconds until a canary that is not written counts as stuck, and for the whole check.
PATIENCE_S: Final = 2.0
LIMIT_S: Final = 2.7


def _flight(scene: Scene) -> Result:
    if not scene.running():
        message = "no server runs: see server.running"
        raise SkipError(message)
    if paused(scene.home) is not None:
        message = "capture is paused: see spool.taking"
        raise SkipError(message)
    canary = Canary(scene.home, _command(scene))
    try:
        canary.send()
        with reading(scene.home.database, READ_S) as reader:
            row = canary.await_row(reader, PATIENCE_S)
            where = "" if row is not None else canary.whereabouts(reader)
    except BlueplaneError as error:
        return fail(str(error), "blueplane install hooks")
    if row is None:
        return fail(f"not written within {PATIENCE_S:g} s: {where}", "blueplane logs")
    return ok(road_text(hops(row)))


def _command(scene: Scene) -> str:
    """Return a command line of an editor's settings; "" has the script itself run."""
    for name in NAMES.values():
        try:
            found = settings.commands(scene.editor(name), scene)
        except SkipError:
            continue
        if found:
            return found[max(found)]
    return ""


CANARY: Final = Check("road.canary", "an event of our own arrives", _flight, LIMIT_S)
