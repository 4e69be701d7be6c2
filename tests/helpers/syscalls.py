"""What a server asked of the kernel, in its order: a trace by strace, read back.

Owns the command line of strace and the reading of its output.
Promises a pessimist's view: a write counts when it has returned, and is durable when a sync after
it has returned; an acknowledgement or a removal counts from the moment at which it was asked for.
Leaves what must be durable when to the tests.
"""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from helpers.redis_server import missing

_CALLS = "fsync,fdatasync,pwrite64,sendto,unlinkat"
_LINE = re.compile(r"(?P<pid>\d+) +(?P<rest>.*)")
_RESUMED = re.compile(r"<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)")
_WRITE = re.compile(r"pwrite64\(\d+<(?P<path>[^>]*)>.*, (?P<size>\d+), (?P<offset>\d+) *\) += \d+")
_SYNC = re.compile(r"f(?:data)?sync\(\d+<(?P<path>[^>]*)>")
_UNLINK = re.compile(r'unlinkat\(\d+<(?P<path>[^>]*)>, "(?P<name>[^"]*)"')
_MESSAGE_ID = re.compile(r"\d{13}-\d+")


def strace(output: Path) -> list[str]:
    """Return the command line to put before a program's; skips the test without strace."""
    program = shutil.which("strace")
    if program is None:
        missing("strace")
    return [program, "-f", "-y", "-s", "65536", "-e", f"trace={_CALLS}", "-o", str(output)]


@dataclass(frozen=True, slots=True)
class LetGo:
    """What was acknowledged or removed, and the bytes of the WAL that were durable before that."""

    name: str
    durable: int


@dataclass(slots=True)
class Trace:
    """What was let go of, in order; ``appended`` names the origins that were sent to the stream."""

    acknowledged: list[LetGo] = field(default_factory=list)
    removed: list[LetGo] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    durable: int = 0
    written: int = 0


def read_trace(output: Path, database: Path, spool: Path) -> Trace:
    """Read what strace wrote about a server with this database and spool."""
    trace = Trace()
    wal = f"{database}-wal"
    for began, call in _calls(output):
        if call.startswith("pwrite64"):
            _see_write(trace, call, wal, began=began)
        elif call.startswith(("fsync", "fdatasync")):
            _see_sync(trace, call, wal, began=began)
        elif began and call.startswith("sendto"):
            _see_send(trace, call)
        elif began and (unlink := _UNLINK.match(call)) and unlink["path"] == str(spool):
            trace.removed.append(LetGo(unlink["name"], trace.durable))
            trace.order.append(f"remove {unlink['name']}")
    return trace


def _calls(output: Path) -> Iterator[tuple[bool, str]]:
    """Yield each call twice: when it began (True), and when it returned (False)."""
    unfinished: dict[str, str] = {}
    with output.open(errors="replace") as lines:
        for line in lines:
            found = _LINE.match(line)
            if found is None:
                continue
            pid, rest = found["pid"], found["rest"]
            if resumed := _RESUMED.match(rest):
                yield False, unfinished.pop(pid, "") + resumed["rest"]
            elif rest.endswith("<unfinished ...>"):
                unfinished[pid] = rest.removesuffix("<unfinished ...>")
                yield True, unfinished[pid]
            else:
                yield True, rest
                yield False, rest


def _see_write(trace: Trace, call: str, wal: str, *, began: bool) -> None:
    write = None if began else _WRITE.match(call)
    if write and write["path"] == wal:
        trace.written = max(trace.written, int(write["offset"]) + int(write["size"]))


def _see_sync(trace: Trace, call: str, wal: str, *, began: bool) -> None:
    sync = _SYNC.match(call)
    if sync is None or sync["path"] != wal:
        return
    # One thread writes to the WAL, and it syncs: nothing is written between the two moments.
    if not began:
        trace.durable = trace.written
        trace.order.append(f"sync {trace.durable}")


def _see_send(trace: Trace, call: str) -> None:
    for name in re.findall(r"spool:([0-9.]+):\d+", call):
        trace.order.append(f"append {name}")
    _, found, rest = call.partition("XACK")
    if found:
        for message_id in _MESSAGE_ID.findall(rest.partition("XDEL")[0]):
            trace.acknowledged.append(LetGo(message_id, trace.durable))
            trace.order.append(f"acknowledge {message_id}")
