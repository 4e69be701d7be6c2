"""``install`` and ``uninstall`` as people use them: real processes, settings, hooks and servers."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from blueplane import __version__
from blueplane.install import changes, making, manifest
from blueplane.lock import is_running
from helpers.issued import SCRIPT
from helpers.redis_server import RedisServer, missing
from helpers.server import ROOT, stored_balance
from helpers.user import User, user
from helpers.waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="would load a real launch agent")

PATIENCE_S = 30.0
LEFT_OUT, REFUSED, USAGE = 2, 1, 2
#: Settings of somebody who uses other tools, written by hand.
CURSOR = '{"version":1,\r\n\t"hooks" : {"stop":[ {"command":"notify --done"} ]}}'
CLAUDE = """\
{
    "model": "opus",
    "hooks": {
        "Stop": [{"hooks": [{"type": "command", "command": "say done"}]}]
    },
    "permissions": {"allow": []}
}
"""
#: Runs a hook for each line that it is told.
EDITOR = """\
n=0
while read go; do
    n=$((n + 1))
    printf '{"session_id": "s%s"}' $n | (HOOK)
    echo $n
done
"""


@pytest.fixture
def somebody(tmp_path: Path) -> Iterator[User]:
    """Give a user with both editors and hooks of other tools."""
    with user(tmp_path / "user") as somebody:
        somebody.cursor.write_bytes(CURSOR.encode())
        somebody.claude.write_bytes(CLAUDE.encode())
        yield somebody


def commands(somebody: User) -> dict[str, str]:
    """Return the command lines of ours in Claude Code's settings, by event."""
    settings = json.loads(somebody.claude.read_text())["hooks"]
    lines = {
        event: hook["command"]
        for event, groups in settings.items()
        for group in groups
        for hook in group["hooks"]
    }
    return {event: line for event, line in lines.items() if "blueplane-hook" in line}


def capture(somebody: User, session: str) -> None:
    """Hand an event over as Claude Code does: by the text of its settings."""
    ended = somebody.execute(
        "/bin/sh", "-c", commands(somebody)["UserPromptSubmit"],
        stdin=json.dumps({"session_id": session, "prompt": "hello"}),
    )  # fmt: skip
    assert (ended.code, ended.out, ended.err) == (0, "", "")


def written(somebody: User) -> int:
    """Return how many events are written."""
    return int(stored_balance(somebody.home).get("written", 0))


def server_version(somebody: User) -> str:
    """Return the version of the running server."""
    ended = somebody.run("status", "--format", "json")
    return str(ended.json["server"]["version"])


def current(somebody: User) -> Path:
    """Return the version that is current, from the place of all versions."""
    return (somebody.programs / "current").readlink()


# --- install -------------------------------------------------------------------------------------


@pytest.mark.fault("F12", "G13")
def test_install_connects_both_editors_and_proves_it(somebody: User) -> None:
    """Program, database, hooks and server are there, foreign hooks too, and a canary arrives."""
    # Given two editors / When
    ended = somebody.run("install", "--yes")
    # Then the plan is shown with the exact diff, and everything is done
    assert (ended.code, ended.err) == (0, "")
    assert re.search(r"^program +0\.", ended.out, re.MULTILINE)
    assert re.search(r"^editor +Cursor of unknown version", ended.out, re.MULTILINE)
    assert re.search(r"^service +no service manager runs here", ended.out, re.MULTILINE)
    assert f"      --- {somebody.claude}" in ended.out
    assert "`blueplane start` starts the server" in ended.out
    # And a canary went through the command of each editor, with its hops
    road = r"captured 0 ms → enqueued \d+ ms → delivered \d+ ms → written \d+ ms"
    for hook in ("cursor stop", "claude_code UserPromptSubmit"):
        assert re.search(rf"canary through {hook}: {road}\n", ended.out), ended.out
    # And foreign hooks are there still
    assert "notify --done" in somebody.cursor.read_text()
    assert "say done" in somebody.claude.read_text()
    # And the installed program is what a shell finds, with a link that leads to it
    assert somebody.installed("--version").out == f"blueplane {__version__}\n"
    assert str(current(somebody)).startswith(f"versions/{__version__}-")
    # And hooks name it by absolute paths, and are private
    hook = somebody.home.hooks / "blueplane-hook"
    assert all(str(hook) in line for line in commands(somebody).values())
    assert stat.S_IMODE(hook.stat().st_mode) == 0o700
    assert f"home={somebody.home.root}\n" in hook.read_text()
    # And an event through the settings is written
    before = written(somebody)
    capture(somebody, "first")
    wait_until(lambda: server_version(somebody) and written(somebody) > before, PATIENCE_S, "row")


def test_canary_of_an_editor_is_in_no_other_figure(somebody: User) -> None:
    """A canary that came through an editor's hook counts in the laws, and is nobody's event."""
    # Given / When
    assert somebody.run("install", "--yes").code == 0
    # Then
    status = somebody.run("status", "--format", "json").json
    assert status["rows"] == []
    assert stored_balance(somebody.home)["written"] == 2


def test_second_install_changes_nothing_and_says_so(somebody: User) -> None:
    """Installing twice is installing once."""
    # Given
    assert somebody.run("install", "--yes").code == 0
    before, noted = somebody.files(), manifest.manifest_file(somebody.home).read_bytes()
    backups = sorted(somebody.home.backups.iterdir())
    # When
    again = somebody.run("install")
    # Then it neither asks nor changes anything
    assert (again.code, again.err) == (0, "")
    assert again.out.endswith("nothing to do: everything is as it should be\n")
    assert somebody.files() == before
    assert manifest.manifest_file(somebody.home).read_bytes() == noted
    assert sorted(somebody.home.backups.iterdir()) == backups
    # And programs are told the same
    answer = somebody.run("install", "--format", "json").json
    assert (answer["rows"], answer["problems"]) == ([], [])


@pytest.mark.parametrize("arguments", [["--dry-run"], []], ids=["dry run", "no answer"])
def test_nothing_is_changed_when_nobody_said_yes(somebody: User, arguments: list[str]) -> None:
    """A dry run, a no and an end of the input leave every file and directory as it was."""
    # Given
    before = somebody.files()
    # When
    ended = somebody.run("install", *arguments)
    # Then the plan was shown, and nothing was done
    assert ended.code == (0 if arguments else REFUSED)
    assert f"+++ {somebody.cursor}" in ended.out
    assert somebody.files() == before
    assert not somebody.home.root.exists()


def test_plan_is_told_to_programs(somebody: User) -> None:
    """``--format json`` has every step with its path and diff, and whether it was done."""
    # Given / When
    plan = somebody.run("install", "--dry-run", "--format", "json").json
    done = somebody.run("install", "--yes", "--format", "json").json
    # Then
    assert [row["what"] for row in plan["rows"]] == [row["what"] for row in done["rows"]]
    assert {row["done"] for row in plan["rows"]} == {False}
    assert {row["done"] for row in done["rows"]} == {True}
    diffs = {row["path"]: row["diff"] for row in plan["rows"]}
    assert diffs[str(somebody.cursor)].startswith(f"--- {somebody.cursor}")
    assert [canary["arrived"] for canary in done["canaries"]] == [True, True]
    assert set(done["canaries"][0]["ms"]) == {"captured", "enqueued", "delivered", "written"}


def test_only_one_editor_is_connected_when_asked(somebody: User) -> None:
    """``--only`` leaves the other one's settings alone."""
    # Given / When
    ended = somebody.run("install", "--yes", "--only", "claude", "--no-service")
    # Then
    assert ended.code == 0
    assert somebody.cursor.read_bytes() == CURSOR.encode()
    assert commands(somebody)
    # And no server runs, which is said
    assert not is_running(somebody.home)
    assert "no server runs; `blueplane start` starts one" in ended.out


def test_rest_is_installed_when_one_file_cannot_be(somebody: User) -> None:
    """Settings that do not parse are left alone, with line and column; the exit code says so."""
    # Given
    somebody.claude.write_text('{\n  "hooks": {} // mine\n}\n')
    # When
    ended = somebody.run("install", "--yes")
    # Then
    assert ended.code == LEFT_OUT
    assert re.search(rf"left out: {somebody.claude}, line 2, column \d+", ended.err)
    assert ended.out.splitlines()[-1].startswith("installed, but for what is left out above; ")
    assert "// mine" in somebody.claude.read_text()
    assert "blueplane-hook" in somebody.cursor.read_text()
    # And the next run says it again, and has nothing to do
    again = somebody.run("install")
    assert (again.code, "left out" in again.err) == (LEFT_OUT, True)
    assert again.out.endswith("nothing else to do: the rest is as it should be\n")
    # And an uninstall that must leave our hooks somewhere does not say that nothing is left
    somebody.cursor.chmod(0o400)
    gone = somebody.run("uninstall", "--purge", "--yes")
    assert gone.code == LEFT_OUT
    assert gone.out.endswith("uninstalled, but for what is left out above; the data is gone\n")


def test_command_of_another_install_stays(somebody: User) -> None:
    """What is called ``blueplane`` on the PATH and is not ours is left alone, with a note."""
    # Given what pipx puts there
    somebody.command.parent.mkdir(parents=True)
    somebody.command.symlink_to("/opt/pipx/bin/blueplane")
    # When it is installed and uninstalled
    ended = somebody.run("install", "--yes", "--no-service")
    somebody.run("uninstall", "--yes")
    # Then
    assert f"{somebody.command} leads to /opt/pipx/bin/blueplane, and stays as it is" in ended.out
    assert somebody.command.readlink() == Path("/opt/pipx/bin/blueplane")


@pytest.mark.parametrize("part", ["hooks", "service", "database", "completion"])
def test_part_is_installed_alone(somebody: User, part: str) -> None:
    """Each part can be had without the others."""
    # Given / When
    ended = somebody.run("install", part, "--yes")
    # Then it is there, and the others are not
    assert (ended.code, ended.err) == (0, "")
    completion = somebody.directory / ".local/share/bash-completion/completions/blueplane"
    there = {
        "hooks": "blueplane-hook" in somebody.cursor.read_text(),
        "service": is_running(somebody.home),
        "database": somebody.home.database.exists(),
        "completion": completion.exists(),
    }
    wanted = {part, "database"} if part == "service" else {part}
    assert {name for name, found in there.items() if found} == wanted
    # And twice is once
    assert "nothing to do" in somebody.run("install", part).out


def test_install_says_how_much_will_be_read_when_there_is_history(somebody: User) -> None:
    """The plan has it, before anything is agreed to; who wants no server reads nothing."""
    # Given
    path = somebody.directory / ".claude" / "projects" / "-work" / "odd.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b" " * 2048)
    # When
    planned = somebody.run("install", "--dry-run").out
    without = somebody.run("install", "--dry-run", "--no-service").out
    # Then
    found = re.findall(
        r"^history +(\d+) files?, (\S+ KB) that the editors keep", planned, re.MULTILINE
    )
    assert [int(files) >= 1 for files, _ in found] == [True]
    assert "\nhistory " not in without


def test_install_works_offline(somebody: User) -> None:
    """Without any network but the machine's own, it installs, and the canaries arrive."""
    # Given a namespace without a network
    if os.geteuid() != 0 or not shutil.which("unshare"):
        missing("right to make a network namespace (root, unshare)")
    # When
    ended = somebody.execute(
        "unshare", "-n", sys.executable, "-m", "blueplane", "install", "--yes",
        PYTHONPATH=str(somebody.source),
    )  # fmt: skip
    # Then
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.count("→ written") == 2


# --- completion ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_file_that_the_shell_takes(somebody: User, shell: str) -> None:
    """The shell itself reads the file, and starts nothing of us by that."""
    # Given
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"no {shell} on this machine")
    assert somebody.run("install", "completion", shell, "--yes").code == 0
    (path,) = (each for each in somebody.directory.rglob("*blueplane*") if each.is_file())
    # When a shell without the program on its PATH reads it
    words = {"zsh": ["-f", "-c", "autoload -U compinit; compinit -D; . $1", "zsh"]}
    started = [program, *words.get(shell, ["-c", '. "$0"' if shell == "bash" else "source $argv"])]
    ended = subprocess.run(
        [*started, str(path)], capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        env=somebody.environment(PATH="/usr/bin:/bin"),
    )  # fmt: skip
    # Then
    assert (ended.returncode, ended.stderr) == (0, "")


def test_bash_completes_a_command_and_its_options(somebody: User) -> None:
    """What is typed half is completed, as far as the command line knows it."""
    # Given an installed program and its completion
    assert somebody.run("install", "--yes", "--no-service").code == 0
    path = somebody.directory / ".local/share/bash-completion/completions/blueplane"

    def completed(*words: str) -> set[str]:
        script = (
            '. "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _blueplane_completion blueplane; '
            'printf "%s\\n" "${COMPREPLY[@]}"'
        )
        return set(somebody.execute("bash", "-c", script, str(path), *words).out.split())

    # When / Then
    assert completed("blueplane", "unin") == {"uninstall"}
    assert {"hooks", "service", "redis", "database"} <= completed("blueplane", "install", "")
    assert "--purge" in completed("blueplane", "uninstall", "--p")
    assert completed("blueplane", "nonsense", "") == set()
    assert completed("blueplane", "config", "set", "privacy.l") == {"privacy.level"}
    levels = completed("blueplane", "config", "set", "privacy.level", "")
    assert levels == {"strict", "balanced", "full"}
    assert completed("blueplane", "config", "set", "capture.databases", "f") == {"false"}


# --- redis ---------------------------------------------------------------------------------------


def test_redis_is_checked_and_written_down(somebody: User, redis_server: RedisServer) -> None:
    """A server that fits is described and used from then on."""
    # Given / When
    ended = somebody.run("install", "redis", "--url", redis_server.url)
    # Then
    assert (ended.code, ended.err) == (0, "")
    assert re.match(r"unix://\S+: version 7\S*, append-only file, eviction noeviction\n", ended.out)
    assert "redis.url: set" in ended.out
    assert somebody.run("config", "get", "redis.url").out == f"{redis_server.url}\n"
    # And again is nothing new
    assert "was set already" in somebody.run("install", "redis", "--url", redis_server.url).out
    # And an install names it
    assert "append-only file" in somebody.run("install", "--dry-run").out


@pytest.mark.fault("B12", "B19", "G7")
@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (("CONFIG", "SET", "maxmemory-policy", "allkeys-lru"), 4, "may evict our stream"),
        (("ACL", "SETUSER", "default", "-xreadgroup"), 4, "lacks a permission"),
        (("CONFIG", "SET", "requirepass", "sesame"), 4, "check user and password"),
        (("SET", "telemetry:epoch", "0123456789abcdef:1"), 4, "belongs to home 0123456789abcdef"),
        (("CONFIG", "SET", "appendonly", "no"), 0, "redis-cli CONFIG SET appendonly yes"),
    ],
    ids=["eviction", "permission", "password", "another home", "persistence"],
)
def test_redis_that_does_not_fit_is_not_written_down(
    somebody: User, redis_server: RedisServer, change: tuple[str, ...], code: int, said: str
) -> None:
    """What a server could never do, or does not keep, is said before it is used."""
    # Given a server with a fault, and a home
    assert somebody.run("install", "database", "--yes").code == 0
    redis_server.command(*change)
    # When
    ended = somebody.run("install", "redis", "--url", redis_server.url)
    # Then
    assert ended.code == code
    assert said in ended.out + ended.err
    assert somebody.home.config_file.exists() == (code == 0)
    assert len((ended.err).splitlines()) == (1 if code else 0)


def test_redis_without_a_password_is_a_remark(somebody: User) -> None:
    """On a port of the machine every user of it can read what is in flight."""
    # Given
    with RedisServer(tcp=True) as server:
        # When
        ended = somebody.run("install", "redis", "--url", server.url)
    # Then
    assert (ended.code, "every user of this machine can read it" in ended.out) == (0, True)


def test_redis_address_that_is_none_is_refused(somebody: User) -> None:
    """One line, and nothing is written."""
    # Given / When
    ended = somebody.run("install", "redis", "--url", "http://example.com")
    # Then
    assert (ended.code, len(ended.err.splitlines())) == (USAGE, 1)
    assert not somebody.home.config_file.exists()


# --- uninstall -----------------------------------------------------------------------------------


@pytest.mark.fault("F12")
def test_uninstall_leaves_what_was_there_before(somebody: User) -> None:
    """Every byte, link and directory outside of the data is what it was; the data stays."""
    # Given
    before = somebody.files()
    assert somebody.run("install", "--yes").code == 0
    capture(somebody, "kept")
    line = commands(somebody)["Stop"]
    assert somebody.files() != before
    # When it is uninstalled by itself
    ended = somebody.installed("uninstall", "--yes")
    # Then
    assert (ended.code, ended.err) == (0, "")
    assert somebody.files() == before
    assert not is_running(somebody.home)
    assert somebody.home.database.exists()
    assert f"stays in {somebody.home.root}" in ended.out
    # And an editor that still has the old settings in memory is not disturbed
    hook = somebody.execute("/bin/sh", "-c", line, stdin="{}")
    assert (hook.code, hook.out, hook.err) == (0, "", "")
    # And once more is nothing
    assert "nothing to do" in somebody.run("uninstall").out


def test_purge_says_the_size_and_asks(somebody: User) -> None:
    """Nothing that was captured goes without a yes; after it, nothing is left."""
    # Given
    before = somebody.files()
    assert somebody.run("install", "--yes").code == 0
    # When the answer is no / Then everything is there
    no = somebody.run("uninstall", "--purge", stdin="n\n")
    assert no.code == REFUSED
    assert re.search(r"data: [\d.]+ MB in ", no.out)
    assert re.search(r"take these \d steps, and remove [\d.]+ MB of data for good\?", no.err)
    assert is_running(somebody.home)
    # When it is yes / Then nothing is
    yes = somebody.run("uninstall", "--purge", stdin="y\n")
    assert (yes.code, yes.out.splitlines()[-1]) == (0, "uninstalled; nothing is left")
    assert somebody.files() == before
    assert not somebody.home.root.exists()


@pytest.mark.parametrize("options", [("--purge",), ()])
def test_file_that_was_left_out_is_undone_exactly_later(
    somebody: User, options: tuple[str, ...]
) -> None:
    """What it takes to give a file its bytes back stays as long as our entries are in it."""
    # Given an install, and settings that were made read-only since
    before = somebody.files()
    assert somebody.run("install", "--yes", "--no-service").code == 0
    somebody.claude.chmod(0o400)
    # When / Then everything goes but what undoes that file, and that is said
    ended = somebody.run("uninstall", "--yes", *options)
    assert ended.code == LEFT_OUT
    kept = f"{somebody.home.root}/install.json and {somebody.home.backups} stay"
    assert kept in " ".join(ended.out.split())
    if options:
        assert {path.name for path in somebody.home.root.iterdir()} == {"install.json", "backups"}
    # And once more there is nothing else to do
    again = somebody.run("uninstall", *options)
    assert again.code == LEFT_OUT
    assert "nothing else to do" in again.out
    # And when it may be written again, its bytes come back, and the rest goes
    somebody.claude.chmod(0o600)
    assert somebody.run("uninstall", "--yes", *options).code == 0
    assert somebody.files() == before
    assert somebody.home.root.exists() != bool(options)


def test_purge_refuses_a_directory_that_holds_more(somebody: User) -> None:
    """A slip of the keyboard must not cost a home directory."""
    # Given directories that are no home of ours, all of them of this test
    other = somebody.directory / "letters"
    other.mkdir()
    (other / "letter").write_text("dear")
    # When / Then
    for place in (somebody.directory, other, somebody.directory.parent):
        ended = somebody.run("uninstall", "--purge", "--yes", "--home", str(place))
        assert (ended.code, "remove it yourself" in ended.err) == (USAGE, True)
    assert (other / "letter").exists()


def test_purge_leaves_what_is_not_ours_when_it_is_in_the_home(somebody: User) -> None:
    """Whatever directory was called a home, nobody's own file in it is touched."""
    # Given a home in a directory in which somebody keeps other things, too
    place = somebody.directory / "documents"
    (place / "thesis").mkdir(parents=True)
    (place / "thesis" / "chapter").write_text("one")
    (place / "thesis.txt").write_text("all")
    assert somebody.run("install", "--yes", "--no-service", "--home", str(place)).code == 0
    # When
    ended = somebody.run("uninstall", "--purge", "--yes", "--home", str(place))
    # Then only ours is gone, and it is said what stays
    assert ended.code == 0, ended.err
    assert "stays, for this is not ours: thesis, thesis.txt" in " ".join(ended.out.split())
    assert sorted(path.name for path in place.rglob("*")) == ["chapter", "thesis", "thesis.txt"]


def test_uninstall_finds_the_program_when_its_place_was_another(somebody: User) -> None:
    """What an install put elsewhere is noted, and goes with an uninstall that looks here."""
    # Given an install by somebody whose programs were elsewhere then
    before = somebody.files()
    elsewhere = somebody.directory / "elsewhere"
    ended = somebody.run("install", "--yes", "--no-service", XDG_DATA_HOME=str(elsewhere))
    assert (ended.code, ended.err) == (0, "")
    assert str(elsewhere) in str(somebody.command.readlink())
    # When
    ended = somebody.run("uninstall", "--yes")
    # Then
    assert (ended.code, ended.err) == (0, "")
    assert f"done: remove {elsewhere}/blueplane with all versions" in ended.out
    assert somebody.files() == before


def test_service_is_left_with_its_program_when_its_manager_is_not_found(somebody: User) -> None:
    """A unit whose manager cannot be asked stays, and the program that it runs; it is said."""
    # Given an install that a service manager has run the server of
    assert somebody.run("install", "--yes", "--no-service").code == 0
    unit = somebody.directory / ".config" / "systemd" / "user" / "blueplane.service"
    making.make(somebody.home, changes.plan(unit, b"[Unit]\n", mode=0o644, why="as written"))
    making.record(somebody.home, lambda known: replace(known, service="systemd"))
    # When
    ended = somebody.run("uninstall", "--yes")
    # Then
    assert ended.code == LEFT_OUT
    assert f"{unit} is left out, and the program that it runs" in ended.err
    assert unit.exists()
    assert (somebody.programs / "current" / "blueplane").exists()
    assert not commands(somebody)
    # And when it is gone nothing else is in the way
    unit.unlink()
    assert somebody.run("uninstall", "--yes").code == 0
    assert not somebody.programs.exists()


@pytest.mark.parametrize("command", ["uninstall --yes", "doctor --fix --only hook"])
def test_command_waits_when_an_install_is_at_it(somebody: User, command: str) -> None:
    """Whoever changes what is installed does so alone: two would lose each other's notes."""
    # Given something to take out, or to mend, and an install that is at it
    assert somebody.run("install", "--yes", "--no-service").code == 0
    script = somebody.home.hooks / "blueplane-hook"
    script.chmod(0o600)
    words = [sys.executable, "-m", "blueplane", *command.split()]
    environment = somebody.environment(PYTHONPATH=str(somebody.source))
    with making.alone(somebody.home):
        # When
        process = subprocess.Popen(
            words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        wait_until(lambda: waits_for_a_lock(process.pid), PATIENCE_S, "it waits")
        # Then it has changed nothing
        assert stat.S_IMODE(script.stat().st_mode) == 0o600
        assert commands(somebody)
    # And does so when the other is through
    assert process.communicate(timeout=PATIENCE_S)[1] == b""
    assert not script.exists() or stat.S_IMODE(script.stat().st_mode) == 0o700


def waits_for_a_lock(pid: int) -> bool:
    """Say whether a process waits for a lock that another one holds."""
    lines = Path("/proc/locks").read_text().splitlines()
    return any(line.split()[1] == "->" and f" {pid} " in line for line in lines)


def test_uninstall_takes_only_ours_when_others_wrote_since(somebody: User) -> None:
    """What somebody added to a file after us stays in it; a script that was changed stays whole."""
    # Given an install, another tool that came after it, and a hand that changed our script
    assert somebody.run("install", "--yes", "--no-service").code == 0
    settings = json.loads(somebody.claude.read_text())
    settings["hooks"]["Stop"].append({"hooks": [{"type": "command", "command": "other"}]})
    somebody.claude.write_text(json.dumps(settings))
    script = somebody.home.hooks / "blueplane-hook"
    script.write_text("#!/bin/sh\n# mine now\n")
    # When
    ended = somebody.run("uninstall", "--yes")
    # Then
    assert ended.code == 0
    left = json.loads(somebody.claude.read_text())
    ours = json.loads(CLAUDE)
    ours["hooks"]["Stop"].append({"hooks": [{"type": "command", "command": "other"}]})
    assert left == ours
    assert f"{script} was changed by somebody, and stays" in ended.out
    assert script.exists()


# --- upgrade -------------------------------------------------------------------------------------


def sources(directory: Path, version: str) -> Path:
    """Copy the program with another version written into it."""
    shutil.copytree(ROOT / "src", directory, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(SCRIPT, directory.parent / "hooks" / "blueplane-hook")
    text = directory / "blueplane" / "__init__.py"
    text.write_text(text.read_text().replace(__version__, version))
    return directory


@pytest.mark.fault("F11")
def test_upgrade_takes_effect_at_once_and_loses_nothing(somebody: User, tmp_path: Path) -> None:
    """Hooks, server and command are the new version's; what came meanwhile is written."""
    # Given an old version, installed, with a server
    for name in ("old", "new"):
        shutil.copytree(ROOT / "hooks", tmp_path / name / "hooks")
        shutil.copytree(ROOT / "packaging", tmp_path / name / "packaging")
    old = User(somebody.directory, somebody.runtime, sources(tmp_path / "old" / "src", "0.0.9"))
    new = User(somebody.directory, somebody.runtime, sources(tmp_path / "new" / "src", "0.0.10"))
    before = somebody.files()
    assert old.run("install", "--yes").code == 0
    assert (server_version(somebody), somebody.installed("--version").out) == (
        "0.0.9", "blueplane 0.0.9\n"
    )  # fmt: skip
    assert manifest.load(somebody.home)[0].version == "0.0.9"
    old_version = current(somebody)
    # And an editor that works the whole time, by the settings of the old version
    script = EDITOR.replace("HOOK", commands(somebody)["Stop"])
    with subprocess.Popen(
        ["sh", "-c", script],
        env=somebody.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as editor:  # fmt: skip
        assert editor.stdin is not None
        assert editor.stdout is not None
        editor.stdin.write("go\n" * 20)
        editor.stdin.flush()
        # When the new version is installed, while the editor goes on
        assert [int(editor.stdout.readline()) for _ in range(20)][-1] == 20
        editor.stdin.write("go\n" * 100)
        editor.stdin.close()
        ended = new.run("install", "--yes")
        assert editor.wait(PATIENCE_S) == 0
    # Then everything is of the new version, and the old one is gone
    assert (ended.code, ended.err) == (0, "")
    assert "restart the server in the background" in ended.out
    assert server_version(somebody) == "0.0.10"
    assert somebody.installed("--version").out == "blueplane 0.0.10\n"
    assert manifest.load(somebody.home)[0].version == "0.0.10"
    assert not (somebody.programs / old_version).exists()
    assert "which nobody runs any more" in ended.out
    # And each event is written: 120 of the editor, and 4 canaries
    wait_until(
        lambda: server_version(somebody) and written(somebody) == 124, PATIENCE_S, "124 written"
    )
    assert stored_balance(somebody.home)["balanced"]
    # And it is upgraded once
    assert "nothing to do" in new.run("install").out
    # And uninstalled as if there had been one version
    assert new.run("uninstall", "--yes").code == 0
    assert somebody.files() == before


@pytest.mark.fault("F11")
def test_server_is_restarted_when_it_runs_what_is_not_current(somebody: User) -> None:
    """A server that was started before the program was put into its place runs something else."""
    # Given a server from the sources
    assert somebody.run("start").code == 0
    pid = somebody.run("status", "--format", "json").json["server"]["pid"]
    # When
    ended = somebody.run("install", "--yes")
    # Then
    assert ended.code == 0
    assert "restart the server in the background" in ended.out
    assert somebody.run("status", "--format", "json").json["server"]["pid"] != pid
