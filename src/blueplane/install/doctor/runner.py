"""Running checks: all at once, each within its time.

Owns the threads of the checks.
Promises a row for every check, whatever it runs into, and that one which hangs holds nothing up.
Leaves what is looked at to the checks.
"""

import shlex
from collections.abc import Sequence
from threading import Thread

from blueplane.clock import monotonic_s
from blueplane.errors import BlueplaneError
from blueplane.install.doctor.check import Check, Result, Row, fail
from blueplane.install.doctor.scene import Scene, SkipError


def run(checks: Sequence[Check], scene: Scene) -> list[Row]:
    """Run all of the checks and return their rows, in the same order."""
    runs = [_Run(check, scene) for check in checks]
    for each in runs:
        each.start()
    return [each.row() for each in runs]


class _Run(Thread):
    """One check; the thread is left behind when it takes too long, and ends with the process."""

    def __init__(self, check: Check, scene: Scene) -> None:
        super().__init__(name=check.id, daemon=True)
        self._check = check
        self._scene = scene
        self._begin_s = monotonic_s()
        self._row: Row | None = None

    def run(self) -> None:
        """Look."""
        try:
            result, broke = _look(self._check, self._scene), False
        except Exception as error:  # noqa: BLE001 - the top of a check: the others have their rows
            evidence = f"the check itself failed: {type(error).__name__}: {error}"
            result, broke = fail(evidence, "blueplane doctor --bundle report.json"), True
        self._row = Row(self._check, result, self._took_ms(), broke)

    def row(self) -> Row:
        """Wait for the row; one that does not come in time says so."""
        limit_s = self._check.limit_s
        self.join(max(0.0, self._begin_s + limit_s - monotonic_s()))
        if self._row is not None:
            return self._row
        late = fail(f"no answer within {limit_s:g} s", f"blueplane doctor --only {self._check.id}")
        return Row(self._check, late, self._took_ms())

    def _took_ms(self) -> float:
        return (monotonic_s() - self._begin_s) * 1000


def _look(check: Check, scene: Scene) -> Result:
    try:
        return check.look(scene)
    except SkipError as error:
        return Result("skip", str(error))
    except BlueplaneError as error:
        return fail(str(error), f"blueplane doctor --only {check.id}")
    except OSError as error:
        place = error.filename or check.id
        return fail(f"{place}: {error.strerror}", f"ls -ld {shlex.quote(str(place))}")
