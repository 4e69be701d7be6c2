"""What was stored at one level, brought to another, is what that level lets pass."""

import re
from contextlib import suppress
from typing import Any, get_args

import orjson
from hypothesis import assume, given
from tests.properties.test_payloads import mutated

from blueplane.capture.hook_event import HandOff, HookReader
from blueplane.capture.renewal import Renewal
from blueplane.capture.sanitise import Sanitiser
from blueplane.config import PrivacyLevel, PrivacySettings
from blueplane.errors import MalformedPayloadError
from blueplane.event import Event
from helpers.examples import Example

SECRET = b"k" * 32
AT: dict[PrivacyLevel, Renewal] = {
    level: Renewal(PrivacySettings(level, hash_project_names=False), SECRET)
    for level in get_args(PrivacyLevel)
}


def stored(drawn: tuple[Example, dict[str, Any]], level: PrivacyLevel) -> bytes | None:
    """Return what a row holds of a payload that was captured at a level, or None."""
    example, body = drawn
    with suppress(MalformedPayloadError, orjson.JSONEncodeError, UnicodeEncodeError, TypeError):
        item = HandOff("7.6.0", 1, orjson.dumps(body), example.platform, example.hook_name)
        event: Event = HookReader(Sanitiser(level, SECRET), lambda _: False).read(item)
        return b'{"metadata":%b,"payload":%b}' % (event.metadata, event.payload)
    return None


#: A pseudonym of a path without an ending.
_HASH = re.compile("p:[0-9a-f]{12}")


@given(mutated())
def test_renew_changes_nothing_that_its_level_or_a_stricter_one_made(
    drawn: tuple[Example, dict[str, Any]],
) -> None:
    """Scrubbing twice, or at a looser level, is as good as not at all."""
    # Given what each level stores of a payload; a number that is kept as its digits is a text then
    assume(not _has_big_number(drawn[1]))
    for at, looser in (("strict", ("strict", "balanced", "full")), ("balanced", ("balanced",))):
        event = stored(drawn, at)
        # When it is brought to that level, or to a looser one, then it is as it was
        for level in looser if event else ():
            assert AT[level].renew(event, drawn[0].platform) == event


@given(mutated())
def test_renew_leaves_at_strict_no_more_than_strict_would_have_stored(
    drawn: tuple[Example, dict[str, Any]],
) -> None:
    """A text of the payload that strict does not store is not there after a scrub, either."""
    # Given an event that was captured in full
    full, strict = stored(drawn, "full"), stored(drawn, "strict")
    if full is None or strict is None:
        return

    # When it is brought down to strict
    renewed = orjson.loads(AT["strict"].renew(full, drawn[0].platform))["payload"]

    # Then it has no text that strict would not have, but for the session's id as a file's name
    renewed.pop("transcript_path", None)
    # and for the keyed hash of a number that was kept as its digits, which is a text then
    hashes = set(filter(_HASH.fullmatch, _texts(renewed))) if _has_big_number(drawn[1]) else set()
    assert _texts(renewed) - hashes <= _texts(orjson.loads(strict)["payload"])


def _texts(value: object) -> set[str]:
    if isinstance(value, dict):
        return set().union(*map(_texts, value.values()))
    if isinstance(value, list):
        return set().union(*map(_texts, value))
    return {value} if isinstance(value, str) else set()


def _has_big_number(value: object) -> bool:
    if isinstance(value, dict):
        return any(map(_has_big_number, value.values()))
    if isinstance(value, list):
        return any(map(_has_big_number, value))
    return isinstance(value, int) and not -(2**63) <= value < 2**63
