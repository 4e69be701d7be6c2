"""Mending what was found, and looking again.

Owns the order: each fix by itself, then its check once more.
Promises that only what a row calls fixable is touched, and that a fix which did not help is told.
Leaves the fixes to the checks that found something.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Final

from blueplane.errors import BlueplaneError, HomeError
from blueplane.install.doctor.check import Check, Fix, Row
from blueplane.install.doctor.runner import run
from blueplane.install.doctor.scene import Scene
from blueplane.install.making import alone

#: Checks whose fix starts a server.
_SERVERS: Final = ("program.version", "server.", "service.")


@dataclass(frozen=True, slots=True)
class Mended:
    """What was done about a row; ``trouble`` is why it could not be done."""

    check: Check
    what: str
    trouble: str = ""


def mend(rows: Sequence[Row], scene: Scene) -> list[Mended]:
    """Do what can be done about the rows; servers come last, as they use what the others mend.

    An install or an uninstall of the same home is waited for.
    """
    ordered = sorted(rows, key=lambda row: row.check.id.startswith(_SERVERS))
    with nullcontext() if isinstance(scene.place, HomeError) else alone(scene.place):
        return [
            _mend(row.check, row.result.fix)
            for row in ordered
            if row.is_bad and row.result.fix is not None
        ]


def _mend(check: Check, fix: Fix) -> Mended:
    try:
        return Mended(check, fix())
    except BlueplaneError as error:
        return Mended(check, "", str(error))
    except OSError as error:
        return Mended(check, "", f"{error.filename or check.id}: {error.strerror}")


def look_again(rows: Sequence[Row], scene: Scene) -> list[Row]:
    """Run all checks of the rows once more: what was skipped may be seen now."""
    return run([row.check for row in rows], scene)
