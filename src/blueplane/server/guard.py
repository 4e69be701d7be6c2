"""Who may ask what, and how much: the defence of the HTTP port, whole, in this file.

Owns every bound of a request, the check of its headers, and the token.
Promises that every request passes ``Guard.check`` before anything looks at its path.
Leaves reading bytes to ``wire.py`` and threads to ``http.py``.

The port is open to everybody on this machine, and to each page in a browser on it. So:

- *DNS rebinding* makes a page of a stranger's own name talk to 127.0.0.1, as same origin. Its
  ``Host`` is that name: only ours are served (GHSA-v9fg-6g9j-h4x4 of ActivityWatch is this bug).
- *Forms and images of other sites* come with any method and no preflight. What is not GET or HEAD
  changes nothing here; were it from another origin (``Origin``, ``Sec-Fetch-Site``), it is told so.
  GET changes nothing either (RFC 9110 9.2.1), and no answer has a CORS header, so no page of
  another origin can read one.
- *Request smuggling* needs two readings of one message (RFC 9112 6.3, 11.2). No request here has a
  body, so whatever announces one, in any way, is refused and the connection ends.
- *Slow and endless requests* (slowloris) meet the times and sizes below.
- *Other users of the machine* reach the port, too: what is personal needs the token, which only
  the owner of the home can read. It is compared in constant time.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from blueplane.digests import is_same, random_hex
from blueplane.errors import HomeError
from blueplane.paths import private_file
from blueplane.server.wire import RefusedError, Request

#: Bytes of a head, and of its path with the query.
MAX_HEAD: Final = 8 * 1024
MAX_TARGET: Final = 1024
#: Seconds for the first byte of a request, for all of it from there, and for taking the answer.
IDLE_S: Final = 5.0
REQUEST_S: Final = 3.0
ANSWER_S: Final = 2.0
#: Requests on one connection.
MAX_REQUESTS: Final = 1_000
#: Connections that are served at once; one more is told to come back.
MAX_CLIENTS: Final = 32
#: Bytes of a refused request that are read, and seconds: one that is cut off sees no answer.
MAX_REST: Final = 1024 * 1024
REST_S: Final = 1.0

#: Bytes of the token.
TOKEN_BYTES: Final = 32

_READS: Final = ("GET", "HEAD")
ALLOWED: Final = ", ".join(_READS)


class Guard:
    """The defence of one port."""

    def __init__(self, port: int, token: str) -> None:
        self._hosts = frozenset(f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]"))
        self._origins = frozenset(f"http://{host}" for host in self._hosts)
        self._token = token.encode()

    def check(self, request: Request) -> None:
        """Raise RefusedError unless the request may be served."""
        self._check_host(request)
        if len(request.path) + len(request.query) > MAX_TARGET:
            raise RefusedError(414, "too_large", "the address is too long")
        if request.method not in _READS:
            self._check_origin(request)
            raise RefusedError(405, "method_not_allowed", "nothing is changed over HTTP")
        headers = request.headers
        if "transfer-encoding" in headers or headers.get("content-length", ["0"]) != ["0"]:
            raise RefusedError(400, "bad_request", "a request has no body here")
        if "expect" in headers:
            raise RefusedError(417, "bad_request", "nothing is to be expected")

    def check_token(self, request: Request) -> None:
        """Raise RefusedError unless the request has the token, as ``Authorization: Bearer``."""
        kind, _, given = (request.one("authorization") or "").partition(" ")
        right = is_same(given.encode("utf-8", "replace"), self._token)
        if kind.lower() != "bearer" or not right:
            raise RefusedError(401, "no_token", "the token in run/token is needed")

    def _check_host(self, request: Request) -> None:
        host = request.one("host")
        if host is None:
            raise RefusedError(400, "bad_request", "host is missing")
        if host.lower() not in self._hosts:
            raise RefusedError(403, "wrong_host", "this is not the address of this server")

    def _check_origin(self, request: Request) -> None:
        """Raise RefusedError for what a page of another origin sent."""
        origin = request.one("origin")
        site = request.one("sec-fetch-site")
        foreign = origin is not None and origin not in self._origins
        if foreign or site not in {None, "same-origin", "none"}:
            raise RefusedError(403, "wrong_origin", "pages of other origins change nothing here")


def read_token(path: Path) -> str:
    """Return the token of a home, made at the first call; whoever calls holds the server's lock.

    A file that holds none is written anew. Raises HomeError when it is not a plain file of ours.
    """
    try:
        with suppress(FileNotFoundError), private_file(path, os.O_RDONLY | os.O_NONBLOCK) as file:
            os.fchmod(file.fileno(), 0o600)
            token = file.read(1024).decode("ascii", "replace")
            if len(token) == 2 * TOKEN_BYTES:
                return token
        token = random_hex(TOKEN_BYTES)
        with private_file(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(token.encode())
    except OSError as error:
        message = f"{path}: {error.strerror}; it must be a plain file of yours: remove it"
        raise HomeError(message) from error
    return token
