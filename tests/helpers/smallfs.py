"""A file system of a few megabytes that a test can fill, empty and grow.

Owns one tmpfs, mounted over a directory of the test.
Promises that it is unmounted at the end, whatever still uses it.
Leaves to the test who writes there. Needs root; without it the test is skipped, and fails in CI.
"""

import errno
import os
import subprocess
from pathlib import Path
from typing import Self

from helpers.redis_server import missing


class SmallFs:
    """A tmpfs over ``directory``; use it as a context manager."""

    def __init__(self, directory: Path, size_mb: int = 4) -> None:
        self.directory = directory
        self._size_mb = size_mb
        self._filler = directory / "filler"

    def __enter__(self) -> Self:
        if os.geteuid() != 0:
            missing("right to mount (root)")
        self.directory.mkdir(mode=0o700, exist_ok=True)
        options = f"size={self._size_mb}m,mode=0700"
        _run("mount", "-t", "tmpfs", "-o", options, "tmpfs", self.directory)
        return self

    def __exit__(self, *_: object) -> None:
        _run("umount", "--lazy", self.directory)

    def fill(self) -> None:
        """Leave not one free byte."""
        with self._filler.open("ab", buffering=0) as filler:
            for size in (64 * 1024, 4096, 1):
                while _took(filler.fileno(), size):
                    pass

    def empty(self) -> None:
        """Remove what ``fill`` wrote."""
        self._filler.unlink()

    def grow(self, size_mb: int) -> None:
        """Make it larger, with all that is on it."""
        _run("mount", "-o", f"remount,size={size_mb}m", self.directory)

    def protect(self, *, on: bool) -> None:
        """Make it read-only, or not; nobody may have a file open to write."""
        _run("mount", "-o", f"remount,{'ro' if on else 'rw'}", self.directory)


def _took(descriptor: int, size: int) -> bool:
    try:
        return os.write(descriptor, b"\0" * size) > 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False


def _run(*arguments: str | Path) -> None:
    subprocess.run(arguments, check=True, capture_output=True)
