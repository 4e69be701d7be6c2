"""Reading payloads: what is accepted, what is mended, what is set aside and under which rule."""

import json

import pytest

from blueplane.capture.parse import MAX_DEPTH, BigNumber, parse_payload
from blueplane.errors import MalformedPayloadError

UNREADABLE = {
    "nothing": (b"", "empty"),
    "white space": (b" \r\n\t", "empty"),
    "only a byte order mark": (b"\xef\xbb\xbf", "empty"),
    "a word": (b"hello", "not-json"),
    "half an object": (b'{"prompt": "secret stu', "not-json"),
    "two objects": (b"{}{}", "not-json"),
    "an escape that is none": (b'{"a": "\\q"}', "not-json"),
    "UTF-16 with a mark": ('{"a": 1}'.encode("utf-16"), "encoding"),
    "UTF-16 without a mark": ('{"a": 1}'.encode("utf-16-le"), "encoding"),
    "UTF-32": ('{"a": 1}'.encode("utf-32-be"), "encoding"),
    "a list": (b"[1]", "not-an-object"),
    "null": (b"null", "not-an-object"),
    "a text that must be mended": (b'"\\ud800"', "not-an-object"),
    "a huge number": (b"123456789012345678901234567890", "not-an-object"),
    "NaN": (b'{"a": NaN}', "not-finite"),
    "Infinity": (b'{"a": [Infinity]}', "not-finite"),
    "minus Infinity": (b'{"a": -Infinity}', "not-finite"),
    "an endless exponent": (b'{"a": 1e999}', "not-finite"),
}


def nested(levels: int) -> bytes:
    """Return an object that nests ``levels`` deep."""
    return b'{"a":' * levels + b"1" + b"}" * levels


@pytest.mark.fault("D1", "D2", "D8")
@pytest.mark.parametrize(("raw", "rule"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_parse_payload_names_the_rule_when_a_payload_cannot_be_read(raw: bytes, rule: str):
    """What is not one JSON object is refused under a rule of one word."""
    with pytest.raises(MalformedPayloadError) as caught:
        parse_payload(raw)
    assert caught.value.rule == rule


def test_parse_payload_quotes_nothing_when_it_refuses():
    """The message of a refusal says where, and never what."""
    with pytest.raises(MalformedPayloadError) as caught:
        parse_payload(b'{"prompt": "secret", "k": \\secret}')
    assert "secret" not in str(caught.value)
    assert "character 26" in str(caught.value)


@pytest.mark.fault("D1")
def test_parse_payload_accepts_a_byte_order_mark():
    """Cursor on Windows begins its payloads with the mark of UTF-8."""
    assert parse_payload(b'\xef\xbb\xbf{"a": 1}') == ({"a": 1}, {})


@pytest.mark.fault("D5")
@pytest.mark.parametrize("padding", [b"", b', "s": "\xff"', b', "n": 99999999999999999999'])
def test_parse_payload_keeps_the_last_value_when_a_key_comes_twice(padding: bytes):
    """Every way through the parser agrees on which of two values counts."""
    body, _ = parse_payload(b'{"a": 1, "a": 2' + padding + b"}")
    assert body["a"] == 2


@pytest.mark.fault("D4")
@pytest.mark.parametrize(
    "digits",
    ["9223372036854775808", str(2**64), "-9223372036854775808", "1" + "0" * 40, "7" * 5000],
    ids=["2^63", "2^64", "-2^63", "10^40", "5000 digits"],
)
def test_parse_payload_keeps_the_digits_when_a_number_is_too_big(digits: str):
    """An integer beyond 64 bits becomes its own digits, marked, and never another number."""
    # When
    body, marks = parse_payload(b'{"n": [%s], "m": 1.5}' % digits.encode())
    # Then
    assert body == {"n": [BigNumber(digits)], "m": 1.5}
    assert type(body["n"][0]) is BigNumber
    assert marks == {"big_numbers": 1}


@pytest.mark.fault("D4")
@pytest.mark.parametrize("number", [2**63 - 1, -(2**63) + 1, 10**18, 0])
def test_parse_payload_leaves_a_number_when_it_fits(number: int):
    """What 64 bits hold stays a number, without a mark."""
    assert parse_payload(b'{"n": %d}' % number) == ({"n": number}, {})


def test_parse_payload_makes_no_mark_when_only_a_text_has_many_digits():
    """A long row of digits in a text is no big number."""
    assert parse_payload(b'{"s": "12345678901234567890"}') == (
        {"s": "1" + "2345678901234567890"},
        {},
    )


@pytest.mark.fault("D6")
@pytest.mark.parametrize(
    ("raw", "mended"),
    [
        (b'{"a": "x\\ud800y"}', {"a": "x\ufffdy"}),
        (b'{"\\udfff": ["\\ud800"]}', {"\ufffd": ["\ufffd"]}),
        (b'{"a": "x\xffy"}', {"a": "x\ufffdy"}),
        (b'{"a": "x\xed\xa0\x80y"}', {"a": "x\ufffd\ufffd\ufffdy"}),
        (b'{"a": "x\x00\x1b[31my"}', {"a": "x\x00\x1b[31my"}),
    ],
    ids=["half a pair", "in a key", "not UTF-8", "a half in UTF-8", "control characters"],
)
def test_parse_payload_mends_text_when_it_is_no_unicode(raw: bytes, mended: dict[str, object]):
    """Text that no reader could take is mended and marked, not lost."""
    body, marks = parse_payload(raw)
    assert body == mended
    assert marks == {"repaired": 1}
    assert json.dumps(body).encode("utf-8")


def test_parse_payload_keeps_a_pair_of_surrogates():
    """An emoji written as two escapes is whole text."""
    assert parse_payload(b'{"a": "\\ud83d\\ude00"}') == ({"a": "\U0001f600"}, {})


@pytest.mark.fault("D3")
def test_parse_payload_accepts_the_deepest_allowed_nesting():
    """The limit of the depth is itself allowed, on both ways through the parser."""
    assert parse_payload(nested(MAX_DEPTH))[1] == {}
    deep_and_broken = nested(MAX_DEPTH).replace(b"1", b'"\xff"')
    assert parse_payload(deep_and_broken)[1] == {"repaired": 1}


@pytest.mark.fault("D3")
@pytest.mark.parametrize(
    "raw",
    [
        nested(MAX_DEPTH + 1),
        nested(MAX_DEPTH + 1).replace(b"1", b'"\xff"'),
        b"[" * 1_000_000,
        b'{"a":' * 1_000_000,
        b"[" * 1_000_000 + b"]" * 1_000_000,
        b'{"a": NaN, "b": ' + b"[" * 100_000,
    ],
    ids=["one too deep", "mended", "10^6 open", "10^6 objects", "10^6 closed", "with NaN"],
)
def test_parse_payload_refuses_depth_when_there_are_too_many_levels(raw: bytes):
    """Deep nesting is refused by name; the recursive parser never sees it."""
    with pytest.raises(MalformedPayloadError) as caught:
        parse_payload(raw)
    assert caught.value.rule == "depth"


@pytest.mark.fault("D3")
@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":[' + b"[]," * 500_000 + b"1]}",
        b'{"a": "' + b"[{" * 500_000 + b'"}',
        b'{"b": "\xff", "a": [' + b"[]," * 300_000 + b"1]}",
    ],
    ids=["side by side", "in a text", "mended"],
)
def test_parse_payload_reads_a_million_brackets_when_they_nest_nowhere(raw: bytes):
    """Brackets side by side or in a text are no depth, and cost no more than their number."""
    assert "a" in parse_payload(raw)[0]


@pytest.mark.fault("D3")
def test_parse_payload_ends_when_an_open_text_has_a_million_escapes():
    """Looking for the end of a text never begins again at a quote inside it."""
    with pytest.raises(MalformedPayloadError) as caught:
        parse_payload(b'{"a": "' + b'\\"' * 1_000_000)
    assert caught.value.rule == "not-json"
