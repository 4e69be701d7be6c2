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
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.helpers.payloads import payloads

from blueplane.capture.hook_event import HandOff, HookReader
from blueplane.capture.sanitise import Sanitiser
from blueplane.store.codec import FIRST_LOCAL_ID, Codec, Dictionary, shipped, train

EVENTS = 5_000
TRAINED_ON = 1_000
ROUNDS = 5

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
        "zlib_6": measure(unseen, lambda text: zlib.compress(text, 6), zlib.decompress),
    }


def make_texts(sanitiser: Sanitiser) -> list[bytes]:
    """Make the texts of ``event_data`` of generated hook events."""
    reader = HookReader(sanitiser, lambda _hook: False)
    texts = []
    for number, payload in enumerate(payloads(EVENTS)):
        item = HandOff(str(number), number, payload.raw, payload.platform, payload.hook_name)
        event = reader.read(item)
        texts.append(b'{"metadata":%b,"payload":%b}' % (event.metadata, event.payload))
    return texts


def measure_codec(codec: Codec, texts: Sequence[bytes]) -> Figures:
    """Measure the codec of the store."""
    return measure(
        texts,
        lambda text: codec.encode("hook", text),
        lambda encoded: codec.decode(*encoded),
        lambda encoded: len(encoded[1]),
    )


def measure(
    texts: Sequence[bytes],
    encode: Callable[[bytes], Any],
    decode: Callable[[Any], bytes],
    size: Callable[[Any], int] = len,
) -> Figures:
    """Measure one way to encode; raise ValueError when it does not give the texts back."""
    encoded = [encode(text) for text in texts]
    if [decode(item) for item in encoded] != list(texts):
        message = "an event did not come back"
        raise ValueError(message)
    stored = sum(map(size, encoded))
    return {
        "ratio": round(sum(map(len, texts)) / stored, 2),
        "text_bytes": round(sum(map(len, texts)) / len(texts), 1),
        "stored_bytes": round(stored / len(texts), 1),
        "encode_us": microseconds(encode, texts),
        "decode_us": microseconds(decode, encoded),
    }


def microseconds(work: Callable[[Any], object], items: Sequence[Any]) -> float:
    """Return the time per item of the fastest of several rounds."""
    rounds = timeit.repeat(lambda: [work(item) for item in items], number=1, repeat=ROUNDS)
    return round(min(rounds) / len(items) * 1e6, 2)


if __name__ == "__main__":
    print(json.dumps(run()))
