"""Cursor's settings file for hooks.

Owns where it is and the question whether one of our hooks is in it.
Promises never to write it.
Leaves installing to whoever does it.
"""

from pathlib import Path
from typing import Final

import orjson

#: What our own command line is known by.
OUR_COMMAND: Final = "blueplane-hook"


class HooksFile:
    """Cursor's ``hooks.json`` of one user; read again whenever it changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version: tuple[int, int] | None = None
        self._ours: frozenset[str] = frozenset()

    def has_ours(self, event: str) -> bool:
        """Whether our hook for Cursor's native ``event`` is installed."""
        try:
            found = self._path.stat()
        except OSError:
            return False
        version = (found.st_mtime_ns, found.st_size)
        if version != self._version:
            self._version = version
            self._ours = self._read()
        return event in self._ours

    def _read(self) -> frozenset[str]:
        try:
            hooks = orjson.loads(self._path.read_bytes())["hooks"]
            return frozenset(
                event
                for event, entries in hooks.items()
                if any(OUR_COMMAND in entry.get("command", "") for entry in entries)
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return frozenset()  # not a file that Cursor would accept either


def user_hooks_file(user_home: Path) -> HooksFile:
    """Return the hooks file of the user whose home directory is ``user_home``."""
    return HooksFile(user_home / ".cursor" / "hooks.json")
