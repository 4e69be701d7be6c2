"""The property list, against a schema of our own, and what launchctl is told: without a Mac."""

import os
import plistlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blueplane.errors import InstallError, ServiceError
from blueplane.install import services
from blueplane.install.launchd import Launchd, render
from blueplane.install.user_places import user_places
from blueplane.paths import Home
from blueplane.supervisor import LAUNCHD_LABEL

PROGRAM = Path("/Users/u/Library/o'brien & ü/blueplane")
#: launchd.plist(5), as far as we use it: key -> type, or a schema of its own.
SCHEMA: dict[str, Any] = {
    "Label": str,
    "ProgramArguments": list,
    "WorkingDirectory": Path,
    "EnvironmentVariables": dict,
    "RunAtLoad": bool,
    "KeepAlive": {"SuccessfulExit": bool},
    "ThrottleInterval": int,
    "ExitTimeOut": int,
    "ProcessType": str,
    "StandardOutPath": Path,
    "StandardErrorPath": Path,
    "SoftResourceLimits": {"NumberOfFiles": int, "Core": int},
    "Umask": int,
}
RUNNING = """gui/501/com.blueplane.server = {
	active count = 1
	path = /Users/u/Library/LaunchAgents/com.blueplane.server.plist
	state = running
	pid = 42
	last exit code = (never exited)
	spawn type = daemon (3)
}
"""

Told = Callable[[], list[str]]


@pytest.fixture
def told(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    """Put a launchctl on PATH that writes down what it is told.

    What ``print`` shows is in ``bin/shown``; without that file the agent is not loaded.
    """
    assert home.root.is_dir()
    directory = tmp_path / "bin"
    directory.mkdir()
    program, shown = directory / "launchctl", directory / "shown"
    program.write_text(
        f'#!/bin/sh\necho "$*" >> {directory}/log\ncase "$1 $2" in\n'
        f'"print gui/{os.getuid()}") exit 0 ;;\n"print "*) exec cat {shown} ;;\n'
        f'"bootout "*) rm {shown} ;;\n"bootstrap "*) cp {shown}.next {shown} ;;\nesac\n'
    )
    program.chmod(0o755)
    (directory / "log").touch()
    (directory / "shown.next").write_text(RUNNING)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    monkeypatch.setattr(services.sys, "platform", "darwin")
    return lambda: (directory / "log").read_text().splitlines()


def faults(value: Any, schema: Any, where: str = "") -> list[str]:
    """Return what of a property list is not as the schema has it."""
    if isinstance(schema, dict):
        if not isinstance(value, dict):
            return [f"{where}: no dictionary"]
        unknown = [f"{where}/{key}: unknown" for key in value.keys() - schema.keys()]
        missing = [f"{where}/{key}: missing" for key in schema.keys() - value.keys()]
        inner = [faults(value[key], schema[key], f"{where}/{key}") for key in value.keys() & schema]
        return [*unknown, *missing, *(fault for found in inner for fault in found)]
    if schema is Path:
        good = isinstance(value, str) and value.startswith("/") and "@" not in value
        return [] if good else [f"{where}: no absolute path"]
    return [] if type(value) is schema else [f"{where}: no {schema.__name__}"]


def installed(home: Home) -> Launchd:
    """Return the service with its property list written."""
    found = Launchd(user_places(os.environ), os.environ)
    change = found.unit(PROGRAM, home)
    assert change.after is not None
    found.path.parent.mkdir(parents=True)
    found.path.write_bytes(change.after)
    return found


def test_list_is_as_launchd_wants_it(home: Home) -> None:
    """Every key is one that we know, of its type, and every path is absolute."""
    # Given / When
    agent = plistlib.loads(render(PROGRAM, home, {"CLAUDE_CONFIG_DIR": "/c", "OTHER": "x"}))
    # Then
    assert faults(agent, SCHEMA) == []
    assert agent["Label"] == LAUNCHD_LABEL
    assert agent["ProgramArguments"] == [str(PROGRAM), "serve", "--home", str(home.root)]
    assert agent["EnvironmentVariables"] == {"CLAUDE_CONFIG_DIR": "/c"}
    assert agent["Umask"] == 0o077
    assert agent["KeepAlive"] == {"SuccessfulExit": False}
    # And it is the same when it is read and written again
    assert plistlib.loads(plistlib.dumps(agent)) == agent


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"Labl": "x"}, "/Labl: unknown"),
        ({"Umask": "077"}, "/Umask: no int"),
        ({"StandardOutPath": "~/out"}, "/StandardOutPath: no absolute path"),
        ({"KeepAlive": True}, "/KeepAlive: no dictionary"),
        ({"RunAtLoad": 1}, "/RunAtLoad: no bool"),
    ],
)
def test_schema_bites_when_a_list_breaks_it(home: Home, change: dict[str, Any], fault: str) -> None:
    """The test above can fail."""
    agent = plistlib.loads(render(PROGRAM, home, {}))
    assert faults({**agent, **change}, SCHEMA) == [fault]


def test_list_is_current_when_nobody_changed_it(home: Home) -> None:
    """It is compared as a whole."""
    # Given
    found = installed(home)
    # When / Then
    assert found.is_current(PROGRAM, home)
    found.path.write_bytes(found.path.read_bytes() + b"\n")
    assert not found.is_current(PROGRAM, home)


def test_list_is_refused_when_a_path_cannot_stand_in_it(home: Home) -> None:
    """XML has no way to write some characters."""
    with pytest.raises(InstallError, match="launchd cannot be told"):
        render(PROGRAM, Home(home.root / "a\x01b"), {})


def test_launchd_is_told_what_a_command_means(home: Home, told: Told) -> None:
    """Each of our verbs is these of launchctl; an agent is loaded anew rather than restarted."""
    # Given
    found = installed(home)
    target, domain = f"gui/{os.getuid()}/{LAUNCHD_LABEL}", f"gui/{os.getuid()}"
    load, unload = f"bootstrap {domain} {found.path}", f"bootout {target}"

    def done(act: Callable[[], None]) -> list[str]:
        before = len(told())
        act()
        return [line for line in told()[before:] if not line.startswith("print ")]

    # When / Then
    assert done(found.enable_and_start) == [f"enable {target}", load]
    assert done(found.enable_and_start) == [f"enable {target}", unload, load]
    assert done(found.restart) == [unload, load]
    assert done(found.start) == [f"kickstart {target}"]
    assert done(found.stop) == [unload]
    assert done(found.stop) == []
    assert done(found.start) == [load]
    assert done(found.disable) == [unload, f"disable {target}"]
    assert found.hint() is None


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (RUNNING, (True, 42, None, "running")),
        (RUNNING.replace("= running", "= spawn scheduled").replace("\tpid = 42\n", "")
         .replace("(never exited)", "4"), (False, None, 4, "spawn scheduled")),
        (RUNNING.replace("= running", "= not running").replace("\tpid = 42\n", "")
         .replace("(never exited)", "0"), (False, None, None, "not running")),
        (None, (False, None, None, "not loaded")),
    ],
    ids=["running", "failing", "stopped", "unloaded"],
)  # fmt: skip
def test_state_is_what_launchd_shows(
    home: Home, told: Told, tmp_path: Path, shown: str | None,
    expected: tuple[bool, int | None, int | None, str],
) -> None:  # fmt: skip
    """Running, failing, stopped and unloaded are told apart."""
    # Given
    found = installed(home)
    if shown is not None:
        (tmp_path / "bin" / "shown").write_text(shown)
    # When
    state = found.state()
    # Then
    assert (state.running, state.pid, state.exit_code, state.detail) == expected
    assert (state.installed, state.enabled) == (True, True)
    assert told()


def test_service_is_launchd_s_when_this_is_a_mac(home: Home, told: Told, tmp_path: Path) -> None:
    """It is found for its own home only, and not where no agent can run."""
    # Given
    assert services.of(home, os.environ) is None
    found = installed(home)
    # When / Then
    assert found.home() == home.root
    ours = services.of(home, os.environ)
    assert ours is not None
    assert ours.kind == "launchd"
    assert services.of(Home(tmp_path / "other"), os.environ) is None
    found.path.write_text("no list")
    assert found.home() is None
    (tmp_path / "bin" / "launchctl").write_text(
        "#!/bin/sh\necho Domain does not support >&2; exit 1\n"
    )
    assert services.find(os.environ) is None
    with pytest.raises(ServiceError, match=r"^`launchctl enable` failed: Domain does not support$"):
        found.enable_and_start()
    assert told()
