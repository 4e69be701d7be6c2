"""The directories of transcripts: what is in them, and what came and went.

Owns what is known of every directory under the roots.
Promises that no link is followed, that a directory which did not change costs one look at its
time, and that no change is missed for longer than it takes to look at everything once.
Leaves the files to the monitor, and when to look to it, too.
"""

import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from blueplane.capture.claude_code.places import MAX_DEPTH, is_transcript, may_hold
from blueplane.clock import NS_PER_S, wall_ns

#: A change within one tick of the kernel's clock does not show in a directory's time.
_TICK_NS: Final = 50_000_000
#: How deep directories of projects are.
_PROJECT: Final = 1
#: For so long after its last change a directory below a project is worth watching.
_RECENT_NS: Final = 86_400 * NS_PER_S


@dataclass(slots=True)
class _Directory:
    """A directory: its time when it was read, and the paths of what is in it.

    There may be tens of thousands: the paths are those that everybody else has, and no copies.
    """

    depth: int
    mtime_ns: int = -1
    files: tuple[str, ...] = ()
    below: tuple[str, ...] = ()


class Tree:
    """The directories under some roots.

    ``found`` and ``gone`` are told the paths of files, ``worth`` that of a directory in which
    something is likely to change, and whether it will be for long, as a project's.
    """

    def __init__(
        self,
        found: Callable[[str], None],
        gone: Callable[[str], None],
        worth: Callable[[str, bool], None],
    ) -> None:
        self._found, self._gone, self._worth = found, gone, worth
        self.directories: dict[str, _Directory] = {}
        self.roots: list[str] = []
        #: What has a transcript's name and is no file, as a link or a pipe.
        self.refused: set[str] = set()

    def plant(self, roots: Iterable[str]) -> None:
        """Look into these roots and no others."""
        self.roots = list(roots)
        for path in [path for path, known in self.directories.items() if known.depth == 0]:
            if path not in self.roots:
                self._remove(path)
        for root in self.roots:
            self.look(root)

    def look(self, path: str, depth: int = 0) -> None:
        """Look whether a directory changed, and if so, into it."""
        known = self.directories.get(path)
        try:
            found = os.lstat(path)
        except OSError:
            self._remove(path)
            return
        if not stat.S_ISDIR(found.st_mode):
            self._remove(path)
            return
        if known is None:
            known = self.directories[path] = _Directory(depth)
        if found.st_mtime_ns != known.mtime_ns:
            self._read(path, known, found.st_mtime_ns)

    def look_at_top(self) -> list[str]:
        """Look at the roots and the directories of projects; return the latter."""
        for root in self.roots:
            self.look(root)
        projects = [path for path, known in self.directories.items() if known.depth == _PROJECT]
        for path in projects:
            self.look(path)
        return projects

    def changed(self, path: str) -> None:
        """Note that a file in a directory changed: more is likely to."""
        known = self.directories.get(path)
        if known is not None:
            self._worth(path, known.depth <= _PROJECT)

    def look_below(self, path: str) -> None:
        """Look at a directory and all that are known below it."""
        known = self.directories.get(path)
        if known is not None:
            self._worth(path, known.depth <= _PROJECT)
            self.look(path)
            for inner in known.below:
                self.look_below(inner)

    def _read(self, path: str, known: _Directory, mtime_ns: int) -> None:
        now_ns = wall_ns()
        if known.depth <= _PROJECT or now_ns - mtime_ns < _RECENT_NS:
            self._worth(
                path, known.depth <= _PROJECT
            )  # before it is read: nothing is missed in between
        try:
            files, below = self._list(path, known.depth)
        except OSError:
            return  # gone, or the system is short of something: the next look tells
        old_files, old_below = known.files, known.below
        new_files, new_below = files.difference(old_files), below.difference(old_below)
        known.files = (*(each for each in old_files if each in files), *new_files)
        known.below = (*(each for each in old_below if each in below), *new_below)
        known.mtime_ns = mtime_ns if abs(now_ns - mtime_ns) > _TICK_NS else -1
        for gone in set(old_files) - files:
            self._gone(gone)
        for gone in set(old_below) - below:
            self._remove(gone)
        for new in new_files:
            self._found(new)
        for new in new_below:
            self.look(new, known.depth + 1)

    def _list(self, path: str, depth: int) -> tuple[set[str], set[str]]:
        files: set[str] = set()
        below: set[str] = set()
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if depth < MAX_DEPTH and may_hold(entry.name):
                        below.add(entry.path)
                elif is_transcript(entry.name) and depth:
                    if entry.is_file(follow_symlinks=False):
                        files.add(entry.path)
                    else:
                        self.refused.add(entry.path)
        return files, below

    def _remove(self, path: str) -> None:
        known = self.directories.pop(path, None)
        if known is None:
            return
        for gone in known.files:
            self._gone(gone)
        for inner in known.below:
            self._remove(inner)
