"""Where a user's programs, data and configuration lie.

Owns ``HOME`` and the XDG variables, as far as an install needs them.
Promises absolute paths: a variable that is none counts as unset, as its specification has it.
Leaves Blueplane's own home to ``paths.py``, and the editors' places to their platforms.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from blueplane.errors import HomeError


@dataclass(frozen=True, slots=True)
class UserPlaces:
    """The places of one user; ``home`` is the home directory, ``data`` and ``config`` are XDG's."""

    home: Path
    data: Path
    config: Path

    @property
    def programs(self) -> Path:
        """What ``blueplane`` keeps of itself: ``versions/`` and ``current``."""
        return self.data / "blueplane"

    @property
    def command(self) -> Path:
        """What a shell finds on its PATH."""
        return self.home / ".local" / "bin" / "blueplane"


def user_places(environment: Mapping[str, str]) -> UserPlaces:
    """Return the places of the user; raise HomeError when ``HOME`` names no directory."""
    named = environment.get("HOME", "")
    if not os.path.isabs(named):  # noqa: PTH117 - Path("") would be the current directory
        wrong = f"HOME is {named!r}, no absolute path" if named else "HOME is not set"
        message = f"{wrong}; set it to your home directory, where the editors look, too"
        raise HomeError(message)
    home = Path(named)
    if not home.is_dir():
        message = f"{home}: HOME names no directory; make it, or set HOME to yours"
        raise HomeError(message)
    owner = home.stat().st_uid
    if os.geteuid() == 0 and owner != 0:  # sudo: what we make would be root's, in another's home
        message = f"{home}: belongs to uid {owner}, and you are root; run it as that user"
        raise HomeError(message)
    return UserPlaces(
        home,
        _chosen(environment, "XDG_DATA_HOME", home / ".local" / "share"),
        _chosen(environment, "XDG_CONFIG_HOME", home / ".config"),
    )


def _chosen(environment: Mapping[str, str], name: str, default: Path) -> Path:
    path = Path(environment.get(name, ""))
    return path if path.is_absolute() else default
