"""Drawing on a terminal: tables, facts and notes, with colours.

Owns all that needs rich, which takes a third of a command's time to import: ``output.py`` loads
this file only for a terminal.
Promises at most 80 columns, and that nothing is read as markup.
Leaves what a cell says to ``output.py``.
"""

from collections.abc import Sequence

from rich import box
from rich import table as rich_table
from rich.console import Console
from rich.text import Text

from blueplane.interfaces.cli import MAX_WIDTH, visible
from blueplane.interfaces.cli.output import GAP, Column, Fact, Row, Table, cell, total_cells


def picture(table: Table) -> rich_table.Table:
    """Return a table as it is drawn, without its caption."""
    drawn = rich_table.Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0),
        show_footer=bool(table.total),
    )  # fmt: skip
    columns = [column for column in table.columns if not column.extra]
    footer = total_cells(table, columns) if table.total else [""] * len(columns)
    for column, foot in zip(columns, footer, strict=True):
        drawn.add_column(
            Text(column.title), Text(foot), justify=column.justify, overflow="fold",
            no_wrap=column.whole,
        )  # fmt: skip
    for row in table.rows:
        drawn.add_row(*(_text(c, row) for c in columns))
    return drawn


def _text(column: Column, row: Row) -> Text:
    text = Text(cell(column, row), _style(column, row))
    if column.name:
        text.no_wrap, text.overflow = True, "ellipsis"
    return text


def draw(table: Table) -> None:
    """Print a table."""
    console = _console()
    console.print(picture(table))
    if table.caption:
        console.print(Text(visible(table.caption), "dim"))


def draw_facts(facts: Sequence[Fact]) -> None:
    """Print facts one below the other."""
    grid = rich_table.Table.grid(padding=(0, len(GAP), 0, 0))
    for fact in facts:
        grid.add_row(Text(visible(fact.label), "dim"), Text(visible(fact.text), fact.style))
    _console().print(grid)


def draw_notes(notes: Sequence[str]) -> None:
    """Print sentences one below the other."""
    console = _console()
    for note in notes:
        console.print(Text(visible(note)))


def _console() -> Console:
    console = Console()
    console.width = min(console.width, MAX_WIDTH)
    return console


def _style(column: Column, row: Row) -> str:
    if isinstance(column.style, str):
        return column.style
    return column.style(row.get(column.key))
