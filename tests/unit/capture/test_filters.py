"""The rules that leave events out: every kind, every spelling, and what they are called."""

import json
import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from blueplane.capture import filters as module
from blueplane.capture.adapter import OwnKeys, Platform
from blueplane.capture.filters import MAX_CHARS, Filters
from blueplane.capture.hook_event import MAX_PARSED_BYTES, HandOff, HookReader
from blueplane.capture.rule_names import UNKNOWN_PLACE
from blueplane.capture.sanitise import Sanitiser
from blueplane.config import FilterSettings
from blueplane.errors import FilteredError, MalformedPayloadError

SECRET = b"k" * 32
NOTHING: dict[str, tuple[str, ...]] = {
    "workspaces": (), "projects": (), "platforms": (), "event_types": (), "hooks": (),
}  # fmt: skip


def rules(**settings: tuple[str, ...]) -> Filters:
    """Make the filters of a configuration."""
    return Filters(FilterSettings(**{**NOTHING, **settings}), SECRET)


def judge(
    filters: Filters,
    body: object,
    platform: str = "cursor",
    hook: str = "stop",
    *,
    hashed: bool = False,
) -> str | None:
    """Return the rule that leaves an event out, or None when it passes."""
    sanitiser = Sanitiser("strict", SECRET, hash_project_names=hashed)
    reader = HookReader(sanitiser, lambda _name: False, filters)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        reader.read(HandOff("1.1.1", 1, raw, platform, hook))
    except FilteredError as error:
        return error.rule
    return None


def ignoring(*directories: object) -> Filters:
    """Make the filters that ignore directories."""
    return rules(workspaces=tuple(map(str, directories)))


# --- platforms, types, hooks, projects -----------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"platforms": ("claude",)}, "platform:claude_code"),
        ({"event_types": ("turn_end",)}, "event_type:turn_end"),
        ({"hooks": ("Stop",)}, "hook:Stop"),
    ],
)
@pytest.mark.parametrize("raw", [b"{}", b"no json", b" " * (MAX_PARSED_BYTES + 1)])
def test_rules_for_hooks_hold_whatever_the_payload_is(
    settings: dict[str, tuple[str, ...]], rule: str, raw: bytes
) -> None:
    """Platform (by any of its names), type and native hook need no payload that can be read."""
    # Given
    filters = rules(**settings)
    # When / Then
    assert filters
    assert judge(filters, raw, "claude_code", "Stop") == rule
    others = rules(platforms=("cursor",), event_types=("other",), hooks=("stop", "SubagentStop"))
    assert judge(others, b"{}", "claude_code", "Stop") is None


def test_payload_that_cannot_be_read_is_set_aside_when_no_rule_for_its_hook_holds() -> None:
    """What no filter names goes to the quarantine as ever, also while directories are ignored."""
    with pytest.raises(MalformedPayloadError):
        judge(rules(workspaces=("/srv/a",), hooks=("Stop",)), b"no json")


def test_event_of_cursor_counts_as_such_when_a_hook_of_claude_code_ran() -> None:
    """Cursor runs the hooks of Claude Code: the rules see the platform and hook that it was."""
    # Given
    body = {"cursor_version": "3.1", "conversation_id": "c"}
    # When / Then
    assert judge(rules(platforms=("claude_code",)), body, "claude_code", "Stop") is None
    assert judge(rules(hooks=("Stop",)), body, "claude_code", "Stop") is None
    assert judge(rules(hooks=("stop",)), body, "claude_code", "Stop") == "hook:stop"
    assert judge(rules(platforms=("cursor",)), body, "claude_code", "Stop") == "platform:cursor"


@pytest.mark.parametrize("hashed", [False, True])
def test_project_is_left_out_by_its_name_when_any_workspace_has_it(*, hashed: bool) -> None:
    """The name in clear counts, also where names are stored as hashes; no rule shows it."""
    # Given
    filters = rules(projects=("shop",))
    rule = filters.rule("project", "shop")
    # When / Then
    assert judge(filters, {"workspace_roots": ["/srv/other", "/srv/shop"]}, hashed=hashed) == rule
    assert judge(filters, {"cwd": "file:///srv/shop/"}, "claude_code", hashed=hashed) == rule
    assert judge(filters, {"workspace_roots": ["/srv/shop/src", "/srv/shopping"]}) is None
    assert judge(filters, {"workspace_roots": ["/srv/a"], "cwd": "/srv/a/shop"}) is None
    assert "shop" not in rule


def test_project_is_left_out_when_its_name_is_composed_otherwise() -> None:
    """A name is the same name however its accents are written."""
    filters = rules(projects=(unicodedata.normalize("NFD", "café"),))
    assert judge(filters, {"cwd": "/srv/café"}) == filters.rule("project", "café")


# --- directories: spellings ----------------------------------------------------------------------

SPELLINGS = [
    "/srv/café", "/srv/café/", "//srv///café", "/srv/./café", "/srv/x/../café", "/srv/café/x/..",
    "file:///srv/caf%C3%A9", "file://localhost/srv/café/",
    unicodedata.normalize("NFD", "/srv/café"),
    "/srv/café/src/a.py", "file:///srv/caf%C3%A9/a%20b",
]  # fmt: skip


@pytest.mark.parametrize("written", SPELLINGS)
@pytest.mark.parametrize("configured", SPELLINGS[:-2])
def test_directory_is_ignored_however_it_is_written(configured: str, written: str) -> None:
    """A rule holds for the directory and all below it; all of its spellings are one rule."""
    filters = ignoring(configured)
    assert judge(filters, {"cwd": written}) == ignoring("/srv/café").rule("workspace", "/srv/café")


@pytest.mark.parametrize(
    "written", ["/srv/cafés", "/srv/caf", "/srv", "/", "", "café", "/srv/café/..", "/x/srv/café"]
)
def test_event_passes_when_it_is_beside_or_above_an_ignored_directory(written: str) -> None:
    """A rule holds for nothing else."""
    assert judge(ignoring("/srv/café"), {"cwd": written}) is None


@pytest.mark.parametrize(
    "written", ["/c:/Src/Shop", "C:\\src\\shop\\a.py", "file:///C%3A/SRC/shop"]
)
def test_directory_is_ignored_when_it_is_on_a_drive(written: str) -> None:
    """Drives, backslashes and case are Windows' own."""
    assert judge(ignoring("/c:/src/shop"), {"cwd": written})


def test_directory_is_ignored_in_any_case_when_the_system_makes_no_difference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On macOS a name in other letters is the same file."""
    assert judge(ignoring("/srv/Shop"), {"cwd": "/srv/shop"}) is None
    monkeypatch.setattr(module, "_ANY_CASE", True)
    assert judge(ignoring("/srv/Shop"), {"cwd": "/srv/shop"})


@pytest.mark.parametrize("written", ["~", "~/", "~/shop/a.py"])
def test_directory_is_ignored_when_it_is_written_from_home(
    written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``~`` is the home of the server's user, in a rule and in a payload."""
    monkeypatch.setenv("HOME", "/home/ada")
    assert judge(ignoring("/home/ada"), {"cwd": "/srv", "file_path": written})
    assert judge(ignoring("~"), {"cwd": "/home/ada/shop"})
    assert judge(ignoring("~/shop"), {"cwd": "/srv", "file_path": "~shop/a.py"}) is None


def test_all_is_ignored_when_the_root_is() -> None:
    """The root is a directory as any other."""
    assert judge(ignoring("/"), {"cwd": "/srv/shop"})


def test_directory_is_ignored_when_a_link_leads_there_or_is_there(tmp_path: Path) -> None:
    """What counts is where a path leads, and also how it is written."""
    # Given a link beside the ignored directory that leads into it, and one in it that leads out
    for name in ("ignored/src", "other"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "way-in").symlink_to("ignored/src")
    (tmp_path / "ignored" / "way-out").symlink_to(tmp_path / "other")
    # When
    filters = ignoring(tmp_path / "ignored")
    # Then
    assert judge(filters, {"cwd": f"{tmp_path}/way-in/a"})
    assert judge(filters, {"cwd": f"{tmp_path}/ignored/way-out/a"})
    assert judge(filters, {"cwd": f"{tmp_path}/other/a"}) is None
    # and a rule that is itself a link holds for what it leads to
    assert judge(ignoring(tmp_path / "way-in"), {"cwd": f"{tmp_path}/ignored/src"})


def test_link_is_seen_when_it_was_made_after_the_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where links lead is looked up anew after a minute; the name of the rule stays."""
    # Given a rule, and an event that passed, before there was a link
    filters, now_s = ignoring(tmp_path / "link"), [1000.0]
    monkeypatch.setattr(module, "monotonic_s", lambda: now_s[0])
    name = filters.rule("workspace", f"{tmp_path}/link")
    assert judge(filters, {"cwd": f"{tmp_path}/real"}) is None
    # When
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    now_s[0] += module.MEMORY_S
    # Then
    assert judge(filters, {"cwd": f"{tmp_path}/real"}) == name
    assert filters.rule("workspace", f"{tmp_path}/link") == name


# --- directories: where a path may stand ---------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"workspace_roots": ["/srv/a", "/srv/secret"]},
        {"workspace_roots": [7, None, "/srv/secret"]},
        {"workspace_roots": ["/srv/a"], "cwd": "/srv/secret"},
        {"cwd": "/srv/a", "file_path": "/srv/secret/a.py"},
        {"cwd": "/srv/a", "tool_input": {"file_path": "/srv/secret/a.py"}},
        {"cwd": "/srv/a", "tool_input": {"paths": ["b", "../secret/a.py"]}},
        {"cwd": "/srv", "tool_input": {"path": "secret/a.py"}},
        {"workspace_roots": ["/srv/a", "/srv"], "tool_input": {"path": "secret"}},
        {"cwd": "/srv/a", "tool_input": '{"path": "/srv/secret/a.py"}'},
        {"cwd": "/srv/a", "tool_response": {"file": {"filePath": "/srv/secret/a.py"}}},
        {"cwd": "/srv/a", "attachments": [{"file_path": "/srv/secret/a.py"}]},
    ],
)
def test_event_is_left_out_when_it_names_an_ignored_path_anywhere(body: dict[str, Any]) -> None:
    """Every workspace counts, and every path of the event, wherever it stands."""
    filters = ignoring("/srv/secret")
    assert judge(filters, body) == filters.rule("workspace", "/srv/secret")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"cwd": 7, "file_path": None, "tool_input": [], "paths": {"a": 1}},
        {"cwd": "/srv/a", "prompt": "/srv/secret", "tool_input": "{/srv/secret"},
        {"tool_input": {"path": "secret/a.py"}},
        {"cwd": "/srv/a", "transcript_path": "/srv/secret/t.jsonl"},
    ],
)
def test_event_passes_when_no_path_of_it_is_ignored(body: dict[str, Any]) -> None:
    """Texts are not searched, and the editor's own transcript is no path of the event."""
    assert judge(ignoring("/srv/secret"), body) is None


def test_event_is_left_out_when_a_platform_has_words_of_its_own_for_workspaces() -> None:
    """The workspaces of a platform are looked at under its own keys, all of them."""
    # Given
    platform = Platform(name="other", workspace_keys=("opened", "folder"))
    # When / Then
    for body in ({"opened": "/srv/secret"}, {"opened": "/srv/a", "folder": ["/srv/secret"]}):
        with pytest.raises(FilteredError):
            ignoring("/srv/secret").check_places(platform, body)


def test_event_is_left_out_when_a_platform_has_words_of_its_own_for_paths() -> None:
    """What a platform declares to be a path is looked at like any other path."""
    # Given
    platform = Platform(name="other", own_keys=OwnKeys(paths={"page"}))
    # When / Then
    with pytest.raises(FilteredError):
        ignoring("/srv/secret").check_places(platform, {"page": "/srv/secret/menu.md"})


def test_nested_rule_counts_for_its_own_directory() -> None:
    """Of two rules, one within the other, the nearer one counts."""
    filters = ignoring("/srv", "/srv/secret")
    assert judge(filters, {"cwd": "/srv/secret/a"}) == filters.rule("workspace", "/srv/secret")
    assert judge(filters, {"cwd": "/srv/a"}) == filters.rule("workspace", "/srv")


# --- what cannot be looked into ------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{"workspaces": ("/srv/a",)}, {"projects": ("a",)}])
def test_payload_is_left_out_when_it_is_too_large_and_places_are_left_out(
    settings: dict[str, tuple[str, ...]],
) -> None:
    """A payload that is not parsed may be of an ignored place: it counts as of an unknown one."""
    raw = b" " * (MAX_PARSED_BYTES + 1)
    assert judge(rules(**settings), raw) == UNKNOWN_PLACE
    assert judge(rules(hooks=("Stop",)), raw) is None
    assert judge(rules(), raw) is None


def test_payload_is_left_out_when_it_has_more_paths_than_are_looked_at() -> None:
    """The work for one event is bounded; what is beyond counts as of an unknown place."""
    # Given
    path = "/srv/" + "b" * 95
    enough = MAX_CHARS // 100
    # When / Then
    assert judge(ignoring("/srv/a"), {"paths": [path] * enough}) is None
    assert judge(ignoring("/srv/a"), {"paths": [path] * (enough + 1)}) == UNKNOWN_PLACE
    assert judge(ignoring("/srv/a"), {"path": "/" + "a/" * MAX_CHARS}) == UNKNOWN_PLACE


def test_long_path_is_ignored_when_it_begins_in_an_ignored_directory() -> None:
    """A path that no system opens is judged by its text."""
    assert judge(ignoring("/srv/a"), {"path": "/srv/a/" + "b/" * 5000})


# --- names of rules ------------------------------------------------------------------------------


def test_name_of_a_rule_shows_no_path_and_no_project() -> None:
    """Names of places are keyed hashes: another install has others."""
    # Given
    other = Filters(FilterSettings(**NOTHING), b"o" * 32)
    for kind, item in (("workspace", "/srv/secret"), ("project", "secret")):
        # When
        name = rules().rule(kind, item)
        # Then
        assert name.startswith(f"{kind}:")
        assert "secret" not in name
        assert name != other.rule(kind, item)
    assert rules().rule("hook", "Stop") == "hook:Stop"


def test_filters_look_at_nothing_when_there_are_no_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without rules an event costs one test of truth."""
    # Given
    filters = rules()
    monkeypatch.setattr(Filters, "check_hook", lambda *_: pytest.fail("looked"))
    # When / Then
    assert not filters
    assert judge(filters, {"cwd": "/srv/a"}) is None


def test_reader_judges_by_new_filters_when_they_are_replaced() -> None:
    """The filters of a reader that runs may be replaced: what is read afterwards obeys."""
    # Given
    reader = HookReader(Sanitiser("strict", SECRET), lambda _name: False)
    item = HandOff("1.1.1", 1, b'{"cwd": "/srv/a"}', "cursor", "stop")
    reader.read(item)
    # When
    reader.filters = ignoring("/srv/a")
    # Then
    with pytest.raises(FilteredError):
        reader.read(item)


def test_path_of_bytes_that_are_no_text_is_judged(tmp_path: Path) -> None:
    """A link to a name that is not UTF-8 does not raise."""
    (tmp_path / "odd").symlink_to(os.fsdecode(b"\xff"))
    assert judge(ignoring(tmp_path), {"cwd": f"{tmp_path}/odd"})
    assert judge(ignoring("/srv/a"), {"cwd": f"{tmp_path}/odd"}) is None
    assert judge(ignoring("/srv/a"), b'{"cwd": "/srv/\\ud800\\u0000"}') is None
