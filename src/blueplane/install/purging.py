"""What was captured, gone for good.

Owns which files of a home directory are ours.
Promises that nobody else's file in it is touched, whatever directory was called a home.
Leaves asking, and stopping the server before, to whoever purges.
"""

import os
import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from stat import S_ISDIR

from blueplane.errors import InstallError
from blueplane.install.manifest import manifest_file
from blueplane.paths import Home


def check(home: Home, user_home: Path) -> None:
    """Raise InstallError for a directory that cannot be, or never was, a home of ours."""
    if user_home.resolve().is_relative_to(home.root.resolve()):
        message = f"{home.root}: more than Blueplane's data is in there; remove it yourself"
        raise InstallError(message)
    signs = (home.secret_file, home.database, manifest_file(home))
    if home.root.exists() and any(home.root.iterdir()) and not any(map(os.path.lexists, signs)):
        message = f"{home.root}: is no home of Blueplane; remove it yourself"
        raise InstallError(message)


def what_undoes(home: Home) -> tuple[Path, ...]:
    """Return what of a home it takes to undo a change of somebody's file exactly."""
    return tuple(path for path in (manifest_file(home), home.backups) if os.path.lexists(path))


def ours(home: Home) -> list[Path]:
    """Return what is ours in a home, with what is set aside or half written beside it."""
    return [path for path in _entries(home) if _is_ours(path, home)]


def strangers(home: Home) -> list[Path]:
    """Return what somebody else has put there."""
    return [path for path in _entries(home) if not _is_ours(path, home)]


def size(home: Home) -> int:
    """Return the bytes of everything that is ours in a home."""
    return sum(map(_size, ours(home)))


def _size(path: Path) -> int:
    found = _own_size(path)
    for directory, _, names in os.walk(path):
        found += sum(_own_size(Path(directory, name)) for name in names)
    return found


def _own_size(path: Path) -> int:
    with suppress(OSError):
        status = path.lstat()
        return 0 if S_ISDIR(status.st_mode) else status.st_size
    return 0


def _entries(home: Home) -> list[Path]:
    return sorted(home.root.iterdir()) if home.root.is_dir() else []


def _is_ours(path: Path, home: Home) -> bool:
    directories = (
        home.spool, home.quarantine, home.hooks, home.run, home.redis, home.logs, home.backups
    )  # fmt: skip
    if path.is_dir() and not path.is_symlink():
        return path in directories
    # A copy, a log of SQLite's and what is half written have the name of the file in theirs.
    files = (home.config_file, home.secret_file, home.reserve, manifest_file(home))
    stems = (*(file.name for file in files), f"{home.database.stem}.")
    return path in directories or path.name.removeprefix(".").startswith(stems)


def is_anything_left(home: Home, kept: Collection[Path] = ()) -> bool:
    """Whether there is anything to purge."""
    if any(path not in kept for path in ours(home)):
        return True
    return os.path.lexists(home.root) and not _entries(home)


def purge(home: Home, kept: Collection[Path] = ()) -> None:
    """Remove what is ours but what is to be ``kept``, and the directory when it is empty then.

    Raises InstallError.
    """
    target = home.root.resolve()
    try:
        for path in ours(home):
            if path not in kept:
                _remove(path)
        if not _entries(home):
            target.rmdir()
            with suppress(FileNotFoundError):
                home.root.unlink()  # it was a link
    except OSError as error:
        message = f"{error.filename}: {error.strerror}; what is left is in {target}"
        raise InstallError(message) from None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
