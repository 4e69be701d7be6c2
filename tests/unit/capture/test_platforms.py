"""The registry of platforms."""

from collections.abc import Iterator
from importlib.metadata import EntryPoint

import pytest

from blueplane.capture import platforms as registry
from blueplane.capture.adapter import Hook, Platform
from blueplane.capture.claude_code.hooks import PLATFORM as CLAUDE_CODE
from blueplane.capture.cursor.hooks import COMPATIBILITY_NAMES
from blueplane.capture.cursor.hooks import PLATFORM as CURSOR
from blueplane.capture.platforms import ENTRY_POINTS, find_platform, platforms
from blueplane.event import EVENT_TYPES

THIRD_PARTY = Platform(name="zed", aliases=("zed-editor",), hooks={"Go": Hook("user_prompt")})
IMPOSTOR = Platform(name="cursor")
NOT_A_PLATFORM = "a text"


@pytest.fixture
def entry_points(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EntryPoint]]:
    """Give the list of installed entry points, empty to begin with."""
    points: list[EntryPoint] = []

    def installed(*, group: str) -> list[EntryPoint]:
        return [point for point in points if point.group == group]

    monkeypatch.setattr(registry, "entry_points", installed)
    platforms.cache_clear()
    yield points
    platforms.cache_clear()


def point(value: str) -> EntryPoint:
    """Return an entry point to ``value``."""
    return EntryPoint("theirs", value, ENTRY_POINTS)


@pytest.mark.parametrize(
    ("name", "platform"),
    [
        ("cursor", CURSOR),
        ("claude_code", CLAUDE_CODE),
        ("claude", CLAUDE_CODE),
        ("claude-code", CLAUDE_CODE),
        ("claudecode", CLAUDE_CODE),
    ],
)
def test_find_platform_knows_names_and_aliases(name: str, platform: Platform):
    """A platform is found under each of its names."""
    assert find_platform(name) is platform


def test_find_platform_adapts_to_a_name_that_it_does_not_know():
    """An unknown platform keeps its name, and each of its hooks is of the type other."""
    platform = find_platform("emacs")
    assert platform.name == "emacs"
    assert platform.hook("anything") == Hook("other")
    assert platform.session_id({"session_id": "s"}) == "s"


@pytest.mark.parametrize("platform", [CURSOR, CLAUDE_CODE, registry.INTERNAL])
def test_platform_maps_hooks_to_event_types_that_exist(platform: Platform):
    """Every native hook means one of our event types, before, after, failed or denied."""
    for hook in platform.hooks.values():
        assert hook.event_type in EVENT_TYPES
        assert hook.phase in {"", "before", "after", "failure", "denied"}


def test_compatibility_names_lead_from_claude_hooks_to_cursor_hooks():
    """Both sides of the table are hooks of the platform that they belong to."""
    assert CLAUDE_CODE.hooks.keys() >= COMPATIBILITY_NAMES.keys()
    assert CURSOR.hooks.keys() >= set(COMPATIBILITY_NAMES.values())


def test_platforms_loads_a_third_party_platform(entry_points: list[EntryPoint]):
    """A platform from an entry point is found like a built-in one."""
    entry_points.append(point(f"{__name__}:THIRD_PARTY"))
    assert find_platform("zed-editor").hook("Go").event_type == "user_prompt"


def test_platforms_keeps_the_built_in_platform_when_a_third_party_takes_its_name(
    entry_points: list[EntryPoint],
):
    """Nobody replaces a built-in platform."""
    entry_points.append(point(f"{__name__}:IMPOSTOR"))
    assert find_platform("cursor") is CURSOR


@pytest.mark.parametrize(
    "value",
    ["no_such_module_anywhere:X", f"{__name__}:MISSING", f"{__name__}:NOT_A_PLATFORM"],
)
def test_platforms_warns_when_a_third_party_platform_is_broken(
    entry_points: list[EntryPoint],
    caplog: pytest.LogCaptureFixture,
    value: str,
):
    """A broken entry point is one warning; every other platform works."""
    # Given
    entry_points.extend([point(value), point(f"{__name__}:THIRD_PARTY")])
    # When
    found = platforms()
    # Then
    assert {"cursor", "claude_code", "zed"} <= found.keys()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
