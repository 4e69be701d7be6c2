"""A user of a machine: a home directory, an environment, and the commands that they type.

Owns a HOME of the test with editors that have been used, and what runs in it.
Promises that nothing outside of it is read as theirs, that no service manager is reached, and that
no server of it outlives the block.
Leaves what must hold to the test.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from blueplane.errors import BlueplaneError
from blueplane.lock import is_running
from blueplane.paths import Home
from blueplane.server.control import ask
from helpers.cli import Ended
from helpers.server import ROOT, Server
from helpers.waiting import wait_until

TIMEOUT_S = 60.0


@dataclass(frozen=True)
class User:
    """Somebody whose HOME is ``directory``; ``variables`` win over their environment."""

    directory: Path
    runtime: str
    source: Path = ROOT / "src"
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Home:
        return Home(self.directory / ".blueplane")

    @property
    def cursor(self) -> Path:
        return self.directory / ".cursor" / "hooks.json"

    @property
    def claude(self) -> Path:
        return self.directory / ".claude" / "settings.json"

    @property
    def programs(self) -> Path:
        return self.directory / ".local" / "share" / "blueplane"

    @property
    def command(self) -> Path:
        return self.directory / ".local" / "bin" / "blueplane"

    def environment(self, **variables: str) -> dict[str, str]:
        """Return what a login would give them; nothing of ours is in it."""
        return {
            "HOME": str(self.directory),
            "PATH": f"{self.command.parent}:/usr/bin:/bin",
            "SHELL": "/bin/bash",
            "XDG_RUNTIME_DIR": self.runtime,
            "BLUEPLANE_HTTP_PORT": "0",
            "LC_ALL": "C.UTF-8",
            **self.variables,
            **variables,
        }

    def run(self, *arguments: str, stdin: str = "", **variables: str) -> Ended:
        """Run ``blueplane`` from its sources to its end; it must never show a traceback."""
        return self.execute(
            sys.executable, "-m", "blueplane", *arguments, stdin=stdin,
            PYTHONPATH=str(self.source), **variables,
        )  # fmt: skip

    def installed(self, *arguments: str) -> Ended:
        """Run the installed program, as a shell finds it."""
        return self.execute(str(self.command), *arguments)

    def execute(self, *command: str, stdin: str = "", **variables: str) -> Ended:
        """Run a command in their environment, elsewhere than in the checkout."""
        ended = subprocess.run(
            command, env=self.environment(**variables), cwd="/", input=stdin.encode(),
            capture_output=True, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
        out, err = (text.decode("utf-8", "replace") for text in (ended.stdout, ended.stderr))
        assert "Traceback" not in out + err, err
        assert "a bug of ours" not in err, err
        return Ended(ended.returncode, out, err)

    def files(self) -> dict[str, bytes | str]:
        """Return every file outside of Blueplane's home with what it holds, links with theirs."""
        found: dict[str, bytes | str] = {}
        for path in sorted(self.directory.rglob("*")):
            name = str(path.relative_to(self.directory))
            if name.startswith(".blueplane"):
                continue
            if path.is_symlink():
                found[name] = str(path.readlink())
            else:
                found[name] = "directory" if path.is_dir() else path.read_bytes()
        return found

    def end(self) -> None:
        """End the server of their home in order, and with it its Redis."""
        with suppress(BlueplaneError):  # none runs, or none that answers
            ask(self.home.control_socket, "stop")
            wait_until(lambda: not is_running(self.home), TIMEOUT_S, "the server has stopped")
            return
        Server(self.home).kill_redis()


@contextmanager
def user(directory: Path, **variables: str) -> Iterator[User]:
    """Give a user with both editors, whose server ends with the block."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in (".cursor", ".claude"):
        (directory / name).mkdir()
    # Short, for the sockets of a home that is too deep.
    runtime = tempfile.mkdtemp(prefix="bp-", dir="/tmp")
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = runtime  # where we look for their sockets, too
    somebody = User(directory, runtime, variables=variables)
    try:
        yield somebody
    finally:
        somebody.end()
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before
        shutil.rmtree(runtime, ignore_errors=True)
