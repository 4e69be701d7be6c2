"""What a hostile payload costs to look at: time by its size, for shapes that defeat parsers.

Owns the shapes: brackets within each other, side by side and in a text, open texts, long numbers.
Promises the best of several runs, in seconds of the processor, for payloads ten times as large.
Leaves what a payload is to ``capture/parse.py``; it measures and never fails for time.
"""

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from blueplane.capture.parse import parse_payload
from blueplane.errors import MalformedPayloadError

SIZES = (10_000, 100_000, 1_000_000)
RUNS = 3
SHAPES: dict[str, Callable[[int], bytes]] = {
    "nested": lambda n: b'{"a": %b%b}' % (b"[" * n, b"]" * n),
    "never closed": lambda n: b"[" * n,
    "side by side": lambda n: b'{"a": [%b[]]}' % (b"[]," * n),
    "in a text": lambda n: b'{"a": "%b"}' % (b"[" * n),
    "escapes in an open text": lambda n: b'{"a": "%b' % (b'\\"' * n),
    "digits": lambda n: b'{"a": %b}' % (b"7" * n),
}


def run() -> dict[str, dict[str, float]]:
    """Measure every shape at every size."""
    return {
        shape: {f"{size:,}": round(best(make(size)), 6) for size in SIZES}
        for shape, make in SHAPES.items()
    }


def best(raw: bytes) -> float:
    """Return the seconds of the processor that the fastest of some runs took."""
    return min(once(raw) for _ in range(RUNS))


def once(raw: bytes) -> float:
    """Return the seconds of the processor that one look takes; most shapes are refused."""
    began_s = time.process_time()
    with suppress(MalformedPayloadError):
        parse_payload(raw)
    return time.process_time() - began_s


if __name__ == "__main__":
    json.dump(run(), sys.stdout)
