"""build.py in a small checkout of its own, and what the packaging files promise.

The lock files of that checkout are empty, so that nothing comes from the network.
"""

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from helpers.waiting import wait_until

ROOT = Path(__file__).parents[2]
#: What a program does that a test puts in place of the real one.
ECHO = "import json, os, sys; print(json.dumps([os.getcwd(), *sys.argv[1:]]))\n"
#: In the order in which they run.
LINTERS = ("zizmor", "ruff", "ruff", "mypy")
LOCKED = re.compile(r"^([A-Za-z0-9_.-]+)==([^ ;]+)", re.MULTILINE)


Done = subprocess.CompletedProcess[str]


def build(checkout: Path, *arguments: str, cwd: Path | None = None) -> Done:
    """Run build.py of ``checkout`` to its end."""
    return done([sys.executable, str(checkout / "build.py"), *arguments], cwd)


def done(command: Sequence[str], cwd: Path | None = None) -> Done:
    """Run a command to its end, with a clean environment but for what finds programs."""
    keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(
        command, cwd=cwd, env=keep, capture_output=True, text=True, timeout=100, check=False
    )


def pretend(checkout: Path, change: str, *arguments: str) -> Done:
    """Run build.py in a Python that ``change`` has made into another one."""
    program = f"import runpy, sys; {change}; runpy.run_path(sys.argv[0], run_name='__main__')"
    start = f"import sys; sys.argv = {[str(checkout / 'build.py'), *arguments]!r}; "
    return done([sys.executable, "-c", start + program])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a checkout that is set up; a test may look at it and leaves it as it is."""
    checkout = make_checkout(tmp_path_factory.mktemp("finished") / "it's here")
    assert build(checkout, "setup").returncode == 0
    return checkout


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """Give a checkout as git clones it."""
    return make_checkout(tmp_path / "fresh")


def make_checkout(root: Path) -> Path:
    """Make the smallest checkout that build.py works in."""
    package = root / "src" / "blueplane"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(ECHO)
    (root / "requirements.lock").write_text("# nothing\n")
    (root / "requirements-dev.lock").write_text("# nothing, for development\n")
    (root / "benchmarks").mkdir()
    (root / "benchmarks" / "good.py").write_text("print('{\"ms\": 1.5}')\n")
    (root / "benchmarks" / "bad.py").write_text("raise SystemExit(3)\n")
    shutil.copy(ROOT / "build.py", root)
    return root


# --- the command line -----------------------------------------------------------------------------


def test_build_lists_its_verbs_when_alone() -> None:
    """Without a verb it shows each verb with one line, and succeeds."""
    # Given / When
    shown = build(ROOT)

    # Then
    lines = shown.stdout.splitlines()[1:]
    assert [line.split()[0] for line in lines][:5] == ["run", "setup", "test", "lint", "bench"]
    assert all(len(line.split()) > 3 and len(line) <= 100 for line in lines)
    assert shown.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tset"], "did you mean test?"),
        (["setup", "everything"], "too many arguments for setup: everything"),
        (["bench", "nothing"], "no benchmark 'nothing'; there are: bad, good"),
    ],
)
def test_build_says_what_is_wrong_when_used_wrongly(
    fresh: Path, arguments: list[str], words: str
) -> None:
    """Wrong use is one line and exit code 2, and nothing is made."""
    # Given a fresh checkout

    # When
    refused = build(fresh, *arguments)

    # Then
    assert refused.returncode == 2
    assert words in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert not (fresh / ".venv").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("sys.modules['ensurepip'] = None", "apt install python3-venv"),
        ("sys.version_info = (3, 9, 2)", "Python 3.11 or newer is needed, not 3.9"),
    ],
)
def test_build_names_the_remedy_when_python_lacks_something(
    fresh: Path, change: str, words: str
) -> None:
    """A Python that is too old or without venv is told in one line, with exit code 2."""
    # Given a Python that lacks something

    # When
    refused = pretend(fresh, change, "setup")

    # Then
    assert refused.returncode == 2
    assert words in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


# --- the virtual environment ----------------------------------------------------------------------


def test_setup_does_nothing_when_all_is_there(finished: Path, tmp_path: Path) -> None:
    """A second set-up, from any directory, leaves .venv as it is."""
    # Given
    stamp = finished / ".venv" / "blueplane-stamp"
    before = stamp.stat().st_mtime_ns

    # When
    again = build(finished, "setup", cwd=tmp_path)

    # Then
    assert again.returncode == 0
    assert "setting up" not in again.stderr
    assert stamp.stat().st_mtime_ns == before


def test_run_starts_the_server_when_set_up_for_development(finished: Path, tmp_path: Path) -> None:
    """Run becomes `blueplane serve --canary` with its own arguments, where it was called."""
    # Given a module of the same name in the directory that one happens to be in
    (tmp_path / "blueplane.py").write_text("raise SystemExit('not me')\n")

    # When
    ran = build(finished, "run", "--once", cwd=tmp_path)

    # Then
    assert json.loads(ran.stdout) == [str(tmp_path), "serve", "--canary", "--once"]
    assert "setting up" not in ran.stderr


@pytest.fixture
def tools(finished: Path) -> Iterator[Path]:
    """Give a directory of tools that only say that they ran, and end with ``FAIL_`` their name.

    The first linter waits for the tests to begin, and the tests for that linter.
    """
    meeting = finished / "meeting"
    os.mkfifo(meeting)
    tools = {name: finished / ".venv" / "bin" / name for name in ("pytest", *LINTERS)}
    for name, path in tools.items():
        meet = {"pytest": f": <'{meeting.name}'", "zizmor": f": >'{meeting.name}'"}.get(name, "")
        path.write_text(f'#!/bin/sh\n{meet}\necho {name} "$@"\nexit "${{FAIL_{name}:-0}}"\n')
        path.chmod(0o755)
    yield finished
    for path in (meeting, *tools.values()):
        path.unlink()


@pytest.mark.parametrize("failing", ["", "pytest", "mypy"])
def test_test_runs_linters_beside_the_tests_and_fails_when_one_of_them_does(
    tools: Path, failing: str
) -> None:
    """Linters take no time of their own, say what they say after the tests, and all must pass."""
    # Given tools that wait for one another, of which one may fail
    change = (
        f"import os, runpy, sys; os.environ['FAIL_{failing}'] = '1';"
        f" names = runpy.run_path({str(tools / 'build.py')!r}); main = names['main'];"
        " main.__globals__.update(install_test_programs=lambda: None); sys.exit(main(['test']))"
    )

    # When
    ran = done([sys.executable, "-c", change])

    # Then
    assert ran.returncode == bool(failing), ran.stderr
    assert [line.split()[0] for line in ran.stdout.splitlines()] == ["pytest", *LINTERS]


def test_bench_prints_one_object_when_one_benchmark_fails(finished: Path) -> None:
    """Every benchmark runs; one that fails is null, is named, and makes the exit code 1."""
    # Given one benchmark that works and one that fails

    # When
    one, all_of_them = build(finished, "bench", "good"), build(finished, "bench")

    # Then
    assert (one.returncode, json.loads(one.stdout)) == (0, {"good": {"ms": 1.5}})
    assert all_of_them.returncode == 1
    assert json.loads(all_of_them.stdout) == {"bad": None, "good": {"ms": 1.5}}
    assert "benchmark bad failed with exit code 3" in all_of_them.stderr


def test_setup_starts_again_when_the_last_one_was_killed(fresh: Path) -> None:
    """A .venv that was left half made is made anew by the next call."""
    # Given a set-up that is killed, with all its children, after the first files are there
    child = subprocess.Popen(
        [sys.executable, fresh / "build.py", "setup"],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    wait_until((fresh / ".venv" / "bin").is_dir, 60, "the first files of .venv")
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    leftover = fresh / ".venv" / "half-made"
    leftover.touch()

    # When
    repaired = build(fresh, "setup")

    # Then
    assert repaired.returncode == 0
    assert "ready" in repaired.stderr
    assert not leftover.exists()
    assert done([str(fresh / ".venv" / "bin" / "blueplane")]).returncode == 0


def test_setup_shows_what_pip_says_when_a_package_is_not_the_locked_one(fresh: Path) -> None:
    """A package with another hash, or with none in the lock, is refused, each time anew."""
    # Given locks that name a file of this machine, with a hash that it does not have, and without
    package = fresh / "thing-1-py3-none-any.whl"
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("thing.py", "")
    lock = fresh / "requirements-dev.lock"

    # When
    lock.write_text(f"thing @ {package.as_uri()} --hash=sha256:{'0' * 64}\n")
    other = build(fresh, "setup")
    lock.write_text(f"thing @ {package.as_uri()}\n")
    none = build(fresh, "setup")

    # Then
    assert (other.returncode, none.returncode) == (1, 1)
    assert "DO NOT MATCH THE HASHES" in other.stderr
    assert "Hashes are required" in none.stderr
    assert none.stderr.splitlines()[-1].startswith("build: failed: ")


# --- what is in the packages ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_lock_pins_by_hash_and_names_no_host_when_written(name: str) -> None:
    """Every line of a lock file is one version with hashes; where it came from is left open."""
    # Given
    text = (ROOT / name).read_text()

    # When
    entries = re.split(r"^(?=[A-Za-z])", text, flags=re.MULTILINE)[1:]

    # Then
    assert len(entries) > 10
    assert all(LOCKED.match(entry) and "--hash=sha256:" in entry for entry in entries)
    assert re.search(r"://|^--|index-url|find-links", text, re.MULTILINE) is None


def test_locks_agree_when_development_adds_to_the_program() -> None:
    """The development lock holds the runtime lock, version for version, and all we depend on."""
    # Given
    runtime, dev = (
        dict(LOCKED.findall((ROOT / name).read_text()))
        for name in ("requirements.lock", "requirements-dev.lock")
    )
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text())

    # When
    needed = [*metadata["project"]["dependencies"], *metadata["dependency-groups"]["dev"]]
    names = [re.split(r"[^\w.-]", each)[0].lower() for each in needed]
    count = len(metadata["project"]["dependencies"])

    # Then
    assert runtime.items() <= dev.items()
    assert set(names[:count]) <= runtime.keys()
    assert set(names) <= dev.keys()
    assert "async-timeout" in runtime  # redis needs it before Python 3.11.3, as Debian 12 has


def test_release_is_without_what_only_parquet_needs_when_it_is_made() -> None:
    """Neither the lock of the program has pyarrow, which the zipapp is of, nor the executable."""
    # Given
    runtime = dict(LOCKED.findall((ROOT / "requirements.lock").read_text()))
    frozen = ast.parse((ROOT / "blueplane.spec").read_text())
    # When
    (excluded,) = (
        ast.literal_eval(each.value)
        for each in frozen.body
        if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == "EXCLUDED"
    )
    # Then
    assert "pyarrow" not in runtime
    assert "pyarrow" in excluded


def test_wheel_carries_the_hook_when_built(tmp_path: Path) -> None:
    """The wheel has the package, the hook as it is in the checkout, the licence and the command."""
    # Given the checkout

    # When
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip

    # Then
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("blueplane_telemetry_core-*-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        files = {Path(name).name: name for name in archive.namelist()}
        hook = archive.read("blueplane/_data/hooks/blueplane-hook")
        entry_points = archive.read(files["entry_points.txt"]).decode()
    assert hook == (ROOT / "hooks" / "blueplane-hook").read_bytes()
    assert "blueplane = blueplane.interfaces.cli.entry:main" in entry_points
    assert {"LICENSE", "METADATA", "clock.py"} <= files.keys()


def test_ci_runs_the_tests_when_called_from_anywhere() -> None:
    """What a change must pass is one executable that calls the verb that people use."""
    # Given
    entry = ROOT / ".ci" / "run"

    # When
    lines = entry.read_text().splitlines()

    # Then
    assert os.access(entry, os.X_OK)
    assert lines[-1] == "exec python3 build.py test"
