"""Where Cursor stores what it does, and which workspace a store belongs to.

Owns the places of the three systems, the finding of stores beneath them, and ``workspace.json``.
Promises that what is missing, unreadable or no plain file is left out, and that no link to a store
is followed.
Leaves reading a store to ``database.py`` and ``agent_transcripts.py``.
"""

import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple
from urllib.parse import unquote, urlsplit

from blueplane.capture.parse import Body, parse_payload
from blueplane.capture.workspace import normalise
from blueplane.errors import MalformedPayloadError

Kind = Literal["lists", "composers", "tracking", "chat", "transcript"]

#: Bytes of the largest ``workspace.json`` or ``meta.json`` that is read.
MAX_JSON_BYTES: Final = 64 * 1024
#: Directories within each other, below that of a project's transcripts.
DEPTH: Final = 3
_STATE: Final = "state.vscdb"
#: What makes up the store of a chat, and what stands beside a database.
_CHAT: Final = ("meta.json", "store.db", "store.db-wal")
_WAL: Final = "-wal"
_TRANSCRIPTS: Final = "agent-transcripts"
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Places:
    """Cursor's two directories: ``user`` (``.../Cursor/User``) and ``home`` (``~/.cursor``)."""

    user: Path
    home: Path


class Store(NamedTuple):
    """Something to read; ``item`` names it in what is stored, ``workspace`` is a path or ""."""

    kind: Kind
    item: str
    path: Path
    workspace: str = ""


def find_places(
    user_home: Path,
    environment: Mapping[str, str],
    data: str | None = None,
    home: str | None = None,
    system: str = sys.platform,
) -> Places:
    """Return Cursor's directories of a user; ``data`` and ``home`` are used instead if given."""
    usual = _data(user_home, environment, system) / "Cursor"
    return Places(
        (_directory(data) if data else usual) / "User",
        _directory(home) if home else user_home / ".cursor",
    )


def _directory(path: str) -> Path:
    return Path(normalise(path)).expanduser()


def _data(user_home: Path, environment: Mapping[str, str], system: str) -> Path:
    if system == "darwin":
        return user_home / "Library" / "Application Support"
    if system == "win32":
        moved = environment.get("APPDATA")
        return Path(moved) if moved else user_home / "AppData" / "Roaming"
    moved = environment.get("XDG_CONFIG_HOME")
    return Path(moved) if moved else user_home / ".config"


def find_stores(places: Places) -> Iterator[Store]:
    """Yield every store there is: lists, the newest first, before what they are lists of."""
    state = places.user / "globalStorage" / _STATE
    is_there = _is_file(state)  # once: nobody sees conversations without their list
    if is_there:
        yield Store("lists", "lists", state)
    for directory in _directories(places.user / "workspaceStorage"):
        path = directory / _STATE
        if _is_file(path):
            workspace = read_workspace(directory / "workspace.json")
            yield Store("lists", f"lists:{directory.name}", path, workspace)
    if is_there:
        yield Store("composers", "composers", state)
    path = places.home / "ai-tracking" / "ai-code-tracking.db"
    if _is_file(path):
        yield Store("tracking", "tracking", path)
    yield from _find_agents(places.home)


def _find_agents(home: Path) -> Iterator[Store]:
    for outer in _directories(home / "chats"):
        for directory in _directories(outer):
            yield Store("chat", f"chat:{directory.name}", directory)
    for project in _directories(home / "projects"):
        for directory in _directories(project):
            for path in _files(directory) if directory.name == _TRANSCRIPTS else ():
                place = path.relative_to(home / "projects")
                yield Store("transcript", f"transcript:{place}", path)


def files_of(store: Store) -> list[str]:
    """Return the files of a store, of which some may not be there."""
    if store.kind == "chat":
        return [f"{store.path}/{name}" for name in _CHAT]
    return [f"{store.path}", *([] if store.kind == "transcript" else [f"{store.path}{_WAL}"])]


def size_of(paths: Iterable[str]) -> int:
    """Return the bytes of those files that are there."""
    total = 0
    for path in paths:
        with suppress(OSError):
            total += os.lstat(path).st_size
    return total


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _files(directory: Path, depth: int = DEPTH) -> Iterator[Path]:
    """Yield transcripts, flat or in a directory of their session, and those of its agents."""
    for entry in _entries(directory):
        if entry.name.endswith(".jsonl") and entry.is_file(follow_symlinks=False):
            yield Path(entry.path)
    for inner in _directories(directory) if depth else ():
        yield from _files(inner, depth - 1)


def _directories(directory: Path) -> list[Path]:
    return [Path(each.path) for each in _entries(directory) if each.is_dir(follow_symlinks=False)]


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []


def read_json(path: Path) -> Body:
    """Read a small file of JSON; nothing when it is not there, or is no object of ours."""
    with suppress(OSError, MalformedPayloadError):
        descriptor = os.open(path, _READ)
        try:
            return parse_payload(os.read(descriptor, MAX_JSON_BYTES))[0]
        finally:
            os.close(descriptor)
    return {}


def read_workspace(path: Path) -> str:
    """Return the directory that ``workspace.json`` names, "" for none.

    A workspace of several folders is named by the directory of its file.
    """
    body = read_json(path)
    folder, file = body.get("folder"), body.get("workspace")
    if isinstance(folder, str):
        return uri_path(folder)
    return uri_path(file).rpartition("/")[0] if isinstance(file, str) else ""


def uri_path(uri: str) -> str:
    """Return the path of a URI; of one on another machine that on the other machine."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return ""
    if not parts.scheme or parts.scheme == "file" or len(parts.scheme) == 1:
        return uri  # a plain path, or one that the canonical form of a path knows
    return unquote(parts.path)
