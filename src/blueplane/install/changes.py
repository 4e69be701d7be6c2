"""Changes of single files, first planned and shown, then made.

Owns reading a file that is to be changed, the record of a change, its diff, and making it.
Promises that a file is at any instant the old or the new one, that what others have a share in was
copied to the backups before, unless the plan says otherwise, and that nothing is changed that is
not as it was when planned, that belongs to somebody else, or that a link shows outside of the
user's home.
Leaves what to write to whoever plans it, and the order of several changes to the plan.
"""

import difflib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader, FileIO
from pathlib import Path
from typing import BinaryIO, Final

from blueplane import faults
from blueplane.clock import iso_utc, wall_ms
from blueplane.errors import InstallError
from blueplane.paths import private_directory, staged_file, sync, sync_directory

#: No file that we change is as large: settings have some kilobytes.
MAX_BYTES: Final = 4 * 1024 * 1024
#: A pipe in the file's place must not hold us up.
_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file before and after a change; None is no file.

    ``mode`` is that of a new file; one that is there keeps its own, unless it is ``ours``: a file
    that nobody else has a share in, which needs no backup. Without ``backed_up`` it gets none
    either.
    """

    path: Path
    before: bytes | None
    after: bytes | None
    mode: int
    why: str
    ours: bool = False
    backed_up: bool = True

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to do."""
        return self.before != self.after

    def diff(self) -> str:
        """Return the change as a unified diff, empty without one."""
        return "".join(_diff(self))


def plan(path: Path, after: bytes | None, *, mode: int, why: str) -> FileChange:
    """Plan to have ``path``, a file of ours alone, hold ``after``; raise InstallError.

    A link in its place is refused: what it leads to is not ours.
    """
    return FileChange(path, _look_at_ours(path).data, after, mode, why, ours=True)


def read(path: Path) -> bytes | None:
    """Return what a plain file holds, whoever it belongs to; None without one.

    Raises InstallError when it is no plain file, cannot be read, or has more than ``MAX_BYTES``.
    """
    return _look(path, path).data


def read_to_change(path: Path) -> bytes | None:
    """Return what a file that may be changed holds; None without one; raise InstallError."""
    return _look_to_change(path).data


def apply(change: FileChange, backups: Path) -> Path | None:
    """Make the change and return the dated copy in ``backups`` of what was there before, if any.

    The copy is 0600. Raises InstallError, and HomeError for the backups; the file is then as it
    was. Another program that writes between the last look and the replacing, some microseconds
    later, loses what it wrote: no system replaces a file only if it is still the same.
    """
    if not change.is_needed:
        return None
    found = _unchanged(change)
    backup = None
    if found.data is not None and change.backed_up and not change.ours:
        with _telling(change, backups):
            backup = _back_up(found, backups)
        faults.point("change_backed_up")
    with _telling(change, found.target.parent):
        _replace(change, found)
    sync_directory(found.target.parent)
    faults.point("change_made")
    return backup


# --- looking -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Found:
    """The file itself, wherever links lead to it; without data and status there is none."""

    target: Path
    data: bytes | None = None
    status: os.stat_result | None = None


def _look_to_change(path: Path) -> _Found:
    found = _look(path, _target(path))
    if found.status is None:
        return found
    if found.status.st_uid != os.geteuid():
        message = f"{path}: belongs to uid {found.status.st_uid}, not to you; chown it"
        raise InstallError(message)
    if not found.status.st_mode & stat.S_IWUSR:
        message = f"{path}: is read-only; `chmod u+w` it if it may be changed"
        raise InstallError(message)
    return found


def _look_at_ours(path: Path) -> _Found:
    if path.is_symlink():
        message = f"{path}: is a link, and what it leads to is not ours; remove the link"
        raise InstallError(message)
    return _look_to_change(path)


def _look(path: Path, target: Path) -> _Found:
    try:
        found = _opened(path, target)
    except FileNotFoundError:
        return _Found(target)
    except OSError as error:
        message = f"{path}: {error.strerror}; make it a plain file that you can read"
        raise InstallError(message) from None
    if len(found.data or b"") > MAX_BYTES:
        message = f"{path}: larger than {MAX_BYTES // 1024**2} MB; that is no file of settings"
        raise InstallError(message)
    return found


def _opened(path: Path, target: Path) -> _Found:
    descriptor = os.open(target, _READ)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            message = f"{path}: is no plain file; move it away"
            raise InstallError(message)
        return _Found(target, _read(descriptor), status)
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> bytes:
    with FileIO(descriptor, closefd=False) as stream, BufferedReader(stream) as reader:
        return reader.read(MAX_BYTES + 1)


def _target(path: Path) -> Path:
    """Follow links; raise InstallError when they lead out of where the user keeps such files.

    That is the user's home, or, for a directory elsewhere that the user named, that directory.
    """
    target = Path(os.path.realpath(path))
    home = _user_home()
    bounds = home if home is not None and path.is_relative_to(home) else path.parent
    if not target.is_relative_to(os.path.realpath(bounds)):
        message = (
            f"{path}: a link leads to {target}, which is outside of {bounds}; "
            "put a plain file in its place"
        )
        raise InstallError(message)
    return target


def _user_home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:
        return None  # neither HOME nor an entry for this user


# --- making --------------------------------------------------------------------------------------


@contextmanager
def _telling(change: FileChange, directory: Path) -> Iterator[None]:
    """Say where a change failed, and that it failed as a whole."""
    try:
        yield
    except OSError as error:
        message = f"{directory}: {error.strerror}; {change.path} is as it was"
        raise InstallError(message) from None


def _unchanged(change: FileChange) -> _Found:
    found = (_look_at_ours if change.ours else _look_to_change)(change.path)
    if found.data != change.before:
        message = f"{change.path}: was changed since the plan; run it again"
        raise InstallError(message)
    return found


def _replace(change: FileChange, found: _Found) -> None:
    if change.after is None:
        _unchanged(change).target.unlink()
        return
    found.target.parent.mkdir(parents=True, exist_ok=True)
    with staged_file(found.target) as (staged, stream):
        faults.point("change_opened")
        stream.write(change.after)
        _dress(stream, change, found.status)
        sync(stream)
        faults.point("change_staged")
        _unchanged(change)
        staged.replace(found.target)


def _dress(stream: BinaryIO, change: FileChange, before: os.stat_result | None) -> None:
    """Give a new file the owner, group and mode of the one that it replaces."""
    if before is None:
        os.fchmod(stream.fileno(), change.mode)
        return
    new = os.fstat(stream.fileno())
    if (new.st_uid, new.st_gid) != (before.st_uid, before.st_gid):
        os.fchown(stream.fileno(), before.st_uid, before.st_gid)
    os.fchmod(stream.fileno(), change.mode if change.ours else stat.S_IMODE(before.st_mode))


def _back_up(found: _Found, backups: Path) -> Path:
    private_directory(backups)
    with staged_file(backups / "backup") as (staged, stream):
        stream.write(found.data or b"")
        sync(stream)
        faults.point("change_backup_staged")
        backup = _first_free(backups, found.target)
        staged.replace(backup)
    sync_directory(backups)
    return backup


def _first_free(backups: Path, target: Path) -> Path:
    stamp = iso_utc(wall_ms()).replace(":", "-")
    name = f"{stamp}-{target.parent.name.lstrip('.')}-{target.name}"
    return next(path for path in _numbered(backups / name) if not path.exists())


def _numbered(path: Path) -> Iterator[Path]:
    yield path
    count = 1
    while True:
        count += 1
        yield path.with_name(f"{path.name}.{count}")


# --- showing -------------------------------------------------------------------------------------


def _diff(change: FileChange) -> Iterator[str]:
    if not change.is_needed:
        return
    old = os.devnull if change.before is None else str(change.path)
    new = os.devnull if change.after is None else str(change.path)
    if b"\0" in (change.before or b"") + (change.after or b""):
        yield f"Binary files {old} and {new} differ\n"
        return
    for line in difflib.unified_diff(_lines(change.before), _lines(change.after), old, new):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _lines(data: bytes | None) -> list[str]:
    if not data:
        return []
    *lines, last = data.decode("utf-8", "replace").split("\n")
    return [f"{line}\n" for line in lines] + ([last] if last else [])
