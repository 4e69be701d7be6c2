"""The unit, and what systemctl is told; a real systemd is in ``tests/systemd``."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from blueplane.errors import InstallError, ServiceError
from blueplane.install import services
from blueplane.install.systemd import Systemd, quoted, render
from blueplane.install.user_places import user_places
from blueplane.paths import Home

PROGRAM = Path("/opt/blueplane/blueplane")
NAMESPACES = re.compile("^(Private|Protect|ReadWrite)", re.MULTILINE)
SHOWN = """ActiveState={active}
SubState={sub}
UnitFileState=enabled
MainPID=42
Result={result}
NRestarts=0
ExecMainCode={how}
ExecMainStatus={code}
StatusText=in order
"""

Told = Callable[[], list[str]]


@pytest.fixture
def told(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    """Put a systemctl and a systemd-run on PATH that write down what they are told, and work.

    ``bin/<name>.out`` is what one prints, ``bin/<name>.code`` what it exits with.
    """
    assert home.root.is_dir()
    directory = tmp_path / "bin"
    directory.mkdir()
    log = directory / "log"
    log.touch()
    for name in ("systemctl", "systemd-run"):
        program = directory / name
        program.write_text(
            f'#!/bin/sh\necho "{name} $*" >> {log}\ncat {program}.out 2>/dev/null\n'
            f"exit $(cat {program}.code 2>/dev/null || echo 0)\n"
        )
        program.chmod(0o755)
    runtime = tmp_path / "runtime"
    (runtime / "systemd").mkdir(parents=True)
    (runtime / "systemd" / "private").touch()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    monkeypatch.setattr(services.sys, "platform", "linux")
    return lambda: log.read_text().splitlines()


def service() -> Systemd:
    """Return the service of the user of this test."""
    return Systemd(user_places(os.environ), os.environ)


def installed(home: Home) -> Systemd:
    """Return it with its unit written."""
    found = service()
    change = found.unit(PROGRAM, home)
    assert change.after is not None
    found.path.parent.mkdir(parents=True)
    found.path.write_bytes(change.after)
    return found


def setting(unit: str, key: str) -> str:
    """Return the value of a setting that is there once."""
    (value,) = re.findall(rf"^{key}=(.*)$", unit, re.MULTILINE)
    return str(value)


# --- the text -------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
@pytest.mark.parametrize("isolated", [True, False])
@pytest.mark.parametrize("name", ["plain", "a b 100% ü $HOME", "o'brien", 'a "b" \\c'])
def test_unit_has_nothing_that_systemd_would_ignore(
    tmp_path: Path, name: str, *, isolated: bool
) -> None:
    """``systemd-analyze verify`` prints nothing; its exit code alone says too little."""
    # Given a program and a home in a directory of any name
    place = tmp_path / name
    place.mkdir()
    program = place / "blueplane"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    environment = {"CLAUDE_CONFIG_DIR": str(place / "claude")}
    unit = tmp_path / "blueplane.service"
    unit.write_text(render(program, Home(place / "home"), environment, isolated=isolated))
    # When
    ended = subprocess.run(
        ["systemd-analyze", "--user", "verify", unit], capture_output=True, text=True, check=False,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
    )  # fmt: skip
    # Then
    assert (ended.stdout + ended.stderr, ended.returncode) == ("", 0)


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("/home/u", '"/home/u"'),
        ("/a b/ü", '"/a b/ü"'),
        ("/100%h", '"/100%%h"'),
        ('/a"b', '"/a\\"b"'),
        ("/a\\b", '"/a\\\\b"'),
        ("/no\u00a0break", '"/no\u00a0break"'),
    ],
)
def test_quoted_word_is_one_word_for_systemd(word: str, written: str) -> None:
    """What systemd would take apart, expand or unescape, it does not."""
    assert quoted(word) == written


def test_unit_has_no_variable_in_the_command_line() -> None:
    """What systemd would put the environment in for stays as it is, but for the path it runs."""
    # Given / When
    home = Home(Path("/h/${USER}"))
    unit = render(Path("/p/$x/blueplane"), home, {}, isolated=True)
    odd = render(Path("/p/'$x/blueplane"), home, {}, isolated=True)
    # Then
    assert setting(unit, "ExecStart") == '"/p/$x/blueplane" serve --home "/h/$${USER}"'
    start = '/bin/sh -c "exec \\"$$0\\" \\"$$@\\"" "/p/\'$$x/blueplane" serve --home "/h/$${USER}"'
    assert setting(odd, "ExecStart") == start


@pytest.mark.fault("F9")
@pytest.mark.parametrize("character", ["\n", "\t", "\x7f", "\udcff"])
def test_unit_is_refused_when_a_path_cannot_stand_in_it(home: Home, character: str) -> None:
    """A path that a line has no room for is one line that says so, not another unit."""
    # Given / When / Then
    with pytest.raises(InstallError, match="systemd cannot be told"):
        render(PROGRAM, Home(home.root / f"a{character}ExecStart=b"), {}, isolated=True)


def test_unit_lets_the_server_write_where_its_home_leads(home: Home, tmp_path: Path) -> None:
    """A directory of the home that is a link to another disk can be written to as well."""
    # Given
    other = tmp_path / "disk"
    other.mkdir()
    home.redis.rmdir()
    home.redis.symlink_to(other)
    # When
    unit = render(PROGRAM, home, {}, isolated=True)
    # Then
    assert setting(unit, "ReadWritePaths") == f'"-{home.root}" "-{other.resolve()}"'


@pytest.mark.parametrize(
    ("root", "private"), [("/tmp/home", "no"), ("/var/tmp/home", "no"), ("/tmpfile/home", "yes")]
)
def test_unit_has_a_tmp_of_its_own_unless_the_home_is_in_it(root: str, private: str) -> None:
    """A home that the server could not see would be no home."""
    assert setting(render(PROGRAM, Home(Path(root)), {}, isolated=True), "PrivateTmp") == private


def test_unit_has_a_place_for_sockets_when_the_home_is_too_deep(home: Home) -> None:
    """The sockets of such a home are in the runtime directory, which is read-only otherwise."""
    # Given
    deep = Home(home.root / "/".join(["deep"] * 30))
    # When / Then
    unit = render(PROGRAM, deep, {}, isolated=True)
    assert setting(unit, "RuntimeDirectory") == deep.control_socket.parent.name
    assert "RuntimeDirectory=" not in render(PROGRAM, Home(Path("/h")), {}, isolated=True)


def test_unit_says_so_when_it_is_without_namespaces(home: Home) -> None:
    """It has none of the settings that need them, all of the others, and the reason."""
    # Given / When
    full, plain = (render(PROGRAM, home, {}, isolated=each) for each in (True, False))
    # Then
    assert NAMESPACES.search(full)
    assert not NAMESPACES.search(plain)
    assert "# No namespaces: " in plain
    assert "# No namespaces: " not in full
    assert set(plain.splitlines()) - set(full.splitlines()) == {
        line for line in plain.splitlines() if line.startswith(("# No name", "# So the server"))
    }
    assert "SystemCallFilter=@system-service" in plain
    assert "[Install]" in plain


def test_unit_tells_the_server_where_claude_keeps_its_files_when_that_is_set(home: Home) -> None:
    """A service has none of the shell's environment, so the unit has what matters."""
    # Given / When
    unit = render(PROGRAM, home, {"CLAUDE_CONFIG_DIR": "/c d", "OTHER": "x"}, isolated=True)
    # Then
    assert setting(unit, "Environment") == '"CLAUDE_CONFIG_DIR=/c d"'
    assert "\nEnvironment=" not in render(PROGRAM, home, {}, isolated=True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[Service]\nExecStart=/bin/true\n", "is not from us"),
        ("[X-Blueplane]\nHome={there}\n", "runs the server of {there}"),
        ("[X-Blueplane]\nHome={gone}\n", None),
    ],
)
def test_unit_of_somebody_else_is_not_overwritten(
    home: Home, told: Told, tmp_path: Path, text: str, says: str | None
) -> None:
    """What we did not write, or wrote for a home that is still there, stays as it is."""
    # Given
    places = {"there": tmp_path / "there", "gone": tmp_path / "gone"}
    places["there"].mkdir()
    found = service()
    found.path.parent.mkdir(parents=True)
    found.path.write_text(text.format(**places))
    # When / Then
    if says is None:
        assert found.unit(PROGRAM, home).is_needed
    else:
        with pytest.raises(InstallError, match=re.escape(says.format(**places))):
            found.unit(PROGRAM, home)
    assert told() == [] if says else told()


def test_unit_is_current_with_namespaces_or_without_when_nobody_changed_it(home: Home) -> None:
    """Either is as we write it, and to find that out nothing is started."""
    # Given
    found = service()
    found.path.parent.mkdir(parents=True)
    for isolated in (True, False):
        text = render(PROGRAM, home, {}, isolated=isolated)
        # When
        found.path.write_text(text)
        # Then
        assert found.is_current(PROGRAM, home)
        # When somebody writes in it
        found.path.write_text(text + "# mine\n")
        # Then
        assert not found.is_current(PROGRAM, home)


# --- systemctl ------------------------------------------------------------------------------------


def test_unit_is_the_plain_one_when_a_trial_start_fails(
    home: Home, told: Told, tmp_path: Path
) -> None:
    """Whether namespaces can be had is tried, and nothing else is believed."""
    # Given a manager that can, and then cannot
    texts = []
    for code in ("0", "217"):
        (tmp_path / "bin" / "systemd-run.code").write_text(code)
        # When
        texts.append(service().unit(PROGRAM, home).after or b"")
    # Then
    assert [b"ReadWritePaths=" in text for text in texts] == [True, False]
    trial = told()[0]
    assert "--property=PrivateUsers=yes" in trial
    assert trial.endswith(f"sh {os.environ['HOME']}")


def test_manager_is_told_what_a_command_means(home: Home, told: Told) -> None:
    """Each of our verbs is these of systemctl, all for the user."""
    # Given
    found = installed(home)
    before = len(told())
    # When
    found.enable_and_start()
    found.restart()
    found.stop()
    found.disable()
    # Then
    assert [line.removeprefix("systemctl --user ") for line in told()[before:]] == [
        "daemon-reload", "enable blueplane.service", "start --no-block blueplane.service",
        "daemon-reload", "restart --no-block blueplane.service", "stop blueplane.service",
        "disable --now blueplane.service",
    ]  # fmt: skip
    assert found.removal().after is None


@pytest.mark.parametrize(
    ("active", "sub", "result", "how", "code", "expected"),
    [
        ("active", "running", "success", 0, 0, (True, None, "active (running), in order")),
        ("activating", "start", "success", 0, 0, (False, None, "activating (start), in order")),
        ("activating", "auto-restart", "exit-code", 1, 4,
         (False, 4, "activating (auto-restart), exit code 4")),
        ("failed", "failed", "exit-code", 1, 2, (False, 2, "failed (failed), exit code 2")),
        ("failed", "failed", "watchdog", 3, 6, (False, 0, "failed (failed), watchdog")),
        ("inactive", "dead", "success", 1, 0, (False, None, "inactive (dead), in order")),
    ],
)  # fmt: skip
def test_state_is_what_the_manager_shows(  # noqa: PLR0913, PLR0917 - a row of the table
    home: Home, told: Told, tmp_path: Path, active: str, sub: str, result: str, how: int,
    code: int, expected: tuple[bool, int | None, str],
) -> None:  # fmt: skip
    """Running, ended with a code, ended without one, and stopped are told apart."""
    # Given
    found = installed(home)
    shown = SHOWN.format(active=active, sub=sub, result=result, how=how, code=code)
    (tmp_path / "bin" / "systemctl.out").write_text(shown)
    # When
    state = found.state()
    # Then
    assert (state.running, state.exit_code, state.detail) == expected
    assert (state.installed, state.enabled, state.pid) == (True, True, 42)
    assert told()


def test_state_says_so_when_nothing_is_installed(told: Told) -> None:
    """Without a unit nobody is asked."""
    # Given / When
    state = service().state()
    # Then
    assert (state.installed, state.enabled, state.running) == (False, False, False)
    service().disable()
    assert told() == []


def test_manager_s_own_words_are_told_when_it_refuses(
    home: Home, told: Told, tmp_path: Path
) -> None:
    """The error is one line, with what systemctl said last."""
    # Given
    found = installed(home)
    (tmp_path / "bin" / "systemctl.out").write_text("first\nUnit is masked.\n")
    (tmp_path / "bin" / "systemctl.code").write_text("1")
    # When / Then
    with pytest.raises(ServiceError, match=r"^`systemctl --user start` failed: Unit is masked\.$"):
        found.start()
    assert told()


# --- which service --------------------------------------------------------------------------------


def test_service_is_found_only_for_its_own_home(home: Home, told: Told, tmp_path: Path) -> None:
    """Another home of the same user is no business of it."""
    # Given a unit for one home / When / Then
    assert services.of(home, os.environ) is None
    found = installed(home)
    assert found.home() == home.root
    ours = services.of(home, os.environ)
    assert ours is not None
    assert (ours.kind, ours.path) == ("systemd", found.path)
    assert services.of(Home(tmp_path / "other"), os.environ) is None
    assert told()


@pytest.mark.parametrize("missing", ["socket", "systemctl", "answer"])
def test_no_manager_is_found_when_none_can_be_asked(
    home: Home, told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """A container, a session without a manager, a manager that does not answer."""
    # Given a unit, and a manager of which something is missing
    installed(home)
    assert services.find(os.environ) is not None
    if missing == "socket":
        (tmp_path / "runtime" / "systemd" / "private").unlink()
    elif missing == "systemctl":
        monkeypatch.setattr("blueplane.install.systemd.find", lambda *_: None)
    else:
        (tmp_path / "bin" / "systemctl.code").write_text("1")
    # When / Then
    assert services.find(os.environ) is None
    assert services.of(home, os.environ) is None
    assert told()


@pytest.mark.fault("G13")
def test_programs_are_found_by_absolute_paths_only(
    home: Home, told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A systemctl that a repository brings along is not run, whatever PATH says."""
    # Given one in the current directory, which is on PATH
    evil = tmp_path / "repository"
    evil.mkdir()
    (evil / "systemctl").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (evil / "systemctl").chmod(0o755)
    monkeypatch.chdir(evil)
    monkeypatch.setenv("PATH", f".::{tmp_path / 'bin'}:/usr/bin:/bin")
    # When
    installed(home).start()
    # Then
    assert not (tmp_path / "ran").exists()
    assert "systemctl --user start --no-block blueplane.service" in told()
