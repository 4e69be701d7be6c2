"""A raw request to the HTTP port of a server.

Owns the bytes: nothing of a library's stands between the test and the server.
Promises the answer as it was sent, read to the end of the connection.
Leaves what must be in it to the test.
"""

import json
import socket
from dataclasses import dataclass
from typing import Any

TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Page:
    """An answer: the status, the headers by their names in lower case, and the body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.body)
        return answer


def free_port() -> int:
    """Return a port that nobody has just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(port: int, path: str) -> Page:
    """Ask for one page; raises OSError when nobody listens."""
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
    answer = bytearray()
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as connection:
        connection.sendall(head.encode())
        while piece := connection.recv(65536):
            answer += piece
    top, _, body = bytes(answer).partition(b"\r\n\r\n")
    first, *lines = top.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return Page(int(first.split()[1]), {key.lower(): headers[key] for key in headers}, body)
