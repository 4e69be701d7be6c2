"""An editor's settings file that lists hooks, and which of ours are in it.

Owns reading such a file again whenever it changed.
Promises never to write it, and that a file which is none, or which nobody could read, has no hook.
Leaves where it is and how it is written to each platform, and installing to whoever does it.
"""

import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

#: What our own command line is known by.
OUR_COMMAND: Final = "blueplane-hook"
#: A larger file is not read: the largest anybody writes has some kilobytes.
MAX_BYTES: Final = 4 * 1024 * 1024

_NONE: Final[Mapping[str, str]] = {}


class SettingsFile:
    """One settings file; ``find`` yields each event for which its JSON has a hook of ours.

    With the event it yields the hook's command line. Use it in one thread.
    """

    def __init__(self, path: Path, find: Callable[[Any], Iterable[tuple[str, str]]]) -> None:
        self._path = path
        self._find = find
        self._version: tuple[int, int] | None = None
        self._ours = _NONE

    def ours(self) -> frozenset[str]:
        """Return the editor's native events for which a hook of ours is installed."""
        return frozenset(self.commands())

    def commands(self) -> Mapping[str, str]:
        """Return our hooks' command lines, as they are written, by the editor's native events."""
        try:
            found = self._path.stat()
        except OSError:
            return _NONE
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES:
            return _NONE
        version = (found.st_mtime_ns, found.st_size)
        if version != self._version:
            self._version = version
            self._ours = self._read()
        return self._ours

    def has_ours(self, event: str) -> bool:
        """Whether our hook for the native ``event`` is installed."""
        return event in self.commands()

    def _read(self) -> Mapping[str, str]:
        try:
            return dict(self._find(orjson.loads(self._path.read_bytes())))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return _NONE  # not a file that the editor would accept either
