"""From hand-off files to events: every hook of both editors, identity, routing and limits."""

import json
import os
from dataclasses import replace
from typing import Any

import orjson
import pytest

from blueplane.capture.cursor.hooks import COMPATIBILITY_NAMES
from blueplane.capture.hook_event import (
    MAX_PARSED_BYTES,
    HandOff,
    HookReader,
    captured_at,
    spool_origin,
)
from blueplane.capture.sanitise import Sanitiser
from blueplane.clock import NS_PER_MS, parse_iso_ms
from blueplane.config import PrivacyLevel
from blueplane.errors import FilteredError, MalformedPayloadError
from blueplane.event import MAX_PAYLOAD_BYTES, Event, decode, derive_id, encode
from helpers.examples import (
    CURSOR_EXAMPLES,
    EMAIL,
    EXAMPLES,
    PATH,
    PRIVATE,
    ROOT,
    SESSION,
    TURN,
    Example,
)

SECRET = b"k" * 32
MTIME_NS = 1_764_000_000_123_456_789
EVERY_EXAMPLE = pytest.mark.parametrize("example", EXAMPLES, ids=str)
TOOL_CALL = next(example for example in CURSOR_EXAMPLES if example.hook_name == "preToolUse")
PROMPT = next(example for example in CURSOR_EXAMPLES if example.hook_name == "beforeSubmitPrompt")


def reader(level: PrivacyLevel = "strict", installed: frozenset[str] = frozenset()) -> HookReader:
    """Return a reader at ``level``, with our Cursor hooks installed as named."""
    return HookReader(Sanitiser(level, SECRET), installed.__contains__)


def item(raw: bytes, platform: str = "cursor", hook_name: str = "stop") -> HandOff:
    """Return a hand-off file with ``raw`` in it."""
    return HandOff("41.40.0", MTIME_NS, raw, platform, hook_name)


def read(example: Example, level: PrivacyLevel = "strict", **changes: object) -> Event:
    """Return the event of ``example``, with some of its fields changed."""
    raw = json.dumps(example.body | changes).encode()
    return reader(level).read(item(raw, example.platform, example.hook_name))


def parts(event: Event) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the payload and the metadata of an event."""
    return orjson.loads(event.payload), orjson.loads(event.metadata)


def stored(event: Event) -> str:
    """Return all of an event as it goes over the wire."""
    return b"\n".join(encode(event)).decode()


# --- every hook ----------------------------------------------------------------------------------


@EVERY_EXAMPLE
def test_read_fills_the_envelope(example: Example):
    """Each hook has its type, phase, ids, workspace, project, times and columns."""
    # When
    event = read(example)
    # Then
    _, metadata = parts(event)
    assert event.platform == example.platform
    assert event.source == "hook"
    assert (event.hook_type, event.event_type) == (example.hook_name, example.event_type)
    assert event.session_id == SESSION
    assert event.workspace_hash == Sanitiser("strict", SECRET).workspace(ROOT).hash != ""
    assert event.project == "shop"
    assert (event.turn_id, event.tool_use_id) == (TURN, example.tool_use_id)
    assert event.captured_ns == captured_at("41.40.0", MTIME_NS)
    assert event.timestamp_ms == MTIME_NS // NS_PER_MS
    assert event.origin == spool_origin("41.40.0", MTIME_NS)
    phase = {"phase": example.phase} if example.phase else {}
    assert metadata == {**phase, **example.metadata}
    assert decode(encode(event)) == event


@pytest.mark.fault("G14")
@EVERY_EXAMPLE
def test_read_stores_nothing_private_at_strict(example: Example):
    """No text, code, command, path or address passes, wherever it stands."""
    text = stored(read(example)).lower()
    assert PRIVATE not in text
    assert PATH not in text
    assert EMAIL not in text


@EVERY_EXAMPLE
def test_read_stores_paths_but_no_text_at_balanced(example: Example):
    """Balanced shows paths, and no text, code or address."""
    text = stored(read(example, "balanced")).lower()
    assert PRIVATE not in text
    assert EMAIL not in text
    assert PATH in text  # at least in the transcript's path


@EVERY_EXAMPLE
def test_read_stores_all_but_addresses_at_full(example: Example):
    """Full stores every field that the envelope does not hold, as it came."""
    # Given
    body = example.body
    # When
    event = read(example, "full")
    # Then
    payload, _ = parts(event)
    assert EMAIL not in stored(event)
    assert payload.items() <= body.items()
    lifted = {
        "hook_event_name", "session_id", "conversation_id", "cwd", "workspace_roots", "user_email",
        "generation_id", "prompt_id", "tool_use_id", "model", "tool_name", "duration",
        "duration_ms", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens",
    }  # fmt: skip
    assert body.keys() - payload.keys() <= lifted


@EVERY_EXAMPLE
def test_read_stores_nothing_twice(example: Example):
    """What the envelope or a column holds is not in the payload as well."""
    payload, _ = parts(read(example))
    once = {"conversation_id", "session_id", "hook_event_name", "workspace_roots", "cwd"}
    once |= {"generation_id", "prompt_id", "tool_use_id"}
    columns = {"model", "tool_name", "duration", "duration_ms", "input_tokens", "transcript_path"}
    assert not payload.keys() & (once | columns)


# --- identity ------------------------------------------------------------------------------------


@pytest.mark.fault("D10")
def test_read_gives_one_id_when_cursor_sends_a_tool_event_twice():
    """The same tool call of one hook is one event, whatever file it came in."""
    # Given
    first = item(TOOL_CALL.raw, "cursor", "preToolUse")
    body = TOOL_CALL.body | {"agent_message": "changed"}
    second = replace(first, name="42.40.0", mtime_ns=MTIME_NS + 1, raw=json.dumps(body).encode())
    after = replace(first, hook_name="postToolUse")
    # When
    ids = [reader().read(file).event_id for file in (first, second, after)]
    # Then
    call = TOOL_CALL.body["tool_use_id"]
    assert ids[0] == ids[1] == derive_id("cursor-tool", SESSION, "preToolUse", call)
    assert ids[2] != ids[0]


@pytest.mark.fault("D10")
def test_read_tells_files_apart_when_cursor_sends_a_tool_event_twice_at_once():
    """Two sends in one tick of the kernel's clock are one event, captured at two times."""
    # Given
    files = [replace(item(TOOL_CALL.raw, "cursor", "preToolUse"), name=f"{n}.40.0") for n in (1, 2)]
    # When
    first, second = map(reader().read, files)
    # Then
    assert first.event_id == second.event_id
    assert first.captured_ns != second.captured_ns
    assert first.origin != second.origin


def test_captured_at_is_the_files_own_and_exact_to_the_millisecond():
    """A file has one time of capture, within its millisecond; another name has another."""
    # When
    times = [captured_at(f"{number}.40.0", MTIME_NS) for number in range(50)]
    # Then
    assert len(set(times)) == len(times)
    assert {time // NS_PER_MS for time in times} == {MTIME_NS // NS_PER_MS}
    assert times == [captured_at(f"{number}.40.0", MTIME_NS) for number in range(50)]


@pytest.mark.fault("F5")
def test_read_takes_a_file_when_its_name_is_no_text():
    """A stranger's file may have any name; an event of it goes over the wire like any other."""
    event = reader().read(replace(item(b"{}"), name=os.fsdecode(b"caf\xe9")))
    assert event.origin == f"spool:caf\\xe9:{MTIME_NS}"
    assert decode(encode(event)) == event


@pytest.mark.fault("D10")
def test_read_gives_two_ids_when_a_prompt_is_typed_twice():
    """Equal content is not an equal event: the hand-off file tells them apart."""
    # Given
    first = item(PROMPT.raw, "cursor", "beforeSubmitPrompt")
    files = [
        first,
        replace(first, mtime_ns=MTIME_NS + 1),
        replace(first, name="42.40.0"),
        replace(first, raw=first.raw + b" "),
    ]
    # When
    ids = {reader().read(file).event_id for file in files}
    # Then
    assert len(ids) == len(files)
    assert reader().read(first).event_id == derive_id("spool", first.name, str(MTIME_NS), first.raw)


@pytest.mark.fault("D10")
@pytest.mark.parametrize("call", [None, "", 7, ["x"], {}])
def test_read_identifies_by_the_file_when_a_tool_event_names_no_call(call: object):
    """Without a readable tool_use_id a tool event is as much itself as any other."""
    raw = json.dumps(TOOL_CALL.body | {"tool_use_id": call}).encode()
    event = reader().read(item(raw, "cursor", "preToolUse"))
    assert event.event_id == derive_id("spool", "41.40.0", str(MTIME_NS), raw)


def test_read_ignores_an_event_id_in_the_payload():
    """Ids are ours: a payload cannot choose one."""
    assert read(PROMPT, event_id="00" * 16).event_id != bytes(16)


# --- routing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("claude_name", "cursor_name"), COMPATIBILITY_NAMES.items())
def test_read_filters_a_cursor_payload_when_our_cursor_hook_sends_it_too(
    claude_name: str,
    cursor_name: str,
):
    """Cursor runs Claude's hooks as well: that copy is left out by name."""
    with pytest.raises(FilteredError) as caught:
        reader(installed=frozenset({cursor_name})).read(
            item(TOOL_CALL.raw, "claude_code", claude_name)
        )
    assert caught.value.rule == "cursor-compat"


def test_read_keeps_a_cursor_payload_as_cursor_when_no_cursor_hook_sends_it():
    """The only copy of an event is kept, under its true platform, and says how it came."""
    # Given
    others = frozenset(COMPATIBILITY_NAMES.values()) - {"preToolUse"}
    # When
    event = reader(installed=others).read(item(TOOL_CALL.raw, "claude", "PreToolUse"))
    # Then
    assert (event.platform, event.hook_type) == ("cursor", "preToolUse")
    assert event.event_type == "tool_start"
    assert parts(event)[1]["via"] == "claude_code"
    own = reader().read(item(TOOL_CALL.raw, "cursor", "preToolUse"))
    assert event.event_id == own.event_id


def test_read_keeps_a_hook_that_it_does_not_know():
    """A new hook is stored under its own name as other, and so is one of a new platform."""
    for platform in ("cursor", "claude_code", "emacs"):
        event = reader().read(item(b'{"session_id": "s1", "cwd": "/srv/x"}', platform, "NewHook"))
        assert (event.platform, event.hook_type) == (platform, "NewHook")
        assert (event.event_type, event.session_id) == ("other", "s1")
        assert (event.project, parts(event)) == ("x", ({}, {}))


def test_read_says_when_the_payload_names_another_hook():
    """The trailer decides; a different name in the payload is kept beside it."""
    event = reader().read(item(b'{"hook_event_name": "preCompact"}', "cursor", "stop"))
    assert event.event_type == "turn_end"
    assert parts(event)[0] == {"hook_event_name": "preCompact"}


def test_read_makes_a_canary_of_our_own_event():
    """The self-test's event is of its own source and type."""
    event = reader().read(item(b'{"nonce": "abc-1"}', "blueplane", "Canary"))
    assert (event.platform, event.source, event.event_type) == ("blueplane", "canary", "canary")
    assert parts(event)[0] == {"nonce": "abc-1"}


# --- fields --------------------------------------------------------------------------------------


def test_read_falls_back_when_cursor_names_no_conversation_or_workspace():
    """The Agents Window has no roots: then cwd is the workspace, and there may be none."""
    body = {"workspace_roots": [], "session_id": "s1", "cwd": "/srv/shop"}
    event = reader().read(item(json.dumps(body).encode(), "cursor", "sessionStart"))
    assert event.session_id == "s1"
    assert event.project == "shop"
    assert parts(event) == ({"workspace_roots": []}, {})


def test_read_leaves_the_envelope_empty_when_the_payload_says_nothing():
    """An event without session, workspace, turn and tool call is an event still."""
    empty = reader().read(item(b"{}", "cursor", "sessionStart"))
    assert parts(empty) == ({}, {})
    assert not any(
        (empty.session_id, empty.workspace_hash, empty.project, empty.turn_id, empty.tool_use_id)
    )


def test_read_keeps_further_roots_and_another_directory():
    """Only the first root is the workspace; what else there is stays, as pseudonyms."""
    body = {"workspace_roots": ["/srv/a", "/srv/b"], "cwd": "/srv/a/sub"}
    event = reader().read(item(json.dumps(body).encode()))
    payload, _ = parts(event)
    assert event.project == "a"
    assert len(payload["workspace_roots"]) == 1
    assert payload["cwd"].startswith("p:")


@pytest.mark.parametrize(
    ("platform", "turn_key", "other_key"),
    [("cursor", "generation_id", "prompt_id"), ("claude_code", "prompt_id", "generation_id")],
)
def test_read_lifts_the_ids_that_join_events(platform: str, turn_key: str, other_key: str):
    """A turn is called what its platform calls it; the key of another platform is a field."""
    body = {turn_key: "turn-1", other_key: "else-1", "tool_use_id": "call-1\nfc_1"}
    event = reader().read(item(json.dumps(body).encode(), platform, "NewHook"))
    assert (event.turn_id, event.tool_use_id) == ("turn-1", "call-1\nfc_1")
    assert parts(event)[0] == {other_key: "else-1"}


@pytest.mark.fault("D8")
@pytest.mark.parametrize("odd", [None, True, 7, 1.5, ["turn-1"], {"id": "turn-1"}])
@pytest.mark.parametrize("level", ["strict", "balanced", "full"])
def test_read_leaves_an_id_in_the_payload_when_it_is_no_text(level: PrivacyLevel, odd: object):
    """What cannot stand in the envelope is kept where it was, as what it is."""
    body = {"generation_id": odd, "tool_use_id": odd}
    event = reader(level).read(item(json.dumps(body).encode()))
    assert (event.turn_id, event.tool_use_id) == ("", "")
    assert parts(event)[0].keys() == body.keys()


@pytest.mark.fault("G14")
@pytest.mark.parametrize("level", ["strict", "balanced", "full"])
def test_read_names_an_id_when_it_could_be_prose(level: PrivacyLevel):
    """The envelope shows ids of the platforms' shape; other text is named, to be joined by."""
    body = {"generation_id": f"a turn of {PRIVATE}", "tool_use_id": f"{PRIVATE}@x.org"}
    event = reader(level).read(item(json.dumps(body).encode()))
    assert event.turn_id.startswith("i:")
    assert event.tool_use_id.startswith("i:")
    assert PRIVATE not in stored(event)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"duration": 12.5}, 12),
        ({"duration": 12.51, "duration_ms": None}, 13),
        ({"duration_ms": 7, "duration": 9}, 7),
        ({"duration": -1}, None),
        ({"duration": True}, None),
        ({"duration": "soon"}, None),
        ({"duration": 1e300}, None),
        ({"duration": [1]}, None),
    ],
)
def test_read_lifts_a_number_only_when_a_column_can_hold_it(
    given: dict[str, object],
    expected: int | None,
):
    """Milliseconds are rounded; what is no amount stays in the payload."""
    body = {key: value for key, value in given.items() if value is not None}
    payload, metadata = parts(reader().read(item(json.dumps(body).encode())))
    assert metadata.get("duration_ms") == expected
    assert ("duration" in payload or "duration_ms" in payload) == (expected in {None, 7})


@pytest.mark.parametrize(
    ("key", "value"),
    [("model", "the model of ada"), ("model", "m" * 200), ("tool_name", "a b"), ("tool_name", 5)],
)
def test_read_measures_a_name_when_it_could_be_prose(key: str, value: object):
    """A model or a tool of an odd name has no column, and its text is not kept."""
    payload, metadata = parts(reader().read(item(json.dumps({key: value}).encode())))
    assert key not in metadata
    assert payload[key] == ({"chars": len(value)} if isinstance(value, str) else value)


@pytest.mark.fault("D9")
@pytest.mark.parametrize(
    ("value", "expected_ms"),
    [
        ("2026-01-02T03:04:05.678Z", parse_iso_ms("2026-01-02T03:04:05.678Z")),
        ("2026-01-02T03:04:05+02:00", parse_iso_ms("2026-01-02T01:04:05Z")),
        (1_767_323_045, 1_767_323_045_000),
        (1_767_323_045_678, 1_767_323_045_678),
        ("0000-01-01T00:00:00Z", None),
        ("9999-12-31T23:59:59Z", None),
        ("yesterday", None),
        (10**18, None),
        (-5, None),
        (True, None),
        (None, None),
        ([1], None),
    ],
)
def test_read_believes_a_time_only_when_it_can_be(value: object, expected_ms: int | None):
    """The platform's own time counts when it is one of this century; else ours does."""
    event = reader().read(item(json.dumps({"timestamp": value}).encode()))
    assert event.timestamp_ms == (expected_ms or MTIME_NS // NS_PER_MS)
    assert ("timestamp" in parts(event)[0]) == (expected_ms is None)
    assert event.captured_ns == captured_at("41.40.0", MTIME_NS)


UPDATE = {"type": "update"}
ONE_EDIT = {"old_string": "a", "new_string": "b\nc"}


@pytest.mark.parametrize(
    ("tool", "asked", "answer", "expected"),
    [
        ("Write", {"content": "a\nb\n"}, {"type": "create", "structuredPatch": []}, (2, 0)),
        ("Write", {"content": "a\nb\n"}, UPDATE | {"originalFile": "a\nc\nd\n"}, (1, 2)),
        ("Write", {"content": "a\n"}, UPDATE, None),
        ("Write", {"content": "a\n"}, UPDATE | {"structuredPatch": [{"lines": ["-b"]}]}, (0, 1)),
        ("Write", {"content": 5}, "done", None),
        ("Edit", ONE_EDIT, None, (2, 1)),
        ("MultiEdit", {"edits": [ONE_EDIT, ONE_EDIT]}, {}, (4, 2)),
        ("NotebookEdit", {"new_source": "a\nb", "edit_mode": "insert"}, {}, (2, 0)),
        ("NotebookEdit", {"new_source": "a\nb"}, {}, None),
        ("Bash", ONE_EDIT, {}, None),
        (["Edit"], [], [], None),
    ],
)
def test_read_counts_the_lines_of_an_edit_that_was_made(
    tool: object,
    asked: object,
    answer: object,
    expected: tuple[int, int] | None,
):
    """Claude's edit tools are counted after the fact; what cannot be known is not 0."""
    # Given
    body = {"tool_name": tool, "tool_input": asked, "tool_response": answer}
    raw = json.dumps(body).encode()
    # When
    before, after = (
        parts(reader().read(item(raw, "claude_code", hook_name)))[1]
        for hook_name in ("PreToolUse", "PostToolUse")
    )
    # Then
    assert (after.get("lines_added"), after.get("lines_removed")) == (expected or (None, None))
    assert "lines_added" not in before


# --- limits --------------------------------------------------------------------------------------


@pytest.mark.fault("D1")
def test_read_lets_a_malformed_payload_out_by_name():
    """What cannot be read goes to quarantine, not into an event."""
    with pytest.raises(MalformedPayloadError) as caught:
        reader().read(item(b"not json"))
    assert caught.value.rule == "not-json"


@pytest.mark.fault("D6")
def test_read_marks_what_had_to_be_mended():
    """Mended text and big numbers are counted in the metadata."""
    raw = b'{"conversation_id": "s\xff", "loop_count": 99999999999999999999, "prompt": "\\ud800"}'
    event = reader("full").read(item(raw))
    payload, metadata = parts(event)
    assert metadata == {"repaired": 1, "big_numbers": 1}
    assert payload["loop_count"] == "99999999999999999999"
    assert event.session_id.startswith("i:")
    assert decode(encode(event)) == event


@pytest.mark.fault("D7")
def test_read_keeps_the_envelope_when_a_payload_is_too_large():
    """Over the limit only the size is kept, with ids, workspace and columns."""
    # Given
    body = PROMPT.body | {"prompt": "x" * (MAX_PAYLOAD_BYTES + 1)}
    raw = json.dumps(body).encode()
    # When
    full = reader("full").read(item(raw, "cursor", "beforeSubmitPrompt"))
    strict = reader("strict").read(item(raw, "cursor", "beforeSubmitPrompt"))
    # Then
    payload, metadata = parts(full)
    assert payload == {"bytes": len(raw)}
    assert metadata == {"truncated": 1, "model": "composer-1", "phase": "before"}
    assert (full.session_id, full.turn_id, full.project) == (SESSION, TURN, "shop")
    assert full.event_id == strict.event_id
    assert parts(strict)[0]["prompt"] == {"chars": MAX_PAYLOAD_BYTES + 1}


@pytest.mark.fault("D7")
@pytest.mark.parametrize(("size", "expected"), [(0, MAX_PARSED_BYTES + 1), (10**9, 10**9)])
def test_read_does_not_parse_when_a_payload_is_huge(size: int, expected: int):
    """A payload beyond the cap is an event of its type that says how large it was."""
    huge = replace(item(b"x" * (MAX_PARSED_BYTES + 1), "cursor", "stop"), size=size)
    event = reader().read(huge)
    assert event.event_type == "turn_end"
    assert parts(event) == ({"bytes": expected}, {"truncated": 1})


@pytest.mark.fault("D7")
def test_read_bounds_what_it_stores_when_there_are_many_keys():
    """A hundred thousand keys, one of them of megabytes, become a small event."""
    body: dict[str, object] = {f"k{n}": "v" for n in range(100_000)}
    body = {"x" * 4_000_000: 1, **body, "tool_input": body}
    event = reader().read(item(json.dumps(body).encode()))
    assert len(event.payload) < 10_000
