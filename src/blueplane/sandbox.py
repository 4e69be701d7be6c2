"""What the system keeps this process from doing.

Owns the look at it: what the kernel says, and whether the user's own files could be written.
Promises to write nothing to find out.
Leaves setting it up to the service manager, and judging it to the doctor.
"""

import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from blueplane.paths import Home

#: ``full``: system calls are filtered, and nothing can be written but the home of Blueplane;
#: ``filter``: the former only; ``none``.
Level: TypeAlias = Literal["full", "filter", "none"]

_STATUS: Final = Path("/proc/self/status")
#: What a server has no business to write: below the user's home, all of it is read-only or nothing.
_FOREIGN: Final = (".", ".cursor", ".claude", ".config", ".local/share")
#: ``Seccomp`` of a process whose system calls are filtered.
_FILTERED: Final = "2"


@dataclass(frozen=True, slots=True)
class Sandbox:
    """How much this process is held back, and what of other programs it could write."""

    level: Level
    writable: tuple[str, ...]

    def body(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def look(home: Home, user_home: Path, status: Path = _STATUS) -> Sandbox:
    """Return what holds for this process now; ``status`` is where Linux tells of it."""
    places = [user_home.joinpath(name) for name in _FOREIGN]
    writable = tuple(str(place) for place in places if _could_write(place, home))
    facts = _facts(status)
    filtered = facts.get("Seccomp") == _FILTERED and facts.get("NoNewPrivs") == "1"
    if not filtered:
        return Sandbox("none", writable)
    return Sandbox("filter" if writable else "full", writable)


def _could_write(place: Path, home: Home) -> bool:
    """Whether a file could be made there; a place that is the home itself is no other's."""
    if place.resolve().is_relative_to(home.root.resolve()):
        return False
    return os.access(place, os.W_OK)


def _facts(status: Path) -> dict[str, str]:
    try:
        text = status.read_text("utf-8", "replace")
    except OSError:
        return {}
    return dict(re.findall(r"^(\w+):\s*(\S+)", text, re.MULTILINE))
