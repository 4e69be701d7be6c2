"""``install`` and ``uninstall`` where a real systemd runs the server."""

import json
from pathlib import Path

import pytest
from machine import HOME, Machine
from program import CHOSEN, FILES, FROZEN, SITE, SOURCE, Ended

PROGRAMS = f"{HOME}/.local/share/blueplane"
UNIT = f"{HOME}/.config/systemd/user/blueplane.service"
DATA = f"{HOME}/.blueplane"
_MAIN = f"""import sys
sys.path.append({SOURCE!r})
from blueplane.interfaces.cli.main import main
sys.exit(main())
"""


@pytest.fixture(autouse=True)
def libraries(machine: Machine) -> None:
    """Have the machine's Python find the libraries, as if they had been installed by pip."""
    script = 'mkdir -p "$1" && printf %s "$2" > "$1/blueplane.pth"'
    place = "/usr/local/lib/python3.11/dist-packages"
    assert machine.root("sh", "-c", script, "sh", place, SITE).returncode == 0


@pytest.fixture(autouse=True)
def editors(machine: Machine) -> None:
    """Have both editors been used."""
    assert machine.run("mkdir", f"{HOME}/.cursor", f"{HOME}/.claude").returncode == 0


def run(machine: Machine, *words: str) -> Ended:
    """Run the program from where it was downloaded to."""
    if FROZEN:
        return machine.run(f"{FILES}/dist/{Path(CHOSEN).name}", *words)
    return machine.run("/usr/bin/python3", "-I", "-c", _MAIN, *words)


def installed(machine: Machine, *words: str) -> Ended:
    """Run the installed program."""
    return machine.run(f"{HOME}/.local/bin/blueplane", *words)


def files(machine: Machine) -> list[str]:
    """Return every name in the user's home but those of the data."""
    found = machine.run("find", HOME, "-path", DATA, "-prune", "-o", "-print").stdout
    return sorted(found.splitlines())


def test_install_has_systemd_run_the_server(machine: Machine) -> None:
    """The unit runs what ``current`` leads to; twice is once; uninstalled, nothing is left."""
    # Given
    before = files(machine)
    # When
    ended = run(machine, "install", "--yes")
    # Then
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout[-3000:]
    assert ended.stdout.count("→ written") == 2
    assert machine.show("ActiveState") == "active"
    assert machine.show("UnitFileState") == "enabled"
    assert f"ExecStart={PROGRAMS}/current/blueplane" in machine.read(UNIT).replace('"', "")
    status = json.loads(installed(machine, "status", "--format", "json").stdout)
    assert str(status["server"]["pid"]) == machine.show("MainPID")
    # And once more
    again = installed(machine, "install")
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.endswith("nothing to do: everything is as it should be\n")
    # And an upgrade, of which ``current`` is all that a service sees, has it started anew
    pid = machine.show("MainPID")
    assert machine.run("touch", "--no-dereference", f"{PROGRAMS}/current").returncode == 0
    assert installed(machine, "install", "--yes").returncode == 0
    assert machine.show("MainPID") not in ("0", pid)
    # And gone
    ended = installed(machine, "uninstall", "--yes")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert files(machine) == before
    assert machine.show("LoadState") == "not-found"
    assert machine.run("test", "-e", f"{DATA}/telemetry.db").returncode == 0


def test_install_takes_over_a_server_that_was_started_by_hand(machine: Machine) -> None:
    """What runs in the background is stopped, and the service takes its place."""
    # Given a server in the background
    assert run(machine, "start").returncode == 0
    # When
    ended = run(machine, "install", "--yes")
    # Then
    assert (ended.returncode, ended.stderr) == (0, "")
    status = json.loads(installed(machine, "status", "--format", "json").stdout)
    assert str(status["server"]["pid"]) == machine.show("MainPID")
