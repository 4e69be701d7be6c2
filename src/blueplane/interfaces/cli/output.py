"""Rendering: a table for people on a terminal, for people in a pipe, and for programs.

Owns the JSON shape of every command's answer.
Promises that foreign text steers neither the terminal nor the markup, that a table on a terminal
is at most 80 columns wide, that colour only repeats what a word says, and that unknown is a dash.
Leaves what the rows are to the commands.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import click
from rich import box
from rich import table as rich_table
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from blueplane.interfaces.cli import visible
from blueplane.interfaces.cli.figures import UNKNOWN, shown

#: Columns; wider than this a table is hard to read and to paste.
MAX_WIDTH: Final = 80

_GAP: Final = "  "

Form = Literal["table", "json"]
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: the ``key`` of its values in a row, its title, and how a value looks.

    ``style`` is a rich style, or a function from the value to one; it may only repeat what the
    text says.
    """

    key: str
    title: str
    show: Callable[[Any], str] = shown
    justify: Literal["left", "right"] = "left"
    style: str | Callable[[Any], str] = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of raw values by key; ``total`` has the same keys, ``caption`` is one sentence.

    JSON shows every key of a row, also those without a column.
    """

    columns: Sequence[Column]
    rows: Sequence[Row]
    total: Row = field(default_factory=dict)
    caption: str = ""


def render(table: Table, form: Form) -> None:
    """Print ``table`` on standard output."""
    if form == "json":
        answer = {"rows": table.rows, "total": table.total}
        click.echo(json.dumps(answer, default=_as_json, indent=2, allow_nan=False))
    elif sys.stdout is not None and sys.stdout.isatty():
        _draw(table)
    else:
        _align(table)


def _as_json(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    return dict(value) if isinstance(value, Mapping) else list(value)  # type: ignore[call-overload]


def _cell(column: Column, row: Row) -> str:
    value = row.get(column.key)
    return UNKNOWN if value is None else visible(column.show(value))


def _total_cells(table: Table) -> list[str]:
    """Return the cells of the last line; a key without a total stays empty, the first says so."""
    cells = [_cell(c, table.total) if c.key in table.total else "" for c in table.columns]
    return [cells[0] or "total", *cells[1:]]


def _draw(table: Table) -> None:
    console = Console()
    console.width = min(console.width, MAX_WIDTH)
    drawn = rich_table.Table(
        box=box.SIMPLE_HEAD, show_footer=bool(table.total), pad_edge=False, caption_justify="left"
    )
    footer = _total_cells(table) if table.total else [""] * len(table.columns)
    for column, foot in zip(table.columns, footer, strict=True):
        drawn.add_column(Text(column.title), Text(foot), justify=column.justify, overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(_cell(c, row), _style(c, row)) for c in table.columns))
    if table.caption:
        drawn.caption = Text(visible(table.caption))
    console.print(drawn)


def _style(column: Column, row: Row) -> str:
    if isinstance(column.style, str):
        return column.style
    return column.style(row.get(column.key))


def _align(table: Table) -> None:
    lines = [[column.title for column in table.columns]]
    lines += [[_cell(column, row) for column in table.columns] for row in table.rows]
    if table.total:
        lines.append(_total_cells(table))
    widths = [max(map(cell_len, cells)) for cells in zip(*lines, strict=True)]
    for cells in lines:
        padded = map(_pad, cells, widths, table.columns)
        click.echo(_GAP.join(padded).rstrip())
    if table.caption:
        click.echo(visible(table.caption))


def _pad(cell: str, width: int, column: Column) -> str:
    blank = " " * (width - cell_len(cell))
    return blank + cell if column.justify == "right" else cell + blank
