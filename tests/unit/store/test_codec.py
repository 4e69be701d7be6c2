import contextlib
import threading
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
EVENT = (
    b'{"metadata":{"phase":"after","project":"fernwharf"},"payload":{"cursor_version":"3.20.1",'
    b'"generation_id":"0b8a2bb0-91a6-4f0e-8a1f-6b1fd1d43a10","tool_input":{"file_path":'
    b'"p:0123456789ab.py"},"tool_use_id":"toolu_01AbCdEfGhIjKlMnOpQrStUv"}}'
)

ids = st.one_of(
    st.uuids().map(lambda value: str(value).encode()),
    st.from_regex(rb"p:[0-9a-f]{11,13}(\.py)?", fullmatch=True),
    st.from_regex(rb"toolu_01[0-9A-Za-z]{21,23}", fullmatch=True),
    st.from_regex(rb"call_[0-9A-Za-z]{23,24}\\\\nfc_[0-9a-f]{48}", fullmatch=True),
    st.from_regex(rb"a[0-9a-f]{16,17}", fullmatch=True),
    st.from_regex(rb"[0-9a-fA-F]{12}|[0-9A-F-]{36}", fullmatch=True),
)
numbers = st.one_of(
    st.integers(0, 2**40),
    st.sampled_from([9, 10, 127, 128, 16_383, 16_384, 999_999_999, 1_000_000_000]),
)
values = st.one_of(ids, st.sampled_from([b"", b"\0", b"\0u", b"\0h", b'"', b"true"]))
members = st.one_of(
    values.map(lambda value: b'"k":"%b"' % value),
    numbers.map(lambda number: b'"k":%d' % number),
    st.sampled_from([b'"k":007', b'"k":1.5', b'"k":-12', b'"k":12e3', b'"k":12 ']),
)
#: Long enough that encoding pays, so that it is not simply stored as it is.
objects = st.lists(members).map(lambda found: b"%b,%b}}" % (EVENT[:-2], b",".join(found)))


@cache
def events(count: int, seed: int = 0) -> tuple[list[bytes], list[bytes]]:
    """Generated hook events at the level strict: as they are stored, and fit to train on."""
    sanitiser = Sanitiser("strict", SECRET)
    reader = HookReader(sanitiser, lambda _hook: False)
    texts = []
    for number, payload in enumerate(payloads(count, seed)):
        item = HandOff(f"f{number}", number, payload.raw, payload.platform, payload.hook_name)
        event = reader.read(item)
        texts.append(b'{"metadata":%b,"payload":%b}' % (event.metadata, event.payload))
    return texts, [sanitiser.training_form(text) for text in texts]


def ratio(codec: Codec, texts: list[bytes]) -> float:
    """How many times smaller the texts become."""
    return sum(map(len, texts)) / sum(len(codec.encode("hook", text)[1]) for text in texts)


def local_dictionary(samples: list[bytes]) -> Dictionary:
    """The first dictionary that an install trains."""
    return Dictionary(FIRST_LOCAL_ID, "hook", train("hook", samples))


@pytest.fixture(scope="module")
def codec() -> Codec:
    """A codec with what we ship."""
    return Codec(shipped())


@given(st.one_of(st.binary(max_size=2000), objects))
def test_codec_returns_every_byte_when_it_decodes_what_it_encoded(text: bytes):
    """Whatever bytes are encoded, JSON or not, the same bytes come back."""
    codec = Codec(shipped())
    number, data = codec.encode("hook", text)
    assert codec.decode(number, data) == text
    assert number != PLAIN or data == text


def test_codec_returns_every_generated_event_when_each_is_decoded_alone(codec: Codec):
    """Each event can be decoded without any other."""
    # Given every generated event, encoded in order
    encoded = [(text, *codec.encode("hook", text)) for text in events(1000)[0]]
    # When a codec that saw none of them decodes them in another order
    fresh = Codec(shipped())
    # Then each comes back
    assert all(fresh.decode(number, data) == text for text, number, data in reversed(encoded))


@pytest.mark.parametrize("size", [1, 1_000, 100_000, 131_072, 131_073, 300_000, MAX_DECODED_BYTES])
@pytest.mark.parametrize(
    "unit", [b"x", b'{"chars":12,"lines":3},', EVENT], ids=["x", "short", "event"]
)
def test_codec_returns_the_text_when_it_is_large(codec: Codec, unit: bytes, size: int):
    """Texts of one block and of many come back, and are stored no larger than they are."""
    text = (unit * (size // len(unit) + 1))[:size]
    number, data = codec.encode("hook", text)
    assert codec.decode(number, data) == text
    assert len(data) <= size


def test_shipped_dictionary_makes_hook_events_small_when_none_was_trained(codec: Codec):
    """With the dictionaries that we ship an event takes less than half the room (2.5 times)."""
    assert ratio(codec, events(5000)[0]) >= 2.5


def test_codec_makes_hook_events_smaller_still_when_retrained():
    """A dictionary of the install's own first 1,000 events makes the next 4,000 smaller still."""
    # Given 5,000 events, and a dictionary of the first 1,000 without anything personal
    texts, samples = events(5000)
    codec = Codec([*shipped(), local_dictionary(samples[:1000])])
    # When those that it was not trained on are encoded, then they are nearly 5 times smaller
    assert ratio(codec, texts[1000:]) >= 4.8
    assert ratio(codec, texts[1000:]) > 1.02 * ratio(Codec(shipped()), texts[1000:])


def test_codec_reads_old_rows_when_a_dictionary_was_added():
    """A codec number stays readable after its dictionary was replaced, and new rows use the new."""
    # Given an event encoded with the shipped dictionary
    codec = Codec(shipped())
    old = codec.encode("hook", EVENT)
    # When a dictionary is trained here and added
    codec.add(local_dictionary(events(300)[1]))
    new = codec.encode("hook", EVENT)
    # Then both forms are readable, and the new one has the new number
    assert old[0] < FIRST_LOCAL_ID == new[0]
    assert codec.decode(*old) == codec.decode(*new) == EVENT


def test_codec_encodes_with_the_highest_id_when_dictionaries_come_in_any_order():
    """The newest dictionary of a source is the one with the highest id."""
    local = local_dictionary(events(300)[1])
    codec = Codec([local, *shipped()])
    assert codec.encode("hook", EVENT)[0] == FIRST_LOCAL_ID


def test_codec_uses_the_hook_dictionary_when_a_source_has_none(codec: Codec):
    """A source that nobody trained for is encoded as a hook event is."""
    assert codec.encode("of-a-plugin", EVENT) == codec.encode("hook", EVENT)
    assert codec.encode("hook", EVENT)[0] != PLAIN


@pytest.mark.parametrize(
    ("dictionaries", "source", "text"),
    [
        pytest.param(shipped(), "canary", EVENT, id="canary"),
        pytest.param(shipped(), "hook", b"{}", id="too short to shrink"),
        pytest.param(shipped(), "hook", EVENT + b"\0", id="holds a mark"),
        pytest.param(shipped(), "hook", b" " * MAX_DECODED_BYTES + EVENT, id="too long to decode"),
        pytest.param([], "hook", EVENT, id="no dictionary"),
    ],
)
def test_codec_stores_text_as_it_is_when_encoding_would_not_help(
    dictionaries: list[Dictionary], source: str, text: bytes
):
    """Codec 0 is the text itself."""
    codec = Codec(dictionaries)
    assert codec.encode(source, text) == (PLAIN, text)
    assert codec.decode(PLAIN, text) == text


def test_codec_says_which_number_when_its_dictionary_is_missing(codec: Codec):
    """A row whose dictionary is gone is a StoreError that names the codec."""
    _, data = codec.encode("hook", EVENT)
    with pytest.raises(StoreError, match="codec 77:"):
        codec.decode(77, data)


@given(st.data())
def test_codec_raises_only_store_errors_when_a_row_is_damaged(data: st.DataObject):
    """A damaged row gives a StoreError or other text of bounded size, never anything else."""
    # Given an encoded event with some bytes changed, cut off or added
    codec = Codec(shipped())
    number, encoded = codec.encode("hook", EVENT)
    at = data.draw(st.integers(0, len(encoded)))
    damaged = encoded[:at] + data.draw(st.binary(max_size=8)) + encoded[at + 2 :]
    # When it is decoded, then nothing but a StoreError leaves
    text = b""
    with contextlib.suppress(StoreError):
        text = codec.decode(number, damaged)
    # And no more than the limit comes back
    assert len(text) <= MAX_DECODED_BYTES


def test_codec_raises_when_more_was_taken_out_of_a_text_than_it_has_marks(codec: Codec):
    """What was taken out of a text must be all put back, else the row is damaged."""
    # Given an encoded event with one byte too many between the count and the block
    number, encoded = codec.encode("hook", EVENT)
    taken = encoded[1 : 1 + encoded[0]]
    block = encoded[1 + encoded[0] :]
    damaged = bytes([len(taken) + 1]) + taken + b"\1" + block
    # When it is decoded, then it is refused
    with pytest.raises(StoreError, match="the row is damaged"):
        codec.decode(number, damaged)


@pytest.mark.parametrize("kept", [0, 1, 5, -1])
def test_codec_raises_when_a_row_is_cut_short(codec: Codec, kept: int):
    """Half a row is a StoreError."""
    number, encoded = codec.encode("hook", EVENT)
    with pytest.raises(StoreError, match="the row is damaged"):
        codec.decode(number, encoded[:kept])


@pytest.mark.parametrize("with_size", [True, False])
def test_codec_refuses_to_decode_when_a_row_would_grow_beyond_the_limit(
    codec: Codec,
    with_size: bool,  # noqa: FBT001 - a case of the test
):
    """A few bytes that stand for many megabytes are refused before they are decompressed."""
    # Given a decompression bomb under the shipped dictionary's number
    dictionary = shipped()[0]
    bomb = zstandard.ZstdCompressor(
        dict_data=zstandard.ZstdCompressionDict(dictionary.data),
        write_content_size=with_size,
        write_dict_id=False,
    ).compress(bytes(64 * 1024 * 1024))
    # When it is decoded, then it is refused
    with pytest.raises(StoreError, match="the row is damaged"):
        codec.decode(dictionary.id, b"\xff" + bomb[4:])


def test_codec_decodes_in_many_threads_when_they_share_it(codec: Codec):
    """Readers share one codec without taking turns."""
    encoded = [(text, *codec.encode("hook", text)) for text in events(1000)[0]]
    wrong: list[bytes] = []

    def read() -> None:
        wrong.extend(text for text, number, data in encoded if codec.decode(number, data) != text)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_shipped_dictionaries_have_their_own_ids_when_they_are_listed():
    """Ids of shipped dictionaries are fixed, different, and apart from those trained here."""
    found = shipped()
    assert found[0].id == 1
    assert found[0].source == "hook"
    assert len({dictionary.id for dictionary in found}) == len(found)
    assert all(PLAIN < dictionary.id < FIRST_LOCAL_ID for dictionary in found)


@pytest.mark.parametrize("dictionary", shipped(), ids=lambda found: found.source)
def test_shipped_dictionary_holds_no_personal_string_when_it_is_searched(dictionary: Dictionary):
    """No name, path, project or word of a prompt of the generated events is in a dictionary."""
    data = dictionary.data.lower()
    assert [word for word in personal_strings() if word.encode() in data] == []


def test_trained_dictionary_holds_no_id_when_its_samples_did():
    """Ids leave the samples before training, so that no dictionary can hold one."""
    # Given events of one conversation, with the same ids in each
    texts = [EVENT.replace(b"3.20.1", b"3.20.%d" % number) for number in range(300)]
    # When a dictionary is trained on them
    data = train("hook", texts)
    # Then it holds their keys, and none of their ids
    assert b"generation_id" in data
    assert not any(part in data for part in (b"0b8a2bb0", b"0123456789ab", b"AbCdEfGh"))


def test_training_gives_the_same_bytes_when_the_samples_are_the_same():
    """Training is deterministic."""
    samples = events(300, seed=7)[1]
    assert train("hook", samples) == train("hook", samples)


def test_training_raises_when_there_are_no_samples():
    """Too few samples are a StoreError that names the source."""
    with pytest.raises(StoreError, match="hook"):
        train("hook", [])
