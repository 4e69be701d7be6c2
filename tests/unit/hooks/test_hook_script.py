"""The hook script in every shell: what it leaves behind, and that nobody hears of it."""

import os
import re
import resource
import select
import shutil
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from shlex import quote

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blueplane.capture.handoff import MAX_NAMES, NAME
from blueplane.paths import Home
from blueplane.refusal import Refusal
from helpers.redis_server import missing
from helpers.waiting import wait_until
from unit.hooks.running import (
    SCRIPT,
    Hook,
    make_hook,
    set_end,
    set_lease,
    take_names,
    without_rights,
)

PAYLOAD = b'{"hook_event_name":"Stop","prompt":"water the tulips"}'
TRAILER = b"\n\036claude_code Stop\n"
WHOLE = (PAYLOAD, "claude_code", "Stop")
CALL = ("claude_code", "Stop")
HOUR_S = 3600
DEADLINE_S = 20.0
INSTANTS = 30
STEP_S = 0.0002

#: Payloads that a shell could trip over.
HOSTILE = {
    "empty": b"",
    "newlines": b"\n\n\n",
    "no last newline": b"{}",
    "option": b"-n",
    "escapes": b"\\n \\036 \\c %s %n",
    "substitution": b"$(touch hijacked) `touch hijacked` ${HOME} $((1/0))",
    "quotes": b"'\"'; touch hijacked #",
    "every byte": bytes(range(256)),
    "bad utf-8": b"\xc3\x28\xff\xfe",
    "forged trailer": b"{}\n\036cursor stop\n",
    "megabyte": bytes(range(256)) * 4096,
}
#: Arguments that are no platform and hook name.
BAD_ARGUMENTS = {
    "none": (),
    "one": ("cursor",),
    "empty first": ("", "stop"),
    "empty second": ("cursor", ""),
    "blank": ("cursor", "a b"),
    "newline": ("cursor", "stop\n"),
    "inner newline": ("cur\nsor", "stop"),
    "path": ("../../cursor", "stop"),
    "letter outside ASCII": ("cursor", "stöp"),
    "command": ("$(touch hijacked)", "`touch hijacked`"),
    "separator": ("cursor;touch hijacked", "stop"),
    "glob": ("*", "?"),
    "bracket": ("cursor", "a]"),
    "control": ("cursor", "\036"),
}
#: Variables that a shell or the script could take for its own.
HOSTILE_VARIABLES = {
    "ours": {"n": "7", "opened": "1", "file": "/dev/null", "lease": "/etc", "home": "/nowhere"},
    "field separators": {"IFS": "/.0123456789abcdefghijklmnop"},
    "ids": {"PPID": "../../1", "PWD": "/nowhere", "OLDPWD": "/nowhere", "CDPATH": "/"},
    "no path": {"PATH": ""},
    "locale": {"LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"},
    "options": {"SHELLOPTS": "errexit:nounset:noglob", "BASHOPTS": "extglob"},
    "prompts": {"PS4": "$(touch hijacked)", "PROMPT_COMMAND": "touch hijacked"},
    "functions": {
        f"BASH_FUNC_{name}%%": "() { touch hijacked; }"
        for name in ("cat", "printf", "umask", "rm", "refuse")
    },
}


# --- the normal case -----------------------------------------------------------------------------


def test_hook_writes_one_whole_private_file_when_called(hook: Hook):
    """The file is named for the hook's process, has mode 0600, the payload and the trailer."""
    # Given a prepared home / When the hook runs
    pid = hook.run(*CALL, payload=PAYLOAD)
    # Then one file holds the event and nothing was refused
    assert hook.files() == {f"{pid}.{os.getpid()}.0": PAYLOAD + TRAILER}
    assert all(NAME.match(name) for name in hook.files())
    assert hook.refused() == ""


def test_hook_loses_nothing_when_many_run_at_once(hook: Hook):
    """Hooks that run at the same time each leave their own whole event."""
    # Given forty different payloads
    payloads = [b'{"n":%d}' % number for number in range(40)]
    # When eight hooks at a time hand them off
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda payload: hook.run(*CALL, payload=payload), payloads))
    # Then each is there once
    assert sorted(event[0] for event in hook.events() if event) == sorted(payloads)


def test_hook_forks_once_when_it_captures_and_never_when_full(home: Home):
    """The normal path costs one process, cat, and a refusal costs none."""
    if not shutil.which("strace"):
        missing("strace")
    # Given a tracer that sees every new process, and a pause that is over
    set_end(home, "paused-until", -HOUR_S)
    trace = home.root / "trace"
    tracer = ("strace", "-f", "-o", str(trace), "-e", "trace=fork,vfork,clone,clone3")
    hook = replace(make_hook("shebang", home), argv=tracer)
    # When the hook captures, and then finds the spool full
    hook.run(*CALL)
    captured = re.findall(r"^\d+ +v?(?:fork|clone3?)\(", trace.read_text(), re.MULTILINE)
    (home.run / "full").touch()
    hook.run(*CALL)
    refused = re.findall(r"^\d+ +v?(?:fork|clone3?)\(", trace.read_text(), re.MULTILINE)
    # Then it made one process, and none
    assert (len(captured), len(refused)) == (1, 0)
    assert hook.refused() == "f"


def test_hook_script_keeps_its_form_when_installed():
    """The installer finds one line ``home=``, and editors find an executable for ``sh``."""
    # Given the script
    lines = SCRIPT.read_text().splitlines()
    # When its form is looked at / Then it is what the installer counts on
    assert lines[0] == "#!/bin/sh"
    assert len([line for line in lines if line.startswith("home=")]) == 1
    assert len(lines) <= 40
    assert os.access(SCRIPT, os.X_OK)


# --- hostile input -------------------------------------------------------------------------------


@pytest.mark.fault("G12")
@pytest.mark.parametrize("payload", HOSTILE.values(), ids=HOSTILE)
def test_hook_keeps_every_byte_when_the_payload_is_hostile(
    hook: Hook, payload: bytes, tmp_path: Path
):
    """The payload only ever flows through cat: nothing in it is read by the shell."""
    # Given a payload that a shell could trip over / When the hook runs
    hook.run(*CALL, payload=payload, cwd=tmp_path)
    # Then it arrives unchanged, and nothing was carried out
    assert list(hook.files().values()) == [payload + TRAILER]
    assert not (tmp_path / "hijacked").exists()


@pytest.mark.fault("G12")
@pytest.mark.parametrize("arguments", BAD_ARGUMENTS.values(), ids=BAD_ARGUMENTS)
def test_hook_counts_a_refusal_when_an_argument_is_bad(
    hook: Hook, arguments: tuple[str, ...], tmp_path: Path
):
    """Arguments outside A-Z a-z 0-9 _ - capture nothing and are counted with x."""
    # Given bad arguments and a locale with more letters
    hook = hook.with_environment(LC_ALL="C.UTF-8")
    # When the hook runs
    hook.run(*arguments, cwd=tmp_path)
    # Then nothing is captured or carried out, and the letter is there
    assert (hook.files(), hook.refused()) == ({}, "x")
    assert not (tmp_path / "hijacked").exists()


@pytest.mark.parametrize("word", ["-", "--", "-n", "-e", "_", "0", "A-z_9", "a" * 10_000])
def test_hook_captures_when_a_good_argument_looks_odd(hook: Hook, word: str):
    """Words of the allowed characters are taken as they are, also where they look like options."""
    # Given an odd word / When the hook runs
    hook.run(word, word, payload=PAYLOAD)
    # Then it stands in the trailer
    assert hook.events() == [(PAYLOAD, word, word)]


@pytest.mark.fault("G12")
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(word=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9))
def test_hook_takes_or_refuses_any_argument_when_given_it(hook: Hook, word: str):
    """An argument is captured exactly when it has only the allowed characters."""
    # Given an empty spool
    shutil.rmtree(hook.home.spool)
    hook.home.spool.mkdir()
    (hook.home.run / "refused").unlink(missing_ok=True)
    # When the hook runs with any text for a name
    hook.run("cursor", word, payload=PAYLOAD)
    # Then it is captured under that name, or refused with x
    good = re.fullmatch(r"[A-Za-z0-9_-]+", word)
    assert hook.events() == ([(PAYLOAD, "cursor", word)] if good else [])
    assert hook.refused() == ("" if good else "x")


@pytest.mark.fault("G12")
@pytest.mark.parametrize("variables", HOSTILE_VARIABLES.values(), ids=HOSTILE_VARIABLES)
def test_hook_captures_when_the_environment_is_hostile(
    hook: Hook, variables: dict[str, str], tmp_path: Path
):
    """No variable that an editor passes on changes what the hook does."""
    # Given an environment that aims at the script
    hook = hook.with_environment(**variables)
    # When the hook runs
    pid = hook.run(*CALL, payload=PAYLOAD, cwd=tmp_path)
    # Then the event has its name and place, and nothing was carried out
    assert hook.files() == {f"{pid}.{os.getpid()}.0": PAYLOAD + TRAILER}
    assert not (tmp_path / "hijacked").exists()


@pytest.mark.fault("G12")
def test_hook_keeps_the_builtins_when_bash_imports_functions_of_their_names(
    home: Home, tmp_path: Path
):
    """Functions in the environment cannot stand in for what the script calls."""
    # Given functions that only plain bash takes over (as sh it refuses to start)
    names = ("[", "unset", "trap", "exit", "set")
    hook = make_hook("bash", home)
    for name in names:
        hook = hook.with_environment(**{f"BASH_FUNC_{name}%%": "() { touch hijacked; }"})
    # When the hook runs
    hook.run(*CALL, payload=PAYLOAD, cwd=tmp_path)
    # Then it captured with the builtins
    assert hook.events() == [WHOLE]
    assert not (tmp_path / "hijacked").exists()


@pytest.mark.fault("G13")
def test_hook_runs_nothing_of_the_directory_when_it_is_hostile(hook: Hook, tmp_path: Path):
    """Programs and start-up files that a repository brings along are never run."""
    # Given a directory full of traps, first on the PATH
    for name in ("cat", "rm", "printf", "umask", "[", "env", ".profile", "env.sh"):
        trap = tmp_path / name
        trap.write_text(f"#!/bin/sh\ntouch {quote(str(tmp_path / 'hijacked'))}\n")
        trap.chmod(0o755)
    hook = hook.with_environment(PATH=f".:{tmp_path}", ENV="./env.sh")
    if hook.argv != ("bash",):  # plain bash runs BASH_ENV before the script's first line
        hook = hook.with_environment(BASH_ENV="./env.sh")
    # When the hook runs there
    hook.run(*CALL, payload=PAYLOAD, cwd=tmp_path)
    # Then the event is whole and no trap was sprung
    assert hook.events() == [WHOLE]
    assert not (tmp_path / "hijacked").exists()


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_hook_stays_silent_when_a_stream_is_closed(hook: Hook, closed: int):
    """A closed output changes nothing; a closed input leaves nothing that is whole."""
    # Given a child with one of its standard streams closed / When the hook runs
    hook.run(*CALL, payload=PAYLOAD, preexec_fn=lambda: os.close(closed))
    # Then the event is whole unless there was nothing to read it from
    assert hook.events() == ([None] if closed == 0 else [WHOLE])
    assert closed != 0 or list(hook.files().values()) == [b""]


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.fault("F5")
@pytest.mark.parametrize(("flag", "letter"), [("full", "f"), ("paused", "p")])
def test_hook_counts_a_refusal_when_a_flag_is_up(hook: Hook, flag: str, letter: str):
    """A full or paused spool gets no file, whatever is in the flag, and the letter says why."""
    # Given the flag, with an end time that is long over
    (hook.home.run / flag).write_text("1000000000")
    # When the hook runs twice
    hook.run(*CALL)
    hook.run(*CALL)
    # Then nothing was captured and both are counted
    assert (hook.files(), hook.refused()) == ({}, letter * 2)


def test_hook_script_knows_the_letters_that_are_counted():
    """Each letter that it may note has a meaning, and each meaning is one that it notes."""
    # Given / When
    letters = re.findall(r"\brefuse ([a-z])\b", SCRIPT.read_text())
    # Then
    assert set(letters) == set(Refusal)


@pytest.mark.parametrize("content", [b"", b"x" * 10])
def test_hook_keeps_the_letters_when_it_adds_one(hook: Hook, content: bytes):
    """A refusal is appended to the letters that stand there."""
    # Given letters of before
    (hook.home.run / "refused").write_bytes(content)
    # When a hook without arguments runs
    hook.run()
    # Then its letter is the last
    assert hook.refused() == content.decode() + "x"


@pytest.mark.parametrize(
    ("seconds", "letters", "events"), [(-HOUR_S, "l", []), (HOUR_S, "", [WHOLE])]
)
def test_hook_heeds_the_lease_when_there_is_one(
    hook: Hook, seconds: int, letters: str, events: list[object]
):
    """A lease that has run out refuses with l and leaves no file; a running one changes nothing."""
    # Given a lease
    set_lease(hook.home, seconds)
    # When the hook runs
    hook.run(*CALL, payload=PAYLOAD)
    # Then it captured only within the lease
    assert (hook.refused(), hook.events()) == (letters, events)


@pytest.mark.parametrize(
    ("seconds", "letters", "events"), [(HOUR_S, "p", []), (-HOUR_S, "", [WHOLE])]
)
def test_hook_heeds_the_end_of_a_pause_when_there_is_one(
    hook: Hook, seconds: int, letters: str, events: list[object]
):
    """Until a pause is over the hook refuses with p and leaves no file; then it captures again."""
    # Given a pause with an end, and a lease that has run out only where there is a pause
    set_end(hook.home, "paused-until", seconds)
    set_lease(hook.home, -seconds)
    # When the hook runs
    hook.run(*CALL, payload=PAYLOAD)
    # Then the pause decides
    assert (hook.refused(), hook.events()) == (letters, events)


def test_hook_writes_nothing_of_a_payload_when_paused(home: Home):
    """In a pause, with an end or without one, no byte of the event reaches the disk."""
    if not shutil.which("strace"):
        missing("strace")
    trace = home.root / "trace"
    tracer = ("strace", "-f", "-s", "9999", "-o", str(trace), "-e", "trace=write,read")
    hook = replace(make_hook("shebang", home), argv=tracer)
    # Given a pause of each kind
    for make in (lambda: set_end(home, "paused-until", HOUR_S), (home.run / "paused").touch):
        make()
        # When the hook runs
        hook.run(*CALL, payload=PAYLOAD)
        # Then nobody has read the payload, and the letter is the first that was written
        assert "tulips" not in trace.read_text()
        written = (line for line in trace.read_text().splitlines() if "write(" in line)
        assert re.search(r'write\(1, "p", 1\) += 1$', next(written))
    assert hook.refused() == "pp"


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.fault("F5")
@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_bytes(b"left behind"),
        Path.touch,
        Path.mkdir,
        lambda path: path.symlink_to("../elsewhere"),
        lambda path: path.symlink_to("../refused"),
    ],
    ids=["file", "empty file", "directory", "dangling link", "link"],
)
def test_hook_takes_the_next_name_when_names_are_taken(hook: Hook, make: Callable[[Path], object]):
    """What stands under a name is neither written to nor followed."""
    # Given three taken names, a file that a link may lead to, and a variable that means "opened"
    hook = hook.with_environment(opened="1")
    (hook.home.root / "refused").touch()
    taken = take_names(hook.home.spool, 3, make)
    # When the hook runs
    pid = hook.run(*CALL, payload=PAYLOAD, preexec_fn=taken)
    # Then the fourth name has the event, and the others are as they were
    names = [f"{pid}.{os.getpid()}.{number}" for number in range(4)]
    assert sorted(path.name for path in hook.home.spool.iterdir()) == sorted(names)
    assert (hook.home.spool / names[3]).read_bytes() == PAYLOAD + TRAILER
    others = [hook.home.spool / name for name in names[:3]]
    assert {path.read_bytes() for path in others if path.is_file()} <= {b"", b"left behind"}
    assert not (hook.home.root / "elsewhere").exists()


@pytest.mark.fault("F5")
def test_hook_counts_a_refusal_when_every_name_is_taken(hook: Hook):
    """After fifty names the event is refused with c; one fewer and it is captured."""
    # Given a spool where the hook's names are all taken, and then all but the last
    # When the hook runs
    hook.run(*CALL, preexec_fn=take_names(hook.home.spool, MAX_NAMES, Path.touch))
    first = hook.refused(), set(hook.files().values())
    hook.run(
        *CALL, payload=PAYLOAD, preexec_fn=take_names(hook.home.spool, MAX_NAMES - 1, Path.touch)
    )
    # Then the first event is refused and the second is there
    assert first == ("c", {b""})
    assert hook.refused() == "c"
    assert PAYLOAD + TRAILER in hook.files().values()


# --- a home that is not as it should be ----------------------------------------------------------


@pytest.mark.parametrize("missing", ["spool", "run", "both", "home"])
def test_hook_stays_silent_when_directories_are_missing(hook: Hook, tmp_path: Path, missing: str):
    """Whatever part of the home is gone, nothing is made in its place and nobody hears of it."""
    # Given a home that lacks something
    home = Home(tmp_path / "partial")
    for name in {"spool": ["run"], "run": ["spool"], "both": [""], "home": []}[missing]:
        (home.root / name).mkdir(parents=True)
    hook = replace(hook, home=home).with_environment(BLUEPLANE_HOME=str(home.root))
    # When the hook runs
    hook.run(*CALL, payload=PAYLOAD)
    # Then what could be done was done, and no more
    assert home.spool.exists() == (missing == "run")
    assert hook.refused() == ("c" if missing == "spool" else "")
    assert missing != "run" or hook.events() == [WHOLE]


def test_hook_counts_a_refusal_when_the_spool_is_a_file(hook: Hook):
    """A file in the place of the spool costs the event and is not written to."""
    # Given a file where the spool should be
    hook.home.spool.rmdir()
    hook.home.spool.touch()
    # When the hook runs
    hook.run(*CALL)
    # Then the refusal is counted
    assert (hook.home.spool.read_bytes(), hook.refused()) == (b"", "c")


@pytest.mark.parametrize("closed", ["spool", "run", "both"])
def test_hook_stays_silent_when_it_may_not_write(public_hook: Hook, closed: str):
    """A spool or run directory without the right to write to it is no reason to speak."""
    # Given a user without rights and directories that only others may write to
    home = public_hook.home
    for directory in {"spool": [home.spool], "run": [home.run]}.get(closed, [home.spool, home.run]):
        directory.chmod(0o555)
    # When the hook runs (run says nothing unless it was silent)
    public_hook.run(*CALL, payload=PAYLOAD, preexec_fn=without_rights)
    # Then it captured, or counted, where it could
    assert public_hook.events() == ([WHOLE] if closed == "run" else [])
    assert public_hook.refused() == ("c" if closed == "spool" else "")


ODD_HOMES = {
    "spaces": " two  blanks ",
    "unicode": "häus-λ-家",
    "newline": "new\nline",
    "quotes": 'it\'s "quoted"',
    "substitution": "$(touch hijacked)`touch hijacked`$HOME",
    "option": "-n",
    "glob": "*[a]?",
    "backslash": "back\\slash\\",
    "long": "/".join(["d" * 200] * 15),
}


@pytest.mark.parametrize("installed", [False, True], ids=["variable", "installed"])
@pytest.mark.parametrize("name", ODD_HOMES.values(), ids=ODD_HOMES)
def test_hook_captures_when_the_home_has_an_odd_name(
    hook: Hook,
    tmp_path: Path,
    name: str,
    installed: bool,
):
    """The home may have any name, by the variable or by the line that the installer writes."""
    # Given a home with an odd name
    home = Home(tmp_path / name)
    home.spool.mkdir(parents=True)
    hook = replace(hook, home=home).with_environment(BLUEPLANE_HOME=str(home.root))
    if installed:
        script = tmp_path / "hook"
        line = f"home={quote(str(home.root))} "
        script.write_text(re.sub(r"(?m)^home=\S+ ", lambda _: line, SCRIPT.read_text()))
        script.chmod(0o755)
        hook = replace(hook, script=script, environment={"HOME": "/nowhere"})
    # When the hook runs
    hook.run(*CALL, payload=PAYLOAD, cwd=tmp_path)
    # Then the event is there
    assert hook.events() == [WHOLE]
    assert not (tmp_path / "hijacked").exists()


def test_hook_stays_silent_when_the_home_is_too_long(hook: Hook):
    """A home beyond what the system can open costs the event, nothing else."""
    # Given a path of 100,000 characters
    hook = hook.with_environment(BLUEPLANE_HOME="/" + "d/" * 50_000)
    # When the hook runs / Then it is silent and the real spool has nothing
    hook.run(*CALL)
    assert hook.files() == {}


@pytest.mark.parametrize(
    ("variables", "captures"),
    [
        ({"HOME": "{root}/user"}, True),
        ({"HOME": "{root}/user", "BLUEPLANE_HOME": ""}, True),
        ({"HOME": "{root}/other", "BLUEPLANE_HOME": "{root}/user/.blueplane"}, True),
        ({"HOME": ""}, False),
        ({"HOME": "user"}, False),
        ({"HOME": "{root}/other", "BLUEPLANE_HOME": "user/.blueplane"}, False),
    ],
    ids=["HOME", "empty variable", "variable first", "empty HOME", "relative HOME", "relative"],
)
def test_hook_finds_the_home_when_variables_say_so(
    hook: Hook,
    tmp_path: Path,
    variables: dict[str, str],
    captures: bool,
):
    """BLUEPLANE_HOME counts first, then HOME; a relative path is never looked for."""
    # Given a home below the current directory
    home = Home(tmp_path / "user" / ".blueplane")
    home.spool.mkdir(parents=True)
    environment = {name: value.format(root=tmp_path) for name, value in variables.items()}
    hook = replace(hook, home=home, environment=environment)
    # When the hook runs
    hook.run(*CALL, payload=PAYLOAD, cwd=tmp_path)
    # Then it is found by a full path only
    assert hook.events() == ([WHOLE] if captures else [])


def test_hook_stays_silent_when_home_is_not_set(hook: Hook, tmp_path: Path):
    """Without HOME and BLUEPLANE_HOME nothing is captured and nothing is made."""
    # Given an empty environment / When the hook runs
    hook = replace(hook, environment={})
    if hook.argv == ("zsh",):  # zsh asks the system for the home, here the user's own
        hook = hook.with_environment(HOME="")
    hook.run(*CALL, cwd=tmp_path)
    # Then nothing is there
    assert (hook.files(), hook.refused()) == ({}, "")


@pytest.mark.fault("G10")
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_hook_makes_private_files_when_the_umask_is_any(hook: Hook, umask: int):
    """Spool files and the letters have mode 0600 from the start, whatever umask is inherited."""
    # Given an inherited umask / When the hook captures, and refuses
    hook.run(*CALL, payload=PAYLOAD, preexec_fn=lambda: os.umask(umask))
    hook.run(preexec_fn=lambda: os.umask(umask))
    # Then both files are the user's alone
    paths = [*hook.home.spool.iterdir(), hook.home.run / "refused"]
    assert [stat.S_IMODE(path.stat().st_mode) for path in paths] == [0o600, 0o600]


# --- death and a full disk -----------------------------------------------------------------------


@pytest.mark.fault("A1")
def test_hook_leaves_no_file_a_beginning_or_a_whole_when_killed_at_any_instant(
    hook: Hook, tmp_path: Path
):
    """Whenever the hook dies, the spool has nothing, the beginning of the file, or all of it."""
    # Given a payload that takes several writes
    source = tmp_path / "payload"
    source.write_bytes(PAYLOAD * 5000)
    whole = source.read_bytes() + TRAILER
    # When hooks are killed with all they started, each a little later
    for instant in range(INSTANTS):
        _kill_after(hook, source, instant * STEP_S)
        # Then what is there is a beginning of the whole file
        for path in hook.home.spool.iterdir():
            assert whole.startswith(path.read_bytes())
            path.unlink()
    # And a hook that is not killed leaves the whole
    _kill_after(hook, source, DEADLINE_S)
    assert list(hook.files().values()) == [whole]


def _kill_after(hook: Hook, source: Path, seconds: float) -> None:
    """Start a hook and kill its process group after ``seconds``, unless it has ended before."""
    reader, writer = os.pipe()
    with source.open("rb") as stream:
        process = hook.start(*CALL, stdin=stream, start_new_session=True, pass_fds=(writer,))
    os.close(writer)
    select.select([reader], [], [], seconds)  # readable when the last process has ended
    os.close(reader)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=DEADLINE_S)


@pytest.mark.fault("A1")
@pytest.mark.parametrize("victim", ["group", "shell", "cat"])
def test_hook_leaves_no_trailer_when_killed_while_the_editor_writes(hook: Hook, victim: str):
    """Half a payload is never taken for a whole one, whichever process dies."""
    # Given a hook that has copied half of its payload and waits for more
    reader, writer = os.pipe()
    process = hook.start(*CALL, start_new_session=True, pass_fds=(writer,))
    os.close(writer)
    assert process.stdin is not None
    process.stdin.write(PAYLOAD)
    process.stdin.flush()
    wait_until(lambda: [*hook.files().values()] == [PAYLOAD], DEADLINE_S, "half of the payload")
    # When one of its processes is killed, and then the editor closes its end
    [cat] = psutil.Process(process.pid).children()
    if victim == "group":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        os.kill(process.pid if victim == "shell" else cat.pid, signal.SIGKILL)
    printed = process.communicate(timeout=DEADLINE_S)
    assert select.select([reader], [], [], DEADLINE_S)[0], "a process of the hook lives on"
    os.close(reader)
    # Then the file has no trailer; where the shell lives it still is silent and ends with 0
    assert [*hook.files().values()] == [PAYLOAD]
    assert victim != "cat" or (process.returncode, *printed) == (0, b"", b"")


@pytest.mark.fault("A1")
def test_hook_ends_as_it_began_when_its_file_is_replaced_meanwhile(hook: Hook, tmp_path: Path):
    """An upgrade that writes over the script does not change a hook that is running."""
    # Given a running copy of the script that waits for its payload
    script = tmp_path / "hook"
    shutil.copy(SCRIPT, script)
    process = replace(hook, script=script).start(*CALL)
    wait_until(hook.files, DEADLINE_S, "the spool file")
    # When the same file gets another content and the payload comes
    script.write_text("echo overwritten; exit 2\n" * 200)
    printed = process.communicate(PAYLOAD, DEADLINE_S)
    # Then the hook ends as the script that it was
    assert (process.returncode, *printed) == (0, b"", b"")
    assert hook.events() == [WHOLE]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a file system of 64 KB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    directory = tmp_path / "disk"
    directory.mkdir()
    options = "size=64k,nr_inodes=20,mode=700"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)]
    if subprocess.run(mount, check=False, timeout=30).returncode:
        pytest.skip("mounting is not allowed here")
    yield directory
    subprocess.run(["umount", "-l", str(directory)], check=True, timeout=30)


@pytest.mark.fault("C2")
def test_hook_stays_silent_when_the_disk_is_full(hook: Hook, small_disk: Path):
    """A disk that fills up within the payload, or is full, costs the event and nothing else."""
    # Given a home on a small disk
    home = Home(small_disk)
    home.spool.mkdir()
    home.run.mkdir()
    hook = replace(hook, home=home).with_environment(BLUEPLANE_HOME=str(small_disk))
    # When a hook fills the disk and another finds it full
    hook.run(*CALL, payload=b"x" * 100_000)
    hook.run(*CALL, payload=PAYLOAD)
    # Then nothing looks like a whole event
    assert hook.events() == [None, None]
    # And when there is room again the next hook captures
    for path in home.spool.iterdir():
        path.unlink()
    hook.run(*CALL, payload=PAYLOAD)
    assert hook.events() == [WHOLE]


@pytest.mark.fault("C2")
def test_hook_stays_silent_when_the_disk_has_no_inode_left(hook: Hook, small_disk: Path):
    """A disk that can hold no new file refuses the event, counted where the tally exists."""
    # Given a home on a disk whose last inode is taken
    home = Home(small_disk)
    home.spool.mkdir()
    home.run.mkdir()
    (home.run / "refused").touch()
    hook = replace(hook, home=home).with_environment(BLUEPLANE_HOME=str(small_disk))
    with pytest.raises(OSError, match="No space"):
        take_names(small_disk, 100, Path.touch)()
    # When the hook runs
    hook.run(*CALL)
    # Then it is counted
    assert (hook.files(), hook.refused()) == ({}, "c")


@pytest.mark.fault("C2")
@pytest.mark.parametrize("short", [0, 1, 5, len(TRAILER) - 1])
def test_hook_leaves_no_trailer_when_it_cannot_write_all_of_it(hook: Hook, short: int):
    """Every byte of the trailer counts: with one too few, the file is not whole."""
    # Given a limit for files that ends ``short`` bytes before the end of the trailer
    limit = len(PAYLOAD + TRAILER) - short

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it, editors do not

    # When the hook runs
    hook.run(*CALL, payload=PAYLOAD, preexec_fn=limited)
    # Then only the event that fitted is whole
    assert hook.events() == [None if short else WHOLE]


@pytest.mark.fault("A1")
def test_hook_stays_silent_when_it_cannot_fork(public_hook: Hook):
    """Where no process may be started, the shell's own exit code 2 does not reach the editor."""
    if public_hook.argv[:1] in {("bash",), ("sh",), ("zsh",)}:
        pytest.skip("bash tries for 15 s; zsh ends with 1, which blocks nothing")

    def no_processes() -> None:
        without_rights()
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))

    # Given a user who may start no process / When the hook runs
    public_hook.run(*CALL, payload=PAYLOAD, preexec_fn=no_processes)
    # Then an empty file says that there was an event
    assert list(public_hook.files().values()) == [b""]
