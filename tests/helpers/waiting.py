"""Waiting for something to become true.

Owns ``wait_until``, the only way in which a test waits, and ``has_ended`` for a process that is not
its own.
Promises to return as soon as the condition holds, and to say what never came.
Leaves the choice of a generous deadline to the test: only a failure takes that long.
"""

import time
from collections.abc import Callable

import psutil

POLL_S = 0.005


def wait_until(condition: Callable[[], object], timeout_s: float, what: str) -> None:
    """Return when ``condition()`` is true; raise AssertionError with ``what`` after the timeout."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            message = f"after {timeout_s:g} s still not: {what}"
            raise AssertionError(message)
        time.sleep(POLL_S)


def has_ended(pid: int) -> bool:
    """Say whether a process runs no more, reaped or not: whose parent is gone may wait for that."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
