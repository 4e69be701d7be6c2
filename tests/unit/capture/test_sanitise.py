"""What passes the sanitiser at each level, kind by kind."""

import os
import unicodedata
from pathlib import Path
from typing import Any

import orjson
import pytest

from blueplane.capture.adapter import OwnKeys
from blueplane.capture.parse import BigNumber
from blueplane.capture.sanitise import (
    MAX_ITEMS,
    MAX_PATHS,
    MAX_UNKNOWN_KEYS,
    Sanitiser,
)
from blueplane.config import PrivacyLevel

SECRET = b"k" * 32
STRICT = Sanitiser("strict", SECRET)
BALANCED = Sanitiser("balanced", SECRET)
FULL = Sanitiser("full", SECRET)
EVERY_LEVEL = pytest.mark.parametrize("sanitiser", [STRICT, BALANCED, FULL], ids=lambda s: s.level)


def kept(body: dict[str, Any], sanitiser: Sanitiser = STRICT, tool: str = "Bash") -> dict[str, Any]:
    """Return what is kept of ``body``, read back from its JSON."""
    return dict(orjson.loads(sanitiser.payload(body, tool)))


def is_hash(text: str, prefix: str = "", ending: str = "") -> bool:
    """Say whether ``text`` is a pseudonym."""
    digits = text.removeprefix(prefix).removesuffix(ending)
    return text == prefix + digits + ending and len(digits) == 12 and int(digits, 16) >= 0


def test_strict_measures_text():
    """Of a text that is not known to be harmless only its length stays."""
    body = {"prompt": "héllo", "message": "", "invented": "words"}
    assert kept(body) == {"prompt": {"chars": 5}, "message": {"chars": 0}, "invented": {"chars": 5}}


def test_strict_keeps_numbers_flags_and_null():
    """Numbers, booleans and null say nothing that must not be kept."""
    body = {"loop_count": 3, "context_usage_percent": 1.5, "final": True, "text": None, "new": -7}
    assert kept(body) == body


def test_strict_measures_code_and_hashes_it():
    """Equal code has one hash, by which a later undoing is noticed; other code has another."""
    body = {"old_string": "a\nb\n", "new_string": "a\nb", "content": "a\nb\n", "new_line": ""}
    result = kept(body)
    assert (result["old_string"]["chars"], result["old_string"]["lines"]) == (4, 2)
    assert (result["new_string"]["chars"], result["new_string"]["lines"]) == (3, 2)
    assert result["content"] == result["old_string"] != result["new_string"]
    assert is_hash(result["content"]["hash"])
    assert result["new_line"] == {"chars": 0}


def test_hashes_differ_between_installs():
    """A hash tells nothing to whoever has not the install's secret."""
    body = {"file_path": "/srv/a.py", "git_branch": "main", "content": "x", "agent_type": "mine"}
    mine, theirs = kept(body), kept(body, Sanitiser("strict", b"z" * 32))
    assert all(mine[key] != theirs[key] for key in body)


@pytest.mark.parametrize(
    ("path", "ending"),
    [
        ("/home/ada/secret.py", ".py"),
        ("/home/ada/READ.MD", ".md"),
        ("C:\\ada\\notes.txt", ".txt"),
        ("/home/ada/.env", ""),
        ("/home/ada/file.adasname", ""),
        ("/home/a.py/dir", ""),
        ("AGENTS.md", ".md"),
    ],
)
def test_strict_names_a_path_by_hash_and_known_extension(path: str, ending: str):
    """A path is a pseudonym; an extension is shown only when everybody has it."""
    assert is_hash(kept({"file_path": path})["file_path"], "p:", ending)


@pytest.mark.parametrize(
    "spelling",
    ["/c:/src/café.py", "C:\\src\\café.py", "file:///c:/src/caf%C3%A9.py", "c:/src//café.py"],
)
def test_strict_names_a_path_once_for_all_its_spellings(spelling: str):
    """Hooks and databases spell one path in several ways."""
    expected = kept({"path": "c:/src/café.py"})
    assert kept({"path": spelling}) == expected
    assert kept({"path": unicodedata.normalize("NFD", spelling)}) == expected


def test_path_lists_are_named_one_by_one_and_bounded():
    """Of a long list of paths the first are kept, with the number of all."""
    few, many = [f"/srv/{n}.go" for n in range(3)], [f"/srv/{n}.go" for n in range(100)]
    assert all(
        is_hash(name, "p:", ".go") for name in kept({"modified_files": few})["modified_files"]
    )
    result = kept({"modified_files": many})["modified_files"]
    assert result["items"] == 100
    assert len(result["first"]) == MAX_PATHS
    assert kept({"modified_files": few}, BALANCED) == {"modified_files": few}


def test_balanced_shows_paths_branches_and_command_names_only():
    """Balanced adds what a person needs to find a file, and no text."""
    body = {
        "file_path": "/srv/a.py",
        "git_branch": "feature/x",
        "command": "/usr/bin/git commit -m secret",
        "agent_type": "my-agent",
        "prompt": "secret",
        "new_string": "secret",
    }
    result = kept(body, BALANCED)
    assert result["file_path"] == "/srv/a.py"
    assert result["git_branch"] == "feature/x"
    assert result["command"].items() >= {"chars": 29, "name": "git"}.items()
    assert result["agent_type"] == "my-agent"
    assert b"secret" not in BALANCED.payload(body)


@pytest.mark.parametrize(
    "command",
    ["TOKEN=abc run", "$(cat x)", "'quoted' x", "", "   ", "a" * 40, "échø x", "x;y"],
)
def test_balanced_shows_no_command_name_when_the_command_starts_with_something_else(command: str):
    """An assignment, a substitution or a quoted word may hold anything."""
    assert kept({"command": command}, BALANCED) == kept({"command": command})
    assert kept({"command": command})["command"]["chars"] == len(command)


def test_strict_tells_a_command_from_another_by_a_keyed_hash():
    """That one was run again can be seen, and not which; brought down, it stays the same."""
    # Given / When
    test, same, build = (kept({"command": command}) for command in ("make t", "make t", "make b"))
    # Then
    assert test == same != build
    assert kept(kept({"command": "make t"}, BALANCED))["command"]["hash"] == test["command"]["hash"]
    assert "make" not in orjson.dumps(test).decode()


def test_full_keeps_everything_but_secrets():
    """Full is what the user asked for: all of it, without keys to other things."""
    harmless = {"prompt": "text", "tool_input": {"command": "ls", "deep": [{"k": "v"}]}}
    secrets = {
        "user_email": "a@example.org",
        "tool_response": {
            "list": [{"cursorAuth/accessToken": "t", "blobEncryptionKey": "k", "apiKey": "k"}],
        },
    }
    result = kept({**harmless, **secrets}, FULL)
    assert result == {**harmless, "tool_response": {"list": [{}]}}


@EVERY_LEVEL
@pytest.mark.parametrize(
    "key",
    [
        "user_email", "userEmail", "user.email", "email", "emailAddress", "author-email",
        "cursorAuth/refreshToken", "speculativeSummarizationEncryptionKey", "access_token",
        "API_KEY", "password", "client_secret", "Authorization", "x" * 80 + "password",
    ],
)  # fmt: skip
def test_secrets_are_dropped_wherever_they_are(sanitiser: Sanitiser, key: str):
    """An address or a credential is not even measured, at any level and depth."""
    body = {key: "s", "tool_input": {key: "s", "list": [{key: "s"}]}}
    for tool in ("Bash", "mcp__x__y"):
        assert key not in orjson.dumps(kept(body, sanitiser, tool)).decode()
        assert b'"s"' not in sanitiser.payload(body, tool)


def test_strict_keeps_ids_and_names_a_text_that_is_none():
    """Ids of the platforms have no spaces; anything else under their keys becomes a pseudonym."""
    ids = {
        "tool_use_id": "call-2e-29\nfc_49_0",
        "generation_id": "5f0e7a52-6f1b-4c1e-9d53-0b8f1c2d3e4f",
        "agent_id": "ac15c156ffa71d010",
    }
    assert kept(ids) == ids
    for text in ("a sentence", "me@example.org", "/home/ada", "a\nb\nc", "x" * 97, "naïve"):
        assert is_hash(kept({"tool_use_id": text})["tool_use_id"], "i:")


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("model_id", "claude-opus-4-5-20251101", "my secret model"),
        ("model_id", "openrouter/anthropic/claude-4@20250101[1m]", "ada@example.org"),
        ("cursor_version", "3.18.25", "ada 1.0"),
        ("mcp_server_name", "github", "the server of ada"),
        ("permission_mode", "plan", "ada"),
        ("reason", "logout", "ada"),
        ("type", "text", "ada"),
        ("timestamp", "2026-01-02T03:04:05.678Z", "tomorrow"),
    ],
)
def test_strict_keeps_what_has_the_shape_of_its_kind(key: str, good: str, bad: str):
    """An enumeration keeps its known values, a name its shape; all else is measured."""
    assert kept({key: good}) == {key: good}
    assert kept({key: bad}) == {key: {"chars": len(bad)}}


def test_strict_names_an_agent_that_the_user_named():
    """The platforms' own agents are shown; others keep one pseudonym, to be counted by."""
    result = kept({"agent_type": "Explore", "subagent_type": "ada's reviewer"})
    assert result["agent_type"] == "Explore"
    assert is_hash(result["subagent_type"], "n:")


@pytest.mark.parametrize("ending", ["py", "tsx", ""])
def test_strict_keeps_a_kind_of_files_that_everybody_has(ending: str):
    """The ending of a name that a path's hash shows is shown where it stands alone, too."""
    assert kept({"fileExtension": ending}) == {"fileExtension": ending}


@pytest.mark.parametrize("ending", ["acme-secret", "plan for ada", "py~"])
def test_strict_names_a_kind_of_files_that_is_somebodys_own(ending: str):
    """It is a word that a person wrote, and tells files of two kinds apart."""
    shown = kept({"fileExtension": ending})["fileExtension"]
    assert is_hash(shown, "n:")
    assert shown != kept({"fileExtension": "acme-other"})["fileExtension"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/home/ada/agent-ac15c156ffa71d010.jsonl", "agent-ac15c156ffa71d010.jsonl"),
        (
            "C:\\x\\5f0e7a52-6f1b-4c1e-9d53-0b8f1c2d3e4f.txt",
            "5f0e7a52-6f1b-4c1e-9d53-0b8f1c2d3e4f.txt",
        ),
    ],
)
def test_strict_keeps_a_transcript_name_when_it_is_an_id(path: str, expected: str):
    """The file name links an agent to its transcript; where it lies is not kept."""
    assert kept({"agent_transcript_path": path}) == {"agent_transcript_path": expected}
    named = kept({"agent_transcript_path": "/home/ada/notes.jsonl"})
    assert is_hash(named["agent_transcript_path"], "p:", ".jsonl")


def test_strict_hides_keys_that_are_no_identifiers():
    """A key can hold content, too: at the top only identifiers pass, below only known words."""
    # Given
    body = {
        "newKey": 1,
        "A sentence as a key": 2,
        "x" * 33: 3,
        "tool_input": {"command": "x", "adasKey": 4},
    }
    # When
    result = kept(body)
    # Then
    assert result["newKey"] == 1
    assert sorted(is_hash(key, "k:") for key in result) == [False, False, True, True]
    assert result["tool_input"].keys() - {"command"} == {
        key for key in result["tool_input"] if is_hash(key, "k:")
    }


def test_strict_keeps_only_the_shape_of_what_an_unknown_tool_is_told():
    """Numbers, too, are content when nobody knows the tool."""
    body = {
        "tool_input": {"query": "secret", "account": 123456, "ok": True, "none": None},
        "tool_response": [
            {"type": "text", "text": "secret"},
            ["a", "bc"],
            1.25,
            BigNumber("9" * 20),
        ],
    }
    result = kept(body, tool="mcp__bank__transfer")
    assert result["tool_input"]["query"] == {"chars": 6}
    hidden = {orjson.dumps(v) for k, v in result["tool_input"].items() if k.startswith("k:")}
    assert hidden == {b'{"digits":6}', b"true", b"null"}
    assert result["tool_response"] == [
        {"type": {"chars": 4}, "text": {"chars": 6}},
        {"items": 2, "chars": 3},
        {"digits": 4},
        {"digits": 20},
    ]


def test_strict_bounds_lists_and_objects():
    """However much a payload holds, only so much is looked into, and the rest is counted."""
    # Given
    count = 1000
    body = {
        "attachments": [{"type": "file"}] * count,
        "globs": ["**"] * count,
        "todos": [{"content": "x"}] * count,
        "tool_input": {f"key{n}": n for n in range(count)},
        **{f"top{n}": n for n in range(count)},
    }
    # When
    result = kept(body)
    shape = kept({"tool_input": body["tool_input"]}, tool="")["tool_input"]
    # Then
    assert result["attachments"] == {"items": count, "first": [{"type": "file"}] * MAX_ITEMS}
    assert result["globs"] == {"items": count, "chars": 2 * count}
    assert result["todos"] == {"items": count}
    assert result["tool_input"]["more"] == result["more"] == count - MAX_UNKNOWN_KEYS
    assert shape["more"] == count - MAX_UNKNOWN_KEYS
    assert len(result) < MAX_UNKNOWN_KEYS + 10


def test_strict_keeps_the_settings_of_a_model():
    """Words of the vendors pass; others are measured."""
    body = {
        "model_params": [{"id": "fast", "value": "true"}, {"id": "ada", "value": 3, "x": "y"}, 5]
    }
    assert kept(body) == {
        "model_params": [{"id": "fast", "value": "true"}, {"id": {"chars": 3}, "value": 3}],
    }


@pytest.mark.fault("D8")
@EVERY_LEVEL
@pytest.mark.parametrize("odd", [None, True, 0, 1.5, "", "x", [], [[]], [None, 1], {}, {"a": {}}])
def test_payload_takes_any_type_under_any_key(sanitiser: Sanitiser, odd: object):
    """A known key with a value of another shape is kept by what it is, and nothing raises."""
    body = dict.fromkeys((*STRICT._strict.keys, "unknown"), odd)
    for tool in ("Bash", "unknown"):
        assert "unknown" in kept(body, sanitiser, tool)


@pytest.mark.fault("D4")
def test_payload_keeps_a_big_number_as_text():
    """The digits of a big integer stay, unless they are a message of their own."""
    body = {"limit": BigNumber("9" * 20), "offset": BigNumber("9" * 5000)}
    assert kept(body) == {"limit": "9" * 20, "offset": {"digits": 5000}}
    assert kept({"limit": body["limit"]}, FULL) == {"limit": "9" * 20}


@pytest.mark.parametrize("level", ["strict", "balanced"])
def test_payload_is_the_same_when_it_is_sanitised_again(level: PrivacyLevel):
    """What was made strict once is not changed by another pass: scrubbing can be repeated."""
    body = {
        "prompt": "secret",
        "file_path": "/srv/a.py",
        "git_branch": "main",
        "agent_type": "mine",
        "tool_use_id": "a b",
        "content": "x\ny",
        "A key": 1,
        "tool_input": {"deep": {"k": [1, "a"]}, "n": 5},
        "modified_files": ["/srv/a.py"],
        "attachments": [{"file_path": "x", "type": "file"}] * 20,
        "globs": ["a"] * 20,
    }
    for tool in ("Bash", "unknown"):
        once = Sanitiser(level, SECRET).payload(body, tool)
        strict = STRICT.payload(orjson.loads(once), tool)
        assert (
            strict == STRICT.payload(body, tool) if level == "strict" else b"secret" not in strict
        )
        assert STRICT.payload(orjson.loads(strict), tool) == strict


def test_payload_is_canonical():
    """Keys are sorted and nothing is padded, so that equal payloads are equal bytes."""
    assert STRICT.payload({"offset": 1, "limit": 2}, "Bash") == b'{"limit":2,"offset":1}'


def test_identifier_keeps_an_id_and_names_anything_else():
    """A session can be grouped by, whatever it is called."""
    assert STRICT.identifier("conv-1") == "conv-1"
    assert STRICT.identifier("") == ""
    assert is_hash(STRICT.identifier("Ada's session"), "i:")


def test_workspace_has_a_hash_and_a_project(tmp_path: Path):
    """A workspace is a hash of its canonical path and the last component in clear."""
    # Given
    (tmp_path / "shop").mkdir()
    (tmp_path / "link").symlink_to("shop")
    # When
    workspaces = {STRICT.workspace(str(tmp_path / name)) for name in ("shop", "shop/", "link")}
    # Then
    (workspace,) = workspaces
    assert workspace.project == "shop"
    assert len(workspace.hash) == 16
    assert os.fspath(tmp_path) not in repr(workspace)


def test_workspace_hides_the_project_when_it_is_told_to():
    """With hash_project_names even the project's name is a pseudonym."""
    hashing = Sanitiser("full", SECRET, hash_project_names=True)
    workspace = hashing.workspace("/srv/shop")
    assert is_hash(workspace.project, "n:")
    assert workspace.hash == STRICT.workspace("/srv/shop").hash


def test_training_form_has_nobody_in_it():
    """Every id, pseudonym, name and key of a user has a stand-in of its shape, at any level."""
    # Given
    metadata: dict[str, Any] = {
        "zoesKey": "zoe-shop-é", "tool_name": "mcp__zoes__tool", "model": "zoe-model",
        "phase": "after", "via": "claude_code", "duration_ms": 5,
    }  # fmt: skip
    body: dict[str, Any] = {
        "tool_call_id": "toolu_01AbCdEf9876", "file_path": "/home/zoe/zoes.py", "zoesKey": 1,
        "prompt": "zoe says", "permission_mode": "plan", "model_id": "claude-opus-4-5",
        "cursor_version": "3.18.25", "content": "zoe", "tool_input": {"zoe": "zoe"},
    }  # fmt: skip
    for sanitiser in (STRICT, BALANCED, FULL):
        payload = orjson.loads(sanitiser.payload(body, metadata["tool_name"]))
        stored = orjson.dumps({"metadata": metadata, "payload": payload})
        # When
        trained = sanitiser.training_form(stored)
        # Then
        assert b"zoe" not in trained
        assert b"AbCdEf" not in trained
        form = orjson.loads(trained)
        assert form["metadata"]["phase"] == "after"
        assert form["metadata"]["via"] == "claude_code"
        assert form["payload"]["permission_mode"] == "plan"
        assert form["payload"]["model_id"] == "claude-opus-4-5"
        assert form["payload"]["cursor_version"] == "3.18.25"
        assert is_hash(form["payload"]["file_path"], "p:", ".py")
        assert form["payload"]["file_path"] != STRICT._pseudonyms.path("/home/zoe/zoes.py")
        assert len(form["payload"]["tool_call_id"]) == len(body["tool_call_id"])
        assert form["payload"]["tool_call_id"].startswith("toolu_01")
        assert sanitiser.training_form(stored) == trained


def test_training_form_takes_a_payload_alone():
    """A payload without its metadata is trained on as well."""
    assert orjson.loads(STRICT.training_form(b'{"prompt":"x"}')) == {"prompt": {"chars": 1}}


# --- keys that one platform adds ------------------------------------------------------------------

OWN = OwnKeys(
    ids={"run", "prompt", "api_token_secret"},
    paths={"room"},
    branches={"line"},
    code={"draft"},
    commands={"order"},
    enumerations={"mood": {"calm", "busy"}, "status": {"xyzzy"}},
)


def own(body: dict[str, Any], sanitiser: Sanitiser = STRICT) -> dict[str, Any]:
    """Return what is kept of the payload of a platform with keys of its own."""
    return dict(orjson.loads(sanitiser.payload(body, "", OWN)))


def test_strict_honours_own_keys_by_their_kind():
    """Ids and words stay, paths and branches become hashes, of code and commands measures stay."""
    # Given
    body = {"run": "r-1", "mood": "calm", "room": "/home/ada/x.py", "line": "main"}
    # When
    result = own(body | {"draft": "a\nb\n", "order": "make tea"})
    # Then
    assert (result["run"], result["mood"]) == ("r-1", "calm")
    assert is_hash(result["room"], "p:", ".py")
    assert is_hash(result["line"], "b:")
    assert (result["draft"]["chars"], result["draft"]["lines"]) == (4, 2)
    assert result["order"]["chars"] == 8


def test_balanced_shows_own_paths_and_commands():
    """What balanced shows of our own paths, branches and commands it shows of theirs."""
    body = {"room": "/home/ada/x.py", "line": "main", "order": "make tea"}
    result = own(body, BALANCED)
    assert (result["room"], result["line"]) == ("/home/ada/x.py", "main")
    assert (result["order"]["chars"], result["order"]["name"]) == (8, "make")


def test_own_keys_let_no_prose_pass():
    """A sentence is no id and no word, whatever its key is declared to be."""
    body = dict.fromkeys(("run", "mood", "draft", "order", "unheard"), "it is a secret")
    result = own(body)
    assert result["mood"] == result["unheard"] == {"chars": 14}
    assert "secret" not in orjson.dumps(result).decode()


def test_own_keys_never_change_what_is_known():
    """A key of the vocabulary, and one that names a secret, stay what they are."""
    body = {"prompt": "xyzzy", "status": "xyzzy", "api_token_secret": "xyzzy"}
    assert own(body) == {"prompt": {"chars": 5}, "status": {"chars": 5}}


def test_own_keys_hold_for_their_platform_only():
    """What one platform declares says nothing of another's payloads."""
    assert own({"run": "r-1"}) == {"run": "r-1"}
    assert kept({"run": "r-1"}) == {"run": {"chars": 3}}
