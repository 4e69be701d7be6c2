"""An install that is broken off: it says how far it came, leaves nothing half, and is completed."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from blueplane.lock import is_running
from faults.test_odd_homes import ODD
from helpers.smallfs import SmallFs
from helpers.user import User, user
from helpers.waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="would load a real launch agent")

PATIENCE_S = 30.0
INTERRUPTED, KILLED, SYSTEM = 130, -signal.SIGKILL, 4
SETTINGS = '{\n\t"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "say done"}]}]}\n}'


@pytest.fixture
def somebody(tmp_path: Path) -> Iterator[User]:
    """Give a user with both editors, of which one has hooks of another tool."""
    with user(tmp_path / "user") as somebody:
        somebody.claude.write_text(SETTINGS)
        yield somebody


def check_whole(somebody: User) -> None:
    """See that no file is half: settings are the old or the new ones, links lead somewhere."""
    text = somebody.claude.read_text()
    assert text == SETTINGS or set(json.loads(text)["hooks"]) > {"Stop"}
    if somebody.cursor.exists():
        assert json.loads(somebody.cursor.read_text())["version"] == 1
    current = somebody.programs / "current"
    if current.is_symlink():
        assert (current / "blueplane").exists()


def complete(somebody: User, before: dict[str, bytes | str]) -> None:
    """Install again, which completes it; then uninstall, which leaves nothing."""
    again = somebody.run("install", "--yes")
    assert (again.code, again.err) == (0, "")
    assert again.out.count("→ written") == 2 or "nothing to do" in again.out
    assert "nothing to do" in somebody.run("install").out
    assert somebody.run("uninstall", "--yes").code == 0
    assert somebody.files() == before


def steps_of(text: str, title: str) -> list[str]:
    """Return the steps that an account has under ``done`` or ``not done``."""
    return re.findall(rf"^  {title}: (.*)$", text, re.MULTILINE)


# --- Ctrl-C --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "at",
    [
        "install_step:int@1",
        "version_staged:int@1",
        "link_staged:int@1",
        "change_staged:int@2",
        "change_made:int@3",
        "install_step:int@8",
        "install_step:int@11",
    ],
)
def test_ctrl_c_is_accounted_for_and_completed(somebody: User, at: str) -> None:
    """At whatever moment: what was done and what was not is said, and the next run goes on."""
    # Given
    before = somebody.files()
    planned = somebody.run("install", "--dry-run", "--format", "json").json["rows"]
    # When
    ended = somebody.run("install", "--yes", BLUEPLANE_FAULTS=at)
    # Then every step of the plan is in the account, on the side on which it is
    assert ended.code == INTERRUPTED, ended.err
    done, left = steps_of(ended.err, "done"), steps_of(ended.err, "not done")
    assert done + left == [row["what"] for row in planned]
    assert done == re.findall(r"^done: (.*)$", ended.out, re.MULTILINE) or len(done) > 0
    assert "nothing is half done: run it again for what is left" in ended.err
    for row in planned:
        if row["path"] is not None and not row["path"].endswith("install.json"):
            assert os.path.lexists(row["path"]) == (
                row["what"] in done or row["path"] == str(somebody.claude)
            )
    check_whole(somebody)
    # And the rest is done by the next one
    complete(somebody, before)


def test_sigterm_is_accounted_for_too(somebody: User) -> None:
    """A session that is closed in the middle ends it as Ctrl-C does."""
    # Given / When
    ended = somebody.run("install", "--yes", BLUEPLANE_FAULTS="install_step:term@5")
    # Then
    assert ended.code == INTERRUPTED
    assert len(steps_of(ended.err, "done")) == 4
    check_whole(somebody)


def test_ctrl_c_at_the_question_changes_nothing(somebody: User) -> None:
    """Whoever does not want to answer has changed nothing, and is told so."""
    # Given an install that asks
    before = somebody.files()
    with subprocess.Popen(
        [sys.executable, "-m", "blueplane", "install"],
        env=somebody.environment(PYTHONPATH=str(somebody.source), PYTHONUNBUFFERED="1"),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        question = "make these 10 changes?"
        assert process.stderr.read(len(question)) == question
        # When
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_S)
    # Then
    assert process.returncode == 1
    assert "blueplane: the answer was no, so nothing was changed\n" in err
    assert somebody.files() == before


def test_ctrl_c_while_uninstalling_is_accounted_for(somebody: User) -> None:
    """The other way round it is the same, and the server is not left without its program."""
    # Given
    before = somebody.files()
    assert somebody.run("install", "--yes").code == 0
    # When
    ended = somebody.run("uninstall", "--yes", BLUEPLANE_FAULTS="install_step:int@3")
    # Then
    assert ended.code == INTERRUPTED
    assert len(steps_of(ended.err, "done")) == 2
    assert is_running(somebody.home)
    # And it is completed
    assert somebody.run("uninstall", "--yes").code == 0
    assert somebody.files() == before


# --- killed --------------------------------------------------------------------------------------


@pytest.mark.fault("A12")
@pytest.mark.parametrize(
    "at",
    [
        "version_staged:kill@1",
        "link_staged:kill@1",
        "link_staged:kill@2",
        "change_made:kill@2",
        "install_step:kill@8",
    ],
)
def test_kill_leaves_nothing_half_and_is_completed(somebody: User, at: str) -> None:
    """Nobody can say anything then; the next run does the rest, and uninstall leaves nothing."""
    # Given
    before = somebody.files()
    # When
    ended = somebody.run("install", "--yes", BLUEPLANE_FAULTS=at)
    # Then
    assert ended.code == KILLED
    check_whole(somebody)
    complete(somebody, before)


# --- a full disk ---------------------------------------------------------------------------------


@pytest.mark.parametrize("free_kb", [0, 12, 60, 400])
def test_full_disk_is_accounted_for_and_completed(tmp_path: Path, free_kb: int) -> None:
    """Wherever the room ends: old files are whole, it is said how far it came, and why."""
    # Given a home on a disk with little room
    with SmallFs(tmp_path / "disk", 64) as disk, user(tmp_path / "disk" / "user") as somebody:
        somebody.claude.write_text(SETTINGS)
        before = somebody.files()
        disk.fill()
        filler = tmp_path / "disk" / "filler"
        os.truncate(filler, filler.stat().st_size - free_kb * 1024)
        # When
        ended = somebody.run("install", "--yes")
        # Then the last line says what is full, and the ones before it how far it came
        assert ended.code in (2, SYSTEM), ended.err
        assert re.search("No space|is full|no room", ended.err.splitlines()[-1]), ended.err
        assert steps_of(ended.err, "not done")
        check_whole(somebody)
        # And with room it is completed
        disk.empty()
        complete(somebody, before)


@pytest.mark.fault("C2")
@pytest.mark.parametrize("purge", [False, True])
def test_uninstall_works_when_the_disk_is_full(tmp_path: Path, *, purge: bool) -> None:
    """Who wants the room back gets it: what only gets smaller needs none for a backup."""
    # Given an install in settings of two blocks each, in which somebody has written since
    with SmallFs(tmp_path / "disk", 32) as disk, user(tmp_path / "disk" / "user") as somebody:
        places = (somebody.claude, somebody.cursor)
        others = {"hooks": {}, "theirs": "x" * 6_000}
        for path in places:
            path.write_text(json.dumps(others))
        before = somebody.files()
        assert somebody.run("install", "--yes", "--no-service").code == 0
        for path in places:
            path.write_text(json.dumps({**json.loads(path.read_text()), "model": "opus"}))
        # And a disk that has not one free byte any more
        disk.fill()
        # When
        ended = somebody.run("uninstall", "--yes", *(["--purge"] if purge else []))
        # Then nothing of us is left, what others wrote is there, and it was said
        assert (ended.code, ended.err) == (0, "")
        for path in places:
            assert f"the disk is full, so there will be no backup of {path}\n" in ended.out
            assert json.loads(path.read_text()) == {**others, "model": "opus"}
        assert somebody.files().keys() == before.keys()
        assert somebody.home.root.exists() != purge


# --- homes ---------------------------------------------------------------------------------------


@pytest.mark.fault("F10")
@pytest.mark.parametrize("name", ODD.values(), ids=ODD.keys())
def test_install_works_in_an_odd_home(tmp_path: Path, name: str) -> None:
    """Blanks, line breaks, quotes, options and length of a path change nothing."""
    # Given a HOME that nobody expects
    with user(tmp_path / name) as somebody:
        somebody.claude.write_text(SETTINGS)
        before = somebody.files()
        # When
        ended = somebody.run("install", "--yes")
        # Then the canaries arrive through the very text of the settings
        assert (ended.code, ended.err) == (0, "")
        assert ended.out.count("→ written") == 2
        # And the installed program runs, from a shell too
        assert somebody.installed("uninstall", "--yes").code == 0
        assert somebody.files() == before
        assert not (tmp_path / "hijacked").exists()
        assert not Path("/hijacked").exists()


@pytest.mark.fault("F10")
@pytest.mark.parametrize(
    ("variables", "code", "said"),
    [
        ({"HOME": ""}, SYSTEM, "nor HOME is set"),
        ({"HOME": "", "BLUEPLANE_HOME": "{tmp}/home"}, SYSTEM, "HOME is not set"),
        ({"HOME": "relative"}, SYSTEM, "no absolute path"),
        ({"HOME": "{tmp}/nowhere"}, SYSTEM, "names no directory"),
        ({"HOME": "{tmp}", "BLUEPLANE_HOME": "{tmp}/" + "d/" * 240}, SYSTEM, "is too long"),
    ],
    ids=["none", "only ours", "relative", "missing", "too long"],
)
@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_home_that_cannot_be_one_is_refused(
    tmp_path: Path, command: str, variables: dict[str, str], code: int, said: str
) -> None:
    """One line that says what to do, and nothing is changed."""
    # Given
    with user(tmp_path / "user") as somebody:
        before = somebody.files()
        changed = {key: value.format(tmp=tmp_path) for key, value in variables.items()}
        # When
        ended = somebody.run(command, "--yes", **changed)
        # Then
        assert (ended.code, ended.out, len(ended.err.splitlines())) == (code, "", 1)
        assert said in ended.err
        assert somebody.files() == before


@pytest.mark.fault("G13")
def test_installed_program_reads_nothing_of_the_current_directory(somebody: User) -> None:
    """A repository cannot put its own code, programs or settings in place of ours."""
    # Given an install, and a directory that tries everything
    assert somebody.run("install", "--yes", "--no-service").code == 0
    hostile = somebody.directory / "hostile"
    (hostile / "blueplane").mkdir(parents=True)
    trap = f"open({str(hostile / 'sprung')!r}, 'w')"
    for name in ("sitecustomize.py", "usercustomize.py", "click.py", "blueplane/__init__.py"):
        (hostile / name).write_text(trap)
    for name in ("sh", "cat", "python3", "blueplane-hook"):
        (hostile / name).write_text(f"#!/bin/sh\n: > '{hostile}/sprung'\n")
        (hostile / name).chmod(0o755)
    line = next(iter(json.loads(somebody.cursor.read_text())["hooks"]["stop"]))["command"]
    # When program and hook run there, with variables that point there
    for command in ([str(somebody.command), "--version"], ["/bin/sh", "-c", line]):
        ended = subprocess.run(
            command, cwd=hostile, input=b"{}", capture_output=True, timeout=PATIENCE_S, check=True,
            env=somebody.environment(PYTHONPATH=".", PYTHONSTARTUP="click.py", PATH=".:/usr/bin"),
        )  # fmt: skip
        assert ended.stderr == b""
    # Then none of it ran
    assert not (hostile / "sprung").exists()
    wait_until(lambda: any(somebody.home.spool.iterdir()), PATIENCE_S, "the event is in the spool")


# --- what is there already -----------------------------------------------------------------------


@pytest.mark.fault("C8")
def test_install_goes_on_when_the_database_is_damaged(somebody: User) -> None:
    """The server sets it aside, as it always does; the install is no reason to stop at it."""
    # Given something that is no database
    somebody.home.prepare()
    somebody.home.database.write_bytes(b"garbage" * 1000)
    # When
    ended = somebody.run("install", "--yes")
    # Then
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.count("→ written") == 2
    assert list(somebody.home.root.glob("telemetry.db.damaged-*"))


# --- two at once ---------------------------------------------------------------------------------


def test_two_installs_at_once_are_one(somebody: User) -> None:
    """One waits for the other; whoever is late finds everything done, or is told to look again."""
    # Given
    before = somebody.files()
    # When two are started together
    command = [sys.executable, "-m", "blueplane", "install", "--yes"]
    environment = somebody.environment(PYTHONPATH=str(somebody.source))
    processes = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    ends = [process.communicate(timeout=PATIENCE_S) for process in processes]
    # Then
    for process, (_, err) in zip(processes, ends, strict=True):
        assert process.returncode == 0 or b"was changed since the plan; run it again" in err
    assert 0 in [process.returncode for process in processes]
    check_whole(somebody)
    complete(somebody, before)
