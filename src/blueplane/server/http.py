"""The HTTP port: connections, threads and bytes.

Owns the socket on 127.0.0.1 and the threads of whoever asks, which ``http.server`` runs.
Promises bounded threads, times and sizes whatever is sent, each answer in one write, and that no
trouble with the port reaches the rest of the server: it is told in ``trouble``, and tried again.
Leaves what is a request to ``wire.py``, which is served to ``guard.py``, and the answer to
``api.py``.
"""

import errno
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from socketserver import TCPServer
from threading import Condition
from typing import Any, Final, TypeAlias, cast

from blueplane.clock import monotonic_s
from blueplane.lean import StandIn, instead_of
from blueplane.logs import get
from blueplane.server import guard, wire
from blueplane.server.guard import Guard
from blueplane.server.ports import owner
from blueplane.server.wire import END, Answer, RefusedError, Request
from blueplane.threads import Backoff, Service

# It imports OpenSSL for clients that speak HTTPS: 4 MB of an idle server's memory.
with instead_of("ssl", StandIn("ssl")):
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_log = get("http")

#: Where it listens; 0.0.0.0 is no choice.
ADDRESS: Final = "127.0.0.1"
#: Seconds between two looks at the stop flag.
TICK_S: Final = 1.0
#: Seconds before a port that is taken is tried again: at first, and at most.
AGAIN_S: Final = (2.0, 60.0)
#: Connections that wait to be taken.
BACKLOG: Final = 64
#: Seconds in which the clients are gone at a stop.
LEAVE_S: Final = 2.0
#: Bytes that are read at once.
_CHUNK: Final = 16 * 1024
_BUSY: Final = wire.error(RefusedError(503, "busy", "too many connections; ask again in a moment"))

#: A connection, as ``socketserver`` has it; there it is called a request.
_Connection: TypeAlias = socket.socket | tuple[bytes, socket.socket]


class HttpServer(Service):
    """The thread that takes connections; each of them has one of its own."""

    def __init__(self, port: int, token: str, answer: Callable[[Request], Answer]) -> None:
        super().__init__("http")
        self.port = port
        #: Why the port is not ours, None while it is.
        self.trouble: str | None = "not tried yet"
        self.guard = Guard(port, token)
        self.answer = answer
        #: The connections that are served at the moment.
        self.clients: set[_Connection] = set()

    def status(self) -> dict[str, Any]:
        """Return ``port``, and ``trouble``: why nobody is served there, or None."""
        return {"port": self.port, "trouble": self.trouble}

    def loop(self) -> None:
        """Serve whoever connects, until asked to stop."""
        again = Backoff(*AGAIN_S)
        while not self.stopping.is_set():
            try:
                listener = _Listener(self)
            except OSError as error:
                self._say(_why(self.port, error))
                self.stopping.wait(again.next_s())
                continue
            self._say(None)
            with listener:
                while not self.stopping.is_set():
                    self.beat()
                    listener.handle_request()
            listener.dismiss()

    def _say(self, trouble: str | None) -> None:
        """Log what has changed, once."""
        if trouble is None:
            _log.info("listens", port=self.port)
        elif trouble != self.trouble:
            _log.warning("port not taken", port=self.port, reason=trouble)
        self.trouble = trouble

    def stop(self) -> None:
        """Ask the loop to end, and wake it from its wait."""
        super().stop()
        with suppress(OSError):
            socket.create_connection((ADDRESS, self.port), TICK_S).close()


def _why(port: int, error: OSError) -> str:
    """Say why a port cannot be had, and who has it if that may be known."""
    if error.errno != errno.EADDRINUSE:
        return f"port {port}: {error.strerror}"
    return f"port {port} is taken by {owner(port) or 'another program'}"


class _Listener(ThreadingHTTPServer):
    """The socket, and the crowd at it; raises OSError when the port is not to be had."""

    request_queue_size = BACKLOG
    timeout = TICK_S
    block_on_close = False  # ``dismiss`` waits, but not for ever

    def __init__(self, ours: HttpServer) -> None:
        self.ours = ours
        self._changed = Condition()
        super().__init__((ADDRESS, ours.port), _Conversation)

    def server_bind(self) -> None:
        """Bind as any TCP server does: that of HTTP asks the resolver for a name of ours."""
        TCPServer.server_bind(self)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Take a connection; when no descriptor is left the client waits in the backlog."""
        try:
            return super().get_request()
        except OSError as error:
            _log.warning("no connection taken", reason=error)
            self.ours.stopping.wait(TICK_S)
            raise

    def verify_request(self, request: _Connection, client_address: object) -> bool:  # noqa: ARG002 - as socketserver has it
        """Whether there is room; who is sent away is told so."""
        room = len(self.ours.clients) < guard.MAX_CLIENTS
        if not room:
            _turn_away(cast("socket.socket", request))
        return room

    def process_request(self, request: _Connection, client_address: object) -> None:
        """Serve a connection in a thread of its own."""
        with self._changed:
            self.ours.clients.add(request)
        try:
            super().process_request(request, client_address)
        except RuntimeError as error:  # the system has no thread left
            _log.warning("no thread", reason=error)
            _turn_away(cast("socket.socket", request))
            self.shutdown_request(request)

    def shutdown_request(self, request: _Connection) -> None:
        """Close a connection, and forget it."""
        super().shutdown_request(request)
        with self._changed:
            self.ours.clients.discard(request)
            self._changed.notify_all()

    def handle_error(self, request: _Connection, client_address: object) -> None:  # noqa: ARG002 - as socketserver has it
        """Log a bug of ours; whoever asked and is gone, or too slow, is nobody's error."""
        error = sys.exception()
        if not isinstance(error, OSError):
            _log.error("request failed", error=error)

    def dismiss(self) -> None:
        """End the connections that wait for a request; an answer that is on its way is sent."""
        with self._changed:
            for connection in self.ours.clients:
                with suppress(OSError):
                    cast("socket.socket", connection).shutdown(socket.SHUT_RD)
            self._changed.wait_for(lambda: not self.ours.clients, LEAVE_S)


def _turn_away(connection: socket.socket) -> None:
    """Say that nobody has time; never wait for the client."""
    with suppress(OSError):
        connection.setblocking(False)  # noqa: FBT003 - the only way to say it
        connection.send(wire.render(_BUSY, closes=True))
        connection.shutdown(socket.SHUT_WR)
        connection.recv(_CHUNK)  # what is unread would take the answer with it


class _Conversation(BaseHTTPRequestHandler):
    """The requests of one connection, one after the other.

    A request is read by ``wire.parse``, for ``http.server`` is lenient where RFC 9112 is not, has
    no deadline for a whole head, and answers in several writes.
    """

    connection: socket.socket
    server: _Listener
    disable_nagle_algorithm = True

    def setup(self) -> None:
        """Bound every wait in the kernel.

        A time-out of Python's would take a second call, and with it a second wait for the
        interpreter, for each request.
        """
        super().setup()
        _bound(self.connection, socket.SO_RCVTIMEO, guard.IDLE_S)
        _bound(self.connection, socket.SO_SNDTIMEO, guard.ANSWER_S)
        self._left = guard.MAX_REQUESTS
        self._rest = b""

    def handle_one_request(self) -> None:
        """Answer a request; raise OSError when the client is gone or does not take the answer."""
        self._left -= 1
        head = self._head()
        self.close_connection = head is None or self._reply(head)

    def _reply(self, head: bytes) -> bool:
        """Answer a request; True when it was the last one of this connection."""
        request = None
        try:
            request = wire.parse(head)
            self.server.ours.guard.check(request)
        except RefusedError as refused:  # where it ends, too, is in doubt
            self._refuse(refused, request)
            return True
        closes = self._left == 0 or _wants_end(request)
        answer = self._served(request)
        self._send(wire.render(answer, closes=closes, head_only=request.method == "HEAD"))
        return closes

    def _served(self, request: Request) -> Answer:
        try:
            return self.server.ours.answer(request)
        except RefusedError as refused:
            return wire.error(refused)
        except Exception as error:  # noqa: BLE001 - a bug of ours: the client gets an answer
            _log.error("request failed", error=error)
            return wire.error(RefusedError(500, "internal", "a bug of ours; see the log"))

    def _refuse(self, refused: RefusedError, request: Request | None = None) -> None:
        """Answer, and read what the client still sends, for a while: else it sees no answer."""
        allow = {"Allow": guard.ALLOWED} if refused.status == HTTPStatus.METHOD_NOT_ALLOWED else {}
        bare = request is not None and request.method == "HEAD"
        self._send(wire.render(wire.error(refused, **allow), closes=True, head_only=bare))
        self.connection.shutdown(socket.SHUT_WR)
        deadline_s, size = monotonic_s() + guard.REST_S, 0
        while size < guard.MAX_REST and (left_s := deadline_s - monotonic_s()) > 0:
            _bound(self.connection, socket.SO_RCVTIMEO, left_s)
            part = self.connection.recv(_CHUNK)
            if not part:
                return
            size += len(part)

    # -- bytes -----------------------------------------------------------------------------------

    def _head(self) -> bytes | None:
        """Return the next head; None at the end, or when the client is silent or was refused."""
        try:
            data = self._rest or self.connection.recv(_CHUNK)
            end = data.find(END)
            if end < 0 and data:
                data = self._whole(data)
                end = data.find(END)
            if end > guard.MAX_HEAD:
                raise _too_large()
        except BlockingIOError:  # silent for too long
            return None
        except RefusedError as refused:
            self._refuse(refused)
            return None
        self._rest = data[end + len(END) :]
        return data[:end] if data else None

    def _whole(self, data: bytes) -> bytes:
        """Read on until there is a whole head; raise RefusedError when none can come of it."""
        deadline_s = monotonic_s() + guard.REQUEST_S
        while END not in data:
            if len(data) > guard.MAX_HEAD:
                raise _too_large()
            left_s = deadline_s - monotonic_s()
            part = self._receive(left_s) if left_s > 0 else None
            if part is None:
                raise RefusedError(408, "too_slow", "the request did not come in time")
            if not part:
                raise RefusedError(400, "bad_request", "half a request")
            data += part
        _bound(self.connection, socket.SO_RCVTIMEO, guard.IDLE_S)
        return data

    def _receive(self, timeout_s: float) -> bytes | None:
        _bound(self.connection, socket.SO_RCVTIMEO, timeout_s)
        with suppress(BlockingIOError):
            return self.connection.recv(_CHUNK)
        return None

    def _send(self, data: bytes) -> None:
        """Send all of it; raise OSError when the client does not take it in time."""
        deadline_s = monotonic_s() + guard.ANSWER_S
        sent = self.connection.send(data)
        while sent < len(data):
            if monotonic_s() > deadline_s:
                raise BlockingIOError
            sent += self.connection.send(data[sent:])


def _too_large() -> RefusedError:
    return RefusedError(431, "too_large", "the headers are too large")


def _wants_end(request: Request) -> bool:
    words = ",".join(request.headers.get("connection", ())).lower()
    return request.version < (1, 1) or "close" in words


def _bound(connection: socket.socket, option: int, seconds: float) -> None:
    """Have the kernel give a call up after a time."""
    micros = max(1, int(seconds * 1_000_000))
    moment = struct.pack("@ll", *divmod(micros, 1_000_000))
    connection.setsockopt(socket.SOL_SOCKET, option, moment)
