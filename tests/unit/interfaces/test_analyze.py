"""``blueplane analyze``: one session, by its parts, on the screen and in a file."""

import csv
import io
import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blueplane.analytics.metrics.catalogue import figures
from blueplane.analytics.metrics.vector import merged
from blueplane.errors import BlueplaneError, NotFoundError, UsageError
from blueplane.event import Event
from blueplane.interfaces.cli import analyze as module
from blueplane.paths import Home
from blueplane.store.metric_rollups import bodies_of_session
from blueplane.store.queries import reading
from blueplane.store.usage_reports import session_number
from helpers.desk import T0_MS
from helpers.stories import Teller, claude_hooks, everything
from helpers.told import HOSTILE, NOW_MS, answered, hostile_sessions, printed, run, sessions, told

STORY = "story-claude"


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Give a home that knows a session of each kind."""
    return told(tmp_path_factory.mktemp("known"), sessions())


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have it be soon after the last event."""
    monkeypatch.setattr(module, "wall_ms", lambda: NOW_MS)


def refused(home: Home, *words: str) -> BlueplaneError:
    """Return the error of a command that must be refused, in one line."""
    error = run(home, "analyze", *words).exception
    assert isinstance(error, BlueplaneError)
    assert "\n" not in str(error)
    return error


def parts(home: Home, name: str, *options: str) -> Any:
    """Return the answer for a session."""
    return answered(home, "analyze", name, *options)


# --- which session --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (STORY, STORY),
        ("story-cl", STORY),
        ("two", "two-days"),
        ("last", "going-on"),
    ],
)
def test_a_session_is_found_by_as_much_as_names_it(known: Home, said: str, found: str) -> None:
    """By its id, by the beginning of it that no other has, or as the newest."""
    # Given / When
    session = parts(known, said)["session"]
    # Then
    assert session["session_id"] == found


@pytest.mark.parametrize(("said", "found"), [("two", "two-days"), ("last", "going-on")])
def test_other_commands_find_a_session_as_analyze_does(known: Home, said: str, found: str) -> None:
    """Traced or explained: by the beginning of its id, or as the newest."""
    # Given
    traced = answered(known, "trace", found)
    explained = answered(known, "explain", "usage.calls", "--session", found)
    # When / Then
    assert answered(known, "trace", said) == traced
    assert traced["total"]["events"]
    assert answered(known, "explain", "usage.calls", "--session", said) == explained


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("story", UsageError, "several sessions begin with 'story': story-"),
        ("story-clod", NotFoundError, "did you mean story-claude?"),
        ("nothing-like-it", NotFoundError, "`blueplane sessions` lists them"),
        ("", NotFoundError, "no session ''"),
    ],
)
def test_a_session_that_is_not_named_is_an_error_that_helps(
    known: Home, said: str, kind: type[BlueplaneError], words: str
) -> None:
    """Several, a near one, or none."""
    # Given / When
    error = refused(known, said)
    # Then
    assert isinstance(error, kind)
    assert words in str(error)


def test_an_id_that_others_begin_with_is_a_name(tmp_path: Path) -> None:
    """The whole id is enough, whatever there is beside it."""
    # Given
    names = ("one", "one-more", "one-other")
    events = [next(claude_hooks(Teller(session_id=name))) for name in names]
    home = told(tmp_path, events)
    # When
    session = parts(home, "one")["session"]
    # Then
    assert session["session_id"] == "one"


def test_one_line_is_said_when_there_is_no_session(tmp_path: Path) -> None:
    """Of a store in which there is nothing yet."""
    # Given
    home = told(tmp_path, [])
    # When
    error = refused(home, "last")
    # Then
    assert str(error).startswith("no sessions yet")


# --- parts ----------------------------------------------------------------------------------------


def test_the_figures_are_those_of_the_catalogue(known: Home) -> None:
    """All of them, with n; what is unknown is null."""
    # Given
    with reading(known.database) as reader:
        number = session_number(reader, STORY)
        assert number is not None
        wanted = figures(merged(body for _, body in bodies_of_session(reader, number)))
    # When
    rows = parts(known, STORY)["figures"]
    # Then
    assert {row["name"]: (row["value"], row["n"]) for row in rows} == {
        name: (each.value, each.n) for name, each in wanted.items()
    }


@pytest.mark.parametrize(
    ("name", "used", "cost"),
    [(STORY, "–", "–"), ("unpriced", "14 in 1 call", "–")],  # noqa: RUF001 - dashes for unknown
)
def test_tokens_and_cost_are_dashes_when_they_are_unknown(
    known: Home, name: str, used: str, cost: str
) -> None:
    """A session without calls used nothing known, one without prices cost nothing known."""
    # Given / When
    lines = printed(known, "analyze", name).splitlines()
    # Then
    assert f"tokens      {used}" in lines
    assert f"cost        {cost}" in lines


def test_a_spread_is_its_middle_and_its_end_when_people_look(known: Home) -> None:
    """Of times as of lengths; all of it is in JSON."""
    # Given / When
    lines = printed(known, "analyze", STORY).splitlines()
    # Then
    figures = {line.split()[1] for line in lines if line.startswith(("latency", "rhythm"))}
    assert {"tool_execution_p50_ms", "prompt_chars_p50", "prompt_chars_p95"} <= figures
    assert not [each for each in figures if re.search("_(avg|min|max|p99)", each)]
    assert any("tools_per_min" in line for line in lines)


def test_a_score_is_shown_with_its_parts(known: Home) -> None:
    """What the points were added up from stands below them, and adds up to them."""
    # Given / When
    rows = {row["name"]: row for row in parts(known, STORY)["figures"]}
    lines = printed(known, "analyze", STORY).splitlines()
    # Then
    score = rows["productivity_score"]
    assert sum(score["parts"].values()) == pytest.approx(score["value"])
    begin = next(n for n, line in enumerate(lines) if "productivity_score" in line)
    assert [line.split()[0] for line in lines[begin + 1 :]] == list(score["parts"])


def test_tools_are_counted_by_what_became_of_them(known: Home) -> None:
    """Calls, outcomes, times and what followed on what."""
    # Given / When
    answer = parts(known, STORY, "--tools")
    # Then
    tools = {row["tool"]: row for row in answer["tools"]}
    bash = tools["Bash"]
    assert [bash[each] for each in ("calls", "ok", "failed", "interrupted", "open")] == [
        3, 1, 1, 1, 0
    ]  # fmt: skip
    assert bash["max_ms"] == 5_000
    assert answer["tools"][0] == bash
    assert {"sequence": "Edit > Edit", "tools": 2, "times": 1} in answer["sequences"]
    assert sum(row["times"] for row in answer["sequences"] if row["tools"] == 2) == 8


def test_files_are_pseudonyms_with_what_their_edits_came_to(known: Home) -> None:
    """As the level stores them: no path, no name."""
    # Given / When
    files = {row["extension"]: row for row in parts(known, STORY, "--files")["files"]}
    # Then
    assert files.keys() == {"py", "ts"}
    assert files["py"]["file"].startswith("p:")
    assert files["py"]["file"].endswith(".py")
    assert [files["py"][each] for each in ("edits", "lines_added", "lines_removed")] == [2, 3, 3]
    assert (files["py"]["rejected"], files["py"]["evidence"]) == (1, ["inferred"])
    assert files["ts"]["created"]
    assert "apple" not in printed(known, "analyze", STORY, "--files", "--timeline")


def test_insights_are_those_that_the_rules_find_in_the_session(tmp_path: Path) -> None:
    """With their evidence; where there is too little to judge by, none."""
    # Given a session in which one tool failed often, and one with little in it
    home = told(tmp_path, [*failing("failing", 30), *failing("few", 2)])
    # When
    rows = parts(home, "failing", "--insights")["insights"]
    text = printed(home, "analyze", "failing", "--insights")
    # Then
    found = next(row for row in rows if row["rule"] == "tool_fails_often")
    assert (found["subject"], found["n"], found["value"]) == ("Bash", 30, 1.0)
    assert found["finding"].split()[0] in text
    assert parts(home, "few", "--insights")["insights"] == []
    assert "no rule has anything to say" in printed(home, "analyze", "few", "--insights")


def failing(session: str, times: int) -> Iterator[Event]:
    """Yield events of a session in which a tool fails every time."""
    tell = Teller(session_id=session)
    for number in range(times):
        head = {
            "tool_name": "Bash", "tool_input": {"command": "x"},
            "tool_use_id": f"{session}-{number}",
        }  # fmt: skip
        yield tell.claude(number, "PreToolUse", **head)
        yield tell.claude(number + 0.5, "PostToolUseFailure", **head, error="Exit code 1")


def walked(rows: list[dict[str, Any]], depth: int) -> Iterator[tuple[str, str | None]]:
    """Yield kind and name of the rows of a depth."""
    for row in rows:
        if row["depth"] == depth:
            yield row["kind"], row["name"]


def test_the_timeline_is_in_order_with_sub_agents_beneath(tmp_path: Path) -> None:
    """Each with who saw it, and whether only its time joined what they saw."""
    # Given the story as hooks and as the transcript tell it
    home = told(tmp_path, everything())
    # When
    rows = parts(home, "0a1b2c3d-0000-4000-8000-000000000001", "--timeline")["timeline"]
    # Then
    times = [row["at_ms"] for row in rows if row["depth"] == 0]
    assert times == sorted(times)
    assert times[0] <= T0_MS + 200
    assert ("tool", "Grep") in walked(rows, 1)
    assert ("tool", "Grep") not in walked(rows, 0)
    place = next(place for place, row in enumerate(rows) if row["depth"] == 1)
    assert rows[place - 1]["kind"] == "subagent"
    tool = next(row for row in rows if row["name"] == "Bash")
    assert (tool["seen_by"], tool["joined_by"]) == (["hook", "transcript"], "id")
    compaction = next(row for row in rows if row["kind"] == "compaction")
    assert compaction["joined_by"] == "time"
    assert "(by time)" in printed(home, "analyze", "0a1b2c3d-0000-4000-8000-000000000001",
                                  "--timeline")  # fmt: skip


@pytest.mark.parametrize("level", ["strict", "full"])
def test_a_prompt_is_shown_only_when_the_level_is_full(tmp_path: Path, level: Any) -> None:
    """Else its length."""
    # Given
    home = told(tmp_path, list(claude_hooks(Teller(level))))
    # When
    rows = parts(home, "last", "--timeline")["timeline"]
    text = printed(home, "analyze", "last", "--timeline")
    # Then
    assert [row["prompt"] for row in rows if row["kind"] == "prompt"] == (
        ["fix the test", "look around"] if level == "full" else [None, None]
    )
    assert ("fix the test" in text) == (level == "full")


def test_a_session_and_a_tool_that_go_on_are_open(known: Home) -> None:
    """No end is made up, and no duration."""
    # Given / When
    answer = parts(known, "going-on", "--tools", "--timeline")
    # Then
    assert answer["session"]["ended_by"] == "open"
    assert answer["tools"][0]["open"] == 1
    assert answer["tools"][0]["p50_ms"] is None
    (row,) = answer["timeline"]
    assert (row["outcome"], row["duration_ms"]) == ("open", None)


def test_every_part_says_so_when_there_is_nothing_in_it(known: Home) -> None:
    """A session of which only calls of models are known."""
    # Given / When
    text = printed(known, "analyze", "two-days", "--tools", "--files", "--timeline")
    # Then
    assert "no tool was called" in text
    assert "no file was edited" in text


def test_names_steer_nothing_when_they_are_shown(tmp_path: Path) -> None:
    """No escape on the screen, no formula in CSV; in JSON the name as it is."""
    # Given
    home = told(tmp_path, hostile_sessions())
    for number, name in enumerate(HOSTILE, 1):
        # When
        text = printed(home, "analyze", f"s{number}", "--tools", "--timeline")
        table = printed(home, "analyze", f"s{number}", "--tools", "--format", "csv")
        answer = parts(home, f"s{number}", "--tools")
        # Then
        (row,) = csv.DictReader(io.StringIO(table))
        assert "\x1b" not in text + table
        assert not row["tool"].startswith(("=", "+", "-", "@"))
        assert answer["tools"][0]["tool"] == answer["session"]["project"] == name


# --- export ---------------------------------------------------------------------------------------


def test_an_export_is_private_and_everything_when_json(known: Home, tmp_path: Path) -> None:
    """All parts, readable by its owner alone."""
    # Given
    file = tmp_path / "all.JSON"
    # When
    printed(known, "analyze", STORY, "--export", str(file))
    # Then
    answer = json.loads(file.read_text())
    assert answer == parts(known, STORY, "--tools", "--files", "--timeline", "--insights")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["all.JSON"]


@pytest.mark.parametrize("part", ["tools", "files", "timeline", "insights"])
def test_an_export_is_the_part_that_is_asked_for_when_csv(
    known: Home, tmp_path: Path, part: str
) -> None:
    """The same as on the screen for programs."""
    # Given
    file = tmp_path / "one.csv"
    # When
    printed(known, "analyze", STORY, f"--{part}", "--export", str(file))
    # Then
    assert file.read_text() == printed(known, "analyze", STORY, f"--{part}", "--format", "csv")
    rows = [*csv.DictReader(io.StringIO(file.read_text()))]
    assert len(rows) == len(parts(known, STORY, f"--{part}")[part])


def test_an_export_leaves_a_file_alone_unless_forced(known: Home, tmp_path: Path) -> None:
    """Also one that a link names."""
    # Given
    file, link = tmp_path / "mine.json", tmp_path / "link.json"
    file.write_text("mine")
    link.symlink_to("nowhere.json")
    # When / Then
    for each in (file, link):
        assert "--force" in str(refused(known, STORY, "--export", str(each)))
    assert file.read_text() == "mine"
    printed(known, "analyze", STORY, "--export", str(file), "--force")
    assert json.loads(file.read_text())["session"]["session_id"] == STORY


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--export", "all.txt"), "ends in .json or .csv"),
        (("--export", "nowhere/all.json"), "No such file or directory"),
        (("--tools", "--files", "--format", "csv"), "CSV has one part"),
        (("--tools", "--files", "--export", "all.csv"), "CSV has one part"),
    ],
)
def test_an_export_that_cannot_be_is_refused_in_a_line(
    known: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    """And nothing is written."""
    # Given
    monkeypatch.chdir(tmp_path)
    # When
    error = refused(known, STORY, *words)
    # Then
    assert said in str(error)
    assert [*tmp_path.iterdir()] == []
