"""The spool and the quarantine: whether hooks can hand events over, and what waits.

Owns the same questions that the hook asks itself.
Promises to read no event: names, sizes and times only.
Leaves the files to the server.
"""

import os
import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from blueplane.capture.handoff import NAME
from blueplane.capture.pausing import paused
from blueplane.clock import MS_PER_DAY, NS_PER_MS, iso_utc, wall_ns
from blueplane.figures import age, count, size
from blueplane.install.doctor.check import Check, Result, fail, ok, warn
from blueplane.install.doctor.modes import keeps_out
from blueplane.install.doctor.scene import Scene
from blueplane.paths import PRIVATE_MODE, Home, private_directory

#: Milliseconds for which events may wait while a server runs.
_PATIENCE_MS: Final = 60_000
_ANY: Final = re.compile("")
#: Files that are looked at: there may be very many, and there is no time for all.
_MOST: Final = 10_000


@dataclass(frozen=True, slots=True)
class Held:
    """What is in a directory: files, bytes, and ages in milliseconds; of very many only some."""

    files: int = 0
    bytes: int = 0
    oldest_ms: int = 0
    newest_ms: int = 0


def held(directory: Path, name: re.Pattern[str] = NAME) -> Held:
    """Return what waits in a directory under such a name; nothing in one that is not there."""
    now_ns = wall_ns()
    files, total, times = 0, 0, []
    for found in islice(_stats(directory, name), _MOST):
        files, total = files + 1, total + found.st_size
        times.append(found.st_mtime_ns)
    if not times:
        return Held()
    oldest, newest = ((now_ns - at) // NS_PER_MS for at in (min(times), max(times)))
    return Held(files, total, max(0, oldest), max(0, newest))


def _stats(directory: Path, name: re.Pattern[str]) -> Iterator[os.stat_result]:
    fired = f".{os.getpid()}."  # by the doctor itself, a moment ago
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(directory) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # released meanwhile
                if name.match(entry.name) and fired not in entry.name:
                    yield entry.stat(follow_symlinks=False)


def refusal(home: Home) -> Result | None:
    """Return why hooks take nothing now; None when they take every event."""
    spool = home.spool
    if not spool.is_dir():
        return fail(f"{spool}: is missing", "blueplane start", lambda: _make(spool))
    if not os.access(spool, os.W_OK | os.X_OK):
        return keeps_out(spool, PRIVATE_MODE, "hooks")
    if home.full_flag.exists():
        return fail(f"{home.full_flag}: the spool is full", "blueplane start")
    with suppress(FileNotFoundError):  # without a lease they never stop
        over_ms = (wall_ns() - home.lease.stat().st_mtime_ns) // NS_PER_MS
        if over_ms > 0:
            return fail(f"{home.lease}: ran out {age(over_ms)}, no server ran", "blueplane start")
    return None


def _taking(scene: Scene) -> Result:
    home = scene.home
    pause = paused(home)
    if pause is not None:
        until = "" if pause.until_ms is None else f" until {iso_utc(pause.until_ms)}"
        return warn(f"capture is paused{until}, as somebody wished", "blueplane resume")
    return refusal(home) or ok(f"{home.spool}: hooks can hand events over")


def _make(spool: Path) -> str:
    private_directory(spool)
    return f"made {spool}"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _waiting(scene: Scene) -> Result:
    waits = held(scene.home.spool)
    if not waits.files:
        return ok("nothing waits")
    evidence = (
        f"{'at least ' if waits.files == _MOST else ''}{count(waits.files, 'event')}, "
        f"{size(waits.bytes)}, the oldest from {age(waits.oldest_ms)}"
    )
    if scene.running() and waits.oldest_ms > _PATIENCE_MS:
        return fail(f"{evidence}, and the server does not take it", "blueplane status")
    return ok(evidence)


def _quarantine(scene: Scene) -> Result:
    directory = scene.home.quarantine
    kept = held(directory, _ANY)
    if not kept.files:
        return ok("nothing was set aside")
    evidence = (
        f"{directory}: {count(kept.files, 'file')} that could not be read, {size(kept.bytes)}, "
        f"the last {age(kept.newest_ms)}"
    )
    if kept.newest_ms < MS_PER_DAY:
        return warn(evidence, f"ls -lt {_quoted(directory)}")
    return ok(evidence)


CHECKS: Final = (
    Check("spool.taking", "hooks can hand events over", _taking),
    Check("spool.waiting", "no event waits for long", _waiting),
    Check("quarantine.files", "every event could be read", _quarantine),
)
