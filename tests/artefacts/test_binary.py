"""The executable: unpacked once, whole or not at all, and then run with nothing around it."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from blueplane import __version__
from helpers.artefacts import TOOLS, Done, assert_works, bare, run
from helpers.redis_server import missing
from helpers.smallfs import SmallFs
from helpers.waiting import wait_until

PATIENCE_S = 30.0
EXIT_SYSTEM = 4
#: First runs at the same time.
AT_ONCE = 6
VERSION = f"blueplane {__version__}\n"
#: The home of the user in a root directory of its own.
INSIDE = Path("/home/u")
#: Hooks of others.
FOREIGN = {
    ".cursor/hooks.json": '{"version": 1, "hooks": {"stop": [{"command": "true"}]}}\n',
    ".claude/settings.json": '{\n\t"model": "some",\n\t"hooks": {}\n}',
}
#: Tells what it was started with, and is a Redis then.
WRAPPER = """#!/bin/sh
printf %s "${{LD_LIBRARY_PATH-none}}" >{told}
exec {server} "$@"
"""


def versions(data: Path) -> Path:
    """Return where the executable unpacks itself below a data directory."""
    return data / "blueplane" / "versions"


def of(user_home: Path) -> Path:
    """Return the same for the default data directory of a user."""
    return versions(user_home / ".local" / "share")


def start(binary: Path, user_home: Path) -> subprocess.Popen[str]:
    """Start `--version` in a process group of its own."""
    return subprocess.Popen(
        [binary, "--version"], env=bare(user_home, PATH=TOOLS), cwd="/", text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        preexec_fn=heed_interrupts,  # noqa: PLW1509 - no threads
    )  # fmt: skip


def heed_interrupts() -> None:
    """Undo what a shell does to programs that it runs in the background: no trap can."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def assert_refused(done: Done, words: str) -> None:
    """Assert that it ended with one line that says why."""
    assert done.returncode == EXIT_SYSTEM
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("blueplane: ")
    assert words in done.stderr


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallFs]:
    """Give a file system that is too small for the program."""
    with SmallFs(tmp_path / "small", 8) as disk:
        yield disk


# --- it works -------------------------------------------------------------------------------------


@pytest.mark.parametrize("variables", [{}, {"PATH": TOOLS}], ids=["nothing", "path"])
def test_executable_works_when_nothing_is_around_it(
    binary: Path, user_home: Path, variables: dict[str, str]
) -> None:
    """A home is all that it needs: no Python, no Redis, no PATH."""
    # Given an environment with a home
    # When / Then it serves a canary with the Redis that it brings
    assert_works([binary], bare(user_home, **variables))


def test_executable_is_unpacked_once(binary: Path, user_home: Path) -> None:
    """The first run unpacks it into the place of its version; a later one leaves that alone."""
    # Given a first run
    first = run([binary, "--version"], bare(user_home))
    (tree,) = of(user_home).iterdir()
    before = tree.stat().st_ctime_ns
    # When
    later = run([binary, "--version"], bare(user_home))
    # Then
    assert first.stdout == later.stdout == VERSION
    assert tree.name.startswith(f"{__version__}-")
    assert tree.stat().st_ctime_ns == before
    assert list(of(user_home).iterdir()) == [tree]
    assert (tree / "LICENCES.txt").is_file()
    assert not any(path.stat().st_mode & 0o022 for path in tree.rglob("*"))


def test_later_run_needs_only_the_head_of_the_file(
    binary: Path, user_home: Path, tmp_path: Path
) -> None:
    """A later run unpacks nothing and asks no tool: the first lines of the file are enough."""
    # Given a first run, and then no more than the lines before the packed program
    run([binary, "--version"], bare(user_home))
    head = tmp_path / "head"
    head.write_bytes(binary.read_bytes().partition(b"\n}\n")[0] + b"\n}\n")
    # When
    later = run(["/bin/sh", head, "--version"], bare(user_home, PATH="/nowhere"))
    # Then
    assert (later.stdout, later.stderr) == (VERSION, "")


def test_install_removes_other_versions_that_nobody_runs(
    binary: Path, user_home: Path, tmp_path: Path
) -> None:
    """Of other versions only one that runs stays, and it goes once it has ended."""
    # Given two other versions, of which one serves another home
    environment = bare(user_home, PATH=TOOLS)
    run([binary, "--version"], environment)
    (tree,) = of(user_home).iterdir()
    idle, used = (tree.with_name(f"0.0.{digit}-{digit * 12}") for digit in "12")
    for other in (idle, used):
        shutil.copytree(tree, other, symlinks=True)
    server = subprocess.Popen(
        [used / "blueplane", "serve", "--home", tmp_path / "other"], env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        # When
        assert run([binary, "install", "--yes"], environment).returncode == 0
        # Then
        assert set(of(user_home).iterdir()) == {tree, used}
        # When it has ended, and there is something to install again
        server.terminate()
        server.wait(PATIENCE_S)
        of(user_home).with_name("current").unlink()
        assert run([binary, "install", "--yes"], environment).returncode == 0
        # Then
        assert list(of(user_home).iterdir()) == [tree]
    finally:
        server.kill()
        server.wait(PATIENCE_S)
        run([binary, "stop"], environment)


@pytest.mark.parametrize("given", [None, "/usr/lib/somewhere"])
def test_programs_of_the_system_get_their_own_libraries(
    binary: Path, user_home: Path, tmp_path: Path, given: str | None
) -> None:
    """A child gets the LD_LIBRARY_PATH of the user, not that of the frozen program."""
    # Given a Redis of the system that tells what it was started with
    server = shutil.which("redis-server") or missing("redis-server")
    told, wrapper = tmp_path / "told", tmp_path / "wrapper"
    wrapper.write_text(WRAPPER.format(told=told, server=server))
    wrapper.chmod(0o755)
    chosen = {"LD_LIBRARY_PATH": given} if given else {}
    environment = bare(user_home, PATH=TOOLS, BLUEPLANE_REDIS_SERVER=str(wrapper), **chosen)
    # When
    served = run([binary, "serve", "--canary", "--once"], environment)
    # Then
    assert served.returncode == 0, served.stderr
    assert told.read_text() == (given or "none")


def test_executable_works_when_all_there_is_is_a_c_library_and_zlib(
    binary: Path, user_home: Path, tmp_path: Path
) -> None:
    """In a root with these two and busybox it serves a canary: nothing else is needed."""
    if os.geteuid() != 0:
        missing("right to change the root (root)")
    # Given a root with the libraries that the unpacked program asks the system for
    root = make_root(tmp_path / "root", binary, user_home)
    # When
    served = inside(root, "/blueplane", "serve", "--canary", "--once")
    # Then
    assert served.returncode == 0, served.stdout + served.stderr
    assert "captured 1 = written 1" in served.stdout


def test_executable_installs_captures_and_uninstalls_in_an_empty_root(
    binary: Path, user_home: Path, tmp_path: Path
) -> None:
    """From the first run to the last, with nothing around it: every part is in the one file."""
    if os.geteuid() != 0:
        missing("right to change the root (root)")
    # Given such a root, and a user of both editors who has hooks already
    root = make_root(tmp_path / "root", binary, user_home)
    home = root / INSIDE.relative_to("/")
    settings = {name: home / name for name in (".cursor/hooks.json", ".claude/settings.json")}
    for name, path in settings.items():
        path.parent.mkdir()
        path.write_text(FOREIGN[name])
    program = str(INSIDE / ".local" / "bin" / "blueplane")
    try:
        # When it is installed / Then an event has taken the road of each editor
        installed = inside(root, "/blueplane", "install", "--yes")
        assert installed.returncode == 0, installed.stdout + installed.stderr
        assert installed.stdout.count("\ncanary through ") == len(settings)
        # When an editor runs the hook / Then the event is written
        hooks = json.loads(settings[".claude/settings.json"].read_text())["hooks"]
        command = hooks["SessionStart"][0]["hooks"][0]["command"]
        payload = json.dumps({"session_id": "s-1", "hook_event_name": "SessionStart"})
        fired = inside(root, "/bin/sh", "-c", command, text=payload)
        assert (fired.returncode, fired.stdout, fired.stderr) == (0, "", "")
        wait_until(lambda: written(root, program) == 1, PATIENCE_S, "it is written")
        # And the doctor finds nothing that fails
        checked = inside(root, program, "doctor")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        # When it is uninstalled / Then the settings are what they were, and the program is gone
        removed = inside(root, program, "uninstall", "--yes")
        assert removed.returncode == 0, removed.stdout + removed.stderr
        assert {name: path.read_text() for name, path in settings.items()} == FOREIGN
        assert not (home / ".local" / "share" / "blueplane").exists()
        assert not os.path.lexists(root / program.removeprefix("/"))
    finally:
        inside(root, "/blueplane", "stop")


def inside(root: Path, *command: str, text: str = "") -> Done:
    """Run a command in a root directory of its own."""
    mounted = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'
    return subprocess.run(
        ["unshare", "--mount", "/bin/sh", "-c", mounted, str(root), *command],
        env=bare(INSIDE, PATH=f"{TOOLS}:/usr/sbin:/sbin"), input=text, capture_output=True,
        text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip


def written(root: Path, program: str) -> int:
    """Return how many events the server in a root directory has written."""
    answer = json.loads(inside(root, program, "status", "--format", "json").stdout)
    return int(answer["total"]["written"])


def make_root(root: Path, binary: Path, user_home: Path) -> Path:
    """Make a root directory with busybox, the program, and the libraries that both need."""
    run([binary, "--version"], bare(user_home))
    (tree,) = of(user_home).iterdir()
    busybox = shutil.which("busybox") or missing("busybox")
    for name in ("bin", "dev", "home/u", "proc", "tmp"):
        (root / name).mkdir(parents=True)
    (root / "usr").mkdir()
    (root / "usr" / "bin").symlink_to("/bin")
    shutil.copy(busybox, root / "bin" / "busybox")
    # The program finds what it brings only once it runs: until then it needs the system's zlib.
    brought = {path.name for path in tree.rglob("*")}
    later = {
        each for each in asked_for(filter(is_program, tree.rglob("*"))) if each.name not in brought
    }
    for library in later | asked_for([Path(busybox), tree / "blueplane"]):
        target = root / library.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, target)
    for applet in subprocess.check_output([busybox, "--list"], text=True).split():
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    for name, minor in (("null", 3), ("zero", 5), ("random", 8), ("urandom", 9)):
        os.mknod(root / "dev" / name, 0o020666, os.makedev(1, minor))
    shutil.copy(binary, root / "blueplane")
    return root


def asked_for(programs: Iterable[Path]) -> set[Path]:
    """Return the libraries of the system that programs ask for."""
    done = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False)
    return {Path(word) for word in done.stdout.split() if word.startswith("/lib")}


def is_program(path: Path) -> bool:
    """Say whether a file is a program or a library."""
    return path.is_file() and path.read_bytes()[:4] == b"\x7fELF"


# --- its first run --------------------------------------------------------------------------------


def test_one_version_is_there_when_many_first_runs_meet(binary: Path, user_home: Path) -> None:
    """First runs at the same time all work, and leave one whole version and nothing else."""
    # Given / When
    children = [start(binary, user_home) for _ in range(AT_ONCE)]
    said = [child.communicate(timeout=PATIENCE_S) for child in children]
    # Then
    assert said == [(VERSION, "")] * AT_ONCE
    (tree,) = of(user_home).iterdir()
    assert (tree / "blueplane").is_file()
    assert not (tree / tree.name).exists(), "one was moved into the other"


def has_begun(place: Path) -> bool:
    """Say whether a first run has made its directory."""
    return any(place.glob(".new-*"))


def has_some(place: Path) -> bool:
    """Say whether a first run has unpacked the first files."""
    return any(place.glob(".new-*/*/_internal/*"))


def has_all(place: Path) -> bool:
    """Say whether a first run has unpacked the last file."""
    return any(place.glob(".new-*/*/blueplane"))


@pytest.mark.parametrize("moment", [has_begun, has_some, has_all])
def test_next_run_leaves_nothing_of_a_first_run_that_was_killed(
    binary: Path, user_home: Path, moment: Callable[[Path], bool]
) -> None:
    """Killed at any moment, the next run works and removes what the killed one left."""
    # Given a first run that is killed, with all that it started
    child = start(binary, user_home)
    wait_until(lambda: moment(of(user_home)), PATIENCE_S, "it has got that far")
    os.killpg(child.pid, signal.SIGKILL)
    child.communicate(timeout=PATIENCE_S)
    # When
    again = run([binary, "--version"], bare(user_home, PATH=TOOLS))
    # Then
    assert (again.stdout, again.stderr) == (VERSION, "")
    assert [path.name[:1] for path in of(user_home).iterdir()] == [__version__[:1]]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_first_run_leaves_nothing_when_it_is_stopped(
    binary: Path, user_home: Path, number: signal.Signals
) -> None:
    """Ctrl-C and its like end a first run, which takes with it what it has unpacked."""
    # Given a first run
    child = start(binary, user_home)
    wait_until(lambda: has_begun(of(user_home)), PATIENCE_S, "it has begun")
    # When
    os.killpg(child.pid, number)
    child.communicate(timeout=PATIENCE_S)
    # Then
    assert child.returncode in {-number, 128 + number}
    wait_until(lambda: not any(of(user_home).iterdir()), PATIENCE_S, "nothing is left")


def test_run_mends_a_version_of_which_a_part_is_gone(binary: Path, user_home: Path) -> None:
    """Somebody who cleans up removes the program and leaves the rest: the next run mends it."""
    # Given
    run([binary, "--version"], bare(user_home))
    (tree,) = of(user_home).iterdir()
    (tree / "blueplane").unlink()
    # When
    again = run([binary, "--version"], bare(user_home, PATH=TOOLS))
    # Then
    assert (again.stdout, again.stderr) == (VERSION, "")
    assert list(of(user_home).iterdir()) == [tree]


@pytest.mark.parametrize("damage", ["cut", "changed", "longer"])
def test_damaged_file_is_refused(
    binary: Path, user_home: Path, tmp_path: Path, damage: str
) -> None:
    """A download that is cut short or changed is not unpacked, and that is said in one line."""
    # Given
    data = bytearray(binary.read_bytes())
    if damage == "cut":
        del data[-1000:]
    elif damage == "changed":
        data[len(data) // 2] ^= 1
    else:
        data += b"\n"
    broken = tmp_path / "blueplane"
    broken.write_bytes(data)
    broken.chmod(0o755)
    # When
    refused = run([broken, "--version"], bare(user_home, PATH=TOOLS))
    # Then
    assert_refused(refused, "download it again")
    assert str(broken) in refused.stderr
    assert list(user_home.iterdir()) == []


@pytest.mark.parametrize("lines", [2, 5, 10, 30, 50])
def test_file_that_ends_in_its_head_does_nothing(
    binary: Path, user_home: Path, tmp_path: Path, lines: int
) -> None:
    """A download that broke off in its first lines runs none of them."""
    # Given
    head = b"".join(binary.read_bytes().splitlines(keepends=True)[:lines])
    broken = tmp_path / "blueplane"
    broken.write_bytes(head)
    # When
    refused = run(["/bin/sh", broken, "--version"], bare(user_home, PATH=TOOLS))
    # Then
    assert refused.returncode == 4
    assert refused.stdout == ""
    last = refused.stderr.splitlines()[-1]
    assert last == f"blueplane: {broken}: damaged, or not all of it; download it again"
    assert list(user_home.iterdir()) == []


@pytest.mark.fault("G13")
def test_first_run_runs_no_program_of_the_current_directory(
    binary: Path, user_home: Path, tmp_path: Path
) -> None:
    """Whatever PATH leads to, the tools of the system come first."""
    # Given a repository with programs of the names of our tools, and a PATH that begins there
    hostile = tmp_path / "repository"
    hostile.mkdir()
    for name in ("tail", "tar", "gzip", "sha256sum", "shasum", "mkdir", "mv", "rm", "date"):
        (hostile / name).write_text(f"#!/bin/sh\necho {name} >>{tmp_path}/taken\nexit 1\n")
        (hostile / name).chmod(0o755)
    # When
    done = run([binary, "--version"], bare(user_home, PATH=f"{hostile}:.:{TOOLS}"))
    # Then
    assert (done.stdout, done.stderr) == (VERSION, "")
    assert not (tmp_path / "taken").exists()


def test_full_disk_is_said_in_one_line(binary: Path, user_home: Path, small: SmallFs) -> None:
    """Without room for the program there is one line with the place, and nothing is left there."""
    # Given a data directory on a disk that is too small
    environment = bare(user_home, PATH=TOOLS, XDG_DATA_HOME=str(small.directory))
    # When
    refused = run([binary, "--version"], environment)
    # Then
    assert_refused(refused, "No space left on device")
    assert str(versions(small.directory)) in refused.stderr
    assert list(versions(small.directory).iterdir()) == []


def test_read_only_disk_is_said_in_one_line(binary: Path, user_home: Path, small: SmallFs) -> None:
    """A data directory that cannot be written to is one line with the place."""
    # Given
    small.protect(on=True)
    environment = bare(user_home, PATH=TOOLS, XDG_DATA_HOME=str(small.directory))
    # When
    refused = run([binary, "--version"], environment)
    # Then
    assert_refused(refused, "Read-only file system")
    assert str(versions(small.directory)) in refused.stderr


# --- odd homes ------------------------------------------------------------------------------------


@pytest.mark.fault("F10")
@pytest.mark.parametrize(
    "name", ["with two  spaces", "Zoë Müller 家", 'it\'s "quoted" $HOME `id`', "a\nb", "x" * 200]
)
def test_executable_works_in_an_odd_home(binary: Path, tmp_path: Path, name: str) -> None:
    """Whatever a home is called, the program is unpacked in it and runs from there."""
    # Given
    user_home = tmp_path / name
    user_home.mkdir()
    # When
    done = run([binary, "--version"], bare(user_home, PATH=TOOLS))
    # Then
    assert (done.stdout, done.stderr) == (VERSION, "")
    assert len(list(of(user_home).iterdir())) == 1


@pytest.mark.fault("F10")
@pytest.mark.parametrize("variables", [{}, {"HOME": ""}, {"HOME": "somewhere"}])
def test_home_that_is_none_is_said_in_one_line(binary: Path, variables: dict[str, str]) -> None:
    """Without an absolute HOME there is no place for the program, and that is said."""
    # Given no home
    # When
    refused = run([binary, "--version"], {"PATH": TOOLS, **variables})
    # Then
    assert_refused(refused, "HOME is ")


@pytest.mark.parametrize(("given", "absolute"), [("{tmp}/data", True), ("data", False)])
def test_data_directory_is_where_the_user_wants_it(
    binary: Path, user_home: Path, tmp_path: Path, given: str, *, absolute: bool
) -> None:
    """XDG_DATA_HOME is where the program goes; one that is not absolute counts as unset."""
    # Given
    environment = bare(user_home, PATH=TOOLS, XDG_DATA_HOME=given.format(tmp=tmp_path))
    # When
    done = run([binary, "--version"], environment)
    # Then
    assert done.stdout == VERSION
    place = versions(tmp_path / "data") if absolute else of(user_home)
    assert len(list(place.iterdir())) == 1


@pytest.mark.fault("G9")
def test_program_of_somebody_else_is_not_run_when_it_has_our_place(
    binary: Path, user_home: Path
) -> None:
    """Whoever made our data directory could put any program there: nothing in it is run."""
    # Given
    if os.geteuid() != 0:
        missing("right to give files away (root)")
    run([binary, "--version"], bare(user_home, PATH=TOOLS))
    planted = of(user_home).parent
    os.chown(planted, 12345, 12345)
    # When
    refused = run([binary, "--version"], bare(user_home, PATH=TOOLS))
    # Then
    assert_refused(refused, f"{planted}: belongs to somebody else")
