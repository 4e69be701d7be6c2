r"""Hand-off files: how a hook leaves an event in the spool.

Owns their names and the trailer, and writes such files itself where there is no ``sh`` for
``hooks/blueplane-hook``, whose twin it is.
Promises never to raise what the operating system refuses: a hook must not disturb the editor.
Leaves reading, settling and removing the files, and counting the refusals, to the spooler.

A hand-off file is ``<pid>.<ppid>.<n>``: the payload as it came, then the trailer
``\n\036<platform> <HookName>\n``. Only the trailer makes it whole.
"""

import contextlib
import os
import re
from io import BufferedWriter
from pathlib import Path
from typing import BinaryIO, Final

from blueplane.capture.pausing import paused
from blueplane.paths import Home, private_file
from blueplane.refusal import Refusal

#: What begins the trailer. JSON allows no bare \\036, so no whole payload can hold a trailer.
TRAILER_MARK: Final = b"\n\036"
#: The name of a hand-off file; everything else in the spool is foreign.
NAME: Final = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+\Z")
#: Names that one hook tries: each can be taken by what a dead hook with the same pid left behind.
MAX_NAMES: Final = 50

_WORD = re.compile(r"[A-Za-z0-9_-]+\Z")
_TRAILER = re.compile(rb"([A-Za-z0-9_-]+) ([A-Za-z0-9_-]+)\n\Z")
_CHUNK_BYTES = 128 * 1024


def hand_off(home: Home, platform: str, hook_name: str, stream: BinaryIO) -> None:
    """Copy ``stream`` to its end into a new file of the spool, or leave the letter of a refusal.

    A full disk leaves a file without a trailer; what cannot even be counted is not counted.
    """
    with contextlib.suppress(OSError):
        refusal = _refusal(home, platform, hook_name)
        refusal = refusal or _store(home, f"{platform} {hook_name}\n".encode(), stream)
        if refusal:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            with private_file(home.refusals, flags) as tally:
                tally.write(refusal.encode())


def split_trailer(raw: bytes) -> tuple[bytes, str, str] | None:
    """Return payload, platform and hook name of a hand-off file; None when it is not whole."""
    payload, mark, rest = raw.rpartition(TRAILER_MARK)
    words = _TRAILER.match(rest)
    if not mark or words is None:
        return None
    return payload, words[1].decode(), words[2].decode()


def _refusal(home: Home, platform: str, hook_name: str) -> Refusal | None:
    """Return what forbids to take an event."""
    if not (_WORD.match(platform) and _WORD.match(hook_name)):
        return Refusal.NO_NAME
    if home.full_flag.exists():
        return Refusal.SPOOL_FULL
    return Refusal.PAUSED if paused(home) else None


def _store(home: Home, words: bytes, stream: BinaryIO) -> Refusal | None:
    """Write the hand-off file; return why there is to be none."""
    for number in range(MAX_NAMES):
        path = home.spool / f"{os.getpid()}.{os.getppid()}.{number}"
        try:
            file = private_file(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        except OSError:
            continue
        # Buffered, because a raw file may take only a part of what it is given, and say so softly.
        with BufferedWriter(file, _CHUNK_BYTES) as target:
            if _lease_expired(home.lease, file.fileno()):
                path.unlink()
                return Refusal.LEASE
            while chunk := stream.read(_CHUNK_BYTES):
                target.write(chunk)
            target.write(TRAILER_MARK + words)
        return None
    return Refusal.NO_FILE


def _lease_expired(lease: Path, descriptor: int) -> bool:
    """Say whether a file made just now is younger than the lease; without one, never."""
    try:
        return os.fstat(descriptor).st_mtime_ns > lease.stat().st_mtime_ns
    except FileNotFoundError:
        return False
