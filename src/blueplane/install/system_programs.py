"""Programs of the system that an install asks: service managers and the like.

Owns running one to its end.
Promises a limit in time, no input, the root as current directory, and that only a program with an
absolute path is found.
Leaves what an exit code means to the caller.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from blueplane.errors import ServiceError

Environment: TypeAlias = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended: its exit code, negative for a signal, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def last_words(self) -> str:
        """The last line of its complaint, or of what it printed."""
        return last_line(self.out + self.err) or f"exit code {self.code}"


def last_line(text: str) -> str:
    """Return the last line that is not blank; "" without one."""
    lines = (line.strip() for line in reversed(text.split("\n")))
    return next(filter(None, lines), "")


def run(command: Sequence[str], environment: Environment, timeout_s: float) -> Ended:
    """Run ``command`` to its end; raise ServiceError when it cannot be run or takes too long."""
    try:
        ended = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
            encoding="utf-8", errors="replace", timeout=timeout_s, check=False, cwd="/",
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        message = f"`{' '.join(command)}` took longer than {timeout_s:g} s, and was ended"
        raise ServiceError(message) from None
    except OSError as error:
        message = f"{command[0]}: {error.strerror}; it cannot be run"
        raise ServiceError(message) from None
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def find(name: str, environment: Environment) -> str | None:
    """Return where a program is on PATH, as an absolute path; None when it is not."""
    places = [*environment.get("PATH", "").split(os.pathsep), "/usr/bin", "/bin"]
    for place in places:
        path = os.path.join(place, name)  # noqa: PTH118 - a relative place stays one
        if os.path.isabs(place) and os.access(path, os.X_OK):  # noqa: PTH117 - Path drops the ./ of a relative one
            return path
    return None
