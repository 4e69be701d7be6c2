#!/usr/bin/env python3
"""Everything that is done to this checkout, one verb per job.

Owns ``.venv``: what is in it comes from the lock files, checked by hash.
Promises that a verb works from any directory, needs no root, and says in one line what is missing.
Leaves the settings of the tools to pyproject.toml and the program itself to ``src``.
"""

import sys

# Before the other imports: an older Python lacks some of their names.
if sys.version_info < (3, 11):
    sys.stderr.write("build: Python 3.11 or newer is needed, not %d.%d\n" % sys.version_info[:2])
    sys.exit(2)

import difflib
import fcntl
import hashlib
import importlib.util
import inspect
import json
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Never

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
DIST = str(ROOT / "dist")
BIN = VENV / "bin"
#: Written last, so that a ``.venv`` without it was never finished.
STAMP = VENV / "blueplane-stamp"
#: Raise it when ``make_venv`` or ``link_project`` change, so that every ``.venv`` is made anew.
VENV_FORM = "1"
RUNTIME_LOCK = ROOT / "requirements.lock"
#: Holds everything of the runtime lock too.
DEV_LOCK = ROOT / "requirements-dev.lock"
#: Programs that some tests need, and the Debian packages that have them.
TEST_PROGRAMS = {
    "busybox": "busybox", "fish": "fish", "node": "nodejs", "redis-server": "redis-server",
    "strace": "strace", "strip": "binutils", "systemd-analyze": "systemd", "zsh": "zsh",
}  # fmt: skip
#: What tests write is in memory where it can be: a third of their time a disk would take to sync.
MEMORY = Path("/dev/shm")  # noqa: S108 - a directory of its own is made there
TEST_BYTES = 2 * 1024**3
#: The longest that apt-get may take; on a machine without a mirror it would try for many minutes.
APT_TIMEOUT_S = 240


# --- verbs ----------------------------------------------------------------------------------------


def run(*args: str) -> int:
    """Start the server here and send a canary through it; `run --once` ends after that."""
    ensure_venv(RUNTIME_LOCK)
    command = [str(BIN / "blueplane"), "serve", "--canary", *args]
    os.execv(command[0], command)  # noqa: S606 - a fixed path, and no shell is wanted


def setup() -> int:
    """Make .venv with the locked dependencies, for the program and for its development."""
    ensure_venv(DEV_LOCK)
    say("ready: .venv/bin/blueplane")
    return 0


def test(*args: str) -> int:
    """Run lint and all tests with coverage; arguments go to pytest, which then runs alone."""
    install_test_programs()
    ensure_venv(DEV_LOCK)
    if args:
        return tool("pytest", *args)
    with subprocess.Popen(
        [sys.executable, __file__, "lint"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as linters:
        tested = run_all_tests()
        words, _ = linters.communicate()
    sys.stdout.buffer.write(words)
    return worst([tested, linters.returncode])


def lint() -> int:
    """Check style, format and types."""
    ensure_venv(DEV_LOCK)
    return run_linters()


def bench(name: str = "") -> int:
    """Run all benchmarks, or the one named, and print one JSON object."""
    scripts = {path.stem: path for path in sorted((ROOT / "benchmarks").glob("[!_]*.py"))}
    if name and name not in scripts:
        fail(f"no benchmark {name!r}; there are: {', '.join(scripts) or 'none'}")
    ensure_venv(RUNTIME_LOCK)
    chosen = {name: scripts[name]} if name else scripts
    results = {label: run_benchmark(path) for label, path in chosen.items()}
    print(json.dumps(results, indent=2))
    return 1 if None in results.values() else 0


def soak(*args: str) -> int:
    """Kill a server 2,000 times while events come; `soak --kills N --seed S` for others."""
    install_test_programs()
    ensure_venv(DEV_LOCK)
    command = [str(BIN / "python"), str(ROOT / "tests" / "soak" / "soak.py"), *args]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def test_systemd(*executable: str) -> int:
    """Boot a real systemd, as root, and test the service in it, or an EXECUTABLE as one."""
    if os.geteuid() != 0:
        fail("only root can boot a systemd of its own")
    ensure_venv(DEV_LOCK)
    os.environ["BLUEPLANE_TEST_SYSTEMD"] = "".join(executable) or "source"
    return tool("pytest", "tests/systemd")


def binary(directory: str = DIST) -> int:
    """Freeze the program into one executable in dist, or in the directory named."""
    return make("binary", directory)


def zipapp(directory: str = DIST) -> int:
    """Make one file for those with the same Python, blueplane-VERSION-PYTHON-SYSTEM.pyz."""
    return make("zipapp", directory)


def wheel(directory: str = DIST) -> int:
    """Make the wheel for pip, pipx and uv, in dist or the directory named."""
    return make("wheel", directory)


def sdist(directory: str = DIST) -> int:
    """Make the source distribution, in dist or the directory named."""
    return make("sdist", directory)


def extension(directory: str = DIST) -> int:
    """Compile and pack the extension for Cursor, in dist or the directory named."""
    return make("extension", directory)


def all_(directory: str = DIST) -> int:
    """Make a whole release: all of these, requirements.txt and SHA256SUMS."""
    return make("all", directory)


def lock(*args: str) -> int:
    """Write both lock files anew with uv; `lock --upgrade` takes newer releases."""
    uv = shutil.which("uv") or fail("uv makes the lock files; get it with: pip install uv")
    options = ["--quiet", "--universal", "--python-version=3.11", "--generate-hashes"]
    header = "--custom-compile-command=python3 build.py lock"
    common = [uv, "pip", "compile", *options, header, *args]
    runtime = ["pyproject.toml", f"--output-file={RUNTIME_LOCK.name}"]
    dev = ["pyproject.toml", "--group=dev", f"--output-file={DEV_LOCK.name}"]
    same_versions = f"--constraint={RUNTIME_LOCK.name}"
    return call([*common, *runtime]) or call([*common, *dev, same_versions])


RELEASE = (binary, zipapp, wheel, sdist, extension, all_)
VERBS: dict[str, Callable[..., int]] = {
    verb.__name__.rstrip("_").replace("_", "-"): verb
    for verb in (run, setup, test, lint, bench, soak, test_systemd, *RELEASE, lock)
}


# --- the virtual environment ----------------------------------------------------------------------


def ensure_venv(lock_file: Path) -> None:
    """Make ``.venv`` hold what ``lock_file`` lists; leave it alone when it does.

    A change of the lock installs over what is there; anything else that is not as it was left
    (another Python, a moved checkout, an interrupted set-up) starts from nothing.
    """
    if is_ready(lock_file):
        return
    if not can_make_venv():
        fail(f"{base_python()} lacks venv and pip; on Debian or Ubuntu: apt install python3-venv")
    with one_at_a_time():
        if is_ready(lock_file):
            return
        began = time.monotonic()
        say(f"setting up .venv from {lock_file.name} ...")
        usable = read_stamp()[:1] == [identity()]
        if usable:
            STAMP.unlink()
        else:
            make_venv()
        install(lock_file)
        link_project()
        STAMP.write_text(f"{identity()}\n{digest(lock_file)}\n")
        say(f".venv is ready after {time.monotonic() - began:.0f} s")


def is_ready(lock_file: Path) -> bool:
    """Say whether ``.venv`` is finished and holds what ``lock_file`` lists."""
    return read_stamp() in [[identity(), digest(each)] for each in (lock_file, DEV_LOCK)]


def read_stamp() -> list[str]:
    """Return the lines of the stamp; none when there is no finished ``.venv`` that can run."""
    finished = STAMP.is_file() and os.access(BIN / "python", os.X_OK)
    return STAMP.read_text().splitlines() if finished else []


def identity() -> str:
    """Name what a ``.venv`` cannot outlive: its Python, its place and the way it is made."""
    return digest_of(VENV_FORM, sys.version, os.path.realpath(base_python()), str(ROOT))


def digest(path: Path) -> str:
    """Return the digest of a file's text."""
    return digest_of(path.read_text())


def digest_of(*texts: str) -> str:
    """Return one digest of several texts."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def base_python() -> str:
    """Return this Python, or, when it is that of a virtual environment, the one behind it."""
    base: str = getattr(sys, "_base_executable", sys.executable)
    return base


def can_make_venv() -> bool:
    """Say whether this Python has what a ``.venv`` is made with; Debian splits it off."""
    return all(importlib.util.find_spec(name) for name in ("venv", "ensurepip"))


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Wait until no other build.py of this checkout is making ``.venv``."""
    with Path(__file__).open() as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def make_venv() -> None:
    """Make an empty ``.venv`` in place of whatever is there."""
    quietly([base_python(), "-m", "venv", "--clear", str(VENV)])


def install(lock_file: Path) -> None:
    """Install exactly what ``lock_file`` lists; pip refuses a file with another hash."""
    pip = [str(BIN / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    quietly([*pip, "install", "--require-hashes", "--requirement", str(lock_file)])


def link_project() -> None:
    """Make ``blueplane`` importable from the checkout, and a command.

    That is what an editable install does. It is done by hand because pip would need the build
    backend in ``.venv``, which the program itself has no use for.
    """
    (site_packages,) = VENV.glob("lib/python*/site-packages")
    (site_packages / "blueplane.pth").write_text(f"{ROOT / 'src'}\n")
    command = BIN / "blueplane"
    python = shlex.quote(str(BIN / "python"))
    # -P: with -m alone, the directory that one happens to be in would be imported from first.
    command.write_text(f'#!/bin/sh\nexec {python} -P -m blueplane "$@"\n')
    command.chmod(0o755)


# --- tools ----------------------------------------------------------------------------------------


def run_linters() -> int:
    """Run every linter, also after one has failed."""
    workflows = tool("zizmor", "--offline", "--quiet", "--no-progress", ".github")
    python = [tool("ruff", "check"), tool("ruff", "format", "--check"), tool("mypy")]
    return worst([*python, workflows])


def run_all_tests() -> int:
    """Run all tests, with coverage."""
    # Most tests wait for another process: three at a time keep two processors at work.
    parallel = ["--numprocesses=3", "--dist=worksteal"]
    coverage = ["--cov", "--cov-report=term-missing"]
    place = MEMORY if is_spacious(MEMORY) else None
    with tempfile.TemporaryDirectory(prefix="bp-tests-", dir=place) as directory:
        return tool("pytest", *parallel, *coverage, f"--basetemp={directory}/tests")


def is_spacious(directory: Path) -> bool:
    """Say whether tests can write to a file system, and run programs from there."""
    if not os.access(directory, os.W_OK):
        return False
    found = os.statvfs(directory)
    free = found.f_bavail * found.f_frsize
    return free >= TEST_BYTES and not found.f_flag & os.ST_NOEXEC


def make(artefact: str, directory: str) -> int:
    """Make a part of a release, or all of it, in ``directory``; the same files every time."""
    ensure_venv(DEV_LOCK)
    script = ROOT / "packaging" / "release" / "make.py"
    return call([str(BIN / "python"), str(script), artefact, str(Path(directory).resolve())])


def run_benchmark(path: Path) -> object:
    """Return what the benchmark prints, None when it fails; its own words go to stderr."""
    say(f"benchmark {path.stem} ...")
    command = [BIN / "python", path]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        say(f"benchmark {path.stem} failed with exit code {done.returncode}")
        return None
    return json.loads(done.stdout)


def install_test_programs() -> None:
    """Install with apt-get, as root, what tests need; else say what to expect without it."""
    wanted = [each for name, each in TEST_PROGRAMS.items() if shutil.which(name) is None]
    if base_python().startswith("/usr/bin/") and not can_make_venv():
        wanted.append("python3-venv")
    if wanted and not apt_install(wanted):
        names = " ".join(wanted)
        say(f"going on with the private server and fewer tests; for all: apt install {names}")


def apt_install(packages: list[str]) -> bool:
    """Install Debian packages; say whether they are there."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    say(f"installing {' '.join(packages)} ...")
    # RUNLEVEL: Debian would start the Redis that it installs.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    commands = "apt-get -q update && apt-get -qy --no-install-recommends install"
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", f"{commands} {' '.join(packages)}"],
            env=environment,
            capture_output=True,
            timeout=APT_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def tool(name: str, *args: str) -> int:
    """Run a tool of ``.venv`` in the checkout; return its exit code."""
    return call([str(BIN / name), *args])


def call(command: list[str]) -> int:
    """Run a command in the checkout; return its exit code."""
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def quietly(command: list[str]) -> None:
    """Run a command that shows its output only when it fails, which ends this program."""
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode:
        sys.stderr.buffer.write(done.stdout)
        say(f"failed: {shlex.join(command)}")
        raise SystemExit(1)


def worst(codes: list[int]) -> int:
    """Return 0 when all exit codes are 0, else 1; after a signal they are negative."""
    return int(any(codes))


# --- talking to a person --------------------------------------------------------------------------


def say(text: str) -> None:
    """Print one line about the work itself, apart from the output of a verb."""
    print(f"build: {text}", file=sys.stderr, flush=True)


def fail(text: str) -> Never:
    """Say what is wrong and what to do; exit with 2."""
    say(text)
    raise SystemExit(2)


def usage() -> str:
    """List the verbs with one line each."""
    lines = [f"  {name:<13}{inspect.getdoc(verb)}" for name, verb in VERBS.items()]
    return "\n".join(["python3 build.py VERB [ARGUMENT ...]", *lines])


def main(arguments: list[str]) -> int:
    """Carry out one verb; alone, list them."""
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(usage())
        return 0
    name, *rest = arguments
    if name not in VERBS:
        near = difflib.get_close_matches(name, VERBS, n=1) or VERBS
        fail(f"no verb {name!r}; did you mean {' or '.join(near)}?")
    try:
        inspect.signature(VERBS[name]).bind(*rest)
    except TypeError:
        fail(f"too many arguments for {name}: {shlex.join(rest)}")
    return VERBS[name](*rest)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
