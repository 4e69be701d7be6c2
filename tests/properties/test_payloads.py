"""Whatever an editor sends becomes an event or is refused by name, and says nothing private."""

import json
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from blueplane.capture import vocabulary as words
from blueplane.capture.hook_event import HandOff, HookReader
from blueplane.capture.parse import parse_payload
from blueplane.capture.sanitise import Sanitiser
from blueplane.errors import MalformedPayloadError
from blueplane.event import decode, encode
from helpers.examples import EXAMPLES, Example
from helpers.json_values import json_values

SANITISERS = tuple(Sanitiser(level, b"k" * 32) for level in ("strict", "balanced", "full"))
#: A word that stands for anything private; a sentence is how content looks, a word alone a guess.
CANARY = "xyzzy"
SENTENCE = f"{CANARY} is a secret"
#: Keys whose text may be shown when it has no space; the workspace's last part is the project.
SHOWN = words.IDS | words.MODELS | words.NAMES | words.TRANSCRIPTS | {"cwd", "workspace_roots"}

examples = st.sampled_from(EXAMPLES)


def item(raw: bytes, example: Example) -> HandOff:
    """Return a hand-off file of the hook of ``example``."""
    return HandOff("7.6.0", 1_764_000_000_000_000_000, raw, example.platform, example.hook_name)


def planted(value: object, key: str, canary: str, *, but: frozenset[str]) -> Any:
    """Replace every text in ``value`` by the canary, but below the keys ``but``."""
    if isinstance(value, dict):
        return {name: planted(inner, name, canary, but=but) for name, inner in value.items()}
    if isinstance(value, list):
        return [planted(inner, key, canary, but=but) for inner in value]
    return canary if isinstance(value, str) and key not in but else value


@st.composite
def mutated(draw: st.DrawFn) -> tuple[Example, dict[str, Any]]:
    """Draw a payload of a real hook with one to four values replaced by anything."""
    example = draw(examples)
    body = example.body
    for _ in range(draw(st.integers(1, 4))):
        place: Any = body
        while True:
            keys = sorted(place) if isinstance(place, dict) else range(len(place))
            key = draw(st.sampled_from(list(keys)))
            if isinstance(place[key], (dict, list)) and place[key] and draw(st.booleans()):
                place = place[key]
                continue
            place[key] = draw(json_values)
            break
    return example, body


def everything(raw: bytes, example: Example, sanitiser: Sanitiser) -> bytes:
    """Return all that is stored of a payload, which must survive the wire."""
    event = HookReader(sanitiser, lambda _: False).read(item(raw, example))
    assert decode(encode(event)) == event
    return b"\n".join(encode(event))


def refusal(raw: bytes, example: Example, sanitiser: Sanitiser) -> str:
    """Return the rule under which a payload is refused, "" when it is stored."""
    try:
        everything(raw, example, sanitiser)
    except MalformedPayloadError as error:
        return error.rule
    return ""


@pytest.mark.fault("D2", "D4", "D6", "D8", "D9", "D10")
@given(mutated())
def test_read_takes_any_value_in_any_place(drawn: tuple[Example, dict[str, Any]]):
    """A value of any type at any place gives an event, or is refused under a rule."""
    example, body = drawn
    raw = json.dumps(body).encode("utf-8", "surrogatepass")
    rules = {refusal(raw, example, sanitiser) for sanitiser in SANITISERS}
    assert rules in ({""}, {"not-finite"})


@pytest.mark.fault("D1")
@given(st.binary(max_size=300) | json_values.map(lambda v: json.dumps(v).encode()), st.booleans())
def test_parse_payload_accepts_or_refuses_any_bytes(raw: bytes, cut: bool):
    """No bytes at all raise anything but a refusal."""
    with suppress(MalformedPayloadError):
        body, marks = parse_payload(raw[: len(raw) // 2] if cut else raw)
        assert set(marks) <= {"repaired", "big_numbers"}
        assert orjson.loads(orjson.dumps(body)) == body


@pytest.mark.fault("D4", "D5")
@given(st.dictionaries(st.text(), st.integers() | st.floats(allow_nan=False, allow_infinity=False)))
def test_parse_payload_never_changes_a_number(numbers: dict[str, float]):
    """Each number is itself, or the text of its digits."""
    body, _ = parse_payload(json.dumps(numbers).encode())
    assert {key: str(value) for key, value in body.items()} == {
        key: str(value) for key, value in numbers.items()
    }


@pytest.mark.fault("G14")
@settings(max_examples=60)
@given(examples, st.sampled_from(["{}", "{}\n{}", "/{}.py", "a@{}.org", "<{}>", "{} {}"]))
def test_read_shows_no_canary_when_a_sentence_stands_in_every_text(example: Example, form: str):
    """Prose passes under no key: not as an id, a name, a model, a time or an enumeration."""
    canary = form.format(SENTENCE, SENTENCE)
    body = planted(example.body, "", canary, but=frozenset({"cwd", "workspace_roots"}))
    assert CANARY.encode() not in everything(json.dumps(body).encode(), example, SANITISERS[0])


@pytest.mark.fault("G14")
@settings(max_examples=60)
@given(examples, st.sampled_from(["{}", "/home/{}/x", "/x/{0}.{0}", ".{}", "{}.py/", "p:{}.py"]))
def test_read_shows_no_canary_when_a_word_stands_in_every_other_text(example: Example, form: str):
    """Where names are not expected even a single word does not pass."""
    body = planted(example.body, "", form.format(CANARY), but=SHOWN)
    assert CANARY.encode() not in everything(json.dumps(body).encode(), example, SANITISERS[0])


@pytest.mark.fault("G14")
@given(examples, st.lists(st.sampled_from(sorted(words.TOOL_CONTENT | words.PLAIN)), max_size=3))
def test_read_shows_no_canary_when_it_stands_in_a_key(example: Example, path: list[str]):
    """A key below the top is a known word or a pseudonym; at the top a sentence is none."""
    # Given
    inner: Any = {CANARY: {CANARY: 1}, SENTENCE: [{CANARY: CANARY}]}
    for key in path:
        inner = {key: inner}
    body = example.body | {SENTENCE: inner, "tool_input": inner, "attachments": [inner]}
    # When
    text = everything(json.dumps(body).encode(), example, SANITISERS[0])
    # Then
    assert CANARY.encode() not in text


@given(mutated())
def test_payload_changes_nothing_when_it_is_sanitised_again(drawn: tuple[Example, dict[str, Any]]):
    """A strict payload stays as it is, but for big numbers, whose digits are then text."""
    # Given
    example, body = drawn
    strict = SANITISERS[0]
    raw = json.dumps(body).encode()
    assume(not refusal(raw, example, strict))
    event = HookReader(strict, lambda _: False).read(item(raw, example))
    metadata = orjson.loads(event.metadata)
    # When
    again = strict.payload(orjson.loads(event.payload), metadata.get("tool_name", ""))
    # Then
    assert again == event.payload or "big_numbers" in metadata
    assert strict.training_form(event.payload)
