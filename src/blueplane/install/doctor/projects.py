"""What the editors keep of projects: where those are, when they were last at work, and complaints.

Owns the bounds: the newest projects and transcripts only, and of each a few kilobytes.
Promises to read paths, times and the outcomes of hooks, and nothing of any conversation.
Leaves judging it to the checks.
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import orjson

from blueplane.capture.cursor.hooks import PLATFORM as CURSOR
from blueplane.errors import InstallError
from blueplane.install import json_text
from blueplane.install.changes import read
from blueplane.install.doctor.scene import Scene
from blueplane.install.doctor.settings import read_settings
from blueplane.install.editors import Editor
from blueplane.install.validity import cursor_faults

#: Projects and transcripts that are looked at, the newest first.
_PROJECTS: Final = 20
_TRANSCRIPTS: Final = 5
#: Files of an editor that are counted at most.
_FILES: Final = 20_000
#: Bytes at the beginning of a transcript that name its directory, and at its end.
_HEAD: Final = 16 * 1024
_TAIL: Final = 128 * 1024
_CWD: Final = re.compile(rb'"cwd":\s*("(?:[^"\\]|\\.)*")')
#: Milliseconds above which a hook held the editor up.
_SLOW_MS: Final = 5_000


@dataclass(frozen=True, slots=True)
class Kept:
    """A file that an editor keeps of a conversation."""

    path: Path
    mtime_ns: int
    bytes: int


# --- files ----------------------------------------------------------------------------------------


def transcripts(editor: Editor) -> list[Kept]:
    """Return the transcripts of an editor, the newest first."""
    pattern = "*/agent-transcripts" if editor.name == CURSOR.name else "*"
    found: list[Kept] = []
    for directory in (editor.settings.parent / "projects").glob(pattern):
        for kept in _files(directory):
            found.append(kept)
            if len(found) >= _FILES:
                break
    return sorted(found, key=lambda kept: -kept.mtime_ns)


def _files(directory: Path) -> Iterator[Kept]:
    for where, _, names in os.walk(directory):
        for name in names:
            if name.endswith((".jsonl", ".json", ".txt")):
                path = Path(where, name)
                with suppress(OSError):
                    found = path.lstat()
                    yield Kept(path, found.st_mtime_ns, found.st_size)


def workspaces(scene: Scene) -> list[tuple[str, int]]:
    """Return the folders that Cursor opened, as URIs, with the time (ns) of each."""
    base = "Library/Application Support" if sys.platform == "darwin" else ".config"
    found = []
    storage = scene.user_home / base / "Cursor" / "User" / "workspaceStorage"
    for path in storage.glob("*/workspace.json"):
        with suppress(OSError, ValueError, AttributeError):
            uri = orjson.loads(path.read_bytes()).get("folder")
            if isinstance(uri, str):
                found.append((uri, path.parent.stat().st_mtime_ns))
    return sorted(found, key=lambda each: -each[1])


# --- projects -------------------------------------------------------------------------------------


def known(editor: Editor, scene: Scene) -> list[Path]:
    """Return the newest projects of an editor that are on this machine."""
    if editor.name == CURSOR.name:
        parts = (urlsplit(uri) for uri, _ in workspaces(scene)[:_PROJECTS])
        named = [Path(unquote(part.path)) for part in parts if part.scheme == "file"]
    else:
        named = list(_from_transcripts(transcripts(editor)))
    unique = dict.fromkeys(path for path in named if path.is_absolute())
    return [path for path in unique if path.is_dir()][:_PROJECTS]


def _from_transcripts(found: Sequence[Kept]) -> Iterator[Path]:
    newest = {kept.path.parent: kept for kept in reversed(found)}
    for kept in sorted(newest.values(), key=lambda each: -each.mtime_ns)[:_PROJECTS]:
        with suppress(OSError, ValueError):
            match = _CWD.search(_piece(kept.path, 0, _HEAD))
            if match:
                yield Path(orjson.loads(match[1]))


def shadows(editor: Editor, root: Path) -> Iterator[tuple[Path, str]]:
    """Yield settings of a project that keep hooks from running, and why."""
    if editor.name == CURSOR.name:
        yield from _cursor_shadows(editor, root / ".cursor" / "hooks.json")
        return
    for name in ("settings.json", "settings.local.json"):
        path = root / ".claude" / name
        if path == editor.settings:
            continue
        try:
            if read_settings(path).get("disableAllHooks") is True:
                yield path, "disableAllHooks turns ours off in this project, too"
        except InstallError as error:
            yield path, str(error)


def _cursor_shadows(editor: Editor, path: Path) -> Iterator[tuple[Path, str]]:
    if path == editor.settings:
        return
    with suppress(InstallError):
        data = read(path)
        faults = [] if data is None else cursor_faults(json_text.decode(data), editor.version)
        if faults:
            yield path, f"Cursor refuses it: {faults[0].where} {faults[0].what}"


# --- complaints -----------------------------------------------------------------------------------


def complaints(editor: Editor, _scene: Scene) -> Iterator[str]:
    """Yield what the newest transcripts of Claude Code say of hooks that failed or were slow."""
    if editor.name == CURSOR.name:
        return  # it keeps no such record
    seen: set[str] = set()
    for kept in transcripts(editor)[:_TRANSCRIPTS]:
        with suppress(OSError):
            for line in _piece(kept.path, max(0, kept.bytes - _TAIL), _TAIL).splitlines():
                if b"stop_hook_summary" in line:
                    seen.update(_complained(line))
    yield from sorted(seen)


def _complained(line: bytes) -> Iterator[str]:
    try:
        said = orjson.loads(line)
        errors, infos = said.get("hookErrors") or [], said.get("hookInfos") or []
        slow = [info for info in infos if (info.get("durationMs") or 0) > _SLOW_MS]
    except (ValueError, AttributeError, TypeError):
        return  # cut off, or of another version
    if errors:
        yield f"Stop: {len(errors)} failed, says a transcript"
    for info in slow:
        yield f"Stop: {_program(info)} took {info['durationMs'] / 1000:.0f} s"


def _program(info: Mapping[str, Any]) -> str:
    """Return what a hook runs, without anything that it is told."""
    words = str(info.get("command")).split()
    return next((word for word in words if "=" not in word), "a hook")


def _piece(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)
