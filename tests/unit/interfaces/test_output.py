"""Rendering: the same table for a terminal, a pipe and a program."""

import json
import os
import pty
import re
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from blueplane.figures import age, number
from blueplane.interfaces.cli import output, visible
from blueplane.interfaces.cli.output import Column, Fact, Table, render, render_facts

COLUMNS = (
    Column("name", "name"),
    Column("events", "events", number, "right"),
    Column("last_ms", "last", age, "right"),
    Column("state", "state", style=lambda state: "green" if state == "fine" else "bold red"),
)
ROWS = (
    {"name": "cursor", "events": 12_345, "last_ms": 3000, "state": "fine", "id": b"\x01\xff"},
    {"name": "[bold]\x1b[31m:smile:", "events": None, "last_ms": None, "state": "bad", "id": None},
)
TABLE = Table(COLUMNS, ROWS, {"events": 12_345}, "one [red]sentence\x07")
ANSI = re.compile(r"\x1b\[[0-9;]*m")
#: The same table, drawn by a process of its own; 40 words make it wider than any terminal.
SCRIPT = """
import sys
sys.path[:0] = {path!r}
from blueplane.interfaces.cli.output import Column, Table, render
style = lambda state: "green" if state == "fine" else "bold red"
columns = (Column("name", "name"), Column("state", "state", style=style))
hostile = {{"name": "[bold]\\x1b[31m:smile:", "state": "fine"}}
long = {{"name": "word " * 40, "state": "bad"}}
render(Table(columns, (hostile, long), {{"state": 2}}, "a caption"), "table")
"""


def drawn(columns: int, **environ: str) -> str:
    """Return what the table is on a terminal of ``columns`` columns."""
    master, slave = pty.openpty()
    try:
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": str(columns), **environ}
        command = [sys.executable, "-c", SCRIPT.format(path=sys.path)]
        subprocess.run(command, env=environment, stdout=slave, check=True, timeout=30)
        return os.read(master, 65536).decode()
    finally:
        os.close(slave)
        os.close(master)


def printed(table: Table, capsys: pytest.CaptureFixture[str], form: output.Form) -> str:
    """Return what ``table`` is in a pipe."""
    capsys.readouterr()
    render(table, form)
    return capsys.readouterr().out


def test_table_is_aligned_text_when_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """In a pipe a table is plain aligned text, escaped, with a dash for what is unknown."""
    # Given a table / When it is printed where no terminal is
    text = printed(TABLE, capsys, "table")
    # Then it looks like this
    assert text.splitlines() == [
        "name                   events     last  state",
        "cursor                 12,345  3 s ago  fine",
        r"[bold]\x1b[31m:smile:       –        –  bad",  # noqa: RUF001 - the dash for unknown
        "total                  12,345",
        r"one [red]sentence\x07",
    ]


def test_table_is_rows_and_total_when_json(capsys: pytest.CaptureFixture[str]) -> None:
    """In JSON a table is its raw rows and total, by field name, with null for what is unknown."""
    # Given a table / When it is printed for a program
    answer = json.loads(printed(TABLE, capsys, "json"))
    # Then every value is there, as it is
    assert answer == {
        "rows": [{**ROWS[0], "id": "01ff"}, {**ROWS[1], "id": None}],
        "total": {"events": 12_345},
    }


def test_table_has_a_head_only_when_it_has_no_rows(capsys: pytest.CaptureFixture[str]) -> None:
    """A table without rows still has its titles, and is an answer in JSON."""
    # Given no rows
    empty = Table(COLUMNS, ())
    # When it is printed / Then both forms are complete
    assert printed(empty, capsys, "table") == "name  events  last  state\n"
    assert json.loads(printed(empty, capsys, "json")) == {"rows": [], "total": {}}


@pytest.mark.parametrize(("columns", "widest"), [(200, 80), (50, 50)])
def test_table_fits_when_on_a_terminal(columns: int, widest: int) -> None:
    """On a terminal a table is as wide as that, and never wider than 80; nothing is cut off."""
    # Given a terminal, and a row that is wider than it / When the table is drawn
    text = ANSI.sub("", drawn(columns))
    # Then it fits, and every word is still there
    assert max(len(line) for line in text.splitlines()) <= widest
    assert text.count("word") == 40


def test_foreign_text_is_inert_when_on_a_terminal() -> None:
    """Escape codes, markup and emoji names in a value are shown and not obeyed."""
    # Given a hostile value / When it is drawn / Then it is there letter by letter
    assert r"[bold]\x1b[31m:smile:" in drawn(80)


def test_colour_is_absent_when_not_wanted() -> None:
    """NO_COLOR is respected; without it the states are coloured, and the words are the same."""
    # Given a terminal with and without the wish
    coloured, plain = drawn(80), drawn(80, NO_COLOR="1")
    # When both are compared / Then only one has colours, and both say the same
    assert re.search(r"\x1b\[32mfine", coloured)
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]", plain)
    assert ANSI.sub("", coloured) == ANSI.sub("", plain)


def test_colour_is_absent_when_in_a_pipe() -> None:
    """A pipe gets no escape codes, even where colours are forced on terminals."""
    # Given an environment that forces colours
    environ = {**os.environ, "FORCE_COLOR": "1", "TERM": "xterm"}
    command = [sys.executable, "-c", SCRIPT.format(path=sys.path)]
    # When the table goes into a pipe
    ended = subprocess.run(command, env=environ, capture_output=True, check=True, timeout=30)
    # Then no escape byte is in it
    assert b"\x1b" not in ended.stdout


@given(st.text(), st.text())
def test_cell_is_one_printable_line_when_the_text_is_hostile(value: str, caption: str) -> None:
    """Whatever a value is, it is one cell of printable characters."""
    # Given any text / When it is made a cell
    cell = output.cell(Column("x", "x"), {"x": value + caption})
    # Then nothing in it steers a terminal
    assert cell.isprintable()
    assert not any(unicodedata.category(c).startswith("C") for c in cell)


def test_columns_line_up_when_letters_are_wide(capsys: pytest.CaptureFixture[str]) -> None:
    """A letter that takes two columns of a terminal is counted as two."""
    # Given a name of wide letters
    table = Table((Column("a", "a"), Column("b", "b")), ({"a": "日本", "b": 1}, {"a": "x", "b": 2}))
    # When it is printed / Then the next column begins at the same place
    assert printed(table, capsys, "table").splitlines() == ["a     b", "日本  1", "x     2"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("n" * 40, "n" * 40),
        ("n" * 200, "n" * 39 + "…"),
        ("果" * 30, "果" * 19 + "…"),
        ("🌳" * 200, "🌳" * 19 + "…"),
        ("e\u0301" * 200, "e\u0301" * 39 + "…"),
        ("\x1b" * 200, r"\x1b" * 9 + r"\x1" + "…"),
        ("a" * 37 + "\n" * 9, "a" * 37 + r"\n" + "…"),
    ],
)
def test_a_name_is_cut_to_its_cells_when_it_is_long(name: str, shown: str) -> None:
    """By what it takes on a terminal, after what steers is shown as its escape."""
    # Given / When / Then
    assert output.cell(Column("x", "x", name=True), {"x": name}) == shown
    assert cell_len(shown) <= 40


@given(st.text(max_size=60), st.integers(2, 20))
def test_a_text_is_in_lines_that_fit_when_it_is_broken(text: str, cells: int) -> None:
    """Nothing but blanks is lost, and no line is wider, however wide its letters are."""
    # Given
    text = visible(text)
    # When
    lines = output.broken(text, cells)
    # Then
    assert max(map(cell_len, lines)) <= cells
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_extra_columns_are_left_out_when_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A column for which a terminal has no room is shown in a pipe only."""
    # Given a table with such a column
    table = Table((Column("a", "a"), Column("b", "b", extra=True)), ({"a": "x", "b": "y"},))
    # When it is printed into a pipe and on a terminal
    piped = printed(table, capsys, "table")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    on_terminal = printed(table, capsys, "table")
    # Then only the pipe has it
    assert piped.splitlines() == ["a  b", "x  y"]
    assert "y" not in on_terminal


@pytest.mark.parametrize("terminal", [False, True])
def test_facts_line_up_when_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *, terminal: bool
) -> None:
    """Facts are labels and texts in two columns, escaped."""
    # Given facts, one of them hostile
    facts = (Fact("a", "[bold]one"), Fact("label", "t\x1b[2Jwo", "bold red"))
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    # When they are shown
    capsys.readouterr()
    render_facts(facts)
    # Then they line up
    lines = ANSI.sub("", capsys.readouterr().out).splitlines()
    assert [line.rstrip() for line in lines] == ["a      [bold]one", r"label  t\x1b[2Jwo"]
