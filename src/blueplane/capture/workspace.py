"""Workspaces: one name for one directory, however an editor writes it.

Owns the canonical form of a path, the workspace hash and the project's name.
Promises that every spelling of one directory gives the same hash, and never raises for a path.
Leaves it to the sanitiser which of them is shown in clear.
"""

import os
import re
import unicodedata
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from blueplane.digests import blake2b

_DRIVE: Final = re.compile(r"/?([A-Za-z]):(?=[/\\]|\Z)")
_SLASHES: Final = re.compile(r"//+")
_URI: Final = "file://"
#: How an absolute path begins once it is normalised.
ABSOLUTE: Final = re.compile(r"/|[a-z]:(?:/|\Z)")
#: Directories whose children are people's homes, wherever they are mounted and however they are
#: written: the last component would be somebody's name.
_HOMES: Final = frozenset({"home", "users"})
#: Characters of the longest path that any system of ours opens.
MAX_PATH: Final = 4096
HOME_PROJECT: Final = "~"


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace as it is stored: 16 hex digits, and the project's name; both may be empty."""

    hash: str = ""
    project: str = ""


NO_WORKSPACE: Final = Workspace()


def normalise(path: str) -> str:
    r"""Write ``path`` in one way, from its text alone: NFC, ``/`` only, no trailing slash.

    ``file://`` is resolved with its escapes, and a Windows drive becomes ``c:`` however it is
    written (``/c:/``, ``C:\``).
    """
    if path.startswith(_URI):
        path = unquote(path[len(_URI) :])
        path = path if path.startswith("/") else path.removeprefix("localhost")
    if drive := _DRIVE.match(path):
        path = f"{drive[1].lower()}:{path[drive.end() :]}".replace("\\", "/")
    path = _SLASHES.sub("/", unicodedata.normalize("NFC", path))
    return path if path == "/" else path.rstrip("/")


def canonical(path: str) -> str:
    """Return the one name of a directory: normalised, and links resolved where it is on this disk.

    Blocks for as long as the file system needs to follow links.
    """
    path = normalise(path)
    # Resolving takes a look at the disk for each component: a hostile path has millions.
    if not path.startswith("/") or len(path) > MAX_PATH:
        return path
    try:
        path = os.path.realpath(path)
    except (OSError, ValueError):  # a name that no file can have
        return path
    # The target of a link may have a name that is no text.
    return unicodedata.normalize("NFC", path.encode("utf-8", "replace").decode())


def workspace_hash(canonical_path: str, secret: bytes) -> str:
    """Hash a canonical path with the install's secret: 16 hex digits, "" for no path."""
    if not canonical_path:
        return ""
    data = canonical_path.encode("utf-8", "surrogatepass")
    return blake2b(data, key=secret, digest_size=8, person=b"workspace").hexdigest()


def project_name(canonical_path: str) -> str:
    """Return the last component of a canonical path, ``~`` for a person's home, "" for none.

    What is no absolute path may be prose, and has no name.
    """
    if not ABSOLUTE.match(canonical_path):
        return ""
    parent, _, name = canonical_path.rpartition("/")
    at_home = parent.rpartition("/")[2].casefold() in _HOMES or canonical_path == "/root"
    return HOME_PROJECT if at_home else name
