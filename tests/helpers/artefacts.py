"""The files of a release, built once for all tests that look at them.

Owns the building, which takes half a minute, and running what was built with nothing around it.
Promises one build a session, however many processes the tests are spread over.
Leaves what is asked of the artefacts to the tests.
"""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD_S = 300.0
RUN_S = 60.0
#: Where the tools of the system are, and no Python of ours.
TOOLS = "/usr/bin:/bin"

Done = subprocess.CompletedProcess[str]


def build(verb: str, directory: Path) -> None:
    """Have build.py make something; AssertionError with its words when it cannot."""
    command = [sys.executable, str(ROOT / "build.py"), verb, str(directory)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=BUILD_S, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stderr


def built_once(verb: str, shared: Path) -> Path:
    """Return the directory below ``shared`` with what ``verb`` makes; the first to ask makes it."""
    directory, finished = shared / verb, shared / f"{verb}.finished"
    with (shared / f"{verb}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            build(verb, directory)
            finished.touch()
    return directory


def only(directory: Path, pattern: str) -> Path:
    """Return the one file of a name."""
    (found,) = directory.glob(pattern)
    return found


def bare(user_home: Path, **variables: str) -> dict[str, str]:
    """Return an environment with a home and nothing else, but ``variables``."""
    return {"HOME": str(user_home), "BLUEPLANE_HTTP_PORT": "0", **variables}


def run(command: list[str | Path], environment: dict[str, str]) -> Done:
    """Run a command to its end, from the root directory."""
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=RUN_S, check=False,
        cwd=os.sep,
    )  # fmt: skip


def assert_works(command: list[str | Path], environment: dict[str, str]) -> None:
    """Have a program serve one canary with its own Redis, and show what is true of a corpus."""
    served = run([*command, "serve", "--canary", "--once"], environment)
    assert served.returncode == 0, served.stdout + served.stderr
    assert "captured 1 = written 1" in served.stdout
    log = (Path(environment["HOME"]) / ".blueplane" / "logs" / "server.log").read_text()
    assert 'version="valkey ' in log, "the private server is not the one that was shipped"
    tried = run([*command, "selftest"], environment)
    assert tried.returncode == 0, tried.stdout + tried.stderr
