#!/usr/bin/env python3
"""Train the dictionaries that are shipped with the program, on invented events only.

Owns which generated events a shipped dictionary learns from. Promises the same bytes on every run
with the same version of zstandard. Leaves it to a person to keep an old dictionary: one that was
ever released stays as it is, for rows refer to it by its id; a better one gets the next id.

Run it from the checkout: ``PYTHONPATH=src:tests python3 scripts/train_dictionaries.py``.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from blueplane.capture.claude_code.transcript import Line, Place, TranscriptReader
from blueplane.capture.hook_event import HandOff, HookReader
from blueplane.capture.sanitise import Sanitiser
from blueplane.errors import MalformedPayloadError
from blueplane.event import Event
from blueplane.store.codec import train
from blueplane.store.traces import event_text
from helpers.payloads import payloads
from helpers.transcripts import Scribe

FOLDER = Path(__file__).parent.parent / "src" / "blueplane" / "store" / "dictionaries"
#: Each seed is another developer, with other projects, models and versions.
SEEDS = range(1_000, 1_012)
EVENTS_PER_SEED = 1_000
BYTES_PER_SEED = 500_000


def main() -> None:
    """Train dictionary 1, for hook events, and 2, for lines of transcripts."""
    learn("1-hook", hook_samples)
    learn("2-transcript", transcript_samples)


def learn(name: str, samples_of: Callable[[int], Iterator[bytes]]) -> None:
    """Train one dictionary, and write it."""
    samples = [sample for seed in SEEDS for sample in samples_of(seed)]
    target = FOLDER / f"{name}.zdict"
    target.write_bytes(train(name.partition("-")[2], samples))
    print(f"{target}: {target.stat().st_size} bytes from {len(samples)} events")


def hook_samples(seed: int) -> Iterator[bytes]:
    """Make hook events of one developer, in the form that is fit to train on."""
    sanitiser = Sanitiser("strict", seed.to_bytes(32, "big"))
    reader = HookReader(sanitiser, lambda _hook: False)
    for number, payload in enumerate(payloads(EVENTS_PER_SEED, seed)):
        item = HandOff(str(number), number, payload.raw, payload.platform, payload.hook_name)
        yield sample(reader.read(item), sanitiser)


def transcript_samples(seed: int) -> Iterator[bytes]:
    """Make events of one developer's transcripts, in the form that is fit to train on."""
    sanitiser = Sanitiser("strict", seed.to_bytes(32, "big"))
    reader, place = TranscriptReader(sanitiser), Place("", "", "")
    for path, raw in Scribe(seed, filler=100).lines(BYTES_PER_SEED):
        place.whole = path.endswith(".json")
        with suppress(MalformedPayloadError):
            yield sample(reader.read(Line(raw, 0, len(raw)), place), sanitiser)


def sample(event: Event, sanitiser: Sanitiser) -> bytes:
    """Return what is stored of an event, with a stand-in for every id and name."""
    return sanitiser.training_form(event_text(event.metadata, event.payload))


if __name__ == "__main__":
    main()
