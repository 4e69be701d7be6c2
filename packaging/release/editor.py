"""The Cursor extension: compiled, and packed into one file that an editor installs.

Owns the packages of npm that compile and pack it, which are locked by their hashes.
Promises a valid file on any machine: the official packager makes it where the machine's Node runs
that, else our own packs the same members; without npm what was compiled before is packed.
Leaves what is in the file to ``blueplane.install.vsix``.
"""

import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from blueplane.install import vsix
from contents import ROOT
from notices import NAME

SOURCES = ROOT / "extension"
PACKAGER = ROOT / "packaging" / "vsce"
#: Seconds for npm, which may try long for a registry that it cannot reach.
NPM_S = 240.0
_VSCE = "node_modules/@vscode/vsce"


def extension(version: str, directory: Path, work: Path) -> Path:
    """Compile and pack the extension; return the file."""
    renew(work / "compiled")
    path = directory / f"{NAME}-{version}.vsix"
    package = vsix.pack()
    path.write_bytes(package)
    if _can_run_packager() and has_packages(PACKAGER):
        _pack_officially(package, path, work)
    else:
        _say("packed by zip: the official packager needs npm, its registry and a newer Node")
    return path


def renew(compiled: Path) -> None:
    """Bring ``extension/out`` to what the sources say, if they can be compiled."""
    if not has_packages(SOURCES):
        _say("not compiled, for npm or its registry is missing: what is in extension/out is taken")
        return
    compile_to(compiled)
    for path in compiled.iterdir():
        target = SOURCES / "out" / path.name
        if not target.is_file() or target.read_bytes() != path.read_bytes():
            shutil.copy(path, target)
            _say(f"{target.relative_to(ROOT)} is new: commit it")


def compile_to(directory: Path) -> None:
    """Check the types, and write the JavaScript of the sources; npm's packages must be there."""
    compiler = SOURCES / "node_modules" / "typescript" / "bin" / "tsc"
    _run(["node", str(compiler), "--outDir", str(directory)], SOURCES)


def has_packages(directory: Path) -> bool:
    """Install what the lock file of ``directory`` lists, once; False where that cannot be."""
    if not (shutil.which("node") and shutil.which("npm")):
        return False
    lock, stamp = directory / "package-lock.json", directory / "node_modules" / ".blueplane-stamp"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    with lock.open() as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)  # two builds of one checkout
        if stamp.is_file() and stamp.read_text() == digest:
            return True
        installed = _install(directory)
        if installed:
            stamp.write_text(digest)
    return installed


def _install(directory: Path) -> bool:
    quiet = ["--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=0"]
    command = ["npm", "ci", "--ignore-scripts", *quiet]
    try:
        done = subprocess.run(
            command, cwd=directory, capture_output=True, text=True, timeout=NPM_S, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    for line in done.stderr.splitlines()[:1] if done.returncode else ():
        _say(line)
    return done.returncode == 0


def _can_run_packager() -> bool:
    """Say whether this Node is one that the packager is for."""
    if not shutil.which("node"):
        return False
    lock = json.loads((PACKAGER / "package-lock.json").read_text())
    wanted = re.search(r"\d+", lock["packages"][_VSCE]["engines"]["node"])
    here = re.search(r"\d+", _run(["node", "--version"], ROOT))
    return wanted is not None and here is not None and int(here[0]) >= int(wanted[0])


def _pack_officially(package: bytes, path: Path, work: Path) -> None:
    """Have the official packager pack the very files that are in ``package``."""
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        files = [name for name in archive.namelist() if name.startswith("extension/")]
        archive.extractall(work, files)
    options = ["--no-dependencies", "--allow-missing-repository", "--out", str(path)]
    command = ["node", str(PACKAGER / _VSCE / "vsce"), "package", *options]
    _run(command, work / "extension")


def _run(command: list[str], directory: Path) -> str:
    """Run a program to its end and return what it printed; its words end the build otherwise."""
    # UTC: the packager writes local times.
    environment = {**os.environ, "TZ": "UTC"}
    done = subprocess.run(
        command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return done.stdout


def _say(text: str) -> None:
    print(f"extension: {text}", file=sys.stderr)
