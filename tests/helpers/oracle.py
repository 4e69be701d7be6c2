"""The oracle of the fault tests: what was issued, and what became of it.

Owns the ids: each event that a test issues carries one that the program did not make.
Promises that ``verdict`` names every event that is missing, twice, changed or was never issued, and
every sum that does not close.
Leaves the faults to the test; it looks only when they have stopped.
"""

import json
import os
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import UUID

from blueplane.capture.hook_event import HandOff, HookReader
from blueplane.capture.sanitise import Sanitiser
from blueplane.clock import wall_ns
from blueplane.event import encode
from blueplane.paths import Home
from helpers.redis_server import RedisServer
from helpers.server import Server, stored_balance
from helpers.waiting import wait_until

STREAM = "telemetry:events"
GROUP = "processors"
#: Seconds until everything that was issued has an outcome, and until a fresh event passes.
DRAIN_S = 30.0
FRESH_S = 20.0

#: What identifies an event in the store: session id, platform, native hook, a number of its own.
Key = tuple[str, str, str, int]


@dataclass(slots=True)
class Oracle:
    """Issues events as hand-off files, and knows what must become of them.

    ``rows`` says how many rows each key must have; ``bad`` names files that must be quarantined;
    ``doubles`` counts events that must be counted as duplicates; ``names`` has the session of each
    hand-off file.
    """

    home: Home
    seed: int = 0
    rows: Counter[Key] = field(default_factory=Counter)
    bad: set[str] = field(default_factory=set)
    names: dict[str, str] = field(default_factory=dict)
    doubles: int = 0
    captured: int = 0
    _random: Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)

    # -- issuing ---------------------------------------------------------------------------------

    def issue(self, count: int = 1) -> None:
        """Issue events of both platforms, each of its own."""
        for _ in range(count):
            self._issue(self._claude() if self._random.random() < 0.5 else self._cursor())

    def issue_twice(self) -> None:
        """Issue two events of the same content: two rows."""
        key, body = self._claude()
        self._issue((key, body))
        self._issue((key, body))

    def issue_double(self) -> None:
        """Issue one tool event of Cursor's twice, as Cursor does: one row and a duplicate."""
        key, body = self._cursor()
        self._issue((key, body))
        self._hand_off(key, body)
        self.doubles += 1

    def issue_double_at_once(self) -> None:
        """Issue such a double in one tick of the file system's clock; only while no server runs."""
        self.issue_double()
        first, second = list(self.names)[-2:]
        moment_ns = (self.home.spool / first).stat().st_mtime_ns
        os.utime(self.home.spool / second, ns=(moment_ns, moment_ns))

    def issue_bad(self) -> None:
        """Issue a payload that is no JSON: quarantined."""
        self.bad.add(self._write(b'{"session_id": ', "claude_code", "Stop"))

    def issue_foreign(self, redis: RedisServer) -> None:
        """Add an event to the stream that none of our sources sent: a row, and no capture."""
        key, body = self._claude()
        reader = HookReader(Sanitiser("strict", self.home.secret()), lambda _name: False)
        item = HandOff("1.1.1", wall_ns(), json.dumps(body).encode(), key[1], key[2])
        fields = encode(reader.read(item))
        fields[fields.index(b"origin") + 1] = b""
        redis.command("XADD", STREAM, "*", *fields)
        self.rows[key] += 1

    def copy_entries(self, redis: RedisServer, count: int) -> int:
        """Add copies of the first entries of the stream, as they are; return how many."""
        entries = redis.command("XRANGE", STREAM, "-", "+", "COUNT", count)
        for _, fields in entries:
            redis.command("XADD", STREAM, "*", *fields)
        return len(entries)

    def issue_some(self, count: int) -> None:
        """Issue a mix: of every fifty events one is sent twice."""
        for _ in range(count):
            chance = self._random.random()
            if chance < 0.01:
                self.issue_twice()
            elif chance < 0.02:
                self.issue_double()
            else:
                self.issue()

    def _issue(self, event: tuple[Key, dict[str, Any]]) -> None:
        self._hand_off(*event)
        self.rows[event[0]] += 1

    def _hand_off(self, key: Key, body: dict[str, Any]) -> None:
        self.names[self._write(json.dumps(body).encode(), key[1], key[2])] = key[0]
        self.captured += 1

    def _write(self, payload: bytes, platform: str, hook_name: str) -> str:
        """Write a hand-off file as the hook does, trailer last; return its name."""
        name = f"{os.getpid()}.{self.seed}.{self.captured + len(self.bad)}"
        with (self.home.spool / name).open("xb", buffering=0) as file:
            file.write(payload)
            file.write(f"\n\036{platform} {hook_name}\n".encode())
        return name

    def _claude(self) -> tuple[Key, dict[str, Any]]:
        key = (self._uuid(), "claude_code", "PostToolUse", self._number())
        return key, {
            "session_id": key[0], "hook_event_name": key[2], "duration_ms": key[3],
            "tool_name": "Bash", "tool_input": {"command": "true", "timeout": 5},
        }  # fmt: skip

    def _cursor(self) -> tuple[Key, dict[str, Any]]:
        key = (self._uuid(), "cursor", "postToolUse", self._number())
        return key, {
            "conversation_id": key[0], "hook_event_name": key[2], "duration": key[3],
            "tool_name": "Shell", "tool_use_id": self._uuid(), "cursor_version": "3.18.25",
        }  # fmt: skip

    def _uuid(self) -> str:
        return str(UUID(int=self._random.getrandbits(128), version=4))

    def _number(self) -> int:
        return self._random.randrange(1, 1 << 40)

    # -- judging ---------------------------------------------------------------------------------

    def drain(self, server: Server, timeout_s: float = DRAIN_S) -> None:
        """Wait until everything that was issued has an outcome, retrying every dead letter."""

        def drained() -> bool:
            if not server.connected():
                return False
            body = server.balance()
            if body and body["open_dead_letters"]:
                server.ask("dlq.retry", ids=open_letters(self.home))
            waits = ("in_flight", "waiting", "open_dead_letters")
            return bool(body) and not any(body[name] for name in waits)

        wait_until(drained, timeout_s, f"drained; balance {stored_balance(self.home)}")

    def verdict(self, server: Server, redis: RedisServer | None = None) -> list[str]:
        """Return everything that is not as it must be; the server runs and has drained."""
        complaints = self._judge_rows()
        complaints += self._judge_places()
        complaints += self._judge_balance(server.balance())
        complaints += [f"left in the spool: {path.name}" for path in self.home.spool.iterdir()]
        if redis is not None:
            pending = redis.command("XPENDING", STREAM, GROUP)[0]
            length = redis.command("XLEN", STREAM)
            complaints += [f"{pending} pending, {length} in the stream"] * bool(pending or length)
        return complaints

    def judge(self, server: Server, redis: RedisServer | None = None) -> None:
        """Drain, fail on any complaint, and see a fresh event pass."""
        self.drain(server)
        complaints = self.verdict(server, redis)
        assert complaints == [], f"{len(complaints)} complaints: {complaints[:20]}"
        self.issue()
        fresh = next(reversed(self.rows))
        wait_until(lambda: stored(self.home)[fresh], FRESH_S, "a fresh event is written")

    def _judge_rows(self) -> list[str]:
        found = stored(self.home)
        missing, surplus = self.rows - found, found - self.rows
        return [
            *(f"lost {count}: {key}" for key, count in missing.items()),
            *(f"{'twice' if key in self.rows else 'never issued'}: {key}" for key in surplus),
        ]

    def _judge_places(self) -> list[str]:
        with reading(self.home) as connection:
            origins = [
                origin.split(":")[1]
                for (origin,) in connection.execute(
                    "SELECT origin FROM settlements WHERE outcome = 'quarantined'"
                )
            ]
            integrity = connection.execute("PRAGMA integrity_check").fetchone()[0]
        aside = {path.name.partition("-")[2] for path in self.home.quarantine.iterdir()}
        return [
            *(f"bad file without a settlement: {name}" for name in self.bad - set(origins)),
            *(f"bad file not set aside: {name}" for name in self.bad - aside),
            *(f"quarantined for nothing: {name}" for name in set(origins) - self.bad),
            *([f"integrity: {integrity}"] if integrity != "ok" else []),
        ]

    def _judge_balance(self, body: dict[str, Any]) -> list[str]:
        events = body["events"]
        wanted = {
            "captured": self.captured + len(self.bad),
            "duplicate": self.doubles,
            "quarantined": len(self.bad),
            "waiting": 0,
        }
        return [
            *([] if body["balanced"] else [f"not balanced: {body}"]),
            *([f"lost {body['lost']}"] if body["lost"] else []),
            *(
                f"{name} {events[name]} instead of {number}"
                for name, number in wanted.items()
                if events[name] != number
            ),
        ]


# --- looking behind the program -----------------------------------------------------------------


def reading(home: Home) -> closing[sqlite3.Connection]:
    """Open the database by ourselves, read-only, for the length of a block."""
    return closing(sqlite3.connect(f"file:{home.database}?mode=ro", uri=True, timeout=10))


def stored(home: Home) -> Counter[Key]:
    """Return how many rows each key has."""
    with reading(home) as connection:
        rows = connection.execute(
            "SELECT session_id, platform, hook_type, duration_ms FROM raw_traces"
        )
        return Counter(tuple(row) for row in rows)


def count_rows(home: Home) -> int:
    """Return how many rows there are."""
    with reading(home) as connection:
        return int(connection.execute("SELECT count(*) FROM traces").fetchone()[0])


def written_messages(home: Home) -> set[str]:
    """Return the message ids that have a row."""
    with reading(home) as connection:
        return {row[0] for row in connection.execute("SELECT message_id FROM raw_traces")}


def open_letters(home: Home) -> list[str]:
    """Return the message ids of the open dead letters."""
    with reading(home) as connection:
        rows = connection.execute("SELECT message_id FROM dead_letters WHERE state = 'open'")
        return [row[0] for row in rows]
