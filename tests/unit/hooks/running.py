"""The hook script as a process, in every shell that it must run in.

Owns ``Hook``, the shells, and what is done in a child just before it becomes the hook.
Promises that a shell that is missing is a skip with its reason, and a failure where CI is set.
Leaves what a spool should look like afterwards to the tests.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from blueplane.capture.handoff import split_trailer
from blueplane.paths import Home
from helpers.redis_server import missing

SCRIPT = Path(__file__).parents[3] / "hooks" / "blueplane-hook"
TIMEOUT_S = 30.0
NOBODY = 65534
#: What each shell is called with before the script. "shebang" lets the kernel find the shell.
SHELLS: dict[str, tuple[str, ...]] = {
    "shebang": (),
    "dash": ("dash",),
    "bash": ("bash",),
    "bash-as-sh": ("bash", "sh"),
    "busybox": ("busybox", "busybox", "sh"),
    "zsh": ("zsh",),
}


@dataclass(frozen=True)
class Hook:
    """One way to start the script, and the home that it hands events to."""

    program: str | None
    argv: tuple[str, ...]
    script: Path
    home: Home
    environment: dict[str, str]

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start the hook with pipes, except for what ``options`` of Popen say otherwise."""
        options = {"env": self.environment, "cwd": "/", **options}
        for stream in ("stdin", "stdout", "stderr"):
            options.setdefault(stream, subprocess.PIPE)
        argv = [*self.argv, str(self.script), *arguments]
        return subprocess.Popen(argv, executable=self.program, **options)

    def run(self, *arguments: str, payload: bytes = b"{}", **options: Any) -> int:
        """Run the hook to its end, assert that it was silent and fine; return its process id."""
        process = self.start(*arguments, **options)
        try:
            printed = process.communicate(payload if process.stdin else None, TIMEOUT_S)
        finally:
            process.kill()
        assert (process.returncode, *printed) in {(0, b"", b""), (0, None, None)}
        return process.pid

    def with_environment(self, **variables: str) -> "Hook":
        """Return the same hook with more variables."""
        return replace(self, environment={**self.environment, **variables})

    def files(self) -> dict[str, bytes]:
        """Return the content of every spool file by name."""
        return {path.name: path.read_bytes() for path in self.home.spool.iterdir()}

    def events(self) -> list[tuple[bytes, str, str] | None]:
        """Return every spool file as payload, platform and hook name; None for one not whole."""
        return [split_trailer(raw) for raw in self.files().values()]

    def refused(self) -> str:
        """Return the letters of the refusals so far."""
        return refused(self.home)


def make_hook(label: str, home: Home, script: Path = SCRIPT) -> Hook:
    """Return the hook in the shell named by ``label``; skip or fail when there is none."""
    program, *argv = SHELLS[label] or ("",)
    found = shutil.which(program)
    if program and not found:
        missing(program)
    environment = {"BLUEPLANE_HOME": str(home.root), "HOME": str(home.root)}
    return Hook(found, tuple(argv or filter(None, [program])), script, home, environment)


def refused(home: Home) -> str:
    """Return the letters of the refusals so far."""
    tally = home.run / "refused"
    return tally.read_text() if tally.exists() else ""


def set_lease(home: Home, seconds_from_now: int) -> None:
    """Make a lease that ends then."""
    set_end(home, "lease", seconds_from_now)


def set_end(home: Home, flag: str, seconds_from_now: int) -> None:
    """Make a flag whose time is then."""
    path = home.run / flag
    path.touch()
    end = path.stat().st_mtime + seconds_from_now
    os.utime(path, (end, end))


def without_rights() -> None:
    """Give up root's rights in a child that is about to become the hook."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def take_names(spool: Path, count: int, make: Callable[[Path], object]) -> Callable[[], None]:
    """Return what makes the first ``count`` names of a hook, in the child that becomes it."""

    def taken() -> None:
        for number in range(count):
            make(spool / f"{os.getpid()}.{os.getppid()}.{number}")

    return taken
