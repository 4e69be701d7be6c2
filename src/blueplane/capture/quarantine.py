"""The quarantine: hand-off files that could not be read, as they came.

Owns the directory, the names in it, and which of its files go first.
Promises that a file is moved there whole or not at all, and that only what is older than it is told
goes, or what is beyond a size: then the oldest.
Leaves what is set aside, and its record, to the spool; the days, and what time it is, to retention.
"""

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blueplane.digests import blake2b
from blueplane.paths import is_link, private_directory

#: Bytes of a name that every file system takes.
MAX_NAME_BYTES: Final = 255


@dataclass(frozen=True, slots=True)
class Quarantine:
    """The quarantine of one home; ``directory`` is made again when somebody took it away."""

    directory: Path

    def take(self, name: str, mtime_ns: int, spool: int) -> None:
        """Move a file here from the directory that is open as ``spool``; raise OSError."""
        kept = f"{mtime_ns}-{name}"
        if len(os.fsencode(kept)) > MAX_NAME_BYTES:
            kept = f"{mtime_ns}-{blake2b(os.fsencode(name), digest_size=16).hexdigest()}"
        target = self.directory / kept
        os.rename(name, target, src_dir_fd=spool)
        # Of a hard link the mode is another file's, too.
        if stat.S_ISREG(target.lstat().st_mode) and not is_link(target):
            with suppress(PermissionError):  # another user's: the directory is private anyway
                target.chmod(0o600)

    def prune(self, before_ns: int, max_bytes: int, most: int) -> int:
        """Remove files that came before ``before_ns``, or do not fit; return how many went.

        At most ``most`` of them, the oldest first; the newest ``max_bytes`` bytes fit. Directories
        are somebody else's and stay.
        """
        private_directory(self.directory)
        room, removed = max_bytes, 0
        doomed: list[Path] = []
        for ctime_ns, size, path in sorted(self._files(), reverse=True):
            room -= size
            if room < 0 or ctime_ns < before_ns:
                doomed.append(path)
        for path in reversed(doomed[-most:] if most else []):  # the oldest first
            with suppress(FileNotFoundError):  # taken out by hand meanwhile
                path.unlink()
                removed += 1
        return removed

    def _files(self) -> list[tuple[int, int, Path]]:
        """Return (ctime in nanoseconds, bytes, path) of everything that is no directory."""
        files = []
        for entry in os.scandir(self.directory):
            with suppress(FileNotFoundError):
                found = entry.stat(follow_symlinks=False)
                if not stat.S_ISDIR(found.st_mode):
                    files.append((found.st_ctime_ns, found.st_size, Path(entry.path)))
        return files
