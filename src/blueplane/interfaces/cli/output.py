"""Rendering: a table for people on a terminal, for people in a pipe, and for programs.

Owns the JSON shape of every command's answer.
Promises that foreign text steers neither the terminal nor the markup, that a table on a terminal
is at most 80 columns wide, that colour only repeats what a word says, and that unknown is a dash.
Leaves what the rows are to the commands, and the terminal to ``drawing.py``.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import click
from rich.cells import cell_len, chop_cells, set_cell_size

from blueplane.figures import UNKNOWN, shown
from blueplane.interfaces.cli import visible
from blueplane.interfaces.cli.lazy import load

#: What stands between two columns.
GAP: Final = "  "
#: Cells of the name of something: enough for a model with its date.
_NAME: Final = 40
#: Characters of the id of a session that people see: enough to tell theirs apart.
_ID: Final = 8

Form = Literal["table", "json"]
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: the ``key`` of its values in a row, its title, and how a value looks.

    ``style`` is a rich style, or a function from the value to one; it may only repeat what the
    text says. A ``whole`` column is never broken into lines: it is short, or has to be copied. A
    column of a ``name``, which somebody else has chosen, is cut and not broken. An ``extra`` one is
    left out on a terminal, where there is no room for it.
    """

    key: str
    title: str
    show: Callable[[Any], str] = shown
    justify: Literal["left", "right"] = "left"
    style: str | Callable[[Any], str] = ""
    whole: bool = False
    extra: bool = False
    name: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of raw values by key; ``total`` has the same keys, ``caption`` is one sentence.

    JSON shows every key of a row, also those without a column.
    """

    columns: Sequence[Column]
    rows: Sequence[Row]
    total: Row = field(default_factory=dict)
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Fact:
    """A label and what is to be said of it; ``style`` may only repeat what the text says."""

    label: str
    text: str
    style: str = ""


def render(table: Table, form: Form) -> None:
    """Print ``table`` on standard output."""
    if form == "json":
        render_json({"rows": table.rows, "total": table.total})
    elif sys.stdout is not None and sys.stdout.isatty():
        load("drawing", "draw")(table)
    else:
        _align(table)


def is_watched() -> bool:
    """Say whether somebody looks at a terminal, and can type: there a screen may be live."""
    return all(each is not None and each.isatty() for each in (sys.stdout, sys.stdin))


def render_json(answer: Mapping[str, Any]) -> None:
    """Print the answer of a command for programs; bytes are hex digits, unknown is null."""
    click.echo(json_text(answer))


def json_text(answer: Mapping[str, Any]) -> str:
    """Return an answer as programs get it."""
    return json.dumps(answer, default=_as_json, indent=2, allow_nan=False)


def render_facts(facts: Sequence[Fact]) -> None:
    """Print facts one below the other; what is too long goes on below itself."""
    if sys.stdout is None or not sys.stdout.isatty():
        labels = [visible(fact.label) for fact in facts]  # of a dead letter they are foreign, too
        width = max(map(cell_len, labels))
        for label, fact in zip(labels, facts, strict=True):
            blank = " " * (width - cell_len(label))
            click.echo(f"{label}{blank}{GAP}{visible(fact.text)}".rstrip())
        return
    load("drawing", "draw_facts")(facts)


def render_notes(notes: Sequence[str]) -> None:
    """Print sentences one below the other; on a terminal no word is broken that fits a line."""
    if sys.stdout is not None and sys.stdout.isatty():
        load("drawing", "draw_notes")(notes)
        return
    for note in notes:
        click.echo(visible(note))


def _as_json(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    return dict(value) if isinstance(value, Mapping) else list(value)  # type: ignore[call-overload]


def short_id(session_id: str) -> str:
    """Return the beginning of the id of a session, by which a command finds it again."""
    return session_id[:_ID]


def cell(column: Column, row: Row) -> str:
    """Return a value of a row as it is shown."""
    value = row.get(column.key)
    if value is None:
        return UNKNOWN
    text = visible(column.show(value))
    return cut(text) if column.name else text


def cut(text: str, cells: int = _NAME) -> str:
    """Return as much of a text as so many cells of a terminal hold; a cut is seen by its end."""
    return text if cell_len(text) <= cells else f"{set_cell_size(text, cells - 1).rstrip()}…"


def broken(text: str, cells: int) -> list[str]:
    """Return a text in lines of so many cells; a word is broken only if it is longer than one."""
    lines = [""]
    for word in text.split(" "):
        first, *rest = chop_cells(word, cells) or [""]
        longer = f"{lines[-1]} {first}" if lines[-1] else first
        lines = [*lines[:-1], longer] if cell_len(longer) <= cells else [*lines, first]
        lines += rest
    return lines


def total_cells(table: Table, columns: Sequence[Column]) -> list[str]:
    """Return the cells of the last line; a key without a total stays empty, the first says so."""
    cells = [cell(c, table.total) if c.key in table.total else "" for c in columns]
    return [cells[0] or "total", *cells[1:]]


def _align(table: Table) -> None:
    lines = _lines(table)
    for cells in lines:
        padded = map(_pad, cells, _widths(lines), table.columns)
        click.echo(GAP.join(padded).rstrip())
    if table.caption:
        click.echo(visible(table.caption))


def width(table: Table) -> int:
    """Return how many columns of a terminal a table takes of which no cell is broken into lines."""
    widths = _widths(_lines(table))
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _lines(table: Table) -> list[list[str]]:
    lines = [[column.title for column in table.columns]]
    lines += [[cell(column, row) for column in table.columns] for row in table.rows]
    return [*lines, total_cells(table, table.columns)] if table.total else lines


def _widths(lines: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(cell_len, cells)) for cells in zip(*lines, strict=True)]


def _pad(text: str, width: int, column: Column) -> str:
    blank = " " * (width - cell_len(text))
    return blank + text if column.justify == "right" else text + blank
