"""The registry of platforms."""

from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from blueplane.capture import platforms as registry
from blueplane.capture.adapter import Hook, OwnKeys, Platform
from blueplane.capture.claude_code.hooks import PLATFORM as CLAUDE_CODE
from blueplane.capture.cursor.hooks import COMPATIBILITY_NAMES
from blueplane.capture.cursor.hooks import PLATFORM as CURSOR
from blueplane.capture.platforms import ENTRY_POINTS, find_platform, platforms
from blueplane.event import EVENT_TYPES

THIRD_PARTY = Platform(name="zed", aliases=("zed-editor",), hooks={"Go": Hook("user_prompt")})
IMPOSTOR = Platform(name="cursor")
NOT_A_PLATFORM = "a text"
NO_HOOK = Platform(name="theirs", hooks={"Go": Hook("victory")})
NO_PHASE = Platform(name="theirs", hooks={"Go": Hook("tool_use", "meanwhile")})
NO_SOURCE = Platform(name="theirs", hooks={"Go": Hook("tool_use", source="hearsay")})
NO_MAPPING = Platform(name="theirs", hooks=["Go"])  # type: ignore[arg-type]
NO_COLUMN = Platform(name="theirs", column_keys={"price": "cost_usd"})
NO_NAME = Platform(name="their editor")
PROSE_AS_SESSION = Platform(name="theirs", session_keys=("run", "prompt"))
PROSE_AS_TURN = Platform(name="theirs", turn_key="command")
PROSE_AS_ID = Platform(name="theirs", own_keys=OwnKeys(ids={"title"}))
PROSE_AS_NAME = Platform(name="theirs", column_keys={"summary": "tool_name"})
PROSE_AS_WORDS = Platform(name="theirs", own_keys=OwnKeys(enumerations={"mood": {"so so"}}))


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
    [
        "no_such_module_anywhere:X",
        *(
            f"{__name__}:{name}"
            for name in (
                "MISSING",
                "NOT_A_PLATFORM",
                "IMPOSTOR",
                "NO_HOOK",
                "NO_PHASE",
                "NO_SOURCE",
                "NO_MAPPING",
                "NO_COLUMN",
                "NO_NAME",
                "PROSE_AS_SESSION",
                "PROSE_AS_TURN",
                "PROSE_AS_ID",
                "PROSE_AS_NAME",
                "PROSE_AS_WORDS",
            )
        ),
    ],
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
    assert "theirs" not in found
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("platform", registry.BUILT_IN)
def test_built_in_platforms_are_what_is_asked_of_others(platform: Platform):
    """No built-in platform would be refused as a third party's."""
    assert list(registry._faults(platform)) == []


def fail(*_: object) -> tuple[str, ...]:
    """Fail, as a third party's function may."""
    raise LookupError


@pytest.mark.parametrize("found", [fail, lambda *_: None, lambda *_: (1,), lambda *_: "run-1"])
def test_identify_says_nothing_when_the_platform_fails(
    found: Callable[..., Any], caplog: pytest.LogCaptureFixture
):
    """An identity that fails, or is none, is left out, and is told once."""
    # Given
    platform = Platform(name=f"theirs-{id(found)}", identity=found)
    # When
    results = [platform.identify({}, "Go") for _ in range(3)]
    # Then
    assert results == [()] * 3
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("found", [fail, lambda _: 3, lambda _: (1,), lambda _: (-1, 2)])
def test_count_lines_knows_nothing_when_the_platform_fails(
    found: Callable[..., Any], caplog: pytest.LogCaptureFixture
):
    """A count that fails, or is none, is not known, and is told once."""
    # Given
    platform = Platform(name=f"theirs-{id(found)}", line_counts={"Go": found})
    # When
    results = [platform.count_lines({}, "Go") for _ in range(3)]
    # Then
    assert results == [None] * 3
    assert [record.levelname for record in caplog.records] == ["WARNING"]
