"""Where Claude Code keeps its transcripts.

Owns the directories in which transcripts may be, and what the name of a file in one says of it.
Promises paths without links in them, none of which is within another.
Leaves looking into them to ``tree.py``.
"""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from blueplane.digests import blake2b

#: What the rows of transcripts have for a source.
SOURCE: Final = "transcript"
#: The directory with a directory for each project.
PROJECTS: Final = "projects"
#: Directories between a project and its deepest transcript: session, subagents, workflows, one.
MAX_DEPTH: Final = 5
#: Directories that hold no transcript.
_OTHERS: Final = frozenset({"tool-results", "memory"})
_TRANSCRIPT: Final = re.compile(r"[A-Za-z0-9_.-]{1,200}\.jsonl\Z")
_META: Final = re.compile(r"agent-[A-Za-z0-9_.-]{1,180}\.meta\.json\Z")
_SUBAGENTS: Final = "subagents"
#: Bytes of the keyed hash that names a file.
ITEM_BYTES: Final = 8


def roots(user_home: Path, environment: Mapping[str, str], more: Iterable[str] = ()) -> list[str]:
    """Return the directories that exist and may hold projects; ``more`` are the user's own.

    ``CLAUDE_CONFIG_DIR`` may name several, with commas, and any may end in ``projects`` already.
    """
    config = environment.get("XDG_CONFIG_HOME") or str(user_home / ".config")
    named = [*environment.get("CLAUDE_CONFIG_DIR", "").split(","), *more]
    places = [*named, str(user_home / ".claude"), f"{config}/claude"]
    found = {os.path.realpath(_projects(place.strip())) for place in places if place.strip()}
    return [path for path in sorted(found) if Path(path).is_dir() and not _within(path, found)]


def _projects(place: str) -> str:
    place = os.path.expanduser(place).rstrip("/")  # noqa: PTH111 - a setting as it is typed
    return place if place.endswith(f"/{PROJECTS}") else f"{place}/{PROJECTS}"


def _within(path: str, others: Iterable[str]) -> bool:
    return any(path.startswith(f"{other}/") for other in others)


def is_transcript(name: str) -> bool:
    """Say whether a file of this name is read: a transcript, or what describes a sub-agent."""
    return bool(_TRANSCRIPT.match(name) or _META.match(name))


def is_meta(name: str) -> bool:
    """Say whether a file describes a sub-agent, and is one whole."""
    return name.endswith(".meta.json")


def is_session(path: str) -> bool:
    """Say whether a file is the transcript of a session, and not of one of its agents."""
    return session_of(path) == path.rpartition("/")[2].partition(".")[0]


def may_hold(name: str) -> bool:
    """Say whether a directory of this name may hold transcripts."""
    return name not in _OTHERS


def session_of(path: str) -> str:
    """Return the session that a file's place names: its own, or that of the agent's parent."""
    directory, _, name = path.rpartition("/")
    parts = directory.split("/")
    if _SUBAGENTS in parts:
        return parts[parts.index(_SUBAGENTS) - 1]
    stem = name.partition(".")[0]
    return "" if stem.startswith("agent-") else stem


def item_of(path: str, secret: bytes) -> str:
    """Name a file in origins and marks: its own name may say something."""
    return blake2b(os.fsencode(path), key=secret, digest_size=ITEM_BYTES).hexdigest()
