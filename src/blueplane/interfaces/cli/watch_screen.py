"""The screen of ``blueplane watch``.

Owns how much of it there is room for.
Promises a screen that fits 80x24, and that what cannot be read is said first.
Leaves words and tables to ``watch.py``, the terminal to ``live.py``.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.text import Text

from blueplane.interfaces.cli import visible
from blueplane.interfaces.cli.drawing import picture
from blueplane.interfaces.cli.live import END, STYLES
from blueplane.interfaces.cli.server_word import DOWN
from blueplane.interfaces.cli.watch import Seen, head, tables

#: Lines of a table's own, with the empty one before it.
_FRAME: Final = 3


def screen(seen: Seen, trouble: str | None, console: Console) -> Group:
    """Return as much as there is room for."""
    notes = [] if trouble is None else [Text(visible(trouble), STYLES["red"], no_wrap=True)]
    style = STYLES.get("red" if seen["health"] == DOWN else seen["health"] or "", "")
    first, *rest = head(seen)
    lines = [*notes, Text(f"{first}; {END} ends", style), *map(Text, rest)]
    return Group(*lines, *_pictures(seen, console.height - len(lines)))


def _pictures(seen: Seen, room: int) -> Iterator[RenderableType]:
    for table in tables(seen):
        rows = table.rows[: max(0, room - _FRAME)]
        if rows:
            yield Text()
            yield picture(replace(table, rows=rows))
        room -= _FRAME + len(rows)
