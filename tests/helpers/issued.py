"""Events that a test issues, and the proof that each of them is where it must be.

Owns the ids: each event has one, chosen here, in a field that even ``strict`` stores as it is.
Promises to ask the store and Redis themselves what they hold, and the server only for its sums.
Leaves the faults in between to the test.
"""

import json
import os
import sqlite3
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import uuid4

from redis import ResponseError

from blueplane.paths import Home
from helpers.redis_server import RedisServer
from helpers.server import Server
from helpers.waiting import wait_until

SCRIPT = Path(__file__).parents[2] / "hooks" / "blueplane-hook"
#: Seconds within which everything must be settled once the fault is over: an entry that seems stuck
#: is looked for after half a minute, and a loaded machine is slow.
SETTLE_S = 70.0
FRESH_S = 20.0
GROUP = "processors"
EVENTS = "telemetry:events"


class Issued:
    """The events that were issued to one home; ``ids`` in the order of issuing."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.ids: list[str] = []

    # -- issuing -----------------------------------------------------------------------------------

    def issue(self, count: int = 1, **fields: object) -> list[str]:
        """Hand ``count`` events off as finished files, as hooks leave them."""
        return [self._file(fields) for _ in range(count)]

    def put_in_flight(self, redis: RedisServer, count: int) -> None:
        """Issue events and wait until all of them are in the stream; the consumer is held."""
        self.issue(count)
        wait_until(
            lambda: redis.command("XLEN", EVENTS) == count, SETTLE_S, "all are in the stream"
        )

    def hook(self, count: int = 1, **fields: object) -> list[str]:
        """Hand ``count`` events off through the real hook script, which must be silent."""
        return [self._run_hook(fields) for _ in range(count)]

    def _file(self, fields: dict[str, object]) -> str:
        chosen, raw = self.payload(**fields)
        path = self.home.spool / f"{os.getpid()}.1.{len(self.ids)}"
        path.write_bytes(raw + b"\n\x1eclaude_code UserPromptSubmit\n")
        self.ids.append(chosen)
        return chosen

    def _run_hook(self, fields: dict[str, object]) -> str:
        chosen, raw = self.payload(**fields)
        environment = {"BLUEPLANE_HOME": str(self.home.root), "HOME": str(self.home.root)}
        ended = subprocess.run(
            ["sh", str(SCRIPT), "claude_code", "UserPromptSubmit"],
            input=raw, env=environment, capture_output=True, timeout=SETTLE_S, check=False,
        )  # fmt: skip
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
        self.ids.append(chosen)
        return chosen

    def payload(self, **fields: object) -> tuple[str, bytes]:
        """Return the id of a new event and its raw payload; ``fields`` are added to it."""
        chosen = str(uuid4())
        body = {"hook_event_name": "UserPromptSubmit", "prompt": "tidy the orchard", **fields}
        return chosen, json.dumps({"session_id": chosen, **body}).encode()

    # -- looking -----------------------------------------------------------------------------------

    def rows(self) -> Counter[str]:
        """Return how often each id is in the store."""
        return Counter(row[0] for row in self.select("SELECT session_id FROM raw_traces"))

    def select(self, query: str) -> list[tuple[Any, ...]]:
        """Read from the store, behind the program's back."""
        connection = sqlite3.connect(f"file:{self.home.database}?mode=ro", uri=True, timeout=10)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def spool(self) -> set[str]:
        """Return the names in the spool."""
        return {path.name for path in self.home.spool.iterdir()}

    def is_drained(self) -> bool:
        """Say whether the spool is empty; costs as little with thousands of files in it."""
        with os.scandir(self.home.spool) as entries:
            return not any(entries)

    def count(self) -> int:
        """Return how many rows there are."""
        ((count,),) = self.select("SELECT count(*) FROM traces")
        return int(count)

    # -- the proof ---------------------------------------------------------------------------------

    def settle(self, server: Server, redis: RedisServer | None, dead: int = 0) -> dict[str, Any]:
        """Wait until all is well and a fresh event passes; return the balance.

        All but ``dead`` of the ids have their one row.
        """
        self._wait_well(server, redis, dead, SETTLE_S)
        self.issue()
        return self._wait_well(server, redis, dead, FRESH_S)

    def _wait_well(
        self, server: Server, redis: RedisServer | None, dead: int, patience_s: float,
    ) -> dict[str, Any]:  # fmt: skip
        wanted = len(self.ids) - dead
        try:
            wait_until(lambda: self.count() >= wanted, patience_s, "rows")
            wait_until(lambda: not self.trouble(server, redis, dead), patience_s, "rest")
        except AssertionError:
            raise AssertionError(self.trouble(server, redis, dead), server.log()[-3000:]) from None
        return server.balance()

    def trouble(self, server: Server, redis: RedisServer | None, dead: int) -> dict[str, object]:
        """Return everything that is not as it must be, by name; {} when all is well."""
        rows, balance = self.rows(), server.balance()
        found: dict[str, object] = {
            "missing": max(0, len(set(self.ids) - set(rows)) - dead),
            "invented": sorted(set(rows) - set(self.ids)),
            "twice": [chosen for chosen, count in rows.items() if count > 1],
            "spool": sorted(self.spool())[:10],
            "in flight": balance.get("messages", {}).get("in_flight", "unknown"),
            "waiting": balance.get("waiting"),
            "balanced": None if balance.get("balanced") else balance,
            "law": _remainder(balance.get("messages", {}), "enqueued"),
            "other law": _remainder(balance.get("events", {}), "captured"),
        }
        if redis is not None:
            found["stream"] = redis.command("XLEN", EVENTS)
            found["pending"] = _pending(redis)
        return {name: value for name, value in found.items() if value}


def _pending(redis: RedisServer) -> int | str:
    try:
        return int(redis.command("XPENDING", EVENTS, GROUP)[0])
    except ResponseError as error:
        return str(error)


def _remainder(law: dict[str, int], whole: str) -> int:
    """Return by how much the parts of a law miss their whole: counted here, not by the program."""
    return 2 * law[whole] - sum(law.values()) if law else -1
