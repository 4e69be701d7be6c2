"""Wheel, source distribution and zipapp: installed, or run as they are, far from the checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from blueplane import __version__, shipped
from helpers.artefacts import ROOT, TOOLS, assert_works, bare, only, run

#: Prints the digests of shipped files, found as the program finds them.
FIND = (
    "import hashlib, sys; from blueplane import shipped; "
    "[print(hashlib.sha256(shipped.find(each).read_bytes()).hexdigest()) for each in sys.argv[1:]]"
)
#: A few of what is shipped beside the code.
SHIPPED = (
    shipped.HOOK, "extension/package.json", "extension/out/extension.js", "LICENSE",
    "packaging/prometheus/alerts.yml", "packaging/systemd/blueplane.service",
)  # fmt: skip


def make_venv(directory: Path) -> Path:
    """Make a virtual environment with the locked packages and without us; return its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True)
    (site,) = directory.glob("lib/python*/site-packages")
    # What a registry would give was installed by its hash from the lock already.
    locked = next(path for path in sys.path if path.endswith("site-packages"))
    (site / "locked.pth").write_text(f"{locked}\n")
    return directory / "bin" / "python"


def install(package: Path, python: Path) -> None:
    """Install a file with pip, which may ask no registry."""
    pip = [sys.executable, "-m", "pip", f"--python={python}", "install", "--no-index", "--no-deps"]
    done = subprocess.run(
        [*pip, "--no-build-isolation", "--ignore-installed", "--quiet", package],
        capture_output=True, text=True, check=False, cwd="/",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("pattern", ["*.whl", "*.tar.gz"])
def test_package_works_when_installed(
    release: Path, tmp_path: Path, user_home: Path, pattern: str
) -> None:
    """Wheel and source distribution install the command, with everything that it ships."""
    # Given an environment that has only what we depend on
    python = make_venv(tmp_path / "venv")
    # When the package is installed there
    install(only(release, pattern), python)
    # Then the command runs, with its own Redis and its own hook
    environment = bare(user_home, PATH=TOOLS)
    command: list[str | Path] = [python.with_name("blueplane")]
    assert run([*command, "--version"], environment).stdout == f"blueplane {__version__}\n"
    assert_works(command, environment)
    # And what is shipped is found in it, as it is in the checkout
    found = run([python, "-I", "-c", FIND, *SHIPPED], environment)
    expected = run(
        [sys.executable, "-c", FIND, *SHIPPED], bare(user_home, PYTHONPATH=str(ROOT / "src"))
    )
    assert found.stdout.split() == expected.stdout.split()
    assert len(found.stdout.split()) == len(SHIPPED)
    place = run([python, "-I", "-c", "import blueplane; print(blueplane.__file__)"], environment)
    assert place.stdout.startswith(str(tmp_path))


def test_zipapp_works_when_run(release: Path, user_home: Path) -> None:
    """The zipapp runs with a Python that has nothing installed."""
    # Given a Python of the system's kind, without our packages
    environment = bare(user_home, PATH=TOOLS, SHIV_ROOT=str(user_home / "shiv"))
    python = getattr(sys, "_base_executable", sys.executable)
    command: list[str | Path] = [python, "-I", only(release, "*.pyz")]
    # When / Then
    assert run([*command, "--version"], environment).stdout == f"blueplane {__version__}\n"
    assert_works(command, environment)


def test_wheel_has_the_whole_package_when_built(release: Path) -> None:
    """The wheel has every module, dictionary and shipped file of the checkout, and the licence."""
    # Given
    source = ROOT / "src" / "blueplane"
    wanted = {
        f"blueplane/{path.relative_to(source)}"
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    } | {f"blueplane/_data/{name}" for name in SHIPPED}
    # When
    with zipfile.ZipFile(only(release, "*.whl")) as archive:
        names = set(archive.namelist())
    # Then
    assert wanted - names == set()
    assert any(name.endswith("licenses/LICENSE") for name in names)
