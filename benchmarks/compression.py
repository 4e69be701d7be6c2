"""How small an event becomes, and what that costs.

Owns the comparison of the shipped dictionary, one retrained on the first 1,000 of 5,000 generated
hook events, and zlib without any. Promises that a ratio is the text of ``event_data`` to what is
stored of it, taken over the 4,000 events that nothing was trained on.
Leaves what the figures should be to the documentation.

``python benchmarks/compression.py`` prints one JSON object.
"""

import json
import sys
import timeit
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.helpers.payloads import payloads

from blueplane.capture.hook_event import HandOff, HookReader
from blueplane.capture.sanitise import Sanitiser
from blueplane.store.codec import FIRST_LOCAL_ID, Codec, Dictionary, shipped, train
from blueplane.store.traces import event_text

EVENTS = 5_000
TRAINED_ON = 1_000
#: Events that are encoded in one call, as the writer does with what it read at once.
BATCH = 500
ROUNDS = 5

Texts = Sequence[bytes]
Encoded = tuple[int, bytes]
Figures = dict[str, float]


def run() -> dict[str, Figures]:
    """Measure each way: ratio, mean bytes, microseconds to encode and to decode an event."""
    sanitiser = Sanitiser("strict", bytes(32))
    texts = make_texts(sanitiser)
    samples = [sanitiser.training_form(text) for text in texts[:TRAINED_ON]]
    local = Dictionary(FIRST_LOCAL_ID, "hook", train("hook", samples))
    unseen = texts[TRAINED_ON:]
    return {
        "shipped": measure_codec(Codec(shipped()), unseen),
        "retrained": measure_codec(Codec([*shipped(), local]), unseen),
        "zlib_6": measure(
            unseen,
            lambda batch: [(6, zlib.compress(text, 6)) for text in batch],
            lambda _level, data: zlib.decompress(data),
        ),
    }


def make_texts(sanitiser: Sanitiser) -> list[bytes]:
    """Make the texts of ``event_data`` of generated hook events."""
    reader = HookReader(sanitiser, lambda _hook: False)
    texts = []
    for number, payload in enumerate(payloads(EVENTS)):
        item = HandOff(str(number), number, payload.raw, payload.platform, payload.hook_name)
        event = reader.read(item)
        texts.append(event_text(event.metadata, event.payload))
    return texts


def measure_codec(codec: Codec, texts: Texts) -> Figures:
    """Measure the codec of the store."""
    return measure(texts, lambda batch: codec.encode("hook", batch), codec.decode)


def measure(
    texts: Texts,
    encode: Callable[[Texts], list[Encoded]],
    decode: Callable[[int, bytes], bytes],
) -> Figures:
    """Measure one way to encode batches and to decode single events.

    Raises ValueError when it does not give the texts back.
    """
    batches = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
    encoded = [item for batch in batches for item in encode(batch)]
    if [decode(*item) for item in encoded] != list(texts):
        message = "an event did not come back"
        raise ValueError(message)
    stored = sum(len(data) for _, data in encoded)
    return {
        "ratio": round(sum(map(len, texts)) / stored, 2),
        "text_bytes": round(sum(map(len, texts)) / len(texts), 1),
        "stored_bytes": round(stored / len(texts), 1),
        "encode_us": microseconds(lambda: [encode(batch) for batch in batches], len(texts)),
        "decode_us": microseconds(lambda: [decode(*item) for item in encoded], len(texts)),
    }


def microseconds(work: Callable[[], object], items: int) -> float:
    """Return the time per item of the fastest of several rounds."""
    return round(min(timeit.repeat(work, number=1, repeat=ROUNDS)) / items * 1e6, 2)


if __name__ == "__main__":
    print(json.dumps(run()))
