"""Losing the power: copies of a database as a disk may show them afterwards.

Owns the traced life of a server and the cutting of its write-ahead log.
Promises copies that hold at least what was synced, and of the rest any part from its beginning.
Leaves what must be in them to the tests.
"""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random

import psutil

from blueplane.paths import Home
from helpers.oracle import Oracle, stored
from helpers.redis_server import RedisServer
from helpers.server import Server
from helpers.syscalls import LetGo, Trace, read_trace, strace
from helpers.waiting import wait_until

#: Seconds; generous, for only a failure takes that long.
WRITTEN_S = 30.0
GROUPS, GROUP = 12, 10
_WAL_HEADER, _FRAME = 32, 24 + 4096


@dataclass(frozen=True, slots=True)
class Life:
    """What is left of a server that was killed: its files, and the trace of what it did."""

    database: bytes
    wal: bytes
    trace: Trace
    names: dict[str, str]

    def edges(self) -> list[int]:
        """Return the lengths of the WAL at the end of each frame, 0 and the header included."""
        return [0, *range(_WAL_HEADER, len(self.wal) + 1, _FRAME)]

    def let_go_by(self, length: int) -> tuple[set[str], set[str]]:
        """Return messages and sessions that were let go of when ``length`` bytes were durable."""
        messages = {each.name for each in self.trace.acknowledged if each.durable <= length}
        files = {each.name for each in self.trace.removed if each.durable <= length}
        return messages, {self.names[name] for name in files}


def live(home: Home, redis: RedisServer, mutant: str = "") -> Life:
    """Let a traced server write some groups of events, kill it, and return what is left."""
    oracle = Oracle(home, 11)
    output = home.root.parent / "trace"
    with Server(home, redis, MUTANT=mutant) as server:
        server.start(prefix=strace(output))
        server.wait_ready()
        for number in range(1, GROUPS + 1):
            oracle.issue(GROUP)
            _wait_settled(home, redis, number * GROUP)
        database, wal = home.database, Path(f"{home.database}-wal")
        _kill(server)
        left = database.read_bytes(), wal.read_bytes()
    return Life(*left, read_trace(output, database, home.spool), oracle.names)


def _wait_settled(home: Home, redis: RedisServer, count: int) -> None:
    wait_until(
        lambda: (
            sum(stored(home).values()) == count
            and not redis.command("XLEN", "telemetry:events")
            and not any(home.spool.iterdir())
        ),
        WRITTEN_S,
        f"{count} events are written and let go of",
    )


def _kill(server: Server) -> None:
    """Kill the traced process; strace ends with it, and has written everything by then."""
    for child in psutil.Process(server.pid).children():
        child.kill()
    server.wait()


def cuts(life: Life, count: int, seed: int = 1) -> list[int]:
    """Return every frame's edge and ``count`` lengths between, from what was durable at first."""
    random = Random(seed)
    return [*life.edges(), *(random.randrange(len(life.wal)) for _ in range(count))]


def missing_after(life: Life, length: int, directory: Path) -> Iterator[str]:
    """Yield what was let go of and is not in the copy whose WAL ends after ``length`` bytes."""
    messages, sessions = life.let_go_by(length)
    found_messages, found_sessions = set[str](), set[str]()
    for copy in _copies(life, length, directory):
        with closing(sqlite3.connect(copy)) as connection:
            if connection.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
                yield f"damaged at {length}"
            if connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                rows = connection.execute("SELECT message_id, session_id FROM raw_traces")
                for message_id, session_id in rows:
                    found_messages.add(message_id)
                    found_sessions.add(session_id)
    yield from (f"acknowledged, lost at {length}: {each}" for each in messages - found_messages)
    yield from (f"removed, lost at {length}: {each}" for each in sessions - found_sessions)


def _copies(life: Life, length: int, directory: Path) -> Iterator[Path]:
    """Give the copy while it is looked at."""
    directory.mkdir()
    copy = directory / "telemetry.db"
    copy.write_bytes(life.database)
    Path(f"{copy}-wal").write_bytes(life.wal[:length])
    yield copy
    shutil.rmtree(directory)


def exact_moments(life: Life) -> list[int]:
    """Return the lengths that were durable when something was let go of: the worst moments."""
    gone: list[LetGo] = [*life.trace.acknowledged, *life.trace.removed]
    return sorted({each.durable for each in gone})
