"""How ``event_data`` is stored: zstd with a dictionary per source, each event for itself.

Owns the form of one encoded event, the dictionaries shipped with the program and how new ones are
trained. Promises that what was encoded once is readable for as long as its dictionary is kept.
Leaves it to the store to keep dictionaries, and to decide when one is trained, and on what.

One encoded event is ``n | n bytes of particulars | zstd block``. Particulars are ids, hashes and
numbers: random, so as text they take up twice the room and spoil the tables for the rest. They
leave the text, a mark takes the place of each, and what zstd sees is nearly the same for every
event of a kind. A frame around one block says nothing that is not known (the row has the codec
number, the database its own checks), so only the block is kept; what needs several blocks is
``255 | zstd frame without its magic number``.
"""

import re
import threading
from binascii import a2b_base64, b2a_base64, hexlify, unhexlify
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Final

import zstandard

from blueplane.errors import StoreError
from blueplane.event import MAX_PAYLOAD_BYTES

#: The codec number of text that is stored as it is.
PLAIN: Final = 0
#: Dictionaries below this id are shipped with the program, the others were trained here.
FIRST_LOCAL_ID: Final = 100
#: Bytes of a trained dictionary; a larger one needs more samples than a new install has.
DICTIONARY_BYTES: Final = 16 * 1024
#: What a damaged row may make us allocate: a payload and its metadata fit with room to spare.
MAX_DECODED_BYTES: Final = 2 * MAX_PAYLOAD_BYTES

#: Bytes that training takes over in one piece: a good part of an event. Left to itself the trainer
#: tries to find out, and fails on samples that are very much alike.
_SEGMENT_BYTES: Final = 700
#: Measured on what is left of hook events: 10 % smaller than level 5 at the cost of level 5, as
#: small as level 12 at two thirds of its cost. Short matches do not pay beside so long ones.
_PARAMETERS: Final = zstandard.ZstdCompressionParameters(
    strategy=zstandard.STRATEGY_GREEDY,
    min_match=6,
    search_log=6,
    hash_log=14,
    chain_log=15,
    window_log=17,
    write_checksum=False,
    write_dict_id=False,
)
_MAGIC: Final = zstandard.FRAME_HEADER
#: A frame header for any one block: no sizes, no checksum, no dictionary id, a window of 128 KB.
_ONE_BLOCK: Final = _MAGIC + bytes((0, 7 << 3))
_BLOCK_HEADER_BYTES: Final = 3
_MAX_BLOCK_BYTES: Final = 128 * 1024
#: The first byte of what is a whole frame: the number ``n`` never gets so high.
_WHOLE_FRAME: Final = b"\xff"
_DEFAULT_SOURCE: Final = "hook"
_PLAIN_SOURCES: Final = frozenset({"canary"})
#: What decoding a damaged row can raise.
_DAMAGE: Final = (zstandard.ZstdError, ValueError, LookupError, OverflowError)


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
        """Know one more dictionary; that with the highest id of its source encodes from now on.

        For the thread that encodes.
        """
        self._dictionaries[dictionary.id] = dictionary
        newest = max(dictionary.id, self._newest.get(dictionary.source, PLAIN))
        self._newest[dictionary.source] = newest
        self._encoders.clear()  # that of an older dictionary has done its work

    def encode(self, source: str, text: bytes) -> tuple[int, bytes]:
        """Return the codec number and the shorter of ``text`` as it is (0) and encoded.

        A source without a dictionary of its own uses that of the hooks.
        """
        codec = self._codec_for(source)
        if codec == PLAIN or _MARK in text or len(text) > MAX_DECODED_BYTES:
            return PLAIN, text
        encoder = self._encoders.get(codec) or self._make_encoder(codec)
        rest, taken = _take_out(text)
        frame = encoder.compress(rest)
        start = zstandard.frame_header_size(frame) + _BLOCK_HEADER_BYTES
        if frame.startswith(_block_header(len(frame) - start), start - _BLOCK_HEADER_BYTES):
            data = b"%b%b%b" % (_pack_number(len(taken)), taken, frame[start:])
        else:
            data = _WHOLE_FRAME + encoder.compress(text)[len(_MAGIC) :]
        return (codec, data) if len(data) < len(text) else (PLAIN, text)

    def encode_many(self, items: Iterable[tuple[str, bytes]]) -> list[tuple[int, bytes]]:
        """Encode (source, text) of many events; each can still be decoded alone."""
        return [self.encode(source, text) for source, text in items]

    def decode(self, codec: int, data: bytes) -> bytes:
        """Return the text; safe to call from any thread.

        Raises StoreError, which names the codec, when it is unknown, or when the data is damaged or
        claims more than ``MAX_DECODED_BYTES``.
        """
        if codec == PLAIN:
            return data
        try:
            if data.startswith(_WHOLE_FRAME):
                return self._decompress(codec, _MAGIC + data[1:])
            first = _number_size(data[0])
            start = first + _read_number(data[:first])
            header = _ONE_BLOCK + _block_header(len(data) - start)
            return _put_back(self._decompress(codec, header + data[start:]), data[first:start])
        except _DAMAGE as error:
            message = f"event_data of codec {codec} cannot be decoded: the row is damaged"
            raise StoreError(message) from error

    def _codec_for(self, source: str) -> int:
        if source in _PLAIN_SOURCES:
            return PLAIN
        return self._newest.get(source) or self._newest.get(_DEFAULT_SOURCE, PLAIN)

    def _decompress(self, codec: int, frame: bytes) -> bytes:
        if zstandard.frame_content_size(frame) > MAX_DECODED_BYTES:
            message = "larger than any event"
            raise ValueError(message)
        with self._decoding:
            decoder = self._decoders.get(codec) or self._make_decoder(codec)
            return decoder.decompress(frame, _MAX_BLOCK_BYTES, allow_extra_data=False)

    def _make_encoder(self, codec: int) -> zstandard.ZstdCompressor:
        table = zstandard.ZstdCompressionDict(self._dictionaries[codec].data)
        table.precompute_compress(compression_params=_PARAMETERS)
        encoder = zstandard.ZstdCompressor(dict_data=table, compression_params=_PARAMETERS)
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


def _block_header(size: int) -> bytes:
    """Return the header of a last, compressed block of ``size`` bytes."""
    return (size << 3 | 0b101).to_bytes(_BLOCK_HEADER_BYTES, "little")


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
    texts: list[bytes | bytearray | memoryview[int]] = [_take_out(item)[0] for item in samples]
    try:
        trained = zstandard.train_dictionary(size, texts, k=_SEGMENT_BYTES, d=8, dict_id=1)
    except zstandard.ZstdError as error:
        message = f"no dictionary of {source} can be trained on {len(samples)} events: {error}"
        raise StoreError(message) from error
    return trained.as_bytes()


# --- particulars ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Shape:
    """How particulars of one shape are kept: ``mark`` in their place, ``size`` bytes elsewhere."""

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


def _pack_pair(text: bytes) -> bytes:
    return a2b_base64(text[:24]) + unhexlify(text[-48:])


def _unpack_pair(data: bytes) -> bytes:
    return b2a_base64(data[:18], newline=False) + b"\\nfc_" + hexlify(data[18:])


def _pack_agent(text: bytes) -> bytes:
    return unhexlify(text[1:])


def _unpack_agent(data: bytes) -> bytes:
    return b"a" + hexlify(data)


@lru_cache(4096)
def _pack_number(number: bytes | int) -> bytes:
    """Pack a number below 2^30 in 1, 2 or 4 bytes; the first bits say in how many."""
    value = int(number)
    if value < 1 << 7:
        return value.to_bytes(1, "big")
    if value < 1 << 14:
        return (value | 0b10 << 14).to_bytes(2, "big")
    return (value | 0b11 << 30).to_bytes(4, "big")


def _number_size(first_byte: int) -> int:
    return 1 if first_byte < 0b10 << 6 else 2 if first_byte < 0b11 << 6 else 4


def _read_number(data: bytes) -> int:
    bits = 8 * len(data) - (2 if len(data) > 1 else 1)
    return int.from_bytes(data, "big") & (1 << bits) - 1


def _unpack_number(data: bytes) -> bytes:
    return b"%d" % _read_number(data)


#: JSON holds no raw control characters, so one is free to say: something of this shape was here.
_MARK: Final = b"\0"
_NUMBER: Final = _Shape(_MARK + b"n", 0, _pack_number, _unpack_number)
#: By the length of the text: a UUID, a keyed hash, a subagent's id, what is random in the id of a
#: tool call (Anthropic's, and OpenAI's pair of two), and numbers of 2 to 9 digits.
_SHAPES: Final = {
    36: _Shape(_MARK + b"u", 16, _pack_uuid, _unpack_uuid),
    12: _Shape(_MARK + b"h", 6, unhexlify, hexlify),
    17: _Shape(_MARK + b"a", 8, _pack_agent, _unpack_agent),
    22: _Shape(_MARK + b"t", 17, _pack_22, _unpack_22),
    77: _Shape(_MARK + b"p", 42, _pack_pair, _unpack_pair),
    **dict.fromkeys(range(2, 10), _NUMBER),
}
_BY_MARK: Final = {shape.mark[1:]: shape for shape in _SHAPES.values()}
_PACKING: Final = {length: (shape.mark, shape.pack) for length, shape in _SHAPES.items()}
#: They are looked for only where a value begins: that is what makes the search cheap.
_PARTICULAR: Final = re.compile(
    rb'(:(?:"(?:[a-z]:|toolu_01|call_)?(?=[0-9A-Za-z-]{12})|(?=[1-9][0-9])))'
    rb"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[1-9][0-9]{1,8}(?=[,}])"
    rb'|[0-9a-f]{12}(?=["\\.])|a[0-9a-f]{16}(?=")|[0-9A-Za-z]{22}(?=")'
    rb"|[0-9A-Za-z]{24}\\nfc_[0-9a-f]{48})",
)


def _take_out(text: bytes) -> tuple[bytes, bytes]:
    """Return the text with marks in it, and the particulars, packed one after the other."""
    pieces = _PARTICULAR.split(text)  # text, what comes before a particular, it, text, ...
    taken = []
    for index in range(2, len(pieces), 3):
        mark, pack = _PACKING[len(pieces[index])]
        taken.append(pack(pieces[index]))
        pieces[index] = mark
    return b"".join(pieces), b"".join(taken)


def _put_back(text: bytes, taken: bytes) -> bytes:
    """Undo ``_take_out``. Raises ValueError or LookupError when marks and particulars differ."""
    pieces = text.split(_MARK)
    start = 0
    for index in range(1, len(pieces)):
        shape = _BY_MARK[pieces[index][:1]]
        end = start + (shape.size or _number_size(taken[start]))
        pieces[index] = shape.unpack(taken[start:end]) + pieces[index][1:]
        start = end
    if start != len(taken):
        message = "marks and particulars differ"
        raise ValueError(message)
    return b"".join(pieces)
