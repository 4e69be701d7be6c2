"""Encoded events: what comes back, what a damaged row can do, how small they are."""

import threading
import tracemalloc
from contextlib import suppress
from functools import cache

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from blueplane.capture.hook_event import HandOff, HookReader
from blueplane.capture.sanitise import Sanitiser
from blueplane.errors import StoreError
from blueplane.store.codec import (
    FIRST_LOCAL_ID,
    MAX_DECODED_BYTES,
    PLAIN,
    Codec,
    Dictionary,
    shipped,
    train,
)
from helpers.payloads import payloads, personal_strings

SECRET = bytes(range(32))
CODEC = Codec(shipped())
EVENT = (
    b'{"metadata":{"phase":"after","tool_name":"Read"},"payload":{"cursor_version":"3.20.1",'
    b'"tool_input":{"file_path":"p:0123456789ab.py"},"tool_output":{"chars":512}}}'
)
#: Events with something in them that no dictionary knows.
events_with = st.binary(max_size=200).map(lambda noise: EVENT.replace(b"ab.py", noise))
texts = st.one_of(st.binary(max_size=2000), st.just(EVENT), events_with)


@cache
def generated(count: int, seed: int = 0) -> tuple[list[bytes], list[bytes]]:
    """Generated hook events at the level strict: as they are stored, and fit to train on."""
    sanitiser = Sanitiser("strict", SECRET)
    reader = HookReader(sanitiser, lambda _hook: False)
    found = []
    for number, payload in enumerate(payloads(count, seed)):
        item = HandOff(f"f{number}", number, payload.raw, payload.platform, payload.hook_name)
        event = reader.read(item)
        found.append(b'{"metadata":%b,"payload":%b}' % (event.metadata, event.payload))
    return found, [sanitiser.training_form(text) for text in found]


@cache
def local_dictionary(count: int = 300) -> Dictionary:
    """The first dictionary that an install trains."""
    return Dictionary(FIRST_LOCAL_ID, "hook", train("hook", generated(5000)[1][:count]))


def encode_one(text: bytes, codec: Codec = CODEC) -> tuple[int, bytes]:
    """Encode one hook event."""
    (encoded,) = codec.encode("hook", [text])
    return encoded


def ratio(codec: Codec, found: list[bytes]) -> float:
    """How many times smaller the texts become."""
    return sum(map(len, found)) / sum(len(data) for _, data in codec.encode("hook", found))


def frame(text: bytes, **options: int) -> bytes:
    """Make a frame of the shipped dictionary that says of itself what ``options`` add."""
    options = {"write_content_size": 0, "write_dict_id": 0, **options}
    parameters = zstandard.ZstdCompressionParameters.from_level(
        3, format=zstandard.FORMAT_ZSTD1_MAGICLESS, **options
    )
    table = zstandard.ZstdCompressionDict(shipped()[0].data)
    return zstandard.ZstdCompressor(dict_data=table, compression_params=parameters).compress(text)


# --- what comes back -----------------------------------------------------------------------------


@given(st.lists(texts, max_size=20))
def test_codec_returns_every_byte_when_it_decodes_a_batch_that_it_encoded(batch: list[bytes]):
    """Whatever bytes are in a batch, JSON or not, the same come back, and none grew."""
    encoded = CODEC.encode("hook", batch)
    assert [CODEC.decode(number, data) for number, data in encoded] == batch
    for text, (number, data) in zip(batch, encoded, strict=True):
        assert data == text if number == PLAIN else len(data) < len(text)


def test_codec_returns_every_generated_event_when_each_is_decoded_alone():
    """Each event can be decoded without any other."""
    # Given every generated event, encoded in one batch
    found = generated(5000)[0]
    encoded = CODEC.encode("hook", found)
    # When a codec that saw none of them decodes them in another order
    fresh = Codec(shipped())
    decoded = [fresh.decode(number, data) for number, data in reversed(encoded)]
    # Then each comes back
    assert decoded[::-1] == found


def test_codec_encodes_an_event_the_same_when_its_batch_is_another():
    """What is stored of an event depends on no other event."""
    found = generated(5000)[0][:200]
    assert CODEC.encode("hook", found) == [encode_one(text) for text in found]


@pytest.mark.parametrize("size", [1, 1_000, 100_000, 131_072, 131_073, 300_000, MAX_DECODED_BYTES])
@pytest.mark.parametrize(
    "unit", [b"x", b'{"chars":12,"lines":3},', EVENT], ids=["x", "short", "event"]
)
def test_codec_returns_the_text_when_it_is_large(unit: bytes, size: int):
    """Texts of one block and of many come back, and are stored no larger than they are."""
    text = (unit * (size // len(unit) + 1))[:size]
    number, data = encode_one(text)
    assert CODEC.decode(number, data) == text
    assert (number == PLAIN) == (size == 1)
    assert len(data) <= size


@pytest.mark.parametrize(
    ("dictionaries", "source", "text"),
    [
        pytest.param(shipped(), "canary", EVENT, id="canary"),
        pytest.param(shipped(), "hook", b"", id="empty"),
        pytest.param(shipped(), "hook", b"{}", id="too short to shrink"),
        pytest.param(shipped(), "hook", bytes(range(256)), id="nothing repeats"),
        pytest.param(shipped(), "hook", b" " * (MAX_DECODED_BYTES + 1), id="too long to decode"),
        pytest.param([], "hook", EVENT, id="no dictionary"),
    ],
)
def test_codec_stores_text_as_it_is_when_encoding_would_not_help(
    dictionaries: list[Dictionary], source: str, text: bytes
):
    """Codec 0 is the text itself, alone and beside others."""
    codec = Codec(dictionaries)
    assert codec.encode(source, [text]) == [(PLAIN, text)]
    assert codec.encode(source, [EVENT, text])[1] == (PLAIN, text)
    assert codec.decode(PLAIN, text) == text


def test_codec_encodes_nothing_when_the_batch_is_empty():
    """No texts are no rows."""
    assert CODEC.encode("hook", []) == []


# --- which dictionary ----------------------------------------------------------------------------


def test_codec_reads_old_rows_when_a_dictionary_was_added():
    """A codec number stays readable after its dictionary was replaced, and new rows use the new."""
    # Given an event encoded with the shipped dictionary, and read once
    codec = Codec(shipped())
    old = encode_one(EVENT, codec)
    assert codec.decode(*old) == EVENT
    # When a dictionary is trained here and added
    codec.add(local_dictionary())
    new = encode_one(EVENT, codec)
    # Then both forms are readable, and the new one has the new number
    assert PLAIN < old[0] < FIRST_LOCAL_ID == new[0]
    assert codec.decode(*old) == codec.decode(*new) == EVENT


def test_codec_encodes_with_the_highest_id_when_dictionaries_come_in_any_order():
    """The newest dictionary of a source is the one with the highest id."""
    codec = Codec([local_dictionary(), *shipped()])
    assert encode_one(EVENT, codec)[0] == FIRST_LOCAL_ID


def test_codec_uses_the_hook_dictionary_when_a_source_has_none():
    """A source that nobody trained for is encoded as a hook event is, until it is trained for."""
    codec = Codec(shipped())
    assert codec.encode("of-a-plugin", [EVENT]) == [encode_one(EVENT)]
    codec.add(Dictionary(FIRST_LOCAL_ID, "of-a-plugin", local_dictionary().data))
    assert codec.encode("of-a-plugin", [EVENT])[0][0] == FIRST_LOCAL_ID
    assert encode_one(EVENT, codec) == encode_one(EVENT)


def test_codec_says_which_number_when_its_dictionary_is_missing():
    """A row whose dictionary is gone is a StoreError that names the codec."""
    with pytest.raises(StoreError, match="codec 77:"):
        CODEC.decode(77, encode_one(EVENT)[1])


# --- damaged rows --------------------------------------------------------------------------------


@given(st.data())
def test_codec_raises_only_store_errors_when_a_row_is_damaged(data: st.DataObject):
    """A damaged row gives a StoreError or other text of bounded size, never anything else."""
    # Given an encoded event with some bytes changed, cut off or added
    number, encoded = encode_one(EVENT)
    at = data.draw(st.integers(0, len(encoded)))
    damaged = encoded[:at] + data.draw(st.binary(max_size=12)) + encoded[at + 2 :]
    # When it is decoded, then nothing but a StoreError leaves
    text = b""
    with suppress(StoreError):
        text = CODEC.decode(number, damaged)
    # And no more than the limit comes back
    assert len(text) <= MAX_DECODED_BYTES


def test_codec_raises_when_a_row_is_cut_short():
    """A part of a row is a StoreError that names its codec, wherever the row ends."""
    number, encoded = encode_one(EVENT)
    for kept in range(len(encoded)):
        with pytest.raises(StoreError, match=f"codec {number} .* the row is damaged"):
            CODEC.decode(number, encoded[:kept])


@pytest.mark.parametrize(
    "bomb",
    [
        pytest.param(frame(bytes(64 * 1024 * 1024)), id="says nothing"),
        pytest.param(frame(bytes(MAX_DECODED_BYTES + 1)), id="one byte too many"),
        pytest.param(frame(bytes(64 * 1024 * 1024), write_content_size=1), id="names its size"),
        pytest.param(b"\xe0" + (2**40).to_bytes(8, "little") + b"\1\0\0", id="lies about its size"),
        pytest.param(frame(bytes(400_000), window_log=18), id="wants a large window"),
    ],
)
def test_codec_refuses_to_decode_when_a_row_would_grow_beyond_the_limit(bomb: bytes):
    """A few bytes that stand for many megabytes are refused, and take no memory worth naming."""
    # Given a decompression bomb under the shipped dictionary's number, and a codec in use
    CODEC.decode(*encode_one(EVENT))
    tracemalloc.start()
    # When it is decoded, then it is refused
    try:
        with pytest.raises(StoreError, match="the row is damaged"):
            CODEC.decode(shipped()[0].id, bomb[1:])  # as it is stored
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # And no more was allocated than the largest event takes
    assert peak < MAX_DECODED_BYTES + 64 * 1024


# --- threads -------------------------------------------------------------------------------------


def test_codec_decodes_in_many_threads_when_another_encodes_and_adds():
    """Readers share one codec with the writer, which goes on encoding and adds a dictionary."""
    # Given the encoded forms of a thousand events
    found = generated(5000)[0][:1000]
    codec = Codec(shipped())
    encoded = codec.encode("hook", found)
    results: list[list[bytes]] = []
    # When several threads read them, and another encodes them meanwhile
    readers = [
        threading.Thread(target=lambda: results.append([codec.decode(*row) for row in encoded]))
        for _ in range(6)
    ]
    for thread in readers:
        thread.start()
    again = []
    while any(thread.is_alive() for thread in readers):
        again.append(codec.encode("hook", found))
        codec.add(local_dictionary())
    for thread in readers:
        thread.join()
    # Then all of them read what was written, and what was encoded meanwhile is right as well
    assert results == [found] * len(readers)
    assert all([codec.decode(*row) for row in rows] == found for rows in again)


# --- dictionaries --------------------------------------------------------------------------------


def test_shipped_dictionary_makes_hook_events_small_when_none_was_trained():
    """With the dictionaries that we ship an event takes less than half the room (2.5 times)."""
    assert ratio(CODEC, generated(5000)[0][1000:]) >= 2.5


def test_codec_makes_hook_events_smaller_still_when_retrained():
    """A dictionary of an install's own first 1,000 events makes the next 4,000 5 times smaller."""
    codec = Codec([*shipped(), local_dictionary(1000)])
    assert ratio(codec, generated(5000)[0][1000:]) >= 5.0


def test_shipped_dictionaries_have_their_own_ids_when_they_are_listed():
    """Ids of shipped dictionaries are fixed, different, and apart from those trained here."""
    found = shipped()
    assert (found[0].id, found[0].source) == (1, "hook")
    assert len({dictionary.id for dictionary in found}) == len(found)
    assert all(PLAIN < dictionary.id < FIRST_LOCAL_ID for dictionary in found)


@pytest.mark.fault("G14")
@pytest.mark.parametrize(
    "dictionary", [*shipped(), local_dictionary()], ids=lambda found: str(found.id)
)
def test_dictionary_holds_no_personal_string_when_it_is_searched(dictionary: Dictionary):
    """No name, path, project or word of a prompt of the generated events is in a dictionary."""
    data = dictionary.data.lower()
    assert b"tool_name" in data
    assert [word for word in personal_strings() if word.encode() in data] == []


def test_training_gives_the_same_bytes_when_the_samples_are_the_same():
    """Training is deterministic."""
    samples = generated(300, seed=7)[1]
    assert train("hook", samples) == train("hook", samples)


def test_training_raises_when_there_are_no_samples():
    """Too few samples are a StoreError that names the source."""
    with pytest.raises(StoreError, match="hook"):
        train("hook", [])
