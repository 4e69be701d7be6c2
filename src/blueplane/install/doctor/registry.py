"""All checks, in the order in which they are shown.

Owns the order: the program and the server first, then what events pass on their road.
Promises that an id is there once.
Leaves each check to its theme.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final

from blueplane.errors import UsageError
from blueplane.install.doctor.check import Check
from blueplane.install.doctor.checks import (
    activity,
    custody,
    database,
    editors,
    home,
    network,
    redis,
    server,
    service,
    spool,
)
from blueplane.install.doctor.checks.canary import CANARY

CHECKS: Final = (
    *server.CHECKS,
    *service.CHECKS,
    *home.CHECKS,
    *redis.CHECKS,
    *database.CHECKS,
    *spool.CHECKS,
    *custody.CHECKS,
    *editors.CHECKS,
    *activity.CHECKS,
    *network.CHECKS,
)


def chosen(names: Sequence[str], *, canary: bool) -> list[Check]:
    """Return the checks that are wanted: by id, or by what is before its dot; all without names.

    Raises UsageError, naming the nearest, for a name that is none.
    """
    every = [*CHECKS, CANARY]
    if not names:
        return every if canary else list(CHECKS)
    for name in names:
        if not any(_is_named(check, name) for check in every):
            known = [word for check in every for word in (check.id, check.id.partition(".")[0])]
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else "; `blueplane doctor` shows them all"
            message = f"no check {name!r}{hint}"
            raise UsageError(message)
    return [
        check
        for check in every
        if any(_is_named(check, name) for name in names) or (canary and check is CANARY)
    ]


def _is_named(check: Check, name: str) -> bool:
    return name in (check.id, check.id.partition(".")[0])
