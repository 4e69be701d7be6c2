"""Live screens: that of ``blueplane top``, and what any of them needs.

Owns the terminal while one is shown.
Promises a screen that fits 80x24, a terminal that is left as it was found, and that what goes away
meanwhile is said and asked again.
Leaves the table to ``top.py``, the screen of a block to ``block_screen.py``.
"""

import errno
import os
import select
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeVar

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from blueplane.clock import wall_ms
from blueplane.errors import BlueplaneError
from blueplane.figures import age
from blueplane.interfaces.cli import MAX_WIDTH, visible
from blueplane.interfaces.cli.drawing import picture
from blueplane.interfaces.cli.top import Body, table, words

#: Seconds between two looks.
EVERY_S: Final = 1.0
#: What ends it; Ctrl-C does, too.
END: Final = "q"
#: Lines that the table takes, with what is around it.
FRAME_LINES: Final = 12

T = TypeVar("T")

_GREEN: Final = "green"
#: The colours of what is wrong, and how they look, the worst first.
STYLES: Final = {"red": "bold red", "orange": "bright_red", "yellow": "yellow"}


def watch(look: Callable[[], Body], body: Body) -> None:
    """Draw ``body`` of health, and what ``look`` returns every second."""
    follow(look, body, screen)


def follow(
    look: Callable[[], T], seen: T, draw: Callable[[T, str | None, Console], RenderableType]
) -> None:
    """Draw what was seen, and what ``look`` returns every second, until somebody has had enough.

    ``draw`` also gets what went wrong with the last look, if anything did. Raises BrokenPipeError
    when the terminal is gone.
    """
    trouble = None
    with _terminal_gone(), _keys() as pressed, Live(screen=True, auto_refresh=False) as live:
        while True:
            live.update(draw(seen, trouble, live.console), refresh=True)
            if pressed(EVERY_S) == END:
                return
            try:
                seen, trouble = look(), None
            except BlueplaneError as error:
                trouble = str(error)


@contextmanager
def _terminal_gone() -> Iterator[None]:
    """Take a terminal that is gone for a reader that is."""
    try:
        yield
    except (OSError, termios.error) as error:
        if error.args[0] != errno.EIO:
            raise
        raise BrokenPipeError from error


def screen(body: Body, trouble: str | None, console: Console) -> Group:
    """Return as much as there is room for; that the server does not answer comes first."""
    notes = [] if trouble is None else [Text(visible(trouble), STYLES["red"])]
    notes += _findings(body)
    width = min(console.width, MAX_WIDTH)
    lines = [line for note in notes for line in note.wrap(console, width)]
    room = max(0, console.height - FRAME_LINES)
    seen = age(max(0, wall_ms() - body["as_of_ms"]))
    now, colour = words(body), body["health_status"]
    if trouble is not None:
        now, colour = f"down, was {now}", "red"
    head = f"blueplane is {now}, seen {seen}; {END} ends"
    style = STYLES.get(colour, _GREEN)
    return Group(Text(head, style), Text(), picture(table(body)), Text(), *lines[:room])


def _findings(body: Body) -> list[Text]:
    """Return what is wrong, the worst first."""
    found = [
        (
            finding["colour"],
            f"{visible(f'{name}: ' + finding['sentence'])}\n  {visible(finding['command'])}",
        )
        for name, part in body.items()
        if isinstance(part, Mapping)
        for finding in part["findings"]
    ]
    return [
        Text(lines, style)
        for wanted, style in STYLES.items()
        for colour, lines in found
        if colour == wanted
    ]


@contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """Give a function that waits for a key, '' when none came; the terminal is put back."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)

    def pressed(timeout_s: float) -> str:
        ready, _, _ = select.select([terminal], [], [], timeout_s)
        if not ready:
            return ""
        # The end of the input ends it, too: nobody is there any more.
        return os.read(terminal, 1).decode("ascii", "replace").lower() or END

    tty.setcbreak(terminal)
    try:
        yield pressed
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
