"""Plain requests over HTTP, byte for byte.

Owns a free port, a server on one, and sending bytes and reading what comes back.
Promises to take no answer for one that is not whole.
Leaves what is in an answer to the test.
"""

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import orjson

from blueplane.server.http import HttpServer
from blueplane.server.wire import Answer, RefusedError, Request
from helpers.waiting import wait_until

#: Seconds; generous, for only a failure takes that long.
WAIT_S = 20.0
ADDRESS = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: its status, its headers by lower-case name, and its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return orjson.loads(self.body)

    @property
    def code(self) -> str:
        """The word of an error, which has the one shape of errors."""
        ((name, error),) = self.json.items()
        assert (name, error.keys()) == ("error", {"code", "message"})
        return str(error["code"])


def free_port() -> int:
    """Return a port that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return int(probe.getsockname()[1])


def connect(port: int) -> socket.socket:
    """Open a connection."""
    return socket.create_connection((ADDRESS, port), WAIT_S)


def listens(port: int) -> bool:
    """Whether somebody listens."""
    with socket.socket() as probe:
        return probe.connect_ex((ADDRESS, port)) == 0


def head(port: int, path: str = "/healthz", method: str = "GET", **headers: str) -> bytes:
    """Return the bytes of a request; ``sec_fetch_site`` is the header Sec-Fetch-Site."""
    lines = {"Host": f"{ADDRESS}:{port}"}
    lines |= {name.replace("_", "-").title(): value for name, value in headers.items()}
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{text}\r\n".encode("latin-1")


def get(port: int, path: str, method: str = "GET", **headers: str) -> Reply:
    """Ask on a connection of its own."""
    return first(send(port, head(port, path, method, connection="close", **headers)))


def send(port: int, data: bytes, *, ends: bool = False) -> bytes:
    """Send bytes and return all that comes back; ``ends`` says that none follow."""
    with connect(port) as connection:
        with suppress(OSError):  # it may have heard enough
            connection.sendall(data)
            if ends:
                connection.shutdown(socket.SHUT_WR)
        return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    """Read until the other side ends."""
    data = b""
    with suppress(ConnectionResetError):
        while part := connection.recv(65_536):
            data += part
    return data


def split(data: bytes, *, bodiless: bool = False) -> tuple[Reply, bytes]:
    """Split the first answer from what follows it."""
    top, end, rest = data.partition(b"\r\n\r\n")
    assert end, f"no whole answer: {data!r}"
    first_line, *lines = top.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    length = 0 if bodiless else int(headers["content-length"])
    assert len(rest) >= length, f"no whole body: {data!r}"
    return Reply(int(first_line.split()[1]), headers, rest[:length]), rest[length:]


def first(data: bytes) -> Reply:
    """Return the only answer."""
    reply, rest = split(data)
    assert not rest, f"more than one answer: {data!r}"
    return reply


# --- a server in this process ---------------------------------------------------------------------

TOKEN = "t" * 43


def answer(request: Request) -> Answer:
    """Answer what was asked: stands for the program's own answers."""
    if request.path == "/broken":
        raise ZeroDivisionError("/home/ada/secret")
    if request.path == "/nothing":
        raise RefusedError(404, "not_found", "nothing is here")
    if request.path == "/large":
        return Answer(200, b"x" * 8_000_000)
    return Answer(200, orjson.dumps({"path": request.path, "query": request.query}))


@contextmanager
def serving(port: int = 0, what: Callable[[Request], Answer] = answer) -> Iterator[HttpServer]:
    """Give a server that listens; without a port it has a free one."""
    server = HttpServer(port or free_port(), TOKEN, what)
    server.start()
    try:
        wait_until(lambda: server.trouble is None, WAIT_S, "the server listens")
        yield server
    finally:
        server.stop()
        assert server.join(WAIT_S)
