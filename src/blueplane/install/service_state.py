"""What all service managers share: how a service is, whose, and what it is told.

Owns the record that every manager fills in, the refusal to take another's service, and what of the
user's environment a service gets.
Promises that nobody's unit is overwritten but our own, of this home or of one that is gone.
Leaves judging a state to the doctor.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blueplane.errors import InstallError
from blueplane.paths import Home

_PASSED_ON: Final = ("CLAUDE_CONFIG_DIR",)


@dataclass(frozen=True, slots=True)
class ServiceState:
    """What a manager says of its service.

    ``installed`` is whether there is a unit, ``enabled`` whether it starts at login, ``detail`` a
    few words for people; ``exit_code`` is that of a server that ended of itself and is not wanted
    to have, else None: 0 stands for an end that has no code, such as a signal.
    """

    installed: bool
    enabled: bool = False
    running: bool = False
    pid: int | None = None
    detail: str = ""
    exit_code: int | None = None


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what of the user's environment a server must know to find the editors' files."""
    return {name: environment[name] for name in _PASSED_ON if environment.get(name)}


def refuse_another_s(unit: Path, owner: Path | None, home: Home) -> None:
    """Raise InstallError when ``unit`` is there and may not become that of ``home``.

    ``owner`` is the home that it was written for, None when we did not write it.
    """
    if not unit.exists():
        return
    if owner is None:
        message = f"{unit}: is not from us; move it away, or use `--no-service`"
        raise InstallError(message)
    if owner.is_dir() and owner.resolve() != home.root.resolve():
        message = (
            f"{unit}: runs the server of {owner}, and a user has one service; "
            "uninstall that one first, or use `--no-service`"
        )
        raise InstallError(message)
