"""How ``event_data`` is stored: zstd with a dictionary per source, each event for itself.

Owns the form of one encoded event, the dictionaries shipped with the program and how new ones are
trained. Promises that what was encoded once is readable for as long as its dictionary is kept.
Leaves it to the store to keep dictionaries, and to decide when one is trained, and on what.

One encoded event is ``n | n bytes of ids | frame``. Ids and hashes are random: as text they take up
twice the room and spoil the tables for the rest. So they leave the text, a mark takes the place of
each, and what zstd sees is nearly the same for every event of a kind. The frame has no magic
number, checksum and dictionary id: the codec number of the row and the database's own checks make
them needless. Its content size stays, for it says how much to allocate before anything is decoded.
"""

import re
import threading
from binascii import a2b_base64, b2a_base64, hexlify, unhexlify
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Final

import zstandard

from blueplane.errors import StoreError
from blueplane.event import MAX_PAYLOAD_BYTES

#: The codec number of text that is stored as it is.
PLAIN: Final = 0
#: Dictionaries below this id are shipped with the program, the others were trained here.
FIRST_LOCAL_ID: Final = 100
#: Bytes of a trained dictionary.
DICTIONARY_BYTES: Final = 32 * 1024
#: What a damaged row may make us allocate: a payload and its metadata fit with room to spare.
MAX_DECODED_BYTES: Final = 2 * MAX_PAYLOAD_BYTES

_LEVEL: Final = 5
_MAGIC: Final = zstandard.FRAME_HEADER
_DEFAULT_SOURCE: Final = "hook"
_PLAIN_SOURCES: Final = frozenset({"canary"})


@dataclass(frozen=True, slots=True)
class Dictionary:
    """A row of the table ``dictionaries``; ``id`` is the codec number of what it encodes."""

    id: int
    source: str
    data: bytes


class Codec:
    """Encodes for one writer thread, decodes for anyone."""

    def __init__(self, dictionaries: Iterable[Dictionary]) -> None:
        self._dictionaries: dict[int, Dictionary] = {}
        self._newest: dict[str, int] = {}
        self._encoders: dict[int, zstandard.ZstdCompressor] = {}
        self._decoders: dict[int, zstandard.ZstdDecompressor] = {}
        self._decoding = threading.Lock()  # a decompressor serves one caller at a time
        for dictionary in dictionaries:
            self.add(dictionary)

    def add(self, dictionary: Dictionary) -> None:
        """Know one more dictionary; that with the highest id of its source encodes from now on."""
        self._dictionaries[dictionary.id] = dictionary
        newest = max(dictionary.id, self._newest.get(dictionary.source, PLAIN))
        self._newest[dictionary.source] = newest

    def encode(self, source: str, text: bytes) -> tuple[int, bytes]:
        """Return the codec number and the shorter of ``text`` as it is (0) and encoded.

        A source without a dictionary of its own uses that of the hooks.
        """
        codec = self._newest.get(source) or self._newest.get(_DEFAULT_SOURCE, PLAIN)
        if codec == PLAIN or source in _PLAIN_SOURCES or _MARK.search(text):
            return PLAIN, text
        encoder = self._encoders.get(codec) or self._make_encoder(codec)
        rest, ids = _take_ids(text)
        data = b"%c%b%b" % (len(ids), ids, encoder.compress(rest)[len(_MAGIC) :])
        return (codec, data) if len(data) < len(text) else (PLAIN, text)

    def decode(self, codec: int, data: bytes) -> bytes:
        """Return the text; safe to call from any thread.

        Raises StoreError, which names the codec, when it is unknown, or when the data is damaged or
        claims more than ``MAX_DECODED_BYTES``.
        """
        if codec == PLAIN:
            return data
        start = 1 + data[0] if data else 0
        try:
            return _put_ids(self._decompress(codec, _MAGIC + data[start:]), data[1:start])
        except (zstandard.ZstdError, ValueError) as error:
            message = f"event_data of codec {codec} cannot be decoded: the row is damaged"
            raise StoreError(message) from error

    def _decompress(self, codec: int, frame: bytes) -> bytes:
        if not 0 <= zstandard.frame_content_size(frame) <= MAX_DECODED_BYTES:
            message = "content size out of range"
            raise ValueError(message)
        with self._decoding:
            decoder = self._decoders.get(codec) or self._make_decoder(codec)
            return decoder.decompress(frame, allow_extra_data=False)

    def _make_encoder(self, codec: int) -> zstandard.ZstdCompressor:
        table = zstandard.ZstdCompressionDict(self._dictionaries[codec].data)
        table.precompute_compress(level=_LEVEL)
        encoder = zstandard.ZstdCompressor(
            level=_LEVEL, dict_data=table, write_checksum=False, write_dict_id=False
        )
        self._encoders[codec] = encoder
        return encoder

    def _make_decoder(self, codec: int) -> zstandard.ZstdDecompressor:
        dictionary = self._dictionaries.get(codec)
        if dictionary is None:
            message = f"event_data of codec {codec}: the database has no such dictionary"
            raise StoreError(message)
        table = zstandard.ZstdCompressionDict(dictionary.data)
        decoder = zstandard.ZstdDecompressor(dict_data=table)
        self._decoders[codec] = decoder
        return decoder


def shipped() -> list[Dictionary]:
    """Return the dictionaries of this program, by id; ``1-hook.zdict`` is id 1 of source hook."""
    folder = resources.files(__package__) / "dictionaries"
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
    texts = [_take_ids(sample)[0] for sample in samples]
    try:
        trained = zstandard.train_dictionary(size, texts, dict_id=1, level=_LEVEL)
    except zstandard.ZstdError as error:
        message = f"no dictionary of {source} can be trained on {len(samples)} events: {error}"
        raise StoreError(message) from error
    return trained.as_bytes()


# --- ids -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Shape:
    """How ids of one shape are kept: ``size`` bytes of them, and ``mark`` in their place."""

    mark: bytes
    size: int
    pack: Callable[[bytes], bytes]
    unpack: Callable[[bytes], bytes]


def _pack_uuid(text: bytes) -> bytes:
    return unhexlify(text.replace(b"-", b""))


def _unpack_uuid(data: bytes) -> bytes:
    text = hexlify(data)
    return b"-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _pack_22(text: bytes) -> bytes:
    return a2b_base64(text + b"AA")[:17]


def _unpack_22(data: bytes) -> bytes:
    return b2a_base64(data + b"\0", newline=False)[:22]


def _unpack_24(data: bytes) -> bytes:
    return b2a_base64(data, newline=False)


#: By the length of an id's text: a UUID, a keyed hash, and what is random in the tool call ids of
#: two makers. JSON holds no raw control characters, so they are free to be marks.
_SHAPES: Final = {
    36: _Shape(b"\1", 16, _pack_uuid, _unpack_uuid),
    12: _Shape(b"\2", 6, unhexlify, hexlify),
    22: _Shape(b"\3", 17, _pack_22, _unpack_22),
    24: _Shape(b"\4", 18, a2b_base64, _unpack_24),
}
_BY_MARK: Final = {shape.mark: shape for shape in _SHAPES.values()}
_MARK: Final = re.compile(b"([\1-\4])")
#: Ids are looked for only where a value begins: that is what makes the search cheap.
_ID: Final = re.compile(
    rb'(:"(?:[a-z]:|toolu_01|call_)?)'
    rb"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    rb'|[0-9a-f]{12}(?=["\\.])|[0-9A-Za-z]{22}(?=")|[0-9A-Za-z]{24}(?=\\))',
)
#: More ids than this in one event stay text, so that the number of their bytes fits in one byte.
_MAX_IDS: Final = 14


def _take_ids(text: bytes) -> tuple[bytes, bytes]:
    """Return the text with a mark for every id, and the ids, packed one after the other."""
    pieces = _ID.split(text, _MAX_IDS)  # text, what comes before an id, id, text, ...
    ids = b""
    for index in range(2, len(pieces), 3):
        shape = _SHAPES[len(pieces[index])]
        ids += shape.pack(pieces[index])
        pieces[index] = shape.mark
    return b"".join(pieces), ids


def _put_ids(text: bytes, ids: bytes) -> bytes:
    """Undo ``_take_ids``. Raises ValueError when there are not just as many ids as marks."""
    pieces = _MARK.split(text)  # text, mark, text, ...
    start = 0
    for index in range(1, len(pieces), 2):
        shape = _BY_MARK[pieces[index]]
        packed = ids[start : start + shape.size]
        pieces[index] = shape.unpack(packed)
        start += shape.size
    if start != len(ids):
        message = "ids and marks differ"
        raise ValueError(message)
    return b"".join(pieces)
