"""Behind: slow disks, slow servers, strangers' giants; the sources wait, in bounded memory."""

import resource
import socket
import time
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
import pytest

from blueplane.capture.spool import CHUNK
from blueplane.errors import BlueplaneError
from blueplane.paths import Home
from blueplane.pipeline.dead_letters import unpack_fields
from blueplane.pipeline.entry import MAX_BYTES, MAX_PARTS
from blueplane.server.control import MAX_CLIENTS
from helpers.cli import run
from helpers.issued import EVENTS, Issued
from helpers.nursery import Nursery
from helpers.redis_server import RedisServer
from helpers.server import Server
from helpers.smallfs import SmallFs
from helpers.waiting import wait_until

PATIENCE_S = 30.0
#: Far less than the longest that a command waits for Redis.
ASLEEP_S = 0.7
#: What a server may ever have held in memory; idle it has about 40 MB.
MAX_PEAK_MB = 170


def peak_mb(server: Server) -> float:
    """Return the most that the server has ever held in memory."""
    text = Path(f"/proc/{server.pid}/status").read_text()
    (line,) = (line for line in text.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def pressure(server: Server) -> dict[str, Any]:
    """Return what the server says of its sources."""
    found: dict[str, Any] = server.status()["backpressure"]
    return found


def waits(server: Server) -> bool:
    """Whether the sources wait."""
    return bool(pressure(server)["state"] == "sources wait")


@pytest.mark.fault("F8", "F5")
def test_memory_is_bounded_when_a_flood_meets_a_slow_disk(
    home: Home, issued: Issued, redis_server: RedisServer, nursery: Nursery,
) -> None:  # fmt: skip
    """30,000 files and 50 ms a commit: files wait, the state is told, and all is written."""
    with Server(home, redis_server, nursery, BLUEPLANE_QUEUE_MAX_ENTRIES="2000") as server:
        # Given more files than are kept in mind, and a disk that takes 50 ms a commit
        issued.issue(30_000)
        # When a server drains them
        server.start_ready("before_commit:sleep=0.05@1+")
        lengths = []

        def told() -> bool:
            lengths.append(redis_server.command("XLEN", EVENTS))
            return waits(server)

        # Then it says that the sources wait, for a database that is slow and not away
        wait_until(told, PATIENCE_S, "the sources wait")
        found = pressure(server)
        assert "slow" in found["reason"]
        assert found["window"] == 2_000
        # and in the end everything is written, and memory was bounded all the time
        wait_until(issued.is_drained, PATIENCE_S, "all is written")
        peak = peak_mb(server)
        balance = issued.settle(server, redis_server)
        assert max(lengths) <= 2_000 + CHUNK
        assert (balance["lost"], balance["recovered"], balance["duplicate"]) == (0, 0, 0)
        assert peak < MAX_PEAK_MB
        # and each change of state is one line of the log
        wait_until(lambda: not waits(server), PATIENCE_S, "the sources flow")
        states = [line.split("state=")[1].split()[0] for line in pressure_lines(server)]
        assert states == ["on", "off"]


def pressure_lines(server: Server) -> list[str]:
    """Return what the log says of the sources."""
    return [line for line in server.log().splitlines() if " intake backpressure " in line]


# --- strangers' giants ----------------------------------------------------------------------------


@pytest.mark.parametrize("held", [False, True], ids=["while running", "found at start"])
@pytest.mark.fault("B24", "F8")
def test_giants_cost_bounded_memory_when_a_stranger_adds_them(
    server: Server, issued: Issued, redis_server: RedisServer, held: bool,
) -> None:  # fmt: skip
    """Entries of megabytes and of 100,000 fields become truncated dead letters; our own flow."""
    # Given events of our own on the road, live or waiting for the server's start
    server.start_ready()
    if held:
        server.kill()
    issued.issue(500)
    # When a stranger adds 450 MB, some of it in the shape of an event, and an absurd entry
    giants = [add_giant(redis_server, number) for number in range(90)]
    many = [part for number in range(100_000) for part in (b"f%d" % number, b"v")]
    giants.append(redis_server.command("XADD", EVENTS, "*", *many).decode())
    issued.issue(500)
    if held:
        server.start_ready()
    # Then everything of our own is written, and memory was bounded
    balance = issued.settle(server, redis_server)
    assert peak_mb(server) < MAX_PEAK_MB
    assert (balance["dead_lettered"], balance["lost"]) == (len(giants), 0)
    assert balance["captured"] == len(issued.ids)
    # and of each of theirs the beginning is kept, which says so
    letters = {
        key: (raw, reason)
        for key, raw, reason in issued.select("SELECT message_id, raw, reason FROM dead_letters")
    }
    assert set(letters) == set(giants)
    for raw, reason in letters.values():
        kept = unpack_fields(raw)
        assert sum(map(len, kept)) <= MAX_BYTES
        assert len(kept) <= MAX_PARTS
        assert "truncated" in reason
    first = unpack_fields(letters[giants[0]][0])
    assert first[:2] == [b"number", b"0"]
    # and none of them can be sent again
    assert server.ask("dlq.retry", ids=giants) == []
    refused = run(server.home, "dlq", "retry", giants[0])
    assert (refused.code, "truncated and cannot be sent again" in refused.err) == (1, True)
    assert "truncated" in run(server.home, "dlq", "show", giants[0]).out
    assert server.ask("dlq.drop", ids=giants) == giants


def add_giant(redis: RedisServer, number: int) -> str:
    """Add an entry of 5 MB as a stranger does, and claim that a source of ours sent it."""
    fields = [b"number", b"%d" % number, b"payload", b"x" * 5_000_000, b"origin", b"spool:1.1.1:1"]
    key: bytes = redis.command("XADD", EVENTS, "*", *fields)
    return key.decode()


# --- redis ----------------------------------------------------------------------------------------


@pytest.mark.fault("B10", "B14")
def test_sources_wait_when_redis_is_slow(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """A Redis that stands still again and again delays; it is not taken for one that is gone."""
    # Given a running server
    server.start_ready()
    # When Redis stands still again and again, and events arrive meanwhile
    sleeper = Thread(target=_sleep_often, args=(redis_server,))
    sleeper.start()
    issued.issue(3_000)
    sleeper.join(PATIENCE_S)
    # Then all of them are written, once, over the connections of the start
    balance = issued.settle(server, redis_server)
    assert (balance["lost"], balance["recovered"], balance["duplicate"]) == (0, 0, 0)
    # (but for health, which says that a slow queue is yellow)
    warnings = [line for line in server.log().splitlines() if " WARN " in line]
    assert all(" WARN  health " in line for line in warnings), warnings


def _sleep_often(redis_server: RedisServer) -> None:
    for _ in range(3):
        _sleep(redis_server)
        redis_server.command("PING")  # awake for a moment


def _sleep(redis_server: RedisServer) -> None:
    began_s = time.monotonic()
    redis_server.freeze()
    wait_until(lambda: time.monotonic() - began_s > ASLEEP_S, PATIENCE_S, "it slept")
    redis_server.thaw()


@pytest.mark.fault("B7")
def test_the_reason_is_told_when_redis_refuses(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """`status` and one line of the log say that Redis takes nothing; later that it does."""
    # Given a server, and a Redis without memory
    server.start_ready()
    redis_server.config_set("maxmemory", 1)
    # When events arrive / Then the sources wait, and it is told why
    issued.issue(10)
    wait_until(lambda: waits(server), PATIENCE_S, "the sources wait")
    assert "maxmemory" in pressure(server)["reason"]
    assert "maxmemory" in run(server.home, "status").out
    # and when it has room again, they flow
    redis_server.config_set("maxmemory", 0)
    issued.settle(server, redis_server)
    wait_until(lambda: not waits(server), PATIENCE_S, "the sources flow")
    assert len(pressure_lines(server)) == 2


# --- disks and descriptors ------------------------------------------------------------------------


@pytest.mark.fault("C2", "C1")
def test_hooks_stay_silent_when_the_disk_of_the_home_is_full(
    home: Home, issued: Issued, redis_server: RedisServer, nursery: Nursery,
) -> None:  # fmt: skip
    """Hooks end well on a full disk, `status` says what is wrong, and room mends it by itself."""
    with SmallFs(home.root, size_mb=4) as disk:
        home.prepare()
        with Server(home, redis_server, nursery) as server:
            # Given a server, and a home on a full disk: spool, database, logs and flags
            server.start_ready()
            issued.issue(10)
            issued.settle(server, redis_server)
            disk.fill()
            # When hooks fire / Then each is silent (``hook`` asserts it), whole or not taken
            tried = issued.hook(30)
            taken = [chosen for chosen in tried if is_whole(home, issued, chosen)]
            # and what was accepted before has no row: the server says why
            redis_server.command("XADD", EVENTS, "*", "v", "0", "text", "x" * 200_000)
            wait_until(lambda: server.status()["store_error"], PATIENCE_S, "the store has failed")
            assert "FULL" in server.status()["store_error"]
            # When the disk grows / Then the server goes on, and all that was accepted is written
            disk.grow(64)
            issued.ids = [chosen for chosen in issued.ids if chosen not in tried or chosen in taken]
            wait_until(lambda: set(issued.ids) <= set(issued.rows()), PATIENCE_S, "all is written")
            wait_until(lambda: not server.status()["store_error"], PATIENCE_S, "the store is well")
            issued.issue(10)
            wait_until(lambda: set(issued.ids) <= set(issued.rows()), PATIENCE_S, "events flow")
            wait_until(lambda: server.balance()["balanced"], PATIENCE_S, "both laws close")
            assert (server.balance()["lost"], server.status()["deaths"]) == (0, 0)


def is_whole(home: Home, issued: Issued, chosen: str) -> bool:
    """Whether a hook could store all of an event: in the spool, or a row by now."""
    found = [path.read_bytes() for path in home.spool.iterdir()]
    whole = any(chosen.encode() in raw and raw.endswith(b"UserPromptSubmit\n") for raw in found)
    return whole or chosen in issued.rows()


@pytest.mark.fault("F6")
def test_the_server_goes_on_when_it_runs_out_of_descriptors(
    home: Home, issued: Issued, redis_server: RedisServer, nursery: Nursery,
) -> None:  # fmt: skip
    """With no descriptor left nothing dies; when its clients leave, all is written."""
    # Given a server that may have 64 descriptors, and clients that say nothing
    with Server(home, redis_server, nursery) as server:
        server.start(prefix=["prlimit", "--nofile=64:64"])
        server.wait_ready()
        issued.issue(10)
        issued.settle(server, redis_server)
        process = psutil.Process(server.pid)
        before = sockets(server)
        crowd = [knock(home) for _ in range(100)]
        wait_until(lambda: sockets(server) >= before + MAX_CLIENTS, PATIENCE_S, "a crowd is there")
        # When files arrive, and it may have none more than it has now
        process.rlimit(resource.RLIMIT_NOFILE, (process.num_fds(), 64))
        issued.issue(3_000)
        wait_until(lambda: "Too many open files" in server.log(), PATIENCE_S, "it has run out")
        # Then it goes on as soon as the clients have left, and holds no more than before
        for client in crowd:
            client.close()
        wait_until(lambda: answers(server), PATIENCE_S, "it answers")
        issued.settle(server, redis_server)
        wait_until(lambda: sockets(server) <= before + 1, PATIENCE_S, "all are given back")
        assert server.status()["deaths"] == 0


def sockets(server: Server) -> int:
    """Return how many of its descriptors are sockets; SQLite keeps some of its own for later."""
    found = 0
    for descriptor in Path(f"/proc/{server.pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            found += str(descriptor.readlink()).startswith("socket:")
    return found


def knock(home: Home) -> socket.socket:
    """Connect to the server, if it lets us, and say nothing."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.setblocking(False)  # noqa: FBT003 - the only way to say it
    with suppress(BlockingIOError):
        client.connect(str(home.socket("control.sock")))
    return client


def answers(server: Server) -> bool:
    """Whether it answers."""
    try:
        server.status()
    except BlueplaneError:
        return False
    return True
