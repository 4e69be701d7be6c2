"""Entries of the stream disappear or are delivered to nobody: it is noticed, named and mended."""

import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import orjson
import pytest

from blueplane.paths import Home
from helpers.issued import EVENTS, GROUP, Issued
from helpers.nursery import Nursery
from helpers.redis_server import RedisServer
from helpers.server import Server
from helpers.waiting import wait_until

HELD = "after_read:sleep=3"
HELD_FOR_GOOD = "after_read:sleep=600"
PATIENCE_S = 30.0


@pytest.mark.fault("B11")
def test_deleted_entries_are_named_and_recovered_when_nobody_had_read_them(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """Ten entries deleted by hand are one break with ten ids; their events come again, once."""
    # Given entries that nobody has read
    server.start_ready(HELD)
    issued.put_in_flight(redis_server, 200)
    unread = [key for key, _ in redis_server.client.xrange(EVENTS)][-10:]
    # When ten of them are deleted
    assert redis_server.command("XDEL", EVENTS, *unread) == 10
    # Then the break names them, all ten are recovered and written, and the laws close
    balance = issued.settle(server, redis_server)
    assert (balance["recovered"], balance["lost"]) == (10, 0)
    ((count, recovered, ids),) = issued.select(
        "SELECT count, recovered, ids FROM incidents WHERE colour IS NULL"
    )
    assert (count, recovered) == (10, 10)
    assert orjson.loads(ids) == [key.decode() for key in unread]
    assert balance["duplicate"] == 0


@pytest.mark.fault("B11")
def test_trimmed_entries_are_recovered_when_some_were_delivered_already(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """XTRIM takes delivered and unread entries: the former are written, the latter come again."""
    # Given entries of which the first are delivered and held
    server.start_ready(HELD)
    issued.put_in_flight(redis_server, 300)
    # When the stream is trimmed to its last five
    redis_server.command("XTRIM", EVENTS, "MAXLEN", "=", "5")
    # Then all are written once, no empty entry among them
    balance = issued.settle(server, redis_server)
    assert balance["recovered"] >= 300 - 100 - 5
    assert (balance["lost"], balance["dead_lettered"]) == (0, 0)


@pytest.mark.parametrize(
    "cut",
    [("XTRIM", EVENTS, "MAXLEN", "=", "5"), ("XTRIM", EVENTS, "MAXLEN", "=", "0")],
    ids=["trimmed", "emptied"],
)
@pytest.mark.fault("B11")
def test_trimmed_entries_are_recovered_when_the_server_is_down(
    server: Server, issued: Issued, redis_server: RedisServer, cut: tuple[str, ...],
) -> None:  # fmt: skip
    """What a stranger trims while no server runs is counted as recovered by the next one."""
    # Given entries, some of them pending, of a server that was killed
    server.start_ready(HELD_FOR_GOOD)
    issued.put_in_flight(redis_server, 150)
    server.kill()
    # When the stream is trimmed and a server starts
    vanished = redis_server.command(*cut)
    server.start_ready()
    # Then what vanished is recovered, and the break says how many
    balance = issued.settle(server, redis_server)
    assert (balance["recovered"], balance["lost"]) == (vanished, 0)
    breaks = issued.select("SELECT count, recovered FROM incidents WHERE colour IS NULL")
    assert breaks == [(vanished, vanished)]


@pytest.mark.fault("B11")
def test_pending_entries_that_were_deleted_are_recovered_when_read_as_empty(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """An entry that is pending and deleted is delivered without fields: no row is made of it."""
    # Given pending entries of a killed server, half of them deleted
    server.start_ready(HELD_FOR_GOOD)
    issued.put_in_flight(redis_server, 40)
    wait_until(lambda: redis_server.command("XPENDING", EVENTS, GROUP)[0], PATIENCE_S, "pending")
    server.kill()
    entries = [key for key, _ in redis_server.client.xrange(EVENTS)]
    redis_server.command("XDEL", EVENTS, *entries[::2])
    # When the server starts
    server.start_ready()
    # Then the deleted ones are recovered, and nothing empty is stored
    balance = issued.settle(server, redis_server)
    assert (balance["recovered"], balance["lost"], balance["dead_lettered"]) == (20, 0, 0)


@pytest.mark.fault("B11")
def test_foreign_entries_are_lost_when_deleted_unread(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """An entry of nobody we know cannot come again: it is counted as lost, beside the recovered."""
    # Given entries of ours and of a stranger, unread
    server.start_ready(HELD)
    issued.put_in_flight(redis_server, 150)
    strangers = [redis_server.client.xadd(EVENTS, {"v": "1", "n": n}) for n in range(7)]
    ours = [key for key, _ in redis_server.client.xrange(EVENTS)][140:150]
    # When some of both are deleted
    redis_server.command("XDEL", EVENTS, *ours, *strangers[:4])
    # Then each kind is counted as what it is; what is left of the strangers is a dead letter
    balance = issued.settle(server, redis_server)
    assert (balance["recovered"], balance["lost"], balance["dead_lettered"]) == (10, 4, 3)
    assert balance["captured"] == 151


@pytest.mark.fault("B18")
def test_entries_are_taken_over_when_delivered_to_a_consumer_that_is_gone(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """Entries that are pending for another name, more than one page of them, are written."""
    # Given 450 entries that a consumer of another name has taken and never settled
    server.start_ready(HELD_FOR_GOOD)
    issued.put_in_flight(redis_server, 450)
    server.kill()
    redis_server.command("XGROUP", "DESTROY", EVENTS, GROUP)
    redis_server.command("XGROUP", "CREATE", EVENTS, GROUP, "0")
    taken = redis_server.client.xreadgroup(GROUP, "somebody", {EVENTS: ">"}, count=450)
    assert len(taken[0][1]) == 450
    # When the server starts / Then it takes them over
    server.start_ready()
    balance = issued.settle(server, redis_server)
    assert (balance["recovered"], balance["lost"], balance["duplicate"]) == (0, 0, 0)


@pytest.mark.parametrize("command", [b"XREADGROUP", b"NOMKSTREAM", b"XACK"])
@pytest.mark.fault("B16")
def test_nothing_is_lost_or_twice_when_a_reply_is_cut(
    home: Home, issued: Issued, redis_server: RedisServer, command: bytes, nursery: Nursery,
) -> None:  # fmt: skip
    """A command that was carried out, and whose answer was lost, is not repeated."""
    # Given a server behind a proxy that cuts the first such answer and its connection
    with (
        cutting_proxy(redis_server, command) as (url, was_cut),
        Server(home, nursery=nursery, BLUEPLANE_REDIS_URL=url) as server,
    ):
        server.start_ready()
        # When events pass
        issued.issue(100)
        # Then an answer was cut, and each event has its row and was in the stream once
        balance = issued.settle(server, redis_server)
        assert was_cut.is_set()
        assert (balance["duplicate"], balance["recovered"], balance["lost"]) == (0, 0, 0)
        assert balance["enqueued"] == 101


@contextmanager
def cutting_proxy(redis: RedisServer, command: bytes) -> Iterator[tuple[str, threading.Event]]:
    """Give the URL of a way to ``redis`` that cuts one answer to ``command``, and if it did."""
    was_cut = threading.Event()
    with tempfile.TemporaryDirectory(prefix="bp-", dir="/tmp") as directory:
        path = Path(directory) / "proxy.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen(16)
            arguments = (listener, redis.socket_path, command, was_cut)
            thread = start(_accept, *arguments)
            yield f"unix://{path}", was_cut
            listener.shutdown(socket.SHUT_RDWR)
        thread.join(PATIENCE_S)


def start(work: Callable[..., None], *arguments: object) -> threading.Thread:
    """Start a thread that does not outlive the test run."""
    thread = threading.Thread(target=work, args=arguments, daemon=True)
    thread.start()
    return thread


def _accept(
    listener: socket.socket, target: Path, command: bytes, was_cut: threading.Event,
) -> None:  # fmt: skip
    with suppress(OSError):  # the listener was shut down
        while True:
            client, _ = listener.accept()
            start(_connect, client, target, command, was_cut)


def _connect(
    client: socket.socket, target: Path, command: bytes, was_cut: threading.Event,
) -> None:  # fmt: skip
    """Pass on what either side says, until the answer that is to be cut."""
    asked = threading.Event()
    with client, socket.socket(socket.AF_UNIX) as server, suppress(OSError):
        server.connect(str(target))
        back = start(_answer, server, client, lambda data: _is_due(command, asked, was_cut, data))
        while data := client.recv(1 << 20):
            if command in data:
                asked.set()
            server.sendall(data)
        server.shutdown(socket.SHUT_RDWR)
        back.join(PATIENCE_S)


def _is_due(
    command: bytes, asked: threading.Event, was_cut: threading.Event, data: bytes,
) -> bool:  # fmt: skip
    """Tell whether this answer is the one to cut; of a read one that brings an event."""
    due = asked.is_set() and not was_cut.is_set()
    due = due and (command != b"XREADGROUP" or b"payload" in data)
    if due:
        was_cut.set()
    return due


def _answer(
    server: socket.socket, client: socket.socket, is_due: Callable[[bytes], bool],
) -> None:  # fmt: skip
    with suppress(OSError):
        while (data := server.recv(1 << 20)) and not is_due(data):
            client.sendall(data)
        client.shutdown(socket.SHUT_RDWR)
