"""What comes to the HTTP port that should not, and a port that is not ours to have."""

import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from types import SimpleNamespace

import psutil
import pytest

from blueplane import __version__
from blueplane.health.check import COMPONENTS
from blueplane.paths import Home
from blueplane.server import guard
from blueplane.server import http as module
from blueplane.server.guard import Guard, read_token
from blueplane.server.http import HttpServer
from blueplane.server.wire import RefusedError, parse
from helpers.http import (
    ADDRESS,
    TOKEN,
    WAIT_S,
    Reply,
    connect,
    first,
    free_port,
    get,
    head,
    listens,
    read_all,
    send,
    serving,
    split,
)
from helpers.issued import Issued
from helpers.nursery import Nursery
from helpers.prometheus import read
from helpers.redis_server import RedisServer
from helpers.server import Server
from helpers.waiting import wait_until

PORT = "{port}"


@pytest.fixture(scope="module")
def server() -> Iterator[HttpServer]:
    """Give a server in this process."""
    with serving() as server:
        yield server


@pytest.fixture
def issued(home: Home) -> Issued:
    """Give the issuer of events of the home."""
    return Issued(home)


def clients() -> int:
    """Return how many threads serve a client."""
    return sum("process_request_thread" in thread.name for thread in threading.enumerate())


# --- the port -------------------------------------------------------------------------------------


@pytest.mark.fault("F3")
def test_capture_goes_on_when_a_stranger_has_the_port(
    home: Home, issued: Issued, redis_server: RedisServer, nursery: Nursery
) -> None:
    """Events are written, status and one line of the log name who has it; it is taken when free."""
    port = free_port()
    # Given a stranger on our port
    with (
        socket.create_server((ADDRESS, port)),
        Server(home, redis_server, nursery, BLUEPLANE_HTTP_PORT=str(port)) as server,
    ):
        # When a server starts, and events come
        server.start_ready()
        issued.issue(10)
        issued.settle(server, redis_server)
        # Then they are written, and both say who has it
        wait_until(lambda: "port not taken" in server.log(), WAIT_S, "the log says so")
        shown = server.status()["http"]
        assert shown["port"] == port
        assert f"is taken by {psutil.Process().name()} (pid {os.getpid()})" in shown["trouble"]
        assert server.log().count("port not taken") == 1
        assert server.status()["deaths"] == 0


@pytest.mark.fault("F3")
def test_port_is_taken_when_it_becomes_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that is taken is said once, tried again, and served as soon as it is free."""
    # Given a stranger on the port
    said, tried = [], []
    log = SimpleNamespace(info=lambda *_, **__: None, warning=lambda *_, **__: said.append(1))
    monkeypatch.setattr(module, "_log", log)
    monkeypatch.setattr(module, "owner", lambda _port: tried.append(1))
    monkeypatch.setattr(module, "AGAIN_S", (0.01, 0.02))
    port = free_port()
    stranger = socket.create_server((ADDRESS, port))
    server = HttpServer(port, TOKEN, lambda _request: pytest.fail("nobody asked"))
    server.start()
    wait_until(lambda: len(tried) > 2, WAIT_S, "it was tried again")
    assert server.trouble == f"port {port} is taken by another program"
    assert len(said) == 1
    # When the stranger leaves
    stranger.close()
    # Then it is ours
    wait_until(lambda: server.trouble is None, WAIT_S, "it is taken")
    server.stop()
    assert server.join(WAIT_S)


@pytest.mark.fault("F3")
def test_trouble_names_us_when_another_home_has_the_port(
    home: Home, redis_server: RedisServer
) -> None:
    """Another server of ours is called that; one that has ::1 only is in nobody's way."""
    port = free_port()
    with Server(home, redis_server, BLUEPLANE_HTTP_PORT=str(port)) as other:
        # Given a server of another home, which is known by its command line
        other.start_ready()
        wait_until(lambda: listens(port), WAIT_S, "it listens")
        # When ours wants the same port
        server = HttpServer(port, TOKEN, lambda _request: pytest.fail("nobody asked"))
        server.start()
        # Then it says whose it is
        wanted = f"another Blueplane server (pid {other.pid})"
        wait_until(lambda: wanted in str(server.trouble), WAIT_S, "it says who has it")
        server.stop()
        assert server.join(WAIT_S)


@pytest.mark.fault("F3")
def test_port_is_taken_when_somebody_has_it_on_another_address() -> None:
    """We listen on 127.0.0.1 literally, so somebody on another address is in nobody's way."""
    # Given somebody on another address of this machine
    port = free_port()
    with socket.create_server(("127.0.0.2", port)), serving(port):
        # When we take the port / Then we are answered on ours
        assert get(port, "/healthz").status == 200


@pytest.mark.fault("G3")
def test_port_listens_on_loopback_only_when_it_is_served(server: HttpServer) -> None:
    """Nothing but 127.0.0.1 is bound: no other machine reaches it."""
    # Given a server / When / Then
    found = [each.laddr for each in psutil.Process().net_connections("tcp")
             if each.status == psutil.CONN_LISTEN and each.laddr.port == server.port]  # fmt: skip
    assert [address.ip for address in found] == ["127.0.0.1"]


# --- too many -------------------------------------------------------------------------------------


@pytest.mark.fault("F6")
def test_server_turns_away_when_too_many_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as may are served, one more gets 503 at once; when they leave, all is as before."""
    # Given as many silent clients as there may be
    monkeypatch.setattr(guard, "MAX_CLIENTS", 8)
    with serving() as server:
        crowd = [connect(server.port) for _ in range(8)]
        wait_until(lambda: len(server.clients) == 8, WAIT_S, "all are there")
        # When more come
        refused = [send(server.port, b"") for _ in range(5)]
        # Then they are told, and nobody has a thread for them
        assert [(first(each).status, first(each).code) for each in refused] == [(503, "busy")] * 5
        assert clients() == 8
        # And when the crowd leaves, others are served
        for client in crowd:
            client.close()
        wait_until(lambda: not server.clients, WAIT_S, "they are gone")
        assert get(server.port, "/healthz").status == 200


@pytest.mark.fault("F6")
def test_server_answers_again_when_descriptors_come_back(
    home: Home, redis_server: RedisServer, nursery: Nursery
) -> None:
    """With no descriptor left a client waits, nothing dies, and it is answered later."""
    port = free_port()
    with Server(home, redis_server, nursery, BLUEPLANE_HTTP_PORT=str(port)) as server:
        # Given a server that may open nothing more
        server.start_ready()
        wait_until(lambda: listens(port), WAIT_S, "it listens")
        process = psutil.Process(server.pid)
        wait_until(lambda: not process.net_connections("tcp")[1:], WAIT_S, "nobody is there")
        before = process.rlimit(psutil.RLIMIT_NOFILE)
        process.rlimit(psutil.RLIMIT_NOFILE, (3, before[1]))
        # When a client comes
        with connect(port) as client:
            client.sendall(head(port, connection="close"))
            wait_until(lambda: "no connection taken" in server.log(), WAIT_S, "it ran out")
            # Then it is answered when there are descriptors again
            process.rlimit(psutil.RLIMIT_NOFILE, before)
            assert first(read_all(client)).status == 200
        assert server.status()["deaths"] == 0


# --- who may ask ----------------------------------------------------------------------------------

HOSTS = {
    "127.0.0.1:{port}": 200,
    "localhost:{port}": 200,
    "LocalHost:{port}": 200,
    "[::1]:{port}": 200,
    "127.0.0.1": 403,
    "localhost": 403,
    "[::1]": 403,
    "::1:{port}": 403,
    "[::1:{port}": 403,
    "[::1]{port}": 403,
    "[::]:{port}": 403,
    "[::ffff:127.0.0.1]:{port}": 403,
    "0.0.0.0:{port}": 403,
    "127.1:{port}": 403,
    "127.0.0.2:{port}": 403,
    "2130706433:{port}": 403,
    "0x7f.1:{port}": 403,
    "localhost.:{port}": 403,
    "localhost.evil.example:{port}": 403,
    "evil.example:{port}": 403,
    "evil.example": 403,
    "127.0.0.1.nip.io:{port}": 403,
    "evil.example@127.0.0.1:{port}": 403,
    "127.0.0.1:{port}@evil.example": 403,
    "127.0.0.1:{port}/": 403,
    "127.0.0.1:{port}, evil.example": 403,
    "127.0.0.1:1": 403,
    "127.0.0.1:0{port}": 403,
    "localhost:{port}:{port}": 403,
    "127.0.0.1: {port}": 403,
    "http://127.0.0.1:{port}": 403,
    "": 403,
    "*": 403,
}


@pytest.mark.fault("G1")
@pytest.mark.parametrize(("host", "status"), HOSTS.items())
def test_host_is_checked_when_anything_is_asked(server: HttpServer, host: str, status: int) -> None:
    """Only our own names with our own port are served: another one is a page that was rebound."""
    # Given a name / When it is asked for / Then
    for path in ("/healthz", "/metrics", "/nothing"):
        data = head(server.port, path, host=host.format(port=server.port), connection="close")
        found = first(send(server.port, data))
        assert (found.status == 403) == (status == 403)
        assert status == 200 or found.code == "wrong_host"


@pytest.mark.fault("G1")
@pytest.mark.parametrize(
    "hosts", [(), (PORT, PORT), (PORT, "evil.example"), ("evil.example", PORT)]
)
def test_host_is_refused_when_it_is_missing_or_there_twice(
    server: HttpServer, hosts: tuple[str, ...]
) -> None:
    """A request with no Host, or with two, is none."""
    # Given
    ours = f"{ADDRESS}:{server.port}"
    lines = "".join(f"Host: {each.replace(PORT, ours)}\r\n" for each in hosts)
    # When / Then
    found = first(send(server.port, f"GET /healthz HTTP/1.1\r\n{lines}\r\n".encode()))
    assert (found.status, found.code) == (400, "bad_request")


FOREIGN = (
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": ""},
    {"origin": "http://127.0.0.1:1"},
    {"origin": "https://127.0.0.1:{port}"},
    {"origin": "http://127.0.0.1:{port}.evil.example"},
    {"sec_fetch_site": "cross-site"},
    {"sec_fetch_site": "same-site"},
    {"sec_fetch_site": "anything"},
    {"origin": "http://127.0.0.1:{port}", "sec_fetch_site": "cross-site"},
)
OWN = (
    {},
    {"origin": "http://127.0.0.1:{port}"},
    {"origin": "http://localhost:{port}", "sec_fetch_site": "same-origin"},
    {"sec_fetch_site": "none"},
)
BODIES = ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data")
METHODS = ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND")


@pytest.mark.fault("G2")
@pytest.mark.parametrize("headers", [*FOREIGN, *OWN])
@pytest.mark.parametrize("method", METHODS[:5])
def test_method_is_refused_when_it_could_change_something(
    server: HttpServer, method: str, headers: dict[str, str]
) -> None:
    """What is no GET gets 403 from another origin, 405 from ours, and never a CORS header."""
    # Given
    filled = {name: value.format(port=server.port) for name, value in headers.items()}
    # When
    found = get(server.port, "/health", method, **filled)
    # Then
    wanted = (403, "wrong_origin") if headers in FOREIGN else (405, "method_not_allowed")
    assert (found.status, found.code) == wanted
    assert found.headers.get("allow") == ("GET, HEAD" if found.status == 405 else None)
    assert not [name for name in found.headers if name.startswith("access-control")]


@pytest.mark.fault("G2")
@pytest.mark.parametrize("kind", BODIES)
def test_form_is_refused_when_a_page_sends_one(server: HttpServer, kind: str) -> None:
    """A form that needs no preflight does nothing, and its body is not looked at."""
    # Given a form as a browser sends it
    data = head(
        server.port,
        "/",
        "POST",
        content_type=kind,
        content_length="7",
        origin="https://evil.example",
    )
    # When / Then
    assert first(send(server.port, data + b"a=b&c=d")).status == 403


@pytest.mark.fault("G16")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", ["/", "/health", "/api/v1/health", "/api/v1/events", "/shutdown"])
def test_nothing_can_be_removed_when_asked_over_http(
    server: HttpServer, method: str, path: str
) -> None:
    """There is no method but GET and HEAD, at no address."""
    # Given / When
    found = get(server.port, path, method)
    # Then
    assert (found.status, found.code) == (405, "method_not_allowed")


@pytest.mark.fault("G5")
def test_token_is_made_private_when_there_is_none(home: Home) -> None:
    """The token has 256 bits, is in a file that only its owner reads, and stays the same."""
    # Given a home without one / When
    token = read_token(home.token_file)
    # Then
    assert len(token) == 64  # 32 bytes in hex digits
    assert stat.S_IMODE(home.token_file.stat().st_mode) == 0o600
    assert read_token(home.token_file) == token
    # And when others could read or empty it, it is made private, or made anew
    home.token_file.chmod(0o644)
    assert read_token(home.token_file) == token
    assert stat.S_IMODE(home.token_file.stat().st_mode) == 0o600
    home.token_file.write_text("short")
    assert len(read_token(home.token_file)) == 64


@pytest.mark.fault("G5")
def test_token_is_compared_in_constant_time_when_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the whole token passes, and every byte of it is compared."""
    # Given
    compared = []
    right = guard.is_same

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return right(one, other)

    monkeypatch.setattr(guard, "is_same", compare)
    door = Guard(7531, TOKEN)
    given = ["", "Bearer", f"Bearer {TOKEN[1:]}", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer é"]
    # When
    refused = []
    for value in given:
        with pytest.raises(RefusedError) as caught:
            door.check_token(parse(f"GET / HTTP/1.1\r\nAuthorization: {value}".encode()))
        refused.append(caught.value.status)
    door.check_token(parse(f"GET / HTTP/1.1\r\nAuthorization: bearer {TOKEN}".encode()))
    # Then
    assert refused == [401] * len(given)
    assert len(compared) == len(given) + 1


# --- what is no request ---------------------------------------------------------------------------

_HOST = f"Host: {ADDRESS}:{PORT}\r\n"
ABUSE = {
    "negative length": f"GET / HTTP/1.1\r\n{_HOST}Content-Length: -1\r\n\r\n",
    "length with a plus": f"GET / HTTP/1.1\r\n{_HOST}Content-Length: +0\r\n\r\n",
    "length in hex": f"GET / HTTP/1.1\r\n{_HOST}Content-Length: 0x0\r\n\r\n",
    "length of nothing": f"GET / HTTP/1.1\r\n{_HOST}Content-Length:\r\n\r\n",
    "list of lengths": f"GET / HTTP/1.1\r\n{_HOST}Content-Length: 0, 0\r\n\r\n",
    "two lengths": f"GET / HTTP/1.1\r\n{_HOST}Content-Length: 0\r\nContent-Length: 5\r\n\r\n",
    "the same length twice": f"GET / HTTP/1.1\r\n{_HOST}" + "Content-Length: 0\r\n" * 2 + "\r\n",
    "length of another script": f"GET / HTTP/1.1\r\n{_HOST}Content-Length: \u00b2\r\n\r\n",
    "length and chunked": f"POST / HTTP/1.1\r\n{_HOST}Content-Length: 4\r\n"
    "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked": f"POST / HTTP/1.1\r\n{_HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "hidden chunked": f"GET / HTTP/1.1\r\n{_HOST}Transfer-Encoding: x\x0bchunked\r\n\r\n",
    "unknown encoding": f"GET / HTTP/1.1\r\n{_HOST}Transfer-Encoding: identity\r\n\r\n",
    "a body": f"GET / HTTP/1.1\r\n{_HOST}Content-Length: 5\r\n\r\nhello",
    "a body that is short": f"GET / HTTP/1.1\r\n{_HOST}Content-Length: 500\r\n\r\nhello",
    "a huge length": f"GET / HTTP/1.1\r\n{_HOST}Content-Length: {'9' * 40}\r\n\r\n",
    "an expectation": f"GET / HTTP/1.1\r\n{_HOST}Expect: 100-continue\r\n\r\n",
    "ten thousand headers": f"GET / HTTP/1.1\r\n{_HOST}" + "A: b\r\n" * 10_000 + "\r\n",
    "a hundred and two headers": f"GET / HTTP/1.1\r\n{_HOST}" + "A: b\r\n" * 101 + "\r\n",
    "a long header": f"GET / HTTP/1.1\r\n{_HOST}A: {'b' * 9_000}\r\n\r\n",
    "an endless header": f"GET / HTTP/1.1\r\n{_HOST}A: {'b' * 500_000}",
    "a long path": f"GET /{'a' * 2_000} HTTP/1.1\r\n{_HOST}\r\n",
    "an endless path": f"GET /{'a' * 100_000}",
    "version 0.9": "GET /\r\n\r\n",
    "version 2.0": f"GET / HTTP/2.0\r\n{_HOST}\r\n",
    "version 1.10": f"GET / HTTP/1.10\r\n{_HOST}\r\n",
    "another protocol": f"GET / FTP/1.1\r\n{_HOST}\r\n",
    "the preface of version 2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a lower-case version": f"GET / http/1.1\r\n{_HOST}\r\n",
    "no path": f"GET HTTP/1.1\r\n{_HOST}\r\n",
    "a whole address": f"GET http://evil.example/ HTTP/1.1\r\n{_HOST}\r\n",
    "an authority": f"GET evil.example:80 HTTP/1.1\r\n{_HOST}\r\n",
    "two spaces": f"GET  / HTTP/1.1\r\n{_HOST}\r\n",
    "a tab for a space": f"GET\t/ HTTP/1.1\r\n{_HOST}\r\n",
    "a method of no letters": f"G(T / HTTP/1.1\r\n{_HOST}\r\n",
    "a space in the path": f"GET /a b HTTP/1.1\r\n{_HOST}\r\n",
    "a line break in the path": f"GET /a\r\nX: y HTTP/1.1\r\n{_HOST}\r\n",
    "a carriage return in the path": f"GET /a\rb HTTP/1.1\r\n{_HOST}\r\n",
    "a zero byte in the path": f"GET /a\x00b HTTP/1.1\r\n{_HOST}\r\n",
    "foreign bytes in the path": f"GET /\u00e9 HTTP/1.1\r\n{_HOST}\r\n",
    "bare line feeds": f"GET / HTTP/1.1\n{_HOST}\r\n\r\n",
    "a folded header": f"GET / HTTP/1.1\r\n{_HOST}A: b\r\n c\r\n\r\n",
    "a space before the colon": f"GET / HTTP/1.1\r\n{_HOST}Content-Length : 0\r\n\r\n",
    "a header without a colon": f"GET / HTTP/1.1\r\n{_HOST}nothing\r\n\r\n",
    "a header without a name": f"GET / HTTP/1.1\r\n{_HOST}: nothing\r\n\r\n",
    "a zero byte in a header": f"GET / HTTP/1.1\r\n{_HOST}A: \x00\r\n\r\n",
    "a line feed in a header": f"GET / HTTP/1.1\r\n{_HOST}A: b\nX: y\r\n\r\n",
    "an empty line first": f"\r\nGET / HTTP/1.1\r\n{_HOST}\r\n",
    "a handshake of TLS": "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    "half a head": f"GET / HTTP/1.1\r\n{_HOST}",
    "noise": "\xff\xfe\x00\r\n\r\n",
}


#: Of those that are not simply 400.
STATUS = {
    "length and chunked": 405,
    "chunked": 405,
    "an expectation": 417,
    "ten thousand headers": 431,
    "a hundred and two headers": 431,
    "a long header": 431,
    "an endless header": 431,
    "a long path": 414,
    "an endless path": 431,
    "version 2.0": 505,
}


@pytest.mark.fault("G8")
@pytest.mark.parametrize("case", ABUSE)
def test_abuse_is_refused_and_the_next_is_served_when_it_is_no_request(
    server: HttpServer, case: str
) -> None:
    """What has no one meaning gets 4xx (505 for a version) and the end; a good request passes."""
    # Given
    data = ABUSE[case].replace(PORT, str(server.port)).encode("latin-1")
    began_s = time.monotonic()
    # When
    answers = send(server.port, data, ends=True)
    # Then it is refused once, in time, and the connection is closed
    refused = first(answers)
    assert refused.status == STATUS.get(case, 400)
    assert refused.headers["connection"] == "close"
    assert refused.code
    assert time.monotonic() - began_s < 5
    assert get(server.port, "/healthz").status == 200
    wait_until(lambda: not server.clients, WAIT_S, "no thread is left")


@pytest.mark.fault("G8")
def test_client_may_end_its_request_when_it_was_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is still on its way is taken, up to a bound: a client that is cut off sees no answer."""
    # Given a request that is refused long before its end
    monkeypatch.setattr(guard, "REST_S", WAIT_S)
    with serving() as server, connect(server.port) as client:
        client.sendall(b"GET /" + b"a" * 2 * guard.MAX_HEAD)
        answer = client.recv(65_536)
        # When the client goes on
        for _ in range(3):
            client.sendall(b"a" * 1_000)
        client.shutdown(socket.SHUT_WR)
        # Then it is not cut off, and has seen why it was refused
        assert first(answer + read_all(client)).status == 431


@pytest.mark.fault("G8")
def test_slow_request_is_given_up_when_a_byte_comes_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The whole head has one deadline: bytes that drip do not move it."""
    # Given a deadline, and a client that sends a byte whenever the last one is there
    monkeypatch.setattr(guard, "REQUEST_S", 0.3)
    with serving() as server, connect(server.port) as client:
        client.settimeout(0.02)
        answer, began_s = b"", time.monotonic()
        # When it goes on until it hears something
        while not answer and time.monotonic() - began_s < WAIT_S:
            client.sendall(b"G")
            try:
                answer = client.recv(65_536)
            except TimeoutError:
                continue
        # Then
        assert (first(answer).status, first(answer).code) == (408, "too_slow")
    assert guard.IDLE_S + guard.REQUEST_S < 10


@pytest.mark.fault("G8")
def test_silent_client_is_dropped_when_it_asks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection on which nothing is asked ends, without an answer."""
    # Given
    monkeypatch.setattr(guard, "IDLE_S", 0.1)
    with serving() as server:
        # When / Then
        assert send(server.port, b"") == b""
        # And so it is after an answer
        assert get(server.port, "/healthz").status == 200
        assert first(send(server.port, head(server.port))).status == 200


@pytest.mark.fault("G8")
def test_client_is_dropped_when_it_does_not_take_its_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An answer that nobody reads is given up in time."""
    # Given
    monkeypatch.setattr(guard, "ANSWER_S", 0.2)
    with serving() as server, connect(server.port) as client:
        # When
        client.sendall(head(server.port, "/large"))
        wait_until(lambda: server.clients, WAIT_S, "it is served")
        # Then
        wait_until(lambda: not server.clients, WAIT_S, "it is given up")
        assert get(server.port, "/healthz").status == 200


@pytest.mark.fault("G8")
def test_requests_are_answered_in_turn_when_they_come_at_once(server: HttpServer) -> None:
    """Requests in one packet are answered one after the other, up to the one that is none."""
    # Given three good ones, one that is none, and one more
    good = [head(server.port, f"/{number}") for number in range(3)]
    data = b"".join([*good, b"nonsense\r\n\r\n", head(server.port, "/4")])
    # When
    rest = send(server.port, data)
    # Then
    found: list[Reply] = []
    while rest:
        reply, rest = split(rest)
        found.append(reply)
    assert [reply.status for reply in found] == [200, 200, 200, 400]
    assert [reply.json["path"] for reply in found[:3]] == ["/0", "/1", "/2"]


@pytest.mark.fault("G8")
def test_connection_ends_when_it_has_asked_often_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody keeps a thread for ever: the last answer says that it is the last."""
    # Given
    monkeypatch.setattr(guard, "MAX_REQUESTS", 3)
    with serving() as server:
        # When
        rest = send(server.port, head(server.port) * 5)
        # Then
        ends = []
        while rest:
            reply, rest = split(rest)
            ends.append(reply.headers["connection"])
        assert ends == ["keep-alive", "keep-alive", "close"]


# --- what an answer gives away --------------------------------------------------------------------


@pytest.mark.fault("G15")
@pytest.mark.parametrize(
    ("path", "status", "code"),
    [("/nothing", 404, "not_found"), ("/broken", 500, "internal"), ("/%0d%0aX:%20y", 200, None)],
)
def test_answer_gives_nothing_away_when_something_fails(
    server: HttpServer, path: str, status: int, code: str | None
) -> None:
    """An error has one shape and fixed words: no path, version, trace or word of the request."""
    # Given / When
    data = send(server.port, head(server.port, path, connection="close"))
    found = first(data)
    # Then
    assert found.status == status
    assert code is None or found.code == code
    assert "server" not in found.headers
    assert found.headers["cache-control"] == "no-store"
    assert not [name for name in found.headers if name.startswith("access-control") or name == "x"]
    for word in (b"Traceback", b"ZeroDivision", b"/home", b"Python", b"blueplane/", b"0.1.0"):
        assert word not in data


@pytest.mark.fault("G3", "G15")
def test_pages_hold_nothing_personal_when_events_are_written(
    home: Home, issued: Issued, redis_server: RedisServer, nursery: Nursery
) -> None:
    """What everybody may read has no path, session, version or token; reading changes nothing."""
    port = free_port()
    with Server(home, redis_server, nursery, BLUEPLANE_HTTP_PORT=str(port)) as server:
        # Given a server that has written events of a session
        server.start_ready()
        sessions = issued.issue(20)
        before = issued.settle(server, redis_server)
        wait_until(lambda: get(port, "/health").json["database"]["write_success_count"] > 20,
                   WAIT_S, "they are shown")  # fmt: skip
        written = before["written"]
        # When every page is read, in every way
        pages = ["/healthz", "/readyz", "/metrics", "/health", "/api/v1/health"]
        pages += [f"/api/v1/health/{name}" for name in COMPONENTS]
        pages += [f"/api/v1/health/history?metric={name}" for name in ("*", "queue.queue_depth")]
        answers = [get(port, page, origin="https://evil.example") for page in pages]
        bare = [split(send(port, head(port, page, "HEAD", connection="close")), bodiless=True)
                for page in pages]  # fmt: skip
        # Then all are there, for HEAD without a body, and none has a word of the session
        assert [answer.status for answer in answers] == [200] * len(pages)
        assert [(reply.status, rest) for reply, rest in bare] == [(200, b"")] * len(pages)
        shown = b"".join(answer.body for answer in answers).decode()
        token = home.token_file.read_text()
        redis_version = server.status()["redis"]["version"]
        words = (str(home.root), str(home.root.parent), *sessions, token, __version__)
        assert [
            word for word in (*words, f'"{redis_version}"', "example.py") if word in shown
        ] == []
        # And it is what Prometheus reads, with the events that were written
        metrics = read(answers[2].body.decode())
        assert metrics["blueplane_messages_settled_total"].value(outcome="written") == written
        assert metrics["blueplane_captured_to_written_seconds"].samples[
            "blueplane_captured_to_written_seconds_count", ()
        ] == written  # fmt: skip
        # And nothing has changed
        assert server.balance()["captured"] == before["captured"]


@pytest.mark.fault("F6")
def test_threads_end_when_the_server_is_stopped() -> None:
    """A stop ends the threads of clients that wait, however long they might."""
    # Given a client that says nothing
    with serving() as server, connect(server.port) as client:
        wait_until(lambda: server.clients, WAIT_S, "it is there")
        # When
        server.stop()
        assert server.join(WAIT_S)
        # Then
        assert not server.clients
        assert read_all(client) == b""


@pytest.mark.fault("F6")
def test_server_stops_in_time_when_clients_hold_on(
    home: Home, redis_server: RedisServer, nursery: Nursery
) -> None:
    """A stop waits for no client: connections that are silent are ended."""
    port = free_port()
    with (
        Server(home, redis_server, nursery, BLUEPLANE_HTTP_PORT=str(port)) as server,
        ExitStack() as stack,
    ):
        # Given a server with clients
        server.start_ready()
        wait_until(lambda: listens(port), WAIT_S, "it listens")
        crowd = [stack.enter_context(connect(port)) for _ in range(10)]
        crowd[0].sendall(head(port))
        assert crowd[0].recv(65_536).startswith(b"HTTP/1.1 200")
        # When it is stopped
        began_s = time.monotonic()
        assert server.stop() == 0
        # Then it ends in order and soon, and they see the end
        assert time.monotonic() - began_s < guard.IDLE_S
        assert "stopped clean=true" in server.log()
        assert [read_all(client) for client in crowd] == [b""] * 10
        assert not listens(port)
