"""``blueplane export``: sums, forms, names, and what can go wrong."""

import csv
import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from blueplane.analytics.export import BOOL, FLOAT, INT, KINDS_OF_EXPORT, TEXT
from blueplane.interfaces.cli.disguise import Disguise
from blueplane.interfaces.cli.export_forms import FORMS
from blueplane.interfaces.cli.main import EXIT_PIPE, main
from blueplane.paths import Home
from blueplane.store import exporting
from helpers import usage_command
from helpers.cli import on_terminal
from helpers.redis_server import missing
from helpers.scribbled import scribbled
from helpers.transcripts import Truth

Rows = list[dict[str, Any]]

#: How a cell of CSV is read, by the type of its column, and what such a type is called in Parquet.
READ = {TEXT: str, INT: int, FLOAT: float, BOOL: {"true": True, "false": False}.__getitem__}
IN_PARQUET = {TEXT: "string", INT: "int64", FLOAT: "double", BOOL: "bool"}


@dataclass(frozen=True)
class Tree:
    """A home that knows a tree of transcripts, and the truth of it."""

    home: Home
    truth: Truth


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """Give a store of a generated tree; nobody changes it."""
    place = tmp_path_factory.mktemp("tree")
    home = Home(place / "home")
    return Tree(home, scribbled(home, place / "user", 400_000))


class Output(io.TextIOWrapper):
    """A standard output that keeps what is written."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), "utf-8", newline="")

    def text(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode()  # type: ignore[attr-defined,no-any-return]


def run(home: Home, *arguments: str) -> tuple[int, str, str]:
    """Run the command; return its exit code and what it says."""
    out, said = Output(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(said):
        code = main(["export", *arguments, "--home", str(home.root)])
    return code, out.text(), said.getvalue()


def exported(home: Home, *arguments: str) -> Rows:
    """Return the rows of an export in lines of JSON; it must succeed."""
    code, text, said = run(home, *arguments, "--format", "jsonl")
    assert (code, said) == (0, "")
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("kind", ["usage", "calls", "sessions"])
def test_export_sums_to_the_truth_when_every_row_is_added(
    tree: Tree, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In each form, over many pages, and to the cent of a price that has changed."""
    # Given
    monkeypatch.setattr(exporting, "PAGE", 7)
    price = "claude-haiku-4-5 input=9 output=19 from=2026-09-20"
    monkeypatch.setenv("BLUEPLANE_PRICES_MODELS", price)
    said = usage_command.printed(tree.home, "monthly", "--format", "json")
    total = json.loads(said)["total"]
    # When
    lines = exported(tree.home, kind)
    whole = json.loads(run(tree.home, kind, "--format", "json")[1])
    table = list(csv.DictReader(io.StringIO(run(tree.home, kind)[1])))
    # Then
    for rows in (lines, whole["rows"], table):
        assert tuple(sum(int(row[key] or 0) for row in rows) for key in usage_command.KINDS) == (
            tree.truth.totals()
        )
        assert usage_command.cost(rows) == total["cost_usd"]
    assert len(lines) == whole["total"]["rows"]
    if kind != "calls":
        assert sum(row["calls"] for row in lines) == len(tree.truth.calls)
    else:
        assert len(lines) == len(tree.truth.calls)


def test_export_sums_to_usage_when_only_some_days_of_a_project_are_wanted(tree: Tree) -> None:
    """The same options choose the same calls."""
    # Given
    span = ("--since", "2026-10-01", "--until", "2026-10-20", "--project", "maple")
    said = usage_command.printed(tree.home, "daily", *span, "--format", "json")
    total = json.loads(said)["total"]
    # When / Then
    assert 0 < total["calls"] < len(tree.truth.calls)
    for kind in ("usage", "calls", "sessions"):
        rows = exported(tree.home, kind, *span)
        assert sum(row["total_tokens"] or 0 for row in rows) == total["total_tokens"], kind
        assert usage_command.cost(rows) == total["cost_usd"], kind


def test_export_has_every_tool_and_turn_that_the_figures_count(tree: Tree) -> None:
    """Tools, prompts and lines are as many as the metrics of all days."""
    # Given
    metrics = exported(tree.home, "metrics")

    def summed(name: str) -> float:
        return sum(row["value"] or 0 for row in metrics if row["metric"] == name)

    # When / Then
    assert len(exported(tree.home, "tools")) == summed("tool_calls") > 0
    changes = exported(tree.home, "changes")
    assert sum(row["lines_added"] or 0 for row in changes) == summed("lines_added") > 0
    assert {row["created"] for row in changes} == {True, False}
    assert sum(row["tool_calls"] for row in exported(tree.home, "turns")) > 0


def test_export_gives_other_names_that_can_be_joined_when_it_is_anonymised(tree: Tree) -> None:
    """No name of a project, session or branch is left, and the same one has the same new name."""
    # Given
    words = ("--anonymize", "--key", "p\udce4rs")  # a byte that is no UTF-8
    plain = exported(tree.home, "calls")
    # When
    calls, sessions = (exported(tree.home, kind, *words) for kind in ("calls", "sessions"))
    tools, changes = (exported(tree.home, kind, *words) for kind in ("tools", "changes"))
    once = exported(tree.home, "calls", "--anonymize")
    # Then
    names = {row[key] for row in plain for key in ("session_id", "project", "branch", "agent_id")}
    text = json.dumps([calls, sessions, tools, changes])
    assert [name for name in names if name and name in text] == []
    assert {row["session_id"] for row in calls} <= {row["session_id"] for row in sessions}
    assert {row["tool"] for row in changes} <= {row["key"] for row in tools}
    pairs = {(a["session_id"], b["session_id"]) for a, b in zip(plain, calls, strict=True)}
    assert len(pairs) == len({one for one, _ in pairs}) == len({other for _, other in pairs})
    assert not {row["session_id"] for row in once} & {row["session_id"] for row in calls}
    assert [row["total_tokens"] for row in calls] == [row["total_tokens"] for row in plain]


def test_a_tool_of_somebody_else_has_another_name_when_it_is_anonymised() -> None:
    """The name of an MCP server may be that of a company; our own tools keep theirs."""
    # Given
    disguise = Disguise(b"k" * 32, "pears")
    # When
    names = [disguise.row({"name": name})["name"] for name in ("mcp__orchard__pick", "Bash")]
    # Then
    assert names[1] == "Bash"
    assert names[0].startswith("mcp__")
    assert "orchard" not in names[0]


def test_csv_has_no_formula_when_names_look_like_one() -> None:
    """Whatever a project is called, a spreadsheet shows it."""
    # Given
    hostile = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\ud800", 'a"b,c']
    out = io.BytesIO()
    # When
    FORMS["csv"]({"project": "text"}, ({"project": name} for name in hostile), out)
    # Then
    cells = [row["project"] for row in csv.DictReader(io.StringIO(out.getvalue().decode()))]
    assert len(cells) == len(hostile)
    assert [cell for cell in cells if cell[0] in "=+-@\t\r"] == []


def test_export_writes_a_whole_private_file_or_none(tree: Tree, tmp_path: Path) -> None:
    """Nobody else can read it, and what was there goes only when somebody said so."""
    # Given
    file = tmp_path / "usage.csv"
    file.write_text("before")
    # When
    kept = run(tree.home, "--output", str(file)), file.read_text()
    code, text, _ = run(tree.home, "--output", str(file), "--force")
    wrong, _, said = run(tree.home, "--output", str(tmp_path / "nowhere" / "usage.csv"))
    # Then
    because = f"blueplane: --output {file}: is there already; --force writes over it\n"
    assert kept == ((2, "", because), "before")
    assert (code, text, file.stat().st_mode & 0o777) == (0, "", 0o600)
    assert file.read_text() == run(tree.home)[1]
    assert [each.name for each in tmp_path.iterdir()] == ["usage.csv"]
    assert wrong == 2
    assert said.count("\n") == 1
    assert "nowhere" in said


def test_export_says_that_a_file_is_written_when_somebody_looks(tree: Tree, tmp_path: Path) -> None:
    """As analyze does; a script hears nothing."""
    # Given
    path = tmp_path / "rows.csv"
    # When
    seen = on_terminal(tree.home, "export", "--output", str(path), TERM="dumb").out
    heard = run(tree.home, "usage", "--output", str(path), "--force")
    # Then
    assert seen.splitlines()[-1] == f"{path}: written"
    assert heard == (0, "", "")


def test_export_writes_to_a_pipe_when_one_is_named(tree: Tree, tmp_path: Path) -> None:
    """What is no file, as a device, is not put out of its place by one."""
    # Given a named pipe whose reader is there, and rows that it has room for
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with os.fdopen(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
        # When
        code, _, said = run(tree.home, "--until", "1970-01-01", "--output", str(pipe))
        text = reader.read().decode()
    # Then
    assert (code, said) == (0, "")
    assert pipe.is_fifo()
    assert text == run(tree.home, "--until", "1970-01-01")[1] != ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--project", "mapel"], "did you mean maple?"),
        (["--platform", "vim"], "nothing is stored of the platform 'vim'"),
        (["--key", "pears"], "--key goes with --anonymize"),
        (["--since", "soon"], "is no day"),
        (["cals"], "did you mean calls?"),
    ],
)
def test_export_says_what_is_wrong_in_one_line(
    tree: Tree, arguments: list[str], words: str
) -> None:
    """What, where, what to do; and nothing is written."""
    # Given / When
    code, text, said = run(tree.home, *arguments)
    # Then
    assert code in {1, 2}
    assert text == ""
    assert said.count("\n") == 1
    assert words in said


@pytest.mark.parametrize("kind", KINDS_OF_EXPORT)
def test_parquet_has_what_csv_has_when_it_is_read_back(
    tree: Tree, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each column has its type, each row its values, in several groups; unknown is null."""
    # Given
    if find_spec("pyarrow") is None:
        missing("pyarrow")
    parquet = import_module("pyarrow.parquet")
    monkeypatch.setattr("blueplane.interfaces.cli.parquet._GROUP", 7)
    columns, file = KINDS_OF_EXPORT[kind].columns, tmp_path / "rows.parquet"
    # When
    ended = run(tree.home, kind, "--format", "parquet", "--output", str(file))
    table = list(csv.DictReader(io.StringIO(run(tree.home, kind)[1])))
    # Then
    assert (ended[0], ended[2]) == (0, "")
    with parquet.ParquetFile(file) as read:
        rows = read.read().to_pylist()
        types = {each.name: str(each.type) for each in read.schema_arrow}
        assert read.metadata.num_row_groups == -(-len(rows) // 7)
    assert types == {name: IN_PARQUET[type_] for name, type_ in columns.items()}
    assert rows == [
        {name: READ[columns[name]](cell) if cell else None for name, cell in row.items()}
        for row in table
    ]


def test_export_says_what_to_install_when_parquet_is_not_there(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line, before anything is read."""
    # Given
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "blueplane.interfaces.cli.parquet", raising=False)
    # When
    code, text, said = run(tree.home, "calls", "--format", "parquet")
    # Then
    assert (code, text) == (2, "")
    assert "pip install pyarrow" in said


def test_export_is_a_header_when_nothing_is_stored(tmp_path: Path) -> None:
    """Every kind has its columns, and no row."""
    # Given
    home = Home(tmp_path / "home")
    scribbled(home, tmp_path / "user", 0)
    # When / Then
    for kind, each in KINDS_OF_EXPORT.items():
        assert run(home, kind)[:2] == (0, ",".join(each.columns) + "\n")
        assert exported(home, kind) == []


def test_export_is_quiet_when_nobody_reads_on(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with ``| head``: no word, and the exit code of shells."""

    # Given
    def broken(*_: Any) -> None:
        raise BrokenPipeError

    monkeypatch.setitem(FORMS, "csv", broken)  # type: ignore[misc]
    # When / Then
    assert run(tree.home, "calls") == (EXIT_PIPE, "", "")
