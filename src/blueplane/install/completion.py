"""Completion of the command line in the user's shells.

Owns which shells there are, and where each looks for a file.
Promises a static file: no shell starts slower by it, and no file of the user's is edited.
Leaves the text to the command line, which knows its own commands.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

from blueplane.errors import UsageError
from blueplane.install import changes
from blueplane.install.changes import FileChange
from blueplane.install.user_places import UserPlaces

Shell: TypeAlias = Literal["bash", "zsh", "fish"]
SHELLS: Final[tuple[Shell, ...]] = get_args(Shell)

_MODE: Final = 0o644


def login_shell(environment: Mapping[str, str]) -> Shell | None:
    """Return the user's shell, if it is one that we can complete for."""
    name = os.path.basename(environment.get("SHELL", ""))  # noqa: PTH119 - "" is no path
    return next((shell for shell in SHELLS if shell == name), None)


def completion_file(shell: Shell, places: UserPlaces) -> Path:
    """Return where a shell finds the completion of ``blueplane`` when it is asked for it first."""
    if shell == "bash":
        return places.data / "bash-completion" / "completions" / "blueplane"
    if shell == "zsh":
        return places.data / "zsh" / "site-functions" / "_blueplane"
    return places.config / "fish" / "completions" / "blueplane.fish"


def plan(shell: Shell, places: UserPlaces, text: Callable[[Shell], str]) -> FileChange:
    """Plan the file of one shell; raise UsageError for a shell that we do not know."""
    if shell not in SHELLS:
        message = f"no completion for {shell}; there is one for {', '.join(SHELLS)}"
        raise UsageError(message)
    path = completion_file(shell, places)
    after = text(shell).encode()
    return changes.plan(path, after, mode=_MODE, why=f"completes the command line in {shell}")


def hint(shell: Shell, places: UserPlaces) -> str:
    """Say what a shell needs beside the file; "" for nothing."""
    directory = completion_file(shell, places).parent
    if shell == "zsh":
        return f"zsh: put `fpath=({directory} $fpath)` before `compinit` in ~/.zshrc"
    if shell == "bash":
        return "bash: needs the package bash-completion; new shells complete `blueplane`"
    return ""
