"""Our canary, through whichever hook it comes."""

import pytest

from blueplane.capture.hook_event import HandOff, HookReader
from blueplane.capture.platforms import is_canary
from blueplane.capture.sanitise import Sanitiser

SESSION = "canary-0123456789abcdef"


def read(platform: str, hook: str, raw: bytes) -> tuple[str, str, str, bytes]:
    """Return platform, source, native name and metadata of the event of a hand-off file."""
    reader = HookReader(Sanitiser("strict", b"k" * 32), lambda _: True)
    event = reader.read(HandOff("1.2.0", 1_000_000_000, raw, platform, hook))
    return event.platform, event.source, event.hook_type, event.metadata


@pytest.mark.parametrize(
    ("platform", "hook"), [("cursor", "stop"), ("claude_code", "Stop"), ("other", "Any")]
)
def test_canary_is_ours_when_it_comes_through_an_editors_hook(platform: str, hook: str) -> None:
    """It counts as our own event, and names whose hook it came through."""
    # Given / When
    found = read(platform, hook, b'{"session_id": "%s"}' % SESSION.encode())
    # Then
    assert found == ("blueplane", "canary", "Canary", b'{"via":"%s"}' % platform.encode())


def test_canary_names_nobody_when_it_comes_through_our_own_hook() -> None:
    """The canary of ``serve --canary`` is what it was."""
    # Given / When
    found = read("blueplane", "Canary", b'{"session_id": "%s"}' % SESSION.encode())
    # Then
    assert found == ("blueplane", "canary", "Canary", b"{}")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"session_id": SESSION, "prompt": "hello"},
        {"session_id": f"{SESSION}0"},
        {"session_id": f"{SESSION}\n"},
        {"session_id": "canary-0123456789ABCDEF"},
        {"session_id": [SESSION]},
        {"conversation_id": SESSION},
    ],
)
def test_event_of_an_editor_is_no_canary_when_it_says_more(body: dict[str, object]) -> None:
    """Only exactly our payload is left out of the figures."""
    # Given / When / Then
    assert not is_canary(body)
