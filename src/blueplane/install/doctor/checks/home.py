"""The home directory: whether it is there, private, and on a disk that keeps it safe.

Owns the walk over its files.
Promises that only modes are mended, only of our own files, and never through a link.
Leaves the settings in it to their own check.
"""

import os
import shlex
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

from blueplane.errors import ConfigError, HomeError
from blueplane.figures import count, size
from blueplane.install.doctor.check import Check, Result, fail, ok, warn
from blueplane.install.doctor.modes import is_planted, keeps_out
from blueplane.install.doctor.scene import Scene
from blueplane.install.doctor.words import listed
from blueplane.paths import OTHERS_MODE, PRIVATE_MODE, Home, is_link
from blueplane.store import location

#: Files that are looked at: a spool may hold very many.
_MOST: Final = 10_000


def _directory(scene: Scene) -> Result:
    if isinstance(scene.place, HomeError):
        return fail(str(scene.place), 'export BLUEPLANE_HOME="$HOME/.blueplane"')
    root = scene.place.root
    quoted = shlex.quote(str(root))
    try:
        found = root.stat()
    except FileNotFoundError:
        evidence = f"{root}: there is none yet"
        return fail(evidence, "blueplane install", partial(_make, scene.place))
    if not stat.S_ISDIR(found.st_mode):
        return fail(f"{root}: is no directory", f"mv {quoted} {quoted}.moved")
    if found.st_uid != os.getuid():
        return fail(f"{root}: belongs to uid {found.st_uid}", f"sudo chown -R $(id -u) {quoted}")
    if not os.access(root, os.R_OK | os.W_OK | os.X_OK):
        return keeps_out(root, PRIVATE_MODE)
    return ok(f"{root}")


def _make(home: Home) -> str:
    home.prepare()
    return f"made {home.root}"


def _walk(root: Path) -> Iterator[Path]:
    """Yield the home and everything in it, links to directories not followed."""
    yield root
    for directory, names, files in os.walk(root):
        yield from (Path(directory, name) for name in (*names, *files))


# --- permissions and links ------------------------------------------------------------------------


def _permissions(scene: Scene) -> Result:
    root = scene.home.root
    open_ones, foreign, seen = [], [], 0
    for path in islice(_walk(root), _MOST):
        with suppress(FileNotFoundError):  # released meanwhile
            found = path.lstat()
            seen += 1
            if found.st_uid != os.getuid():
                foreign.append(path)
            elif found.st_mode & OTHERS_MODE and not stat.S_ISLNK(found.st_mode):
                open_ones.append(path)
    if foreign:
        command = f"sudo chown -R $(id -u) {shlex.quote(str(root))}"
        return fail(f"not yours: {listed(foreign)}", command)
    if open_ones:
        command = f"chmod -R go-rwx {shlex.quote(str(root))}"
        return fail(f"open to others: {listed(open_ones)}", command, partial(_close, open_ones))
    return ok(f"{count(seen, 'file')}, none open to anybody else")


def _close(paths: Sequence[Path]) -> str:
    closed = []
    for path in paths:
        mode = stat.S_IMODE(path.lstat().st_mode)
        if not is_link(path):
            path.chmod(mode & ~OTHERS_MODE)
            closed.append(f"{path} (was {mode:04o})")
    return f"closed {listed(closed)}"


def _links(scene: Scene) -> Result:
    root = scene.home.root
    found = [path for path in islice(_walk(root), 1, _MOST) if is_planted(path)]
    if found:
        command = f"rm {shlex.quote(str(found[0]))}"
        return fail(f"links where files belong: {listed(found)}", command)
    return ok("no link among the files")


# --- disk and configuration -----------------------------------------------------------------------


def _location(scene: Scene) -> Result:
    root = scene.home.root
    trouble = location.trouble(root, scene.system / location.MOUNTS.relative_to("/"))
    if trouble is not None:
        return warn(trouble, 'export BLUEPLANE_HOME="$HOME/.blueplane"')
    return ok(f"{root}: a local disk, and no synced folder")


def _config(scene: Scene) -> Result:
    path = scene.home.config_file
    try:
        scene.load()
    except ConfigError as error:
        text = str(error)
        if text.startswith("BLUEPLANE_"):
            return fail(text, f"unset {text.partition(' ')[0]}")
        return fail(text, f"${{EDITOR:-vi}} {shlex.quote(str(path))}")
    if not path.exists():
        return ok(f"{path}: none, so every setting has its default")
    return ok(f"{path}: {size(path.stat().st_size)}, every key is known and valid")


CHECKS: Final = (
    Check("home.directory", "the home directory is there and yours", _directory),
    Check("home.permissions", "nobody else can read or change what is in it", _permissions),
    Check("home.links", "no link stands in for a file of it", _links),
    Check("home.location", "it is on a disk that keeps a database safe", _location),
    Check("config.valid", "the settings can be read", _config),
)
