#!/usr/bin/env python3
"""Train the dictionaries that are shipped with the program, on invented events only.

Owns which generated events a shipped dictionary learns from. Promises the same bytes on every run
with the same version of zstandard. Leaves it to a person to keep an old dictionary: one that was
ever released stays as it is, for rows refer to it by its id; a better one gets the next id.

Run it from the checkout: ``PYTHONPATH=src:tests python3 scripts/train_dictionaries.py``.
"""

from collections.abc import Iterator
from pathlib import Path

from blueplane.capture.hook_event import HandOff, HookReader
from blueplane.capture.sanitise import Sanitiser
from blueplane.store.codec import train
from helpers.payloads import payloads

FOLDER = Path(__file__).parent.parent / "src" / "blueplane" / "store" / "dictionaries"
#: Each seed is another developer, with other projects, models and versions.
SEEDS = range(1_000, 1_012)
EVENTS_PER_SEED = 1_000


def main() -> None:
    """Train dictionary 1, for hook events."""
    samples = [sample for seed in SEEDS for sample in hook_samples(seed)]
    target = FOLDER / "1-hook.zdict"
    target.write_bytes(train("hook", samples))
    print(f"{target}: {target.stat().st_size} bytes from {len(samples)} events")


def hook_samples(seed: int) -> Iterator[bytes]:
    """Make hook events of one developer, in the form that is fit to train on."""
    sanitiser = Sanitiser("strict", seed.to_bytes(32, "big"))
    reader = HookReader(sanitiser, lambda _hook: False)
    for number, payload in enumerate(payloads(EVENTS_PER_SEED, seed)):
        item = HandOff(str(number), number, payload.raw, payload.platform, payload.hook_name)
        event = reader.read(item)
        text = b'{"metadata":%b,"payload":%b}' % (event.metadata, event.payload)
        yield sanitiser.training_form(text)


if __name__ == "__main__":
    main()
