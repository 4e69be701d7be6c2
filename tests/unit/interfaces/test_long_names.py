"""Reports of names that are long, wide, or steer: a line each on a terminal of 80 columns."""

import re
from itertools import takewhile

import pytest
from rich.cells import cell_len

from blueplane.paths import Home
from helpers.cli import on_terminal, run
from helpers.desk import answer, at, hook
from helpers.told import told

ANSI = re.compile(r"\x1b\[[0-9;]*m")
#: Names that have to be cut, by a part of each that no other text has.
NAMES = {
    "nnn": "n" * 200,
    "果": "果" * 200,
    "🌳": "🌳" * 100,
    "مشروع": "مشروع" * 40,
    "\\u202e": "\u202eright" * 30,
    "\\x1b": "a\nb\x1b[2J" * 30,
    "word": "word " * 40,
}
#: How the sentence below a table begins.
CAPTIONS = ("cost is", "20", f"{len(NAMES)} sessions")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Give a home in which projects, branches, models and tools have these names."""
    events = [
        each
        for n, name in enumerate(NAMES.values())
        for each in (
            answer(n, session_id=f"s{n}", project=name, **at(n),
                   metadata={"model": name}, payload={"gitBranch": name}),
            hook(100 + n, "PreToolUse", "tool_start", session_id=f"s{n}", tool_use_id=f"t-{n}",
                 project=name, metadata={"tool_name": name}, **at(n + 0.1)),
        )
    ]  # fmt: skip
    return told(tmp_path_factory.mktemp("long") / "home", events)


@pytest.mark.fault("D6")
@pytest.mark.parametrize(
    "words",
    [
        ("usage", "project"), ("usage", "branch"), ("usage", "project", "--format", "chart"),
        ("sessions",), ("metrics", "--group-by", "tool", "--period", "all"),
    ],
)  # fmt: skip
def test_each_name_takes_a_line_when_it_is_long_and_the_terminal_is_not(
    home: Home, words: tuple[str, ...]
) -> None:
    """A cut name ends with an ellipsis; no row is broken; programs get the whole name."""
    # Given / When
    drawn = ANSI.sub("", on_terminal(home, *words, NO_COLOR="1").out).splitlines()
    lines = [*takewhile(lambda line: not line.startswith(CAPTIONS), drawn)]
    page = run(home, *words).out.splitlines()
    # Then
    assert max(map(cell_len, lines)) <= 80
    for part in NAMES:
        assert [part in line for line in lines].count(True) <= 1
        assert [part in line for line in page[: len(lines)]].count(True) <= 2
    assert (
        sum("…" in line for line in lines) == sum("…" in line for line in page[:-1]) == len(NAMES)
    )


@pytest.mark.fault("D6")
def test_a_note_goes_on_below_itself_when_its_names_are_long(home: Home) -> None:
    """No line of a session's road is longer than the terminal, no word is broken, no name cut."""
    # Given
    name = NAMES["word"]
    # When
    drawn = ANSI.sub("", on_terminal(home, "trace", "s6", NO_COLOR="1").out)
    # Then
    assert max(map(cell_len, drawn.splitlines())) <= 80
    assert " ".join(f"project {name}, branch {name}".split()) in " ".join(drawn.split())


def test_programs_get_the_whole_name_when_it_is_long(home: Home) -> None:
    """Only what people see is cut."""
    # Given / When
    rows = run(home, "usage", "branch", "--format", "json").json["rows"]
    # Then
    assert {row["branch"] for row in rows} == {row["project"] for row in rows}
    assert {row["project"] for row in rows} >= {"n" * 200, "果" * 200}
