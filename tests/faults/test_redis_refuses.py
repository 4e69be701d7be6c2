"""Redis is there and will not serve us: events wait, the reason is said, and it heals alone."""

import signal
import subprocess
import time
from pathlib import Path

import pytest

from blueplane.paths import Home
from helpers.issued import EVENTS, Issued
from helpers.nursery import Nursery
from helpers.redis_server import RedisServer, _free_port
from helpers.server import Server
from helpers.smallfs import SmallFs
from helpers.waiting import wait_until

PATIENCE_S = 30.0
PASSWORD = "plum-lantern-49"


def wait_for_trouble(server: Server, words: str) -> str:
    """Wait until the server says why Redis does not serve it, in these words; return all of it."""

    def said() -> str:
        return str(server.status()["redis"]["trouble"])

    wait_until(lambda: words in said(), PATIENCE_S, f"the trouble is said: {words}")
    return said()


@pytest.mark.fault("B6")
def test_events_wait_when_redis_is_loading(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """While Redis loads its data nothing becomes a dead letter, and afterwards all is written."""
    # Given a Redis that loads for a while
    redis_server.restart_loading(10)
    server.start()
    server.wait_running()
    # When events arrive meanwhile
    issued.issue(50)
    wait_for_trouble(server, "loading")
    assert len(issued.spool()) == 50
    redis_server.config_set("key-load-delay", 0)
    # Then they are written when it has loaded
    balance = issued.settle(server, redis_server)
    assert (balance["dead_lettered"], balance["lost"]) == (0, 0)


@pytest.mark.fault("B6")
def test_pending_entries_are_written_when_redis_was_loading(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """A restart with entries in flight, seen by a running server while it loads, loses nothing."""
    # Given entries in flight
    server.start_ready("after_read:sleep=2")
    issued.put_in_flight(redis_server, 200)
    # When Redis is killed and loads for two seconds
    redis_server.restart_loading(2)
    # Then they are in the store
    balance = issued.settle(server, redis_server)
    assert (balance["dead_lettered"], balance["recovered"], balance["lost"]) == (0, 0, 0)


@pytest.mark.parametrize("fsync", ["everysec", "always"])
@pytest.mark.fault("B9")
def test_events_wait_when_the_disk_of_redis_is_full(
    home: Home, issued: Issued, fsync: str, nursery: Nursery,
) -> None:  # fmt: skip
    """A Redis that cannot write its log refuses, or ends: the reason is said, and none is lost."""
    redis = RedisServer("--appendfsync", fsync)
    with SmallFs(redis.directory, size_mb=4) as disk:
        try:
            redis.start()
            with Server(home, redis, nursery) as server:
                # Given a running server, and a full disk under the log of its Redis
                server.start_ready()
                issued.issue(20)
                issued.settle(server, redis)
                disk.fill()
                # When more arrives than the last page of the log has room for
                issued.issue(300)
                if fsync == "always":  # it ends itself
                    wait_until(lambda: not redis.alive(), PATIENCE_S, "redis has ended")
                    disk.empty()
                    redis.restart()
                else:
                    wait_for_trouble(server, "MISCONF")
                    assert "No space left on device" in wait_for_trouble(server, "MISCONF")
                    disk.empty()
                # Then all is written once the disk has room
                balance = issued.settle(server, redis)
                assert (balance["lost"], balance["dead_lettered"]) == (0, 0)
        finally:
            redis.close()


@pytest.mark.fault("B9")
def test_events_wait_when_redis_cannot_save_its_snapshot(
    home: Home, issued: Issued, nursery: Nursery
) -> None:
    """A Redis that keeps snapshots, and could not save the last one, refuses: it is said why."""
    redis = RedisServer(aof=False)
    with SmallFs(redis.directory, size_mb=4) as disk:
        try:
            redis.start()
            with Server(home, redis, nursery) as server:
                # Given a running server, and a Redis that fails to save on its full disk
                server.start_ready()
                issued.issue(20)
                issued.settle(server, redis)
                redis.config_set("save", "3600 1")
                disk.fill()
                save(redis, "err")
                # When events come / Then they wait, and the reason is said
                issued.issue(20)
                wait_until(lambda: "RDB snapshots" in server.log(), PATIENCE_S, "it is said")
                assert "files wait" in server.log()
                assert len(issued.spool()) == 20
                # When it can save again / Then all is written
                disk.empty()
                save(redis, "ok")
                balance = issued.settle(server, redis)
                assert (balance["lost"], balance["dead_lettered"]) == (0, 0)
        finally:
            redis.close()


def save(redis: RedisServer, outcome: str) -> None:
    """Have a snapshot saved, and wait until that ended as it must."""

    def ended() -> bool:
        state = redis.client.info("persistence")
        saving = state["rdb_bgsave_in_progress"]
        if not saving and state["rdb_last_bgsave_status"] != outcome:
            redis.command("BGSAVE")
        return not saving and state["rdb_last_bgsave_status"] == outcome

    wait_until(ended, PATIENCE_S, f"the snapshot is {outcome}")


@pytest.mark.fault("B12")
def test_redis_is_refused_when_it_may_evict(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """An eviction policy that could drop our stream is refused with the command that mends it."""
    # Given a Redis that may evict
    redis_server.config_set("maxmemory-policy", "allkeys-lru")
    server.start()
    server.wait_running()
    issued.issue(10)
    # When the server meets it / Then it says what to do, and writes nothing there
    trouble = wait_for_trouble(server, "allkeys-lru")
    assert "CONFIG SET maxmemory-policy noeviction" in trouble
    assert redis_server.command("DBSIZE") == 0
    # and goes on by itself when that is done
    redis_server.config_set("maxmemory-policy", "noeviction")
    issued.settle(server, redis_server)


@pytest.mark.fault("B20", "F2")
def test_redis_is_refused_when_it_belongs_to_another_home(
    home: Home, tmp_path: Path, issued: Issued, redis_server: RedisServer, nursery: Nursery,
) -> None:  # fmt: skip
    """The second home on one Redis is refused with both ids; with a prefix of its own it is not."""
    other_home = Home(tmp_path / "second" / "home")
    other_home.root.parent.mkdir()
    other_home.prepare()
    other = Issued(other_home)
    with (
        Server(home, redis_server, nursery) as server,
        Server(other_home, redis_server, nursery) as second,
    ):
        # Given a Redis that one home uses
        server.start_ready()
        issued.issue(10)
        issued.settle(server, redis_server)
        # When another home is given the same / Then it is refused, and both are named
        second.start()
        second.wait_running()
        other.issue(10)
        trouble = wait_for_trouble(second, "belongs to home")
        assert home.home_id() in trouble
        assert other_home.home_id() in trouble
        assert len(other.spool()) == 10
        # and the first goes on as before
        issued.issue(10)
        issued.settle(server, redis_server)
        second.stop()
    # When the second gets a prefix of its own
    prefixed = Server(other_home, redis_server, nursery, BLUEPLANE_REDIS_KEY_PREFIX="second:")
    with Server(home, redis_server, nursery) as server, prefixed as second:
        server.start_ready()
        second.start_ready()
        # Then each of them has its own events, and no other
        issued.issue(10)
        issued.settle(server, redis_server)
        assert other.settle(second, None)["captured"] == 11
        assert redis_server.command("XLEN", f"second:{EVENTS}") == 0


@pytest.mark.fault("B20")
def test_one_home_alone_uses_a_redis_when_two_start_at_once(
    home: Home, tmp_path: Path, issued: Issued, redis_server: RedisServer, nursery: Nursery,
) -> None:  # fmt: skip
    """Of two homes that find an empty Redis at the same moment one is refused, and none loses."""
    other_home = Home(tmp_path / "second" / "home")
    other_home.root.parent.mkdir()
    other_home.prepare()
    other = Issued(other_home)
    with (
        Server(home, redis_server, nursery) as server,
        Server(other_home, redis_server, nursery) as second,
    ):
        # Given events in two homes
        issued.issue(20)
        other.issue(20)
        # When both servers start at the same time on one empty Redis
        server.start()
        second.start()
        server.wait_running()
        second.wait_running()
        # Then one of them is told that the Redis belongs to the other
        wait_until(lambda: server.connected() != second.connected(), PATIENCE_S, "one is refused")
        (winner, won), (loser, _) = sorted(
            [(server, issued), (second, other)], key=lambda pair: not pair[0].connected()
        )
        assert "belongs to home" in wait_for_trouble(loser, "belongs to home")
        # and the other has its own events, and no other
        won.settle(winner, redis_server)


@pytest.mark.fault("B19")
def test_a_password_is_used_and_never_shown_when_redis_asks_for_one(
    home: Home, issued: Issued, redis_server: RedisServer, nursery: Nursery,
) -> None:  # fmt: skip
    """A wrong password is said plainly and seldom, and the right one works; neither is logged."""
    # Given a Redis with a password, and a server that knows another
    redis_server.config_set("requirepass", "the-right-one-71")
    url = f"unix://:{PASSWORD}@{redis_server.socket_path}"
    with Server(home, nursery=nursery, BLUEPLANE_REDIS_URL=url) as server:
        server.start()
        server.wait_running()
        issued.issue(20)
        # When it tries / Then it says where the password is to be changed, and does not show it
        trouble = wait_for_trouble(server, "refuses the login")
        assert "redis.url" in trouble
        # When the password becomes the one it knows / Then all is written
        redis_server.config_set("requirepass", PASSWORD)
        issued.settle(server, redis_server)
        assert PASSWORD not in server.log() + server.output.read_text()
        assert server.log().count("not reading") == 1
    assert not [path for path in home.root.rglob("*") if path.is_file() and _holds(path, PASSWORD)]


def _holds(path: Path, text: str) -> bool:
    return text.encode() in path.read_bytes()


def test_events_pass_when_redis_is_reached_by_tls(
    home: Home, issued: Issued, tmp_path: Path, nursery: Nursery,
) -> None:  # fmt: skip
    """A rediss:// address works with a certificate of its own, and is refused without its CA."""
    certificate, key = _make_certificate(tmp_path)
    port = _free_port()
    files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key))
    tls = ("--tls-port", str(port), *files, "--tls-auth-clients", "no")
    with RedisServer(*tls) as redis:
        # Given a Redis that speaks TLS with a certificate that nobody has signed
        url = f"rediss://localhost:{port}/0"
        with Server(home, nursery=nursery, BLUEPLANE_REDIS_URL=url) as server:
            # When the certificate cannot be checked / Then it is not trusted, and events wait
            server.start()
            server.wait_running()
            issued.issue(10)
            wait_for_trouble(server, "CERTIFICATE_VERIFY_FAILED")
            assert server.stop() == 0
        with Server(
            home, nursery=nursery, BLUEPLANE_REDIS_URL=f"{url}?ssl_ca_certs={certificate}"
        ) as server:
            # When it can / Then they pass
            server.start_ready()
            issued.settle(server, redis)
            # and the server, which waits in a read of TLS, is stopped at once
            began = time.monotonic()
            server.send(signal.SIGTERM)
            assert (server.wait(), time.monotonic() - began < 10) == (0, True)


def _make_certificate(directory: Path) -> tuple[Path, Path]:
    certificate, key = directory / "redis.crt", directory / "redis.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-out", str(certificate), "-keyout", str(key)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key
