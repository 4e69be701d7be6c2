"""Named fault points, for tests that kill or break the program at an exact place.

Owns the list ``POINTS`` and what ``BLUEPLANE_FAULTS`` may ask for.
Promises to be a no-op unless that variable is set, and always in a frozen build.
Leaves it to the tests to say what must still hold afterwards.

Format: ``point:action@n`` joined by commas. The action is ``kill`` (SIGKILL to this process),
``term`` and ``int`` (SIGTERM and SIGINT to it), ``raise=NAME`` (a built-in exception) or
``sleep=SECONDS``; it acts at the n-th pass of the point (default 1), or at every pass from the n-th
on with ``@n+``.
"""

import builtins
import os
import signal
import sys
import threading
from collections import Counter

from blueplane.errors import UsageError

POINTS = frozenset(
    {
        # spooler
        "after_read_file",
        "before_append",
        "after_xadd",
        "before_release",
        "mid_release",
        # consumer
        "after_read",
        "in_batch",
        # writer
        "after_begin",
        "mid_batch",
        "before_commit",
        "after_commit",
        "after_ack",
        "in_dlq",
        "after_settlement",
        "after_retry_commit",
        # workers, in the transaction of a worker and after it
        "mid_derive",
        "after_derive",
        # a step of the schema
        "migration_statement",
        # attach
        "after_epoch_commit",
        "after_epoch_set",
        # forget and scrub
        "erased_piece",
        # refresh
        "refreshed_piece",
        # an install, between and in its steps
        "install_step",
        "version_staged",
        "link_staged",
        # a change of a file of the user's
        "change_backup_staged",
        "change_backed_up",
        "change_opened",
        "change_staged",
        "change_made",
        # loops
        "spooler_loop",
        "consumer_loop",
        "writer_loop",
    },
)


class _Armed:
    """Counts the passes of every point and acts on those that the specification names."""

    def __init__(self, specification: str) -> None:
        self._passes: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._plan: dict[str, tuple[str, int, bool]] = {}
        for item in filter(None, specification.split(",")):
            name, _, rest = item.partition(":")
            action, _, at = rest.partition("@")
            if name not in POINTS:
                message = f"BLUEPLANE_FAULTS: no fault point {name!r}; see blueplane/faults.py"
                raise UsageError(message)
            self._plan[name] = (action, int(at.rstrip("+") or 1), at.endswith("+"))

    def __call__(self, name: str) -> None:
        """Pass the point ``name``."""
        planned = self._plan.get(name)
        if planned is None:
            return
        action, at, onwards = planned
        with self._lock:
            self._passes[name] += 1
            due = self._passes[name] >= at if onwards else self._passes[name] == at
        if due:
            _act(action)


def _act(action: str) -> None:
    verb, _, argument = action.partition("=")
    if verb == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif verb == "term":
        os.kill(os.getpid(), signal.SIGTERM)
    elif verb == "int":
        os.kill(os.getpid(), signal.SIGINT)
    elif verb == "sleep":
        threading.Event().wait(float(argument))
    elif verb == "raise":
        error: type[Exception] = getattr(builtins, argument)
        message = "injected by BLUEPLANE_FAULTS"
        raise error(message)


def _inert(_name: str) -> None:
    """Do nothing: the normal case."""


_specification = os.environ.get("BLUEPLANE_FAULTS", "")
point = _Armed(_specification) if _specification and not hasattr(sys, "frozen") else _inert
