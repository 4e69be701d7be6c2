"""The database: its file, its pages, its schema, and its room.

Owns what is looked at without a server.
Promises to read only, and not for long: of a large database a part of the pages.
Leaves mending a damaged one to ``blueplane doctor --recover``.
"""

import os
import shlex
import stat
import sys
from pathlib import Path
from typing import Final

from blueplane.clock import NS_PER_MS, monotonic_s, wall_ms
from blueplane.errors import StoreError
from blueplane.figures import age, count, size
from blueplane.install.doctor.check import Check, Result, fail, ok, warn
from blueplane.install.doctor.modes import keeps_out
from blueplane.install.doctor.recover import RECOVER, set_aside
from blueplane.install.doctor.scene import READ_S, Scene, SkipError
from blueplane.install.doctor.words import listed, update, which_disk, who_uses
from blueplane.paths import PRIVATE_FILE_MODE
from blueplane.store.connection import SQLITE_VERSION
from blueplane.store.damage import find_damage
from blueplane.store.marker import read_mark
from blueplane.store.migrations import STEPS
from blueplane.store.queries import footprint, reading
from blueplane.store.wal import LARGE_BYTES

#: Releases before this one may lose a commit when two connections reset the -wal at once. We have
#: one that writes, so it does not happen to us; a program of somebody else's may do it.
_SOUND: Final = (3, 51, 3)
#: Free bytes below which it is said, and below which writing ends before long.
_LOW_BYTES: Final = 500 * 1024 * 1024
_FULL_BYTES: Final = 20 * 1024 * 1024
_READ_ONLY: Final = getattr(os, "ST_RDONLY", 1)


def _path(scene: Scene) -> Path:
    """Return where the database is; raise SkipError when there is none."""
    path = scene.home.database
    if not path.exists():
        message = f"{path}: none, see database.file"
        raise SkipError(message)
    return path


def _file(scene: Scene) -> Result:
    path = scene.home.database
    quoted = shlex.quote(str(path))
    try:
        found = path.lstat()
    except FileNotFoundError:
        return _gone(path)
    if not stat.S_ISREG(found.st_mode):
        return fail(f"{path}: is no plain file", f"mv {quoted} {quoted}.moved")
    if os.statvfs(path.parent).f_flag & _READ_ONLY:
        return fail(f"{path}: its file system is read-only", which_disk(path))
    if not os.access(path, os.R_OK | os.W_OK):
        return keeps_out(path, PRIVATE_FILE_MODE)
    return ok(f"{path}: {size(found.st_size)}")


def _gone(path: Path) -> Result:
    mark = read_mark(path)
    if mark is None or not mark.rows:
        message = f"{path}: none yet"
        raise SkipError(message)
    copies = set_aside(path)
    evidence = f"{path}: is gone, and had {count(mark.rows, 'row')}"
    return fail(evidence, RECOVER if copies else "blueplane start")


def _pages(scene: Scene) -> Result:
    path = _path(scene)
    begin_s = monotonic_s()
    try:
        damage = find_damage(path, READ_S)
    except StoreError as error:
        message = f"{error}: see database.file"
        raise SkipError(message) from error
    if damage is not None:
        return fail(damage, RECOVER)
    whole = monotonic_s() - begin_s < READ_S
    how = "every page" if whole else f"as far as {READ_S:g} s go; the server checks all once a day"
    return ok(f"no damage in {size(path.stat().st_size)}, {how}")


def _schema(scene: Scene) -> Result:
    path = _path(scene)
    try:
        with reading(path, READ_S) as reader:
            found = reader.schema_version()
    except StoreError as error:
        message = f"it cannot be read: see database.pages ({error})"
        raise SkipError(message) from error
    if found > len(STEPS):
        evidence = f"{path}: has schema {found}, this program knows {len(STEPS)}"
        return fail(f"{evidence}: run that of the newer one", "blueplane install")
    if found < len(STEPS):
        evidence = f"{path}: has schema {found}; a server of this version makes it {len(STEPS)}"
        return warn(evidence, "blueplane restart")
    return ok(f"schema {found}, that of this program")


def _sqlite(_scene: Scene) -> Result:
    version = ".".join(map(str, SQLITE_VERSION))
    if SQLITE_VERSION >= _SOUND:
        return ok(version)
    sound = ".".join(map(str, _SOUND))
    evidence = f"{version}: before {sound} two programs that write may lose a commit"
    if getattr(sys, "frozen", False):
        return warn(f"{evidence}; it came with this executable", "install a newer Blueplane")
    return warn(evidence, update("sqlite" if sys.platform == "darwin" else "libsqlite3-0"))


def _wal(scene: Scene) -> Result:
    path = _path(scene)
    held = footprint(path).wal or 0
    if held > LARGE_BYTES:
        evidence = f"{path}-wal: {size(held)}, for a program has the database open to read"
        return warn(evidence, who_uses(path))
    return ok(f"{size(held)} of {size(LARGE_BYTES)}")


def _disk(scene: Scene) -> Result:
    root = scene.home.root
    free = footprint(scene.home.database).free
    if free is None:
        message = f"{root}: the system does not tell how much is free"
        raise SkipError(message)
    evidence = f"{size(free)} free where {root} is"
    command = f"du -xh -d1 {shlex.quote(str(root))}"
    if free < _FULL_BYTES:
        return fail(evidence, command)
    return warn(evidence, command) if free < _LOW_BYTES else ok(evidence)


def _set_aside(scene: Scene) -> Result:
    copies = set_aside(scene.home.database)
    if not copies:
        return ok("no damaged database was set aside")
    newest = copies[-1]
    found = newest.stat()
    age_ms = wall_ms() - found.st_ctime_ns // NS_PER_MS
    evidence = (
        f"{count(len(copies), 'damaged database')}: {listed(copies[::-1])}, "
        f"{size(found.st_size)}, set aside {age(age_ms)}"
    )
    return warn(evidence, RECOVER)


CHECKS: Final = (
    Check("database.file", "the database can be read and written", _file),
    Check("database.pages", "its pages are whole", _pages),
    Check("database.schema", "it is of the version of this program", _schema),
    Check("database.sqlite", "the SQLite that reads it", _sqlite),
    Check("database.wal", "its -wal is small", _wal),
    Check("database.disk", "there is room on its disk", _disk),
    Check("database.set_aside", "no damaged one waits to be recovered", _set_aside),
)
