"""``blueplane explain``: parts that add up to what reports show, down to file and line."""

import io
import json
from collections import Counter
from collections.abc import Iterable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from blueplane.analytics.explaining import USAGE
from blueplane.analytics.metrics.catalogue import CATALOGUE, OUTCOMES, VERDICTS
from blueplane.analytics.metrics.formulas import formula
from blueplane.days import date_of, local_day
from blueplane.event import Event
from blueplane.interfaces.cli.main import main
from blueplane.paths import Home
from blueplane.store import exporting
from blueplane.store.metric_rollups import bodies_of_session
from blueplane.store.queries import reading
from helpers import usage_command
from helpers.desk import T0_MS
from helpers.scribbled import scribbled
from helpers.stories import Teller
from helpers.told import answered, sessions, told
from helpers.transcripts import Truth


@dataclass(frozen=True)
class Tree:
    """A home, the user whose transcripts it knows, and the truth of them."""

    home: Home
    user: Path
    truth: Truth


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """Give a store of a generated tree; nobody changes it."""
    place = tmp_path_factory.mktemp("tree")
    home, user = Home(place / "home"), place / "user"
    return Tree(home, user, scribbled(home, user, 300_000))


@pytest.fixture(autouse=True)
def at_home(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be the user of the tree."""
    monkeypatch.setenv("HOME", str(tree.user))
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)


def run(home: Home, *arguments: str) -> tuple[int, str, str]:
    """Run the command; return its exit code and what it says."""
    out, said = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(said):
        code = main(["explain", *arguments, "--home", str(home.root)])
    return code, out.getvalue(), said.getvalue()


def explained(home: Home, *arguments: str) -> dict[str, Any]:
    """Return an explanation; it must succeed."""
    code, text, said = run(home, *arguments, "--format", "json", "--limit", "10000")
    assert (code, said) == (0, "")
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.mark.parametrize("name", USAGE)
def test_a_figure_of_usage_is_the_sum_of_its_calls(tree: Tree, name: str) -> None:
    """The figure is that of ``usage``, and its calls come to it, in all and for a day."""
    # Given
    report = json.loads(usage_command.printed(tree.home, "daily", "--format", "json"))
    day = report["rows"][-1]
    # When
    whole = explained(tree.home, f"usage.{name}")
    part = explained(tree.home, f"usage.{name}", "--day", day["day"])
    # Then
    for found, shown in ((whole, report["total"]), (part, day)):
        assert found["value"] == found["total"]["value"] == shown[name]
        assert found["total"]["parts"] == len(found["rows"]) == shown["calls"]
        values = [row["value"] for row in found["rows"]]
        if None not in values:
            assert sum(round(each * 10**12) for each in values) == round(shown[name] * 10**12)
        assert {date_of(local_day(row["at_ms"])).isoformat() for row in part["rows"]} == {
            day["day"]
        }


def test_a_call_leads_to_its_lines_when_the_transcripts_are_there(tree: Tree) -> None:
    """Each line that is named has the call's message, at that place of that file."""
    # Given
    session = next(iter(sorted(tree.truth.sessions)))
    # When
    found = explained(tree.home, "usage.output_tokens", "--session", session)
    # Then
    lines = [(row, line) for row in found["rows"] for line in row["lines"]]
    assert lines
    for row, line in lines:
        assert Path(line["file"]).name == line["file"]  # the level is strict
        [file] = tree.user.rglob(line["file"])
        said = json.loads(file.read_bytes().splitlines()[line["line"] - 1])
        assert said["uuid"].replace("-", "") == line["event_id"]
        assert said["message"]["usage"]["output_tokens"] <= row["value"]
    most = {
        row["call_id"]: max(
            json.loads(next(tree.user.rglob(line["file"])).read_bytes().splitlines()[
                line["line"] - 1])["message"]["usage"]["output_tokens"]
            for line in row["lines"]
        )
        for row in found["rows"]
    }  # fmt: skip
    assert most == {row["call_id"]: row["value"] for row in found["rows"]}


def test_no_line_of_any_call_is_gone_while_the_transcripts_are_there(tree: Tree) -> None:
    """Forks, sub-agents and lines without an id are found, too."""
    # Given / When
    found = explained(tree.home, "usage.calls")
    # Then
    lines = [line for row in found["rows"] for line in row["lines"]]
    assert len(found["rows"]) == len(tree.truth.calls)
    assert [row for row in found["rows"] if not row["lines"]] == []
    assert [line for line in lines if line["file"] is None] == []


def test_a_file_has_its_directory_when_the_level_is_balanced(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paths are shown where they may be stored."""
    # Given
    monkeypatch.setenv("BLUEPLANE_PRIVACY_LEVEL", "balanced")
    # When
    found = explained(tree.home, "usage.calls")
    # Then
    files = {line["file"] for row in found["rows"] for line in row["lines"]}
    assert all(file.startswith("~/.claude/projects/-home-robin-") for file in files)


def test_a_line_is_gone_when_its_transcript_is(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figure stays, and a word stands for the place."""
    # Given
    monkeypatch.setenv("HOME", str(tmp_path))
    # When
    found = explained(tree.home, "usage.calls")
    code, text, _ = run(tree.home, "usage.calls")
    # Then
    assert found["value"] == len(tree.truth.calls)
    assert {row["where"] for row in found["rows"]} == {"gone"}
    assert code == 0
    assert f"{len(tree.truth.calls):,}" in text


@pytest.mark.parametrize("name", ["tool_calls", "error_rate", "lines_net", "prompt_gap_avg_ms"])
def test_a_figure_of_metrics_is_made_of_sessions_and_they_of_what_happened(
    tree: Tree, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts come to the figure at both levels, and the numbers of sessions to those of all."""
    # Given
    monkeypatch.setattr(exporting, "PAGE", 3)  # of many sessions the one that is meant
    session = explained(tree.home, f"metrics.{name}")["rows"][0]["session_id"]
    # When
    whole = explained(tree.home, f"metrics.{name}")
    part = explained(tree.home, f"metrics.{name}", "--session", session[:9])
    # Then
    assert whole["value"] == whole["total"]["value"] is not None
    for key, value in whole["inputs"].items():
        assert sum(row[key] for row in whole["rows"]) == value
    assert part["value"] == part["total"]["value"] is not None
    assert part["rows"]
    assert {row["session_id"] for row in part["rows"]} == {session}
    assert all(row["lines"] for row in part["rows"])


@pytest.mark.parametrize(
    ("session", "seen"),
    [("story-claude", {"failed", "interrupted", "rejected"}), ("going-on", {"open"})],
)
def test_parts_say_what_became_of_them_when_they_are_of_a_session(
    tmp_path: Path, session: str, seen: set[str]
) -> None:
    """Tool calls and edits, by the same words by which the session's own report counts them."""
    # Given
    home = told(tmp_path / "home", sessions())
    answer = answered(home, "analyze", session, "--tools", "--files")
    # When
    calls = explained(home, "metrics.error_rate", "--session", session)["rows"]
    edits = explained(home, "metrics.rejection_rate", "--session", session)["rows"]
    # Then
    assert Counter(row["outcome"] for row in calls) == counted(answer["tools"], OUTCOMES)
    assert Counter(row["outcome"] for row in edits) == counted(answer["files"], VERDICTS)
    assert seen <= {row["outcome"] for row in (*calls, *edits)}


def test_edits_are_in_order_when_files_were_edited_by_turns(tmp_path: Path) -> None:
    """Though they are judged file by file."""
    # Given
    tell = Teller(session_id="by-turns")
    home = told(tmp_path / "home", [written(tell, n, f"/{n % 2}.py") for n in range(4)])
    # When
    edits = explained(home, "metrics.lines_added", "--session", "by-turns")["rows"]
    # Then
    assert [row["at_ms"] - T0_MS for row in edits] == [0, 1000, 2000, 3000]


def written(tell: Teller, second: int, path: str) -> Event:
    """Tell of a file that is written."""
    done = {"type": "create", "filePath": path, "content": "a\n", "structuredPatch": []}
    return tell.claude(
        second, "PostToolUse", tool_name="Write", tool_use_id=f"t-{second}",
        tool_input={"file_path": path, "content": "a\n"}, tool_response=done,
    )  # fmt: skip


def counted(rows: list[dict[str, Any]], names: Iterable[str]) -> Counter[str]:
    """Return the sum of each of some columns, those that have one."""
    return +Counter({name: sum(row[name] for row in rows) for name in names})


def test_every_figure_of_the_catalogue_has_a_formula(tree: Tree) -> None:
    """In words, with its numbers, for a session with data and for nothing."""
    with reading(tree.home.database) as reader:
        body = bodies_of_session(reader, 1)[0][1]
    for name in CATALOGUE:
        found = formula(name)
        assert found.words
        assert found.inputs(body).keys() >= found.inputs({}).keys()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["error_rate"], "did you mean metrics.error_rate?"),
        (["usage.imput_tokens"], "did you mean usage.input_tokens"),
        (["metrics.error_rate", "--model", "x"], "--model is of usage"),
        (["usage.calls", "--session", "nobody"], "no session 'nobody'"),
        (["usage.calls", "--session", ""], "no session"),
        (["usage.calls", "--project", "mapel"], "did you mean maple?"),
        (["metrics.lines_net", "--session", "x", "--day", "today"], "no session 'x'"),
        (["usage.calls", "--day", "soon"], "is no day"),
        (["usage.calls", "--day", "today", "--period", "week"], "--day is one day"),
    ],
)
def test_explain_says_what_is_wrong_in_one_line(
    tree: Tree, arguments: list[str], words: str
) -> None:
    """What, and what to do; no traceback."""
    # Given / When
    code, text, said = run(tree.home, *arguments)
    # Then
    assert code in {1, 2}
    assert text == ""
    assert said.count("\n") == 1
    assert words in said


def test_explain_has_a_dash_when_there_is_nothing(tmp_path: Path) -> None:
    """An empty store, and a day without anything: one friendly line."""
    # Given
    home = Home(tmp_path / "home")
    scribbled(home, tmp_path / "user", 0)
    # When / Then
    for figure in ("usage.cost_usd", "metrics.error_rate", "metrics.active_ratio"):
        code, text, _ = run(home, figure)
        assert code == 0
        assert text.startswith(f"{figure} is –: ")  # noqa: RUF001 - a dash for unknown
        assert text.count("\n") == 1
        assert explained(home, figure)["value"] in {None, 0}
