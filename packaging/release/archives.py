"""The artefacts that need a Python: wheel, source distribution and zipapp.

Owns what is in the zipapp, and for which Python and system it is.
Promises the same bytes whenever the same things are packed.
Leaves what is in the wheel and the source distribution to pyproject.toml.
"""

import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

from contents import ROOT, packages
from frozen import system
from notices import NAME, licences

#: Names places of the machine that it was installed on.
_WRITTEN = {"INSTALLER", "RECORD", "REQUESTED", "direct_url.json"}


def wheel(directory: Path) -> Path:
    """Make the wheel; return it."""
    return _hatch("wheel", directory)


def sdist(directory: Path) -> Path:
    """Make the source distribution; return it."""
    return _hatch("sdist", directory)


def zipapp(version: str, directory: Path, work: Path) -> Path:
    """Make one file of the program and its packages, for this Python and system; return it.

    The packages are those of this environment, which came from the lock file by their hashes.
    """
    site = work / "site"
    with zipfile.ZipFile(wheel(work)) as archive:
        archive.extractall(site)
    for part in packages():
        _copy(part.name, site)
    (site / "LICENCES.txt").write_text(licences(version, packages()))
    python = f"py{sys.version_info.major}{sys.version_info.minor}"
    path = directory / f"{NAME}-{version}-{python}-{system()}.pyz"
    command = [sys.executable, "-m", "shiv", "--reproducible", "--compressed"]
    entry = "--entry-point=blueplane.interfaces.cli.entry:main"
    options = [entry, f"--site-packages={site}", f"--output-file={path}"]
    subprocess.run([*command, *options, "--python=/usr/bin/env python3"], check=True)
    return path


def _hatch(kind: str, directory: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "--target", kind]
    before = set(directory.iterdir())
    done = subprocess.run(
        [*command, "--directory", str(directory)], cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr)
    suffix = ".whl" if kind == "wheel" else ".tar.gz"
    made = [path for path in directory.iterdir() if path.name.endswith(suffix)]
    return next((path for path in made if path not in before), made[0])


def _copy(name: str, site: Path) -> None:
    """Copy an installed package, without what its installation wrote."""
    found = distribution(name)
    for file in found.files or ():
        inside = ".." not in file.parts and "__pycache__" not in file.parts
        if inside and file.name not in _WRITTEN:
            target = site / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(str(found.locate_file(file)), target)
