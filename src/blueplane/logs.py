"""Logging: structured lines for the server and whoever reads after it.

Owns the form of a line, ``<time> <LEVEL> <component> <event> key=value ...``, and its rotated file.
Promises that a log call never raises, never prints a traceback, and keeps one line per call.
Leaves it to the callers to pass no payloads; of a foreign exception only class and place are kept.
"""

import errno
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from traceback import walk_tb
from typing import Final, Protocol

from blueplane import clock
from blueplane.errors import BlueplaneError, HomeError
from blueplane.paths import private_file

#: Older files kept beside the log: ``server.log.1`` is the newest of them.
OLD_FILES: Final = 3
#: Characters of one value; the rest is cut off.
MAX_VALUE: Final = 500
#: Who logs: every word that ``get`` is called with.
COMPONENTS: Final = (
    "capture", "consumer", "control", "custody", "databases", "eraser", "health", "http", "intake",
    "letters", "main", "metrics", "poller", "rebuilder", "redis", "refresher", "retention",
    "spooler", "store", "threads", "trainer", "transcripts", "workers", "writer",
)  # fmt: skip

_ROOT: Final = logging.getLogger("blueplane")
_ROOT.addHandler(logging.NullHandler())  # without set-up nothing reaches the terminal
_LEVEL_NAMES: Final = {
    logging.DEBUG: "DEBUG",
    logging.INFO: "INFO ",
    logging.WARNING: "WARN ",
    logging.ERROR: "ERROR",
}


@dataclass(frozen=True, slots=True)
class Log:
    """The log of one component; ``event`` is a word or two, fields are what changed.

    Not for signal handlers: logging takes a lock.
    """

    component: str
    _logger: logging.Logger = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_logger", _ROOT.getChild(self.component))

    def debug(self, event: str, **fields: object) -> None:
        """Say what only a developer wants to know."""
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Say that something changed."""
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Say that something is wrong and is being handled."""
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Say that something is wrong and needs a person."""
        self._write(logging.ERROR, event, fields)

    def _write(self, level: int, event: str, fields: dict[str, object]) -> None:
        if self._logger.isEnabledFor(level):
            # The time is taken once: two handlers write the same line.
            extra = {"component": self.component, "fields": fields, "at_ms": clock.wall_ms()}
            self._logger.log(level, event, extra=extra)


def get(component: str) -> Log:
    """Return the log of ``component``, one lower-case word."""
    return Log(component)


class Console(Protocol):
    """Where a person reads along."""

    def write(self, text: str, /) -> object:
        """Take text."""

    def flush(self) -> object:
        """Show what was written."""


def set_up(
    file: Path | None,
    level: str,
    max_bytes: int,
    console: Console | None,
    levels: Iterable[str] = (),
) -> None:
    """Send lines of ``level`` and above to ``file``, and warnings and errors to ``console`` too.

    ``levels`` are levels of single components for the file, as ``component=level``. Replaces an
    earlier set-up. ``max_bytes`` is the size at which the file is rotated. Raises HomeError when
    the file is a link; a file that cannot be opened for another reason is tried again at every
    line.
    """
    handlers: list[logging.Handler] = []
    if file is not None:
        handlers.append(_open_file(file, max_bytes))
    if console is not None:
        handlers.append(_ConsoleHandler(console))
        handlers[-1].setLevel(logging.WARNING)
    for old in _ROOT.handlers[:]:
        _ROOT.removeHandler(old)
        old.close()
    for handler in handlers or [logging.NullHandler()]:
        handler.setFormatter(_LineFormatter())
        _ROOT.addHandler(handler)
    _ROOT.propagate = False
    adjust(level, max_bytes, levels)


def adjust(level: str, max_bytes: int, levels: Iterable[str]) -> None:
    """Change the levels and the size of the file of a log that is set up, as for ``set_up``."""
    words = dict(item.split("=", 1) for item in levels)
    chosen = {name: getattr(logging, words.get(name, level).upper()) for name in COMPONENTS}
    usual = getattr(logging, level.upper())
    # The console is told of every warning, also of those that the file does not keep.
    consoles = [handler for handler in _ROOT.handlers if isinstance(handler, _ConsoleHandler)]
    heard = logging.WARNING if consoles else logging.CRITICAL
    for handler in _ROOT.handlers:
        if isinstance(handler, _FileHandler):
            handler.levels = (chosen, usual)
            handler.maxBytes = max_bytes
    _ROOT.setLevel(min(usual, heard))
    for name, least in chosen.items():
        _ROOT.getChild(name).setLevel(min(least, heard))


def _open_file(file: Path, max_bytes: int) -> "_FileHandler":
    handler = _FileHandler(file, maxBytes=max_bytes, backupCount=OLD_FILES, delay=True)
    try:
        handler.stream = handler._open()  # noqa: SLF001 - our own override
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.EMLINK}:
            message = f"{file}: is a link to another file; remove it"
            raise HomeError(message) from None
        if error.errno == errno.EISDIR:
            message = f"{file}: is a directory; remove it"
            raise HomeError(message) from None
        if isinstance(error, PermissionError) and os.path.isfile(file):  # noqa: PTH113 - may raise
            message = f"{file}: {error.strerror}; make it yours to write, or remove it"
            raise HomeError(message) from None
    return handler


class _FileHandler(RotatingFileHandler):
    """A rotated file, private from the start and never written through a link.

    Below the line there is no buffer: a full disk leaves nothing behind that fails again later.
    """

    #: The least level by component, and that of the others.
    levels: tuple[Mapping[str, int], int] = ({}, logging.NOTSET)

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep what is at or above the level of its component."""
        chosen, usual = self.levels
        return record.levelno >= chosen.get(getattr(record, "component", ""), usual)

    def _open(self) -> TextIOWrapper:
        raw = private_file(Path(self.baseFilename), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        found = os.fstat(raw.fileno())
        if found.st_nlink > 1:
            raw.close()
            raise OSError(errno.EMLINK, os.strerror(errno.EMLINK), self.baseFilename)
        os.fchmod(raw.fileno(), 0o600)
        return TextIOWrapper(raw, "utf-8", "backslashreplace")

    def handleError(self, _record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Drop the line: the program goes on when its log cannot."""


class _ConsoleHandler(logging.StreamHandler[Console]):
    def handleError(self, _record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Drop the line: nobody reads a closed terminal."""


class _LineFormatter(logging.Formatter):
    """One record, one line, with the time of our own clock."""

    def format(self, record: logging.LogRecord) -> str:
        component = getattr(record, "component", record.name)
        fields: dict[str, object] = getattr(record, "fields", {})
        words = [
            clock.iso_utc(getattr(record, "at_ms", None) or clock.wall_ms()),
            _LEVEL_NAMES.get(record.levelno, record.levelname),
            component,
            _visible(record.getMessage()),
            *(f"{key}={_value(value)}" for key, value in fields.items()),
        ]
        return " ".join(words)


def _value(value: object) -> str:
    text = _text(value)
    if len(text) > MAX_VALUE:
        text = text[:MAX_VALUE] + "..."
    plain = text.isprintable() and not any(mark in text for mark in ' "=\\')
    if plain and text:
        return text
    return '"' + _visible(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, BaseException):
        return _exception(value)
    return str(value)


def _exception(error: BaseException) -> str:
    """Name an exception; its own words only where they are ours, as others quote payloads."""
    name = type(error).__name__
    if isinstance(error, BlueplaneError):
        return f"{name}: {error}"
    if isinstance(error, OSError) and error.errno:
        name += f" {errno.errorcode.get(error.errno, error.errno)}"
    frames = list(walk_tb(error.__traceback__))
    if not frames:
        return name
    ours = [at for at in frames if at[0].f_globals.get("__name__", "").startswith("blueplane.")]
    frame, line = (ours or frames)[-1]
    return f"{name} at {Path(frame.f_code.co_filename).name}:{line}"


def _visible(text: str) -> str:
    """Show every character that does not print as an escape."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
