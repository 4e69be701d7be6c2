"""Payloads of any size: the envelope stays, the content as far as it fits, in little memory."""

import os
from pathlib import Path

import orjson
import pytest

from blueplane.paths import Home
from blueplane.store.queries import reading
from helpers.issued import Issued
from helpers.redis_server import RedisServer
from helpers.server import Server
from helpers.waiting import wait_until

MEGA = 1024 * 1024
TRAILER = b"\n\x1eclaude_code UserPromptSubmit\n"
#: Bytes that a server may take for payloads of any size.
ROOM = 32 * MEGA
HUGE = 512 * MEGA
PATIENCE_S = 60.0


@pytest.mark.fault("D7")
def test_memory_is_bounded_when_payloads_are_of_any_size(
    server: Server, home: Home, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """From a megabyte to half a gigabyte: the envelope stays with the size, in little memory."""
    # Given a server that is warm
    server.start_ready()
    issued.issue(200)
    issued.settle(server, redis_server)
    at_rest = peak(server, anew=True)
    # When payloads of all sizes come
    for number, megabytes in enumerate([1, 1, 2, 3, 4, 4]):
        prompt = b'"prompt": "%b"}' % (b"long " * (megabytes * MEGA // 5))
        write(home, number, opened(issued) + prompt)
    keys = b", ".join(b'"key %d": %d' % (number, number) for number in range(100_000))
    write(home, 10, opened(issued) + b'"tool_input": {' + keys + b"}}")
    write(home, 11, opened(issued) + b'"%b": 1}' % (b"k" * (4 * MEGA)))
    # (of what is too large to be parsed only the size is known, and no session)
    oversized = write(home, 12, b'{"%b": 1}' % (b"k" * (10 * MEGA)))
    write_sparse(home, 13, HUGE)
    wanted = len(issued.ids) + 2
    wait_until(lambda: rows(issued) == wanted, PATIENCE_S, "all are rows")
    # Then memory stayed in bounds, and the huge ones say how large they were
    taken = peak(server) - at_rest
    assert taken < ROOM, f"{taken / MEGA:.0f} MB"
    assert stored_sizes(issued) == [oversized, HUGE]
    balance = server.balance()
    assert (balance["captured"], balance["events"]["quarantined"]) == (wanted, 0)
    assert balance["balanced"]


def rows(issued: Issued) -> int:
    """Return how many rows there are."""
    return sum(issued.rows().values())


def stored_sizes(issued: Issued) -> list[int]:
    """Return the size that each event without a session says its payload had."""
    found = issued.select("SELECT sequence FROM raw_traces WHERE coalesce(session_id, '') = ''")
    with reading(issued.home.database) as reader:
        events = [orjson.loads(reader.event_data(sequence)) for (sequence,) in found]
    assert all(event["metadata"]["truncated"] == 1 for event in events), events
    return sorted(event["payload"]["bytes"] for event in events)


def peak(server: Server, *, anew: bool = False) -> int:
    """Return the bytes that the server took at most; ``anew`` forgets what was before."""
    process = Path(f"/proc/{server.pid}")
    if anew:
        (process / "clear_refs").write_text("5")
    lines = (process / "status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def opened(issued: Issued) -> bytes:
    """Return the beginning of a new payload."""
    chosen, raw = issued.payload()
    issued.ids.append(chosen)
    return raw[:-1] + b", "


def write(home: Home, number: int, payload: bytes) -> int:
    """Write a hand-off file; return the size of its payload."""
    (home.spool / f"900.1.{number}").write_bytes(payload + TRAILER)
    return len(payload)


def write_sparse(home: Home, number: int, size: int) -> None:
    """Write a hand-off file of so many bytes that takes no room on the disk."""
    path = home.spool / f"900.1.{number}"
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(0, os.SEEK_END)
        file.write(TRAILER)
