"""The program's own place: a directory for each version, and links to the current one.

Owns ``<data>/blueplane``: ``versions/<version>-<hash>/``, ``current``, and the link on PATH.
Promises that a version is there whole or not at all, that ``current`` always leads to a whole one,
and that no link of anybody else is touched.
Leaves what is run to the links, unpacking the executable to its own head, and what is not needed
any more to ``pruning.py``.
"""

import hashlib
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

import blueplane
from blueplane import __version__, faults
from blueplane.digests import random_hex
from blueplane.errors import InstallError
from blueplane.install.background import BOOT
from blueplane.install.user_places import UserPlaces
from blueplane.paths import PRIVATE_MODE

#: ``executable``: a directory with the frozen program; ``zipapp``: one file for a Python; and
#: ``environment``: whatever Python runs us, with us installed or in a checkout.
Kind: TypeAlias = Literal["executable", "zipapp", "environment"]

#: The name of the program in the directory of a version, and of the link to the current one.
PROGRAM: Final = "blueplane"
CURRENT: Final = "current"
#: The directory of all versions.
VERSIONS: Final = "versions"
_ARCHIVE: Final = "blueplane.pyz"
#: What is still being put together begins so; no version does.
STAGED: Final = ".new-"
#: The same of a link, which only one install at a time makes.
_LINK_STAGED: Final = ".blueplane-new"
#: The name of a version.
ID: Final = re.compile(r"\d[0-9A-Za-z.+]*-[0-9a-f]{12}\Z")
_HASH_DIGITS: Final = 12
_EXECUTABLE_MODE: Final = 0o755
_READ_BYTES: Final = 1 << 20

_LAUNCHER: Final = """\
#!/bin/sh
# Blueplane {version}, run by the Python that installed it.
exec {command} "$@"
"""


@dataclass(frozen=True, slots=True)
class Program:
    """What runs now.

    ``origin`` is a frozen program's directory, a zipapp's file, or the directory that the package
    ``blueplane`` is in.
    """

    kind: Kind
    origin: Path
    python: Path


def running() -> Program:
    """Return what runs now."""
    python = Path(sys.executable)
    if getattr(sys, "frozen", False):
        return Program("executable", python.resolve().parent, python)
    loader = getattr(sys.modules.get("__main__"), "__loader__", None)
    archive = getattr(loader, "archive", None)  # only of what was imported from a zip file
    if archive is not None:
        return Program("zipapp", Path(archive).absolute(), python)
    return Program("environment", Path(blueplane.__file__).parents[1], python)


# --- a version ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Placement:
    """A program, and the directory that it is to have in ``programs``."""

    program: Program
    programs: Path
    name: str

    @property
    def directory(self) -> Path:
        """Where the version is, or will be."""
        return self.programs / VERSIONS / self.name

    @property
    def is_needed(self) -> bool:
        """Whether it is not there yet: a directory of that name is always whole."""
        return not os.access(self.directory / PROGRAM, os.X_OK)

    def apply(self) -> None:
        """Put the program there; raise InstallError, having left nothing behind."""
        if not self.is_needed:
            return
        try:
            with _staging(self.directory) as staged:
                _WAYS[self.program.kind](self.program, staged, self.directory)
                faults.point("version_staged")
                _settle(staged, self.directory)
        except OSError as error:
            message = f"{error.filename or self.directory}: {error.strerror}; nothing was copied"
            raise InstallError(message) from None

    def sync(self) -> None:
        """Have it survive a power cut, before anything leads to it; raise InstallError."""
        try:
            for path in [*_files(self.directory), self.directory, self.directory.parent]:
                _sync(path)
        except OSError as error:
            message = f"{self.directory}: {error.strerror}; nothing leads to it yet"
            raise InstallError(message) from None


def place(program: Program, programs: Path) -> Placement:
    """Return where a program belongs; raise InstallError when it cannot be read.

    Raises it, too, when the place is somebody else's: they could put anything there.
    """
    try:
        if is_foreign(programs):
            message = f"{programs}: belongs to somebody else; set XDG_DATA_HOME to a place of yours"
            raise InstallError(message)
        return Placement(program, programs, _name(program))
    except OSError as error:
        message = f"{error.filename or program.origin}: {error.strerror}; install it again"
        raise InstallError(message) from None


def is_foreign(programs: Path) -> bool:
    """Whether the place of programs, or a link that stands there, is another user's."""
    for look in (Path.lstat, Path.stat):
        with suppress(FileNotFoundError):
            if look(programs).st_uid != os.geteuid():
                return True
    return False


def _name(program: Program) -> str:
    if program.kind == "executable" and ID.match(program.origin.name):
        return program.origin.name
    digest = hashlib.sha256()
    if program.kind != "executable":
        digest.update(os.fsencode(_launcher(program, Path(_ARCHIVE))))
    if program.kind != "environment":
        for path in _files(program.origin):
            digest.update(b"%s\0%d\0" % (os.fsencode(path.name), path.stat().st_size))
            _feed(path, digest.update)
    return f"{__version__}-{digest.hexdigest()[:_HASH_DIGITS]}"


def _files(origin: Path) -> list[Path]:
    if origin.is_file():
        return [origin]
    return sorted(path for path in origin.rglob("*") if path.is_file() and not path.is_symlink())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _feed(path: Path, take: Callable[[bytes], None]) -> None:
    with path.open("rb") as stream:
        while piece := stream.read(_READ_BYTES):
            take(piece)


def _copy_tree(program: Program, staged: Path, _final: Path) -> None:
    shutil.copytree(program.origin, staged, symlinks=True, dirs_exist_ok=True)


def _copy_archive(program: Program, staged: Path, final: Path) -> None:
    shutil.copyfile(program.origin, staged / _ARCHIVE)
    _write_launcher(_launcher(program, final / _ARCHIVE), staged)


def _write_environment(program: Program, staged: Path, _final: Path) -> None:
    _write_launcher(_launcher(program, program.origin), staged)


_WAYS: Final[dict[Kind, Callable[[Program, Path, Path], None]]] = {
    "executable": _copy_tree,
    "zipapp": _copy_archive,
    "environment": _write_environment,
}


def _launcher(program: Program, place: Path) -> str:
    """Return a script that runs a program with its Python, whatever PYTHON variables say."""
    words = [str(program.python), "-I", str(place)]
    if program.kind == "environment":
        words = [str(program.python), "-I", "-c", BOOT, str(program.origin)]
    return _LAUNCHER.format(version=__version__, command=" ".join(map(shlex.quote, words)))


def _write_launcher(text: str, staged: Path) -> None:
    launcher = staged / PROGRAM
    with launcher.open("xb") as stream:
        stream.write(os.fsencode(text))
        os.fchmod(stream.fileno(), _EXECUTABLE_MODE)


@contextmanager
def _staging(final: Path) -> Iterator[Path]:
    """Give a directory beside the final one that is gone afterwards, unless it took its name."""
    staged = final.parent / f"{STAGED}{os.getpid()}-{random_hex(4)}"
    staged.mkdir(mode=PRIVATE_MODE, parents=True)
    try:
        yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _settle(staged: Path, final: Path) -> None:
    """Give a directory its name; another process may have been quicker."""
    try:
        staged.rename(final)  # fails when there is a directory with something in it
    except OSError:
        if not os.access(final / PROGRAM, os.X_OK):
            raise


# --- links ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Link:
    """A link that is to be at ``path`` and lead to ``target``, as it is written in the link."""

    path: Path
    target: str

    @property
    def is_needed(self) -> bool:
        """Whether it does not lead there."""
        return leads_to(self.path) != self.target

    def apply(self) -> None:
        """Make it, in one step; raise InstallError when something else has its place."""
        staged = self.path.with_name(f".{self.path.name}{_LINK_STAGED}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self.path.is_symlink() and self.path.exists():
                message = f"{self.path}: is no link; move it away"
                raise InstallError(message)
            with suppress(FileNotFoundError):
                staged.unlink()
            staged.symlink_to(self.target)
            faults.point("link_staged")
            staged.replace(self.path)
        except OSError as error:
            message = f"{error.filename or self.path}: {error.strerror}; it is as it was"
            raise InstallError(message) from None
        finally:
            with suppress(OSError):
                staged.unlink()


def leads_to(path: Path) -> str | None:
    """Return where a link leads, as it is written there; None for what is none."""
    try:
        return str(path.readlink())
    except OSError:
        return None


def current(placement: Placement) -> Link:
    """Return the link that makes a version the one that everybody runs."""
    return Link(placement.programs / CURRENT, f"{VERSIONS}/{placement.name}")


def current_program(programs: Path) -> Path:
    """Return what hooks, services and shells run, whichever version that is."""
    return programs / CURRENT / PROGRAM


def command_link(places: UserPlaces) -> Link:
    """Return the link that a shell finds."""
    return Link(places.command, str(current_program(places.programs)))


def stranger(link: Link) -> str:
    """Say what has the place of a link and is not ours; "" when nothing has."""
    found = leads_to(link.path)
    if found == link.target or not os.path.lexists(link.path):
        return ""
    return "is a file of its own" if found is None else f"leads to {found}"
