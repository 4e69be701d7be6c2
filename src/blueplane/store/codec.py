"""How ``event_data`` is stored: zstd with a dictionary per source, each event for itself.

Owns the form of one encoded event, the dictionaries shipped with the program, how new ones are
trained, and the table ``dictionaries`` that keeps all of them.
Promises that what was encoded once stays readable: no dictionary is ever changed or removed.
Leaves the transaction to its caller, and when to train, and on what, to ``pipeline/training.py``.

An encoded event is one zstd frame (RFC 8878) without its magic number, the byte that says what of
its header follows, and size, checksum and dictionary id, which never do: the row has the codec
number, the database its own checks.
"""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import zstandard

from blueplane.errors import StoreError
from blueplane.event import MAX_PAYLOAD_BYTES
from blueplane.store.connection import Connection

#: The codec number of text that is stored as it is.
PLAIN: Final = 0
#: Dictionaries below this id are shipped with the program, the others were trained here.
FIRST_LOCAL_ID: Final = 100
#: Bytes of a trained dictionary; a larger one needs more samples than a new install has.
DICTIONARY_BYTES: Final = 16 * 1024
#: What a damaged row may make us allocate: a payload and its metadata fit with room to spare.
MAX_DECODED_BYTES: Final = 2 * MAX_PAYLOAD_BYTES
#: Bytes that the decompressor is given, one after the other until the text fits. Nearly all do at
#: first; to hand out half a megabyte takes the system longer than the decompressor needs.
_ROOMS: Final = (32 * 1024, MAX_DECODED_BYTES)

#: Bytes that training takes over in one piece: a good part of an event. Left to itself the trainer
#: tries to find out, and fails on samples that are very much alike.
_SEGMENT_BYTES: Final = 700
#: Measured on hook events: 7 % smaller than level 3 for 0.5 us more, and none above gains 1 %.
_LEVEL: Final = 5
#: Of the sources that bring years of history at once. Measured on lines of transcripts: 7 % smaller
#: for 3 us more.
_HISTORY_LEVEL: Final = 8
_HISTORY: Final = frozenset({"transcript", "database"})
_FRAME: Final = zstandard.FORMAT_ZSTD1_MAGICLESS
#: How every frame of ours began: nothing optional follows (RFC 8878, 3.1.1.1.1). A frame may name
#: its size, and the decompressor takes its word for it, whatever limit it is given; so it is put
#: before the rest again, whatever a damaged row says.
_HEADER: Final = b"\0"
_WINDOW_LOG: Final = 17
_DEFAULT_SOURCE: Final = "hook"
_PLAIN_SOURCES: Final = frozenset({"canary"})


@dataclass(frozen=True, slots=True)
class Dictionary:
    """A row of the table ``dictionaries``; ``id`` is the codec number of what it encodes."""

    id: int
    source: str
    data: bytes


class Codec:
    """Encodes for one thread at a time, decodes for any."""

    def __init__(self, dictionaries: Iterable[Dictionary]) -> None:
        self._dictionaries: dict[int, Dictionary] = {}
        self._newest: dict[str, int] = {}
        self._encoders: dict[int, zstandard.ZstdCompressor] = {}
        self._decoders: dict[int, zstandard.ZstdDecompressor] = {}
        self._encoding = threading.Lock()  # neither a compressor nor a decompressor
        self._decoding = threading.Lock()  # serves two callers at a time
        for dictionary in dictionaries:
            self.add(dictionary)

    def add(self, dictionary: Dictionary) -> None:
        """Know one more dictionary; that with the highest id of its source encodes from now on."""
        with self._encoding:
            self._dictionaries[dictionary.id] = dictionary
            newest = max(dictionary.id, self._newest.get(dictionary.source, PLAIN))
            self._newest[dictionary.source] = newest
            self._encoders.clear()  # that of an older dictionary has done its work

    def encode(self, source: str, texts: Sequence[bytes]) -> list[tuple[int, bytes]]:
        """Return the codec number and the bytes of each text of one source.

        0 and the text itself where that is no longer, or where the text is too long to be decoded;
        a source without a dictionary of its own uses that of the hooks. All texts are compressed in
        one call, which runs without Python's lock.
        """
        with self._encoding:
            number = self._number_for(source)
            if number == PLAIN or not any(texts):  # the compressor refuses to do nothing
                return [(PLAIN, text) for text in texts]
            encoder = self._encoders.get(number) or self._make_encoder(number)
            frames = iter(encoder.multi_compress_to_buffer(list(texts)))
            return [
                (number, frame.tobytes()[len(_HEADER) :])
                if len(frame) < len(text) <= MAX_DECODED_BYTES
                else (PLAIN, text)
                for text, frame in zip(texts, frames, strict=True)
            ]

    def decode(self, codec: int, data: bytes) -> bytes:
        """Return the text; safe to call from any thread.

        Raises StoreError, which names the codec, when it is unknown, or when the data is damaged or
        stands for more than ``MAX_DECODED_BYTES``.
        """
        if codec == PLAIN:
            return data
        frame = _HEADER + data
        with self._decoding:
            for room in _ROOMS:
                try:
                    decoder = self._decoders.get(codec) or self._make_decoder(codec)
                    return decoder.decompress(frame, room)
                except zstandard.ZstdError:
                    continue
        message = f"event_data of codec {codec} cannot be decoded: the row is damaged"
        raise StoreError(message)

    def _number_for(self, source: str) -> int:
        if source in _PLAIN_SOURCES:
            return PLAIN
        return self._newest.get(source) or self._newest.get(_DEFAULT_SOURCE, PLAIN)

    def _make_encoder(self, codec: int) -> zstandard.ZstdCompressor:
        dictionary = self._dictionaries[codec]
        table = zstandard.ZstdCompressionDict(dictionary.data)
        parameters = _parameters(dictionary.source)
        table.precompute_compress(compression_params=parameters)
        encoder = zstandard.ZstdCompressor(dict_data=table, compression_params=parameters)
        self._encoders[codec] = encoder
        return encoder

    def _make_decoder(self, codec: int) -> zstandard.ZstdDecompressor:
        dictionary = self._dictionaries.get(codec)
        if dictionary is None:
            message = f"event_data of codec {codec}: the database has no such dictionary"
            raise StoreError(message)
        table = zstandard.ZstdCompressionDict(dictionary.data)
        decoder = zstandard.ZstdDecompressor(
            dict_data=table,
            format=_FRAME,
            max_window_size=1 << _WINDOW_LOG,
        )
        self._decoders[codec] = decoder
        return decoder


def _parameters(source: str) -> zstandard.ZstdCompressionParameters:
    return zstandard.ZstdCompressionParameters.from_level(
        _HISTORY_LEVEL if source in _HISTORY else _LEVEL,
        format=_FRAME,
        window_log=_WINDOW_LOG,
        write_content_size=False,
        write_checksum=False,
        write_dict_id=False,
    )


def load_codec(connection: Connection) -> Codec:
    """Return a codec that knows every dictionary of a database."""
    rows = connection.execute("SELECT id, source, data FROM dictionaries")
    return Codec([Dictionary(*row) for row in rows])


def put_shipped(connection: Connection) -> None:
    """Add the dictionaries of this program that a database does not have."""
    connection.executemany(
        "INSERT OR IGNORE INTO dictionaries (id, source, data, trained_ms) VALUES (?, ?, ?, 0)",
        [(each.id, each.source, each.data) for each in shipped()],
    )


def put_trained(connection: Connection, source: str, data: bytes, now_ms: int) -> Dictionary:
    """Add a dictionary that was trained here; its id is none that a later program may ship."""
    added = connection.execute(
        "INSERT INTO dictionaries (id, source, data, trained_ms)"
        " SELECT max(?, coalesce(max(id), 0) + 1), ?, ?, ? FROM dictionaries",
        (FIRST_LOCAL_ID, source, data, now_ms),
    )
    return Dictionary(int(added.lastrowid or 0), source, data)


def shipped() -> list[Dictionary]:
    """Return the dictionaries of this program, by id; ``1-hook.zdict`` is id 1 of source hook."""
    folder = Path(__file__).with_name("dictionaries")
    found = []
    for item in folder.iterdir():
        name, _, suffix = item.name.partition(".")
        if suffix == "zdict":
            number, _, source = name.partition("-")
            found.append(Dictionary(int(number), source, item.read_bytes()))
    return sorted(found, key=lambda dictionary: dictionary.id)


def train(source: str, samples: Sequence[bytes], size: int = DICTIONARY_BYTES) -> bytes:
    """Train the dictionary of a source on samples that hold nothing personal.

    The same samples give the same bytes. Raises StoreError when they are too few or too alike.
    """
    texts: list[bytes | bytearray | memoryview[int]] = list(samples)
    try:
        trained = zstandard.train_dictionary(size, texts, k=_SEGMENT_BYTES, d=8, dict_id=1)
    except zstandard.ZstdError as error:
        message = f"no dictionary of {source} can be trained on {len(samples)} events: {error}"
        raise StoreError(message) from error
    return trained.as_bytes()
