"""``blueplane logs``: the end of the server's log, and what is added to it.

Owns reading the log and its rotated files from the end, and following it.
Promises to read no more than is shown, to survive rotation, a cut and a missing file, and that
nothing in a log steers the terminal.
Leaves writing it to ``logs.py``.
"""

import os
import re
import select
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import Any, Final

import click

from blueplane.errors import HomeError, NotFoundError
from blueplane.interfaces.cli import visible
from blueplane.interfaces.cli.options import home_option
from blueplane.interfaces.cli.screen import coloured
from blueplane.logs import COMPONENTS, OLD_FILES
from blueplane.paths import Home, private_file

#: Bytes that are read at a time; and of a longer line, those that are shown together.
BLOCK: Final = 64 * 1024
#: Milliseconds between two looks at a log that is followed.
TICK_MS: Final = 200

#: What a log calls a level, the least severe first, and how it looks on a terminal.
_STYLES: Final[dict[str, dict[str, Any]]] = {
    "DEBUG": {"dim": True},
    "INFO": {},
    "WARN": {"fg": "yellow"},
    "ERROR": {"fg": "red", "bold": True},
}
_WORDS: Final = tuple(_STYLES)
_LEVELS: Final = ("debug", "info", "warning", "error")
_LINE: Final = re.compile(rf"\S+ (?P<level>{'|'.join(_WORDS)}) +(?P<component>\S+) ")
_STDOUT: Final = 1


@click.command()
@click.option(
    "-n", "count", type=click.IntRange(0), default=20, show_default=True, help="So many lines."
)
@click.option("-f", "follow", is_flag=True, help="Go on with what is added, until Ctrl-C.")
@click.option(
    "--component", type=click.Choice(COMPONENTS), metavar="NAME",
    help="Only what this part of the server says.",
)  # fmt: skip
@click.option("--level", type=click.Choice(_LEVELS), help="Only this level and above.")
@home_option
def logs(home: Home, count: int, component: str | None, level: str | None, *, follow: bool) -> None:
    """Show the end of the server's log.

    \b
    Examples:
      blueplane logs -n 100 --level warning
      blueplane logs -f --component writer
    """  # noqa: D301 - click wants the character, not its name
    wanted = _Wanted(component, 0 if level is None else _LEVELS.index(level))
    with closing(_Tail(home.log_file)) as tail:
        if not follow and not tail.found:
            message = f"{home.log_file}: no log yet; `blueplane start` makes one"
            raise NotFoundError(message)
        end = islice(filter(wanted.fits, tail.backwards()), count)
        _show(list(end)[::-1])
        if follow:
            _follow(tail, wanted)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is shown; a line of another form only where everything is."""

    component: str | None
    level: int

    def fits(self, line: str) -> bool:
        if not self.component and not self.level:
            return True
        found = _LINE.match(line)
        return (
            found is not None
            and self.component in (None, found["component"])
            and _WORDS.index(found["level"]) >= self.level
        )


# --- reading -------------------------------------------------------------------------------------


class _Tail:
    """A log from where it ends now: backwards for what was, forwards for what is added."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _open(path)
        self._offset = 0 if self._file is None else os.fstat(self._file.fileno()).st_size
        self._rest = b""

    @property
    def found(self) -> bool:
        """Whether there is a log, or an older one."""
        return self._file is not None or any(path.exists() for path in self._older())

    def backwards(self) -> Iterator[str]:
        """Yield the lines that were there, the last first, those of the rotated files as well."""
        seen = set()
        if self._file is not None:
            seen.add(_identity(self._file))
            yield from _backwards(self._file, self._offset)
        for path in self._older():
            file = _open(path)
            if file is None:
                return
            with file:
                if _identity(file) not in seen:  # else rotated while we looked
                    seen.add(_identity(file))
                    yield from _backwards(file, os.fstat(file.fileno()).st_size)

    def added(self) -> Iterator[str]:
        """Yield the lines that were added since the last time."""
        yield from self._read()
        while self._moved():
            yield from self._read()  # what came between the last look and the rotation
            self.close()
            self._file = _open(self._path)
            self._offset, self._rest = 0, b""
            yield from self._read()

    def close(self) -> None:
        """Give the file back."""
        if self._file is not None:
            self._file.close()

    def _older(self) -> list[Path]:
        return [
            self._path.with_name(f"{self._path.name}.{number}")
            for number in range(1, OLD_FILES + 1)
        ]

    def _moved(self) -> bool:
        """Say whether there is another file by now."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return False  # rotated, and the next line will make the new one
        return self._file is None or _identity(self._file) != (found.st_dev, found.st_ino)

    def _read(self) -> Iterator[str]:
        if self._file is None:
            return
        if os.fstat(self._file.fileno()).st_size < self._offset:
            self._offset, self._rest = 0, b""  # somebody cut it
        while block := os.pread(self._file.fileno(), BLOCK, self._offset):
            self._offset += len(block)
            *lines, self._rest = (self._rest + block).split(b"\n")
            yield from map(_text, lines)
            if len(self._rest) >= BLOCK:
                yield _text(self._rest)
                self._rest = b""


def _backwards(file: FileIO, end: int) -> Iterator[str]:
    """Yield the lines of the first ``end`` bytes, the last first."""
    rest = b""
    while end:
        start = max(0, end - BLOCK)
        rest, *lines = (os.pread(file.fileno(), end - start, start) + rest).split(b"\n")
        end = start
        yield from (_text(line) for line in reversed(lines) if line)
        if len(rest) >= BLOCK:
            yield _text(rest)
            rest = b""
    if rest:
        yield _text(rest)


def _open(path: Path) -> FileIO | None:
    """Open a log to read; None when there is none."""
    try:
        return private_file(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        message = f"{path}: {error.strerror}; make it a file that you can read"
        raise HomeError(message) from error


def _identity(file: FileIO) -> tuple[int, int]:
    found = os.fstat(file.fileno())
    return found.st_dev, found.st_ino


def _text(line: bytes) -> str:
    return line.decode("utf-8", "backslashreplace")


# --- showing -------------------------------------------------------------------------------------


def _follow(tail: _Tail, wanted: _Wanted) -> None:
    """Show what is added until the reader leaves; raise BrokenPipeError then."""
    poller = select.poll()
    mode = os.fstat(_STDOUT).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        poller.register(_STDOUT, 0)  # only that the other end was closed
    while True:
        _show([line for line in tail.added() if wanted.fits(line)])
        if poller.poll(TICK_MS):
            raise BrokenPipeError


def _show(lines: Sequence[str]) -> None:
    for line in lines:
        click.echo(_styled(visible(line)), color=coloured(sys.stdout))


def _styled(line: str) -> str:
    """Colour the word of the level; ``click.echo`` takes it out where no colour is to be."""
    found = _LINE.match(line)
    style = _STYLES[found["level"]] if found else {}
    if found is None or not style:
        return line
    start, end = found.span("level")
    return line[:start] + click.style(found["level"], **style) + line[end:]
