"""The executable: PyInstaller's directory, packed behind a few lines of shell.

Owns the freezing, the packing and the name of the file.
Promises the same bytes whenever the same things are packed, whoever packs them.
Leaves what is frozen to ``blueplane.spec``, and unpacking to ``packaging/launcher.sh``.
"""

import gzip
import hashlib
import io
import os
import platform
import shutil
import stat
import subprocess
import sys
import sysconfig
import tarfile
from dataclasses import dataclass
from pathlib import Path

from contents import ROOT, Part, frozen_parts
from notices import NAME, licences

LAUNCHER = ROOT / "packaging" / "launcher.sh"
SPEC = ROOT / "blueplane.spec"
_SYSTEMS = {"darwin": "macos"}


@dataclass(frozen=True)
class Frozen:
    """The frozen directory, and every part in it that is not ours."""

    tree: Path
    parts: list[Part]


def system() -> str:
    """Name what the executable runs on: ``linux-x86_64``."""
    return f"{_SYSTEMS.get(sys.platform, sys.platform)}-{platform.machine()}"


def freeze(version: str, work: Path) -> Frozen:
    """Freeze the program below ``work``, with the licences of everything in it."""
    if not sysconfig.get_config_var("Py_ENABLE_SHARED") and sys.platform == "linux":
        raise SystemExit(
            "this Python has no shared library, which freezing needs; with pyenv: "
            "PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install 3.11"
        )
    if shutil.which("strip") is None:
        raise SystemExit("strip is needed to make the executable small: install binutils")
    command = [sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level=WARN"]
    places = [f"--distpath={work / 'tree'}", f"--workpath={work / 'build'}"]
    environment = {
        **os.environ,
        # What it keeps for the next time is not made for two builds at once.
        "PYINSTALLER_CONFIG_DIR": str(work / "kept"),
        # All is packed later: modules that are not packed one by one start sooner.
        "PYINSTALLER_ZLIB_COMPRESSION_LEVEL": "0",
    }
    subprocess.run([*command, *places, str(SPEC)], cwd=ROOT, env=environment, check=True)
    tree = work / "tree" / NAME
    parts = frozen_parts(tree, work / "build" / NAME)
    (tree / "LICENCES.txt").write_text(licences(version, parts))
    return Frozen(tree, parts)


def executable(version: str, tree: Path, directory: Path) -> Path:
    """Pack ``tree`` into one executable file in ``directory``; return it."""
    payload = _packed(tree)
    sha256 = hashlib.sha256(payload).hexdigest()
    size = sum(path.stat().st_size for path in tree.rglob("*") if path.is_file())
    head = LAUNCHER.read_text()
    facts = {
        "VERSION": version,
        "ID": f"{version}-{sha256[:12]}",
        "SHA256": sha256,
        "MEGABYTES": str(-(-size // 2**20)),
        "LINES": str(head.count("\n") + 1),
    }
    for name, value in facts.items():
        head = head.replace(f"@{name}@", value)
    path = directory / f"{NAME}-{version}-{system()}"
    path.write_bytes(head.encode() + payload)
    path.chmod(0o755)
    return path


def _packed(tree: Path) -> bytes:
    """Pack a directory; times, owners and the order of the files leave no trace."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path in sorted(tree.rglob("*")):
            archive.add(path, path.relative_to(tree), recursive=False, filter=_anonymous)
    return gzip.compress(packed.getvalue(), mtime=0)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = int(os.environ["SOURCE_DATE_EPOCH"])
    runs = member.isdir() or member.mode & stat.S_IXUSR
    member.mode = 0o755 if runs else 0o644
    return member
