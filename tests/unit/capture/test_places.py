"""Where transcripts may be."""

from pathlib import Path

import pytest

from blueplane.capture.claude_code.places import is_transcript, roots, session_of


def test_roots_are_all_places_that_exist(tmp_path: Path) -> None:
    """The usual place, that of XDG, every one that the environment lists and the user's own."""
    # Given
    names = ("home/.claude", "xdg/claude", "first", "second", "own")
    expected = [tmp_path / name / "projects" for name in names]
    for path in expected:
        path.mkdir(parents=True)
    (tmp_path / "again").symlink_to(tmp_path / "first")
    listed = f"{tmp_path}/first, {tmp_path}/second/projects/,{tmp_path}/missing,{tmp_path}/again,"
    environment = {"CLAUDE_CONFIG_DIR": listed, "XDG_CONFIG_HOME": str(tmp_path / "xdg")}

    # When
    found = roots(tmp_path / "home", environment, [str(tmp_path / "own")])

    # Then
    assert found == sorted(map(str, expected))


def test_root_is_left_out_when_it_is_in_another(tmp_path: Path) -> None:
    """No transcript is in two roots."""
    # Given
    inner = tmp_path / ".claude" / "projects" / "-home" / "projects"
    inner.mkdir(parents=True)

    # When
    found = roots(tmp_path, {"CLAUDE_CONFIG_DIR": str(inner)})

    # Then
    assert found == [str(tmp_path / ".claude" / "projects")]


@pytest.mark.parametrize(
    ("path", "session"),
    [
        ("/p/-home/abc.jsonl", "abc"),
        ("/p/-home/agent-1.jsonl", ""),
        ("/p/-home/abc/subagents/agent-1.jsonl", "abc"),
        ("/p/-home/abc/subagents/workflows/wf_1/agent-1.meta.json", "abc"),
    ],
)
def test_session_is_named_by_the_place_of_a_file(path: str, session: str) -> None:
    """A session's file has its name; those of its agents are below it, or do not say."""
    # Given / When / Then
    assert session_of(path) == session


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("abc.jsonl", True),
        ("agent-a1.meta.json", True),
        ("sessions-index.json", False),
        ("abc.jsonl.1", False),
        ("a\nb.jsonl", False),
        ("x" * 300 + ".jsonl", False),
    ],
)
def test_only_transcripts_and_what_describes_agents_are_read(name: str, *, wanted: bool) -> None:
    """Other files beside them are none of ours."""
    # Given / When / Then
    assert is_transcript(name) is wanted
