"""A notification on the desktop, where there is one.

Owns the command of each system.
Promises to wait for nothing and to fail in silence: who notifies has better things to do.
Leaves when, and how often, to the caller.
"""

import subprocess
import sys
from contextlib import suppress
from html import escape
from shutil import which
from typing import Final

#: The texts are arguments of the script, never part of it.
_APPLE_SCRIPT: Final = (
    "on run texts",
    "display notification (item 2 of texts) with title (item 1 of texts)",
    "end run",
)


class Notifier:
    """Shows notifications; the child of the one before is seen to its end by the next."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None

    def __call__(self, title: str, text: str) -> None:
        """Show a title and a text; nothing where there is no desktop, or the last one hangs."""
        command = _command(title, text)
        if command is None or (self._child is not None and self._child.poll() is None):
            return
        with suppress(OSError):
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip


def _command(title: str, text: str) -> list[str] | None:
    if sys.platform == "darwin":
        script = [word for line in _APPLE_SCRIPT for word in ("-e", line)]
        return ["/usr/bin/osascript", *script, title, text]
    program = which("notify-send")
    # A desktop may read the text as markup.
    return None if program is None else [program, "--", title, escape(text)]
