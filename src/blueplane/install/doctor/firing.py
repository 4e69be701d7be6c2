"""Firing a hook for a proof: the very command line of a settings file, through ``sh -c``.

Owns running it, and looking at what it hands over.
Promises that nothing of it comes on the road of an event: the file that the hook makes loses its
name while the hook still writes it.
Leaves which commands there are to the settings files.
"""

import os
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event as Flag
from typing import Final

from blueplane.capture.handoff import split_trailer
from blueplane.clock import monotonic_s
from blueplane.digests import random_hex
from blueplane.install.system_programs import last_line

#: Seconds that one hook has; it needs some milliseconds.
LIMIT_S: Final = 0.5
#: Hooks that are run at once.
_AT_ONCE: Final = 4
#: Seconds between two looks for the file.
_TICK_S: Final = 0.001
#: Looks after which the whole directory is listed: the hook is a child of the command then.
_LISTS: Final = 20
#: Names that a hook tries, for another hook of the same process may have left the first behind.
_NAMES: Final = 3
#: Bytes that are read of what it made.
_MOST: Final = 4096
#: Characters of what it printed that are shown.
_WORDS: Final = 200


@dataclass(frozen=True, slots=True)
class Shot:
    """A hook that was run: for which event, how long it took, and what was wrong with it."""

    event: str
    took_ms: float
    trouble: str = ""


def fire(commands: Mapping[str, str], spool: Path, environment: Mapping[str, str]) -> list[Shot]:
    """Run the command of each event, and return how it went, in the same order."""
    variables = {
        name: value
        for name, value in environment.items()
        if not name.startswith(("BLUEPLANE_", "PYTHON"))  # editors have none of these
    }
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        shots = [
            pool.submit(_fire, event, command, spool, variables)
            for event, command in commands.items()
        ]
        return [each.result() for each in shots]


def _fire(event: str, command: str, spool: Path, variables: Mapping[str, str]) -> Shot:
    begin_s = monotonic_s()
    try:
        with subprocess.Popen(
            ["/bin/sh", "-c", command], env=variables, cwd="/", stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            try:
                trouble = _watch(process, event, spool, begin_s + LIMIT_S)
            finally:
                process.kill()
    except OSError as error:
        trouble = f"cannot be run: {error.strerror}"
    return Shot(event, (monotonic_s() - begin_s) * 1000, trouble)


def _watch(process: "subprocess.Popen[bytes]", event: str, spool: Path, deadline_s: float) -> str:
    """Take the hook's file as soon as it is there, feed the hook, and judge what it wrote."""
    payload = b'{"session_id":"canary-%b"}' % random_hex(8).encode()
    descriptor = _take(process, spool, deadline_s)
    try:
        out, err = process.communicate(payload, max(0.01, deadline_s - monotonic_s()))
    except subprocess.TimeoutExpired:
        return f"takes longer than {LIMIT_S:g} s"
    finally:
        written = b"" if descriptor is None else _read(descriptor)
    if process.returncode:
        return f"ends with {process.returncode}: {_last(err) or 'no word'}"
    if out or err:
        return f"prints: {_last(out or err)}"
    if descriptor is None:
        return "hands nothing over to this home"
    parts = split_trailer(written)
    if parts is None or parts[0] != payload or parts[2] != event:
        return "hands over something else than it got"
    return ""


def _take(process: "subprocess.Popen[bytes]", spool: Path, deadline_s: float) -> int | None:
    """Open the file that a hook writes, and remove its name; None when it makes none."""
    ticks = 0
    while monotonic_s() < deadline_s:
        ended = process.poll() is not None
        ticks += 1
        for path in _candidates(process.pid, spool, whole=ended or ticks % _LISTS == 0):
            with suppress(OSError):
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                path.unlink()
                return descriptor
        if ended:
            return None
        Flag().wait(_TICK_S)
    return None


def _candidates(pid: int, spool: Path, *, whole: bool) -> Iterator[Path]:
    """Yield the names that the hook of a process takes: of itself, or of a child of it."""
    for number in range(_NAMES):
        yield spool / f"{pid}.{os.getpid()}.{number}"
    if whole:
        yield from spool.glob(f"*.{pid}.*")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, _MOST)
    finally:
        os.close(descriptor)


def _last(text: bytes) -> str:
    return last_line(text.decode("utf-8", "replace"))[:_WORDS]
