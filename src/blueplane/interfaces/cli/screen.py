"""The screen: its colours, and for a command that runs for long a last line that is drawn anew.

Owns standard output while such a command runs, for all of its threads.
Promises that text goes above the line and never into it, and that a terminal or a pipe that goes
away stops the showing and not the command.
Leaves what is worth showing to the command.
"""

import os
import shutil
from contextlib import suppress
from threading import Lock
from typing import Final, TextIO

from blueplane.interfaces.cli.main import abandon

_ERASE: Final = "\r\x1b[K"


def coloured(stream: TextIO | None) -> bool:
    """Whether colours are to be shown: on a terminal that has them, unless NO_COLOR is set."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return not plain and stream is not None and stream.isatty()


class Screen:
    """``live`` says whether there is such a line: only on a terminal."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._lock = Lock()
        self._line = ""
        self.live = stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"

    def write(self, text: str, /) -> None:
        """Print whole lines, each with its end."""
        with self._lock:
            self._put(f"{_ERASE}{text}{self._line}" if self._line else text)

    def flush(self) -> None:
        """Do nothing: what is written is shown at once."""

    def say(self, line: str) -> None:
        """Print one line."""
        self.write(f"{line}\n")

    def show(self, line: str) -> None:
        """Draw the line at the bottom, cut to the width of the terminal."""
        with self._lock:
            self._line = line[: shutil.get_terminal_size().columns - 1]
            self._put(_ERASE + self._line)

    def close(self) -> None:
        """Leave the line as it is and go on below it."""
        with self._lock:
            if self._line:
                self._put("\n")
            self._line = ""

    def _put(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:  # nobody looks any more: the command goes on
            with suppress(OSError):  # no file beneath it
                abandon(self._stream)
            self._stream = None
