"""Charts: a bar for each row.

Owns how long a bar is, and of which characters.
Promises at most 80 columns, plain text in a pipe as on a terminal, and nothing for what is unknown.
Leaves which rows and what of them to the commands. A library for charts would cost more time to
import than a report may take.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from shutil import get_terminal_size
from typing import Final

from rich.cells import cell_len

from blueplane.interfaces.cli import MAX_WIDTH, visible
from blueplane.interfaces.cli.output import GAP, Row, cut

#: Columns of the longest label.
_LABEL: Final = 24
#: Eighths of a cell.
_PARTS: Final = " ▏▎▍▌▋▊▉"
_WHOLE: Final = "█"


def drawn(
    rows: Sequence[Row],
    label: Callable[[Row], str],
    value: Callable[[Row], float | None],
    show: Callable[[float | None], str],
) -> Iterator[str]:
    """Yield a line for each row."""
    labels = [cut(visible(label(row)), _LABEL) for row in rows]
    values = [value(row) for row in rows]
    shown = [show(each) for each in values]
    wide, number = max(map(cell_len, labels)), max(map(cell_len, shown))
    room = _width() - wide - number - 2 * len(GAP)
    most = max((each for each in values if each), default=0)
    for name, each, text in zip(labels, values, shown, strict=True):
        bar = _bar(room * each / most if each and each > 0 else 0)
        yield f"{name}{' ' * (wide - cell_len(name))}{GAP}{text:>{number}}{GAP}{bar}".rstrip()


def _bar(cells: float) -> str:
    whole, eighths = divmod(round(cells * 8), 8)
    bar = _WHOLE * whole + _PARTS[eighths].strip()
    try:
        bar.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "#" * round(cells)
    return bar


def _width() -> int:
    terminal = sys.stdout is not None and sys.stdout.isatty()
    return min(get_terminal_size().columns, MAX_WIDTH) if terminal else MAX_WIDTH
