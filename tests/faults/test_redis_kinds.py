"""A Redis of the wrong kind, or with a clock of its own: refused in words, or borne."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from blueplane.clock import NS_PER_MS, wall_ms
from blueplane.errors import QueueUnusableError
from blueplane.event import encode
from blueplane.paths import Home
from blueplane.pipeline.stream import Stream
from blueplane.store.queries import reading
from helpers.issued import EVENTS, Issued
from helpers.redis_server import RedisServer, _free_port
from helpers.road import Road, ids, make_event, turn_clock
from helpers.server import Server
from helpers.waiting import wait_until

PATIENCE_S = 30.0
YEAR_MS = 365 * 86_400_000


@contextmanager
def speaking_server(directory: Path, **info: str) -> Iterator[str]:
    """Give the address of something that speaks as a Redis, and says these things of itself."""
    path = directory / "fake.sock"
    facts = {"run_id": "f" * 40, "redis_version": "7.0.15", "redis_mode": "standalone"} | info
    text = "".join(f"{name}:{value}\r\n" for name, value in facts.items()).encode()
    answer = {b"CLIENT": b":1\r\n", b"INFO": b"$%d\r\n%s\r\n" % (len(text), text)}
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        threading.Thread(target=_serve, args=(listener, answer), daemon=True).start()
        yield f"unix://{path}"
        listener.shutdown(socket.SHUT_RDWR)


def _serve(listener: socket.socket, answers: dict[bytes, bytes]) -> None:
    with suppress(OSError):  # the listener was shut down
        while True:
            client, _ = listener.accept()
            with client, suppress(OSError):
                while asked := client.recv(65536):
                    word = asked.split(b"\r\n")[2].upper()
                    client.sendall(answers.get(word, b"-ERR unknown command\r\n"))


@pytest.mark.fault("B22")
@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({"redis_version": "6.2.14"}, "redis 6.2.14 is too old (7.0 or newer is needed)"),
        ({"redis_version": "5.0"}, "upgrade it, or set redis.mode to private"),
        ({"redis_mode": "cluster"}, "redis runs in cluster mode"),
    ],
)
def test_redis_is_refused_when_it_is_too_old_or_a_cluster(
    tmp_path: Path, info: dict[str, str], words: str
) -> None:
    """What can never serve us is refused before anything is asked of it, with what to do."""
    # Given a server that says so / When / Then
    with (
        speaking_server(tmp_path, **info) as url,
        pytest.raises(QueueUnusableError) as caught,
    ):
        Stream(lambda: url).inspect()
    assert words in str(caught.value)


@pytest.mark.fault("B22")
def test_files_wait_when_redis_is_a_cluster(home: Home, issued: Issued) -> None:
    """A real cluster is refused with what to use instead; nothing is written there."""
    cluster = ("--cluster-enabled", "yes", "--cluster-port", str(_free_port()))
    with RedisServer(*cluster, tcp=True) as redis, Server(home, redis) as server:
        # Given events, and a server on a Redis of a cluster
        issued.issue(10)
        server.start()
        server.wait_running()
        # When it meets it / Then it says so, and everything waits
        wait_until(
            lambda: "use a single server" in str(server.status()["redis"]["trouble"]),
            PATIENCE_S,
            "the cluster is refused",
        )
        assert len(issued.spool()) == 10
        assert redis.command("DBSIZE") == 0
        assert server.stop() == 0


@pytest.mark.fault("B23")
def test_events_are_in_our_order_when_an_id_is_far_ahead(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """After an id of a far year all ids are of that year; order and times are those of capture."""
    # Given a server that has written events
    server.start_ready()
    before = issued.issue(20)
    issued.settle(server, redis_server)
    # When somebody adds an entry whose id is of the next decades, and events go on
    ahead_ms = wall_ms() + 30 * YEAR_MS
    foreign = encode(make_event(1, origin="", session_id="stranger"))
    redis_server.command("XADD", EVENTS, f"{ahead_ms}-0", *foreign)
    issued.ids.append("stranger")
    after = issued.issue(20)
    # Then everything is written once, and ids are ahead of us from there on
    balance = issued.settle(server, redis_server)
    assert (balance["duplicate"], balance["recovered"], balance["lost"]) == (0, 0, 0)
    rows = issued.select(
        "SELECT session_id, message_id FROM raw_traces ORDER BY captured_ms, sequence"
    )
    ours = [row for row in rows if row[0] in {*before, *after}]
    assert {row[0] for row in ours[:20]} == set(before)
    assert {row[0] for row in ours[20:]} == set(after)
    assert all(int(row[1].split("-")[0]) >= ahead_ms for row in ours[20:])
    # and a server that is started again goes on in the same stream
    assert server.stop() == 0
    server.start_ready()
    issued.settle(server, redis_server)
    assert redis_server.client.keys("*set-aside*") == []


@pytest.mark.fault("B23", "E2", "E3")
@pytest.mark.parametrize("jump_ms", [20 * YEAR_MS, -20 * YEAR_MS], ids=["forward", "back"])
def test_events_are_written_once_when_our_clock_jumps(
    home: Home, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, jump_ms: int,
) -> None:  # fmt: skip
    """Decades between our clock and that of Redis, in either direction, cost nothing."""
    # Given events that were written, and some that are delivered, before the clock jumps
    turned = turn_clock(monkeypatch)
    road = Road(home, redis_server)
    road.settle()
    road.append(*[make_event(number) for number in range(10)])
    road.settle()
    road.append(*[make_event(number) for number in range(10, 20)])
    in_hand = road.read(5)
    # When it jumps, a new server takes over, and later events have times of then
    turned.wall_shift_ns += jump_ms * NS_PER_MS
    road.close()
    later = Road(home, redis_server)
    later.settle()
    then_ns = make_event(20).captured_ns + jump_ms * NS_PER_MS
    later.append(make_event(20, captured_ns=then_ns, timestamp_ms=then_ns // NS_PER_MS))
    balance = later.settle()
    # Then each is written once, and nothing counts as lost or sent again
    assert len(in_hand) == 5
    assert sorted(later.rows()) == sorted(ids(*[make_event(number) for number in range(21)]))
    assert (balance["duplicate"], balance["recovered"], balance["lost"]) == (0, 0, 0)
    with reading(home.database) as reader:
        assert sum(each.written for each in reader.sources()) == 21
    later.close()
