"""A backlog in the stream, drained by our pipeline and by a tight loop, in one run.

The loop is the reference: one file, one thread, XREADGROUP COUNT 1000, decode, zstd with the same
dictionary, insert, COMMIT with synchronous=FULL, one CDC entry, XACK, and nothing else: no custody,
no settlement, no dead letters, no interning. The two take turns on the same machine, each with a
server and a database of its own; the ratio is what counts, the absolute figures are the machine's.

``python benchmarks/ingest.py [events]`` prints one JSON object.
"""

import json
import os
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import redis
import zstandard

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.helpers.payloads import payloads

from blueplane.capture.hook_event import HandOff, HookReader
from blueplane.capture.sanitise import Sanitiser
from blueplane.clock import parse_iso_ms
from blueplane.config import load
from blueplane.daemon import Daemon
from blueplane.event import Event, encode
from blueplane.paths import Home
from blueplane.pipeline.consumer import Consumer
from blueplane.pipeline.private_redis import PrivateRedis
from blueplane.store.codec import shipped

#: Seconds between two looks at whether it is over: looking is a load on what is timed.
POLL_S = 0.01
#: Entries that are appended at once.
APPEND = 500


def make_events(count: int, secret: bytes) -> list[Event]:
    """Sanitise generated hook payloads: what the spooler would append."""
    reader = HookReader(Sanitiser("strict", secret), lambda _event: False)
    start = time.time_ns()
    return [
        reader.read(
            HandOff(f"1.1.{number}", start + number, item.raw, item.platform, item.hook_name)
        )
        for number, item in enumerate(payloads(count))
    ]


# --- the pipeline ---------------------------------------------------------------------------------


class _Gate:
    """Holds the consumer back until the backlog is complete."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._follow = follow = Consumer._follow

        def wait_then_follow(consumer: Consumer) -> None:
            self._open.wait()
            follow(consumer)

        Consumer._follow = wait_then_follow

    def open(self) -> None:
        """Let the consumer read."""
        self._open.set()

    def remove(self) -> None:
        """Put the consumer back as it was."""
        Consumer._follow = self._follow


def time_pipeline(events: list[Event], make: type[Daemon] = Daemon) -> float:
    """Return the seconds from the first read to the last settled entry."""
    with tempfile.TemporaryDirectory() as directory:
        home = Home(Path(directory) / "home")
        gate = _Gate()
        daemon = make(home, load(home, {}))
        daemon.start()
        try:
            wait_for(lambda: daemon.stream.attached)
            for start in range(0, len(events), APPEND):
                chunk = events[start : start + APPEND]
                daemon.stream.append(
                    "hook",
                    [encode(event) for event in chunk],
                    [event.origin for event in chunk],
                    daemon.writer.in_flight.register,
                )
            started = time.perf_counter()
            gate.open()
            wait_for(lambda: not len(daemon.writer.in_flight))
            return time.perf_counter() - started
        finally:
            gate.open()
            gate.remove()
            daemon.stop()


def wait_for(condition: Callable[[], bool], timeout_s: float = 120.0) -> None:
    """Wait for a condition; raise TimeoutError when it does not come."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(POLL_S)


# --- the reference loop ---------------------------------------------------------------------------

_TABLE = """
CREATE TABLE traces (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, event_id BLOB NOT NULL UNIQUE, message_id TEXT,
    platform TEXT, source TEXT, hook_type TEXT, event_type TEXT, session_id TEXT,
    workspace_hash TEXT, timestamp_ms INTEGER, captured_ns INTEGER, model TEXT, tool_name TEXT,
    duration_ms INTEGER, input_tokens INTEGER, output_tokens INTEGER, codec INTEGER,
    event_data BLOB NOT NULL)"""
_INSERT = f"INSERT INTO traces VALUES (NULL{', ?' * 17}) ON CONFLICT (event_id) DO NOTHING"


def time_loop(events: list[Event]) -> float:
    """Return the seconds that the tight loop takes for the same entries."""
    with tempfile.TemporaryDirectory() as directory:
        home = Home(Path(directory) / "home")
        home.prepare()
        server = PrivateRedis(home)
        server.start()
        client = redis.Redis(unix_socket_path=str(server.socket_path), protocol=2)
        database = sqlite3.connect(home.database, isolation_level=None)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.execute(_TABLE)
            client.xgroup_create("events", "group", "0", mkstream=True)
            for start in range(0, len(events), APPEND):
                pipe = client.pipeline(transaction=False)
                for event in events[start : start + APPEND]:
                    pipe.execute_command("XADD", "events", "*", *encode(event))
                pipe.execute()
            started = time.perf_counter()
            _loop(client, database, len(events))
            return time.perf_counter() - started
        finally:
            database.close()
            client.close()
            server.stop(5)


def _loop(client: redis.Redis, database: sqlite3.Connection, count: int) -> None:
    dictionary = zstandard.ZstdCompressionDict(shipped()[0].data)
    compressor = zstandard.ZstdCompressor(level=3, dict_data=dictionary)
    client.set_response_callback("XREADGROUP", lambda reply, **_: reply)
    done = 0
    while done < count:
        reply = client.execute_command(
            "XREADGROUP",
            "GROUP",
            "group",
            "me",
            "COUNT",
            1000,
            "STREAMS",
            "events",
            ">",
        )
        entries = reply[0][1]
        rows = []
        for message_id, fields in entries:
            table = dict(zip(fields[0::2], fields[1::2], strict=True))
            metadata = orjson.loads(table[b"metadata"])
            text = b'{"metadata":%b,"payload":%b}' % (table[b"metadata"], table[b"payload"])
            rows.append(
                (
                    bytes.fromhex(table[b"event_id"].decode()),
                    message_id.decode(),
                    table[b"platform"].decode(),
                    table[b"source"].decode(),
                    table[b"hook_type"].decode(),
                    table[b"event_type"].decode(),
                    table[b"session_id"].decode(),
                    table[b"workspace_hash"].decode(),
                    parse_iso_ms(table[b"timestamp"].decode()),
                    int(table[b"captured_at"]),
                    metadata.get("model"),
                    metadata.get("tool_name"),
                    metadata.get("duration_ms"),
                    metadata.get("input_tokens"),
                    metadata.get("output_tokens"),
                    1,
                    compressor.compress(text),
                ),
            )
        database.execute("BEGIN IMMEDIATE")
        database.executemany(_INSERT, rows)
        database.execute("COMMIT")
        pipe = client.pipeline(transaction=False)
        pipe.execute_command("XADD", "cdc", "MAXLEN", "~", 1000, "*", "count", len(rows))
        pipe.execute_command("XACK", "events", "group", *[entry[0] for entry in entries])
        pipe.execute()
        done += len(entries)


def run(count: int = 50_000, rounds: int = 3) -> dict[str, object]:
    """Return events a second of both, round by round, and the median of the ratios."""
    events = make_events(count, os.urandom(32))
    pairs = [(time_pipeline(events), time_loop(events)) for _ in range(rounds)]
    return {
        "events": count,
        "pipeline_per_s": [round(count / ours) for ours, _ in pairs],
        "loop_per_s": [round(count / theirs) for _, theirs in pairs],
        "ratio": round(statistics.median(theirs / ours for ours, theirs in pairs), 2),
        "target": ">= 1.0",
    }


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000), indent=2))
