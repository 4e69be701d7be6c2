"""Hand-off files, as the hook script leaves them, without the time that a script takes.

Owns the names of the files.
Promises the same events for the same seed.
Leaves the payloads to ``payloads.py``.
"""

from blueplane.paths import Home
from helpers.payloads import payloads

TRAILER = b"\n\x1e%b %b\n"


def hand_off(home: Home, count: int, seed: int = 0) -> None:
    """Leave ``count`` files in the spool."""
    for number, item in enumerate(payloads(count, seed)):
        words = TRAILER % (item.platform.encode(), item.hook_name.encode())
        (home.spool / f"{seed}.1.{number}").write_bytes(item.raw + words)
