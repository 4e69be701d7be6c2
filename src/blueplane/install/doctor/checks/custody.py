"""What became of the events: both laws, what was lost, and dead letters.

Owns nothing: it reads what the server stored last.
Promises to count nothing itself.
Leaves the laws to ``health/laws.py`` and the counting to ``pipeline/custody.py``.
"""

from functools import partial
from typing import Any, Final

from blueplane.clock import MS_PER_DAY, wall_ms
from blueplane.figures import age, count
from blueplane.health.laws import LAWS, remainder
from blueplane.install.doctor.check import Check, Result, fail, ok, warn
from blueplane.install.doctor.scene import Scene, SkipError

_HOUR_MS: Final = 3_600_000
_CHAIN: Final = "blueplane health chain"


def _law(law: str, scene: Scene) -> Result:
    with scene.stored() as reader:
        snapshot = reader.balance()
    if snapshot is None:
        message = "no balance was taken yet"
        raise SkipError(message)
    body = snapshot.body
    open_by, whole = remainder(law, body), LAWS[law]
    taken = f"{whole} {body[law][whole]:,}, as of {age(wall_ms() - snapshot.as_of_ms)}"
    if open_by:
        return fail(f"does not close, by {open_by:,}: {taken}", _CHAIN)
    return ok(f"closes: {taken}")


def _losses(scene: Scene) -> Result:
    now_ms = wall_ms()
    with scene.stored() as reader:
        found = reader.incidents(now_ms - MS_PER_DAY)
    lost = [each for each in found if _lost(each) or each["kind"].startswith("store_")]
    if not lost:
        return ok("nothing was lost in the last day")
    newest = lost[0]
    evidence = (
        f"{count(sum(map(_lost, lost)), 'message')} lost in the last day: {newest['cause']}, "
        f"{age(now_ms - newest['started_ms'])}"
    )
    is_recent = now_ms - newest["started_ms"] < _HOUR_MS
    return (fail if is_recent else warn)(evidence, "blueplane health incidents --since 24h")


def _lost(incident: dict[str, Any]) -> int:
    return int(incident["count"] - incident["recovered"])


def _letters(scene: Scene) -> Result:
    with scene.stored() as reader:
        opened = reader.count_open_letters()
        groups = reader.letter_groups() if opened else []
    if not opened:
        return ok("none is open")
    oldest_ms = wall_ms() - min(group.first_ms for group in groups)
    evidence = (
        f"{count(opened, 'event')} could not be written: {groups[0].error_class}, "
        f"the oldest {age(oldest_ms)}"
    )
    return fail(evidence, "blueplane dlq list")


CHECKS: Final = (
    *(Check(f"custody.{law}", f"the law of {law}", partial(_law, law)) for law in LAWS),
    Check("custody.losses", "nothing was lost", _losses),
    Check("dead_letters.open", "every event could be written", _letters),
)
