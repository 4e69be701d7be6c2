"""Which transcripts there are, and which of them have something to read.

Owns what is known of every file, and who waits to be read.
Promises that a change is noticed whether the system names it or not, that a file which changes does
not wait behind history, and that of a quiet file little is kept.
Leaves directories to ``tree.py``, reading to ``reading.py``, and when to look to the monitor.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from blueplane.capture.claude_code.places import is_session
from blueplane.capture.claude_code.transcript import Place
from blueplane.capture.claude_code.tree import Tree
from blueplane.clock import NS_PER_MS, wall_ms
from blueplane.event import Mark, Unread, as_text

#: Milliseconds after its last change at which a file that was never read is history.
OLD_MS: Final = 60_000
#: Files that changed last, which are looked at where the system does not name what changes.
RECENT: Final = 64


@dataclass(slots=True, eq=False)
class Transcript:
    """A file: how it was seen last (a hash), and, once it is opened, how far it is read.

    There may be tens of thousands, most of them quiet. Lines before ``suspect_to`` may have their
    outcome already. None ends between ``read_to`` and ``scanned``. ``tail`` stands for the line
    before ``read_to``. ``known`` is what the store knows it as, whatever is settled of it.
    ``refused`` says why it cannot be read, ``refused_s`` since when (monotonic).
    """

    path: str
    seen: int = 0
    size: int = 0
    read_to: int = 0
    scanned: int = 0
    suspect_to: int = 0
    tail: int = 0
    opened: Mark | None = None
    known: Mark | None = None
    place: Place | None = None
    refused: str = ""
    refused_s: float = 0.0

    @property
    def unread(self) -> int:
        """Bytes that were not looked into."""
        return max(0, self.size - max(self.read_to, self.scanned))

    def close(self) -> None:
        """Forget how far it was read: the store knows."""
        self.place = self.opened = self.known = None
        self.read_to = self.scanned = self.tail = 0


class Files:
    """The transcripts under some roots; ``worth`` is told of directories as ``Tree`` has it."""

    def __init__(self, worth: Callable[[str, bool], None]) -> None:
        self.tree = Tree(self._found, self._gone, worth)
        self.known: dict[str, Transcript] = {}
        #: Files with something to read: those that change, and, newest last, the others.
        self.hot: dict[str, Transcript] = {}
        self.history: dict[str, Transcript] = {}
        self._recent: dict[str, Transcript] = {}
        self._sweep: Iterator[object] = iter(())
        #: How many sessions have a transcript.
        self.sessions = 0

    def waiting(self) -> list[Transcript]:
        """Return those that have something to read; from any thread."""
        return [*list(self.hot.values()), *list(self.history.values())]

    def unread(self) -> Iterator[Unread]:
        """Yield what cannot be read, but for what is about to be tried again; from any thread."""
        for path, file in list(self.known.items()):
            if file.refused and path not in self.hot and path not in self.history:
                yield Unread(as_text(path), file.unread, file.refused, file.refused_s)

    def plant(self, roots: Iterable[str], *, again: bool) -> None:
        """Look into these roots and no others; read what cannot be read, perhaps, ``again``."""
        self.tree.plant(roots)
        if again:
            self.history |= {path: file for path, file in self.known.items() if file.refused}
        newest_last = sorted(self.history.items(), key=lambda pair: _mtime_ns(pair[0]))
        self.history = dict(newest_last)

    def begin_anew(self) -> None:
        """Have everything read from where the store says."""
        for path, file in self.known.items():
            file.close()
            if path not in self.hot:
                self.history[path] = file

    # -- looking -----------------------------------------------------------------------------------

    def note(self, changed: Sequence[tuple[str, str]] | None) -> None:
        """Look at what changed, or, where that is not said, at what is likely to have."""
        if changed is None:
            for file in list(self._recent.values()):
                self.look_at(file)
            self.tree.look_at_top()
            return
        for directory, name in changed:
            path = f"{directory}/{name}"
            known = self.known.get(path)
            if known is None:
                self.tree.look(directory)
            else:
                self.look_at(known)
                self.tree.look_below(path.removesuffix(".jsonl"))  # of the session's agents

    def look_around(self, looks: int) -> None:
        """Look at the next of all directories and files, which are looked at in turn."""
        for _ in range(looks):
            if next(self._sweep, self) is self:
                self._sweep = self._look_at_all()
                break

    def _look_at_all(self) -> Iterator[object]:
        """Look at every directory and every file, one at a time."""
        for path in list(self.tree.directories):
            if path in self.tree.directories:
                self.tree.look(path)
            yield path
        for file in list(self.known.values()):
            self.look_at(file)
            yield file

    def look_at_session(self, session_id: str) -> None:
        """Look at the files of a session."""
        for directory in self.tree.look_at_top():
            self.tree.look_below(f"{directory}/{session_id}")
            if file := self.known.get(f"{directory}/{session_id}.jsonl"):
                self.look_at(file)

    def look_at(self, file: Transcript) -> None:
        """Notice whether a file changed, and have it read then."""
        try:
            found = os.lstat(file.path)
        except OSError:
            return  # gone: its directory tells
        seen = hash((found.st_ino, found.st_size, found.st_mtime_ns))
        if seen == file.seen:
            return
        new = not file.seen
        file.seen, file.size = seen, found.st_size
        if new and wall_ms() - found.st_mtime_ns // NS_PER_MS > OLD_MS:
            self.history[file.path] = file
        else:
            self._warm(file)

    def let_be(self, file: Transcript) -> None:
        """Keep little of a file that is read, and did not change lately: as most never do."""
        if not any(file.path in each for each in (self.hot, self.history, self._recent)):
            file.close()

    def _found(self, path: str) -> None:
        """Take up a file that appeared."""
        file = self.known[path] = Transcript(path)
        self.sessions += is_session(path)
        self.look_at(file)

    def _gone(self, path: str) -> None:
        """Drop a file; should it come back, the store knows how far it is settled."""
        self.sessions -= path in self.known and is_session(path)
        for files in (self.known, self.hot, self.history, self._recent):
            files.pop(path, None)

    def _warm(self, file: Transcript) -> None:
        self.tree.changed(file.path.rpartition("/")[0])
        self.history.pop(file.path, None)
        self.hot[file.path] = file
        self._recent.pop(file.path, None)
        self._recent[file.path] = file
        if len(self._recent) > RECENT:
            self.let_be(self._recent.pop(next(iter(self._recent))))


def _mtime_ns(path: str) -> int:
    try:
        return os.lstat(path).st_mtime_ns
    except OSError:
        return 0  # gone
