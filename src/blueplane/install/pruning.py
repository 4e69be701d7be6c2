"""Versions of the program that go: those that nobody runs any more, or all.

Owns finding out which are run.
Promises that no version is removed which a process still runs, but with all of them, and that what
somebody else has put beside them stays.
Leaves putting versions there to ``versions.py``.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from blueplane.digests import random_hex
from blueplane.errors import InstallError
from blueplane.install.versions import CURRENT, ID, STAGED, VERSIONS, leads_to


def idle_versions(programs: Path) -> list[Path]:
    """Return the versions, and what was left unfinished, that are not current and nobody runs."""
    kept = (leads_to(programs / CURRENT) or "").rpartition("/")[2]
    try:
        found = sorted((programs / VERSIONS).iterdir())
    except OSError:
        return []
    others = [path for path in found if path.name != kept and _may_go(path)]
    used = _in_use() if others else []
    return [path for path in others if not any(_lies_in(each, path) for each in used)]


def remove_version(directory: Path) -> None:
    """Remove a version; under another name first, so that it is whole until it is gone."""
    condemned = directory.with_name(f"{STAGED}{os.getpid()}-{random_hex(4)}")
    with suppress(OSError):  # what cannot be removed now is idle the next time, too
        directory.rename(condemned)
        shutil.rmtree(condemned)


def is_there(programs: Path) -> bool:
    """Whether there is anything of the program."""
    return os.path.lexists(programs / CURRENT) or any(_ours(programs))


def remove_all(programs: Path) -> None:
    """Remove every version, also the one that runs; raise InstallError when one stays.

    What somebody else has put beside them stays.
    """
    try:
        with suppress(FileNotFoundError):
            (programs / CURRENT).unlink()
        for directory in list(_ours(programs)):
            with suppress(FileNotFoundError):  # somebody was quicker
                shutil.rmtree(directory)
    except OSError as error:
        message = f"{error.filename}: {error.strerror}; remove {programs} yourself"
        raise InstallError(message) from None
    for directory in (programs / VERSIONS, programs):
        with suppress(OSError):  # somebody else has something in it
            directory.rmdir()


def _ours(programs: Path) -> Iterator[Path]:
    """Yield the versions, and what was left unfinished."""
    with suppress(OSError):
        for path in (programs / VERSIONS).iterdir():
            named = path.name.startswith(STAGED) or ID.match(path.name)
            if named and path.is_dir() and not path.is_symlink():
                yield path


def _may_go(path: Path) -> bool:
    """Whether it is of a version, or was left behind by a process that is gone."""
    if path.is_symlink() or not path.is_dir():
        return False
    if not path.name.startswith(STAGED):
        return bool(ID.match(path.name))
    pid = path.name.removeprefix(STAGED).partition("-")[0]
    return pid.isdecimal() and not psutil.pid_exists(int(pid))


def _in_use() -> list[Path]:
    """Return the programs and absolute arguments of all processes of this user."""
    found: list[Path] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            found += [Path(word) for word in process.cmdline() if word.startswith("/")]
            found.append(Path(process.exe()))
    return found


def _lies_in(path: Path, directory: Path) -> bool:
    return path.is_relative_to(directory) or path.is_relative_to(directory.resolve())
