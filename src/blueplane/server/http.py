"""The HTTP port: connections, threads and bytes.

Owns the socket on 127.0.0.1 and the threads of whoever asks.
Promises bounded threads, times and sizes whatever is sent, each answer in one write, and that no
trouble with the port reaches the rest of the server: it is told in ``trouble``, and tried again.
Leaves what is served to ``guard.py`` and what is answered to ``api.py``.
"""

import errno
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from threading import Lock, Thread
from typing import Any, Final

from blueplane.clock import monotonic_s
from blueplane.logs import get
from blueplane.server import guard, wire
from blueplane.server.guard import Guard
from blueplane.server.ports import owner
from blueplane.server.wire import END, Answer, RefusedError, Request
from blueplane.threads import Backoff, Service

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


class HttpServer(Service):
    """The thread that takes connections; each of them has one of its own."""

    def __init__(self, port: int, token: str, answer: Callable[[Request], Answer]) -> None:
        super().__init__("http")
        self.port = port
        #: Why the port is not ours, None while it is.
        self.trouble: str | None = "not tried yet"
        self._guard = Guard(port, token)
        self._answer = answer
        self._lock = Lock()
        self._clients: dict[socket.socket, Thread] = {}

    def status(self) -> dict[str, Any]:
        """Return ``port``, and ``trouble``: why nobody is served there, or None."""
        return {"port": self.port, "trouble": self.trouble}

    def loop(self) -> None:
        """Serve whoever connects, until asked to stop."""
        again = Backoff(*AGAIN_S)
        while not self.stopping.is_set():
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
                try:
                    self._listen(listener)
                except OSError as error:
                    self._say(_why(self.port, error))
                    self.stopping.wait(again.next_s())
                    continue
                self._say(None)
                self._accept(listener)
        self._dismiss()

    def _listen(self, listener: socket.socket) -> None:
        # A port whose last connections are still dying may be taken, one that is in use may not.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((ADDRESS, self.port))
        listener.listen(BACKLOG)
        listener.settimeout(TICK_S)

    def _say(self, trouble: str | None) -> None:
        """Log what has changed, once."""
        if trouble is None:
            _log.info("listens", port=self.port)
        elif trouble != self.trouble:
            _log.warning("port not taken", port=self.port, reason=trouble)
        self.trouble = trouble

    def _accept(self, listener: socket.socket) -> None:
        while not self.stopping.is_set():
            self.beat()
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            except OSError as error:  # no descriptor is left: the client waits in the backlog
                _log.warning("no connection taken", reason=error)
                self.stopping.wait(TICK_S)
                continue
            self._take(connection)

    def _take(self, connection: socket.socket) -> None:
        thread = Thread(target=self._serve, args=(connection,), name="http-client", daemon=True)
        with self._lock:
            free = len(self._clients) < guard.MAX_CLIENTS
            if free:
                self._clients[connection] = thread
        try:
            if free:
                thread.start()
                return
        except RuntimeError as error:  # the system has no thread left
            _log.warning("no thread", reason=error)
            self._forget(connection)
        _turn_away(connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                Conversation(connection, self._guard, self._answer).run()
        except OSError:  # whoever asked is gone, or too slow
            pass
        except Exception as error:  # noqa: BLE001 - the top of a connection: the next is served
            _log.error("request failed", error=error)
        finally:
            self._forget(connection)

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._clients.pop(connection, None)

    # -- stopping --------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ask the loop to end, and wake it from its wait."""
        super().stop()
        with suppress(OSError):
            socket.create_connection((ADDRESS, self.port), TICK_S).close()

    def _dismiss(self) -> None:
        """End the connections that wait for a request; an answer that is on its way is sent."""
        with self._lock:
            clients = list(self._clients.items())
        for connection, _ in clients:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
        deadline_s = monotonic_s() + LEAVE_S
        for _, thread in clients:
            thread.join(max(0.0, deadline_s - monotonic_s()))


def _why(port: int, error: OSError) -> str:
    """Say why a port cannot be had, and who has it if that may be known."""
    if error.errno != errno.EADDRINUSE:
        return f"port {port}: {error.strerror}"
    return f"port {port} is taken by {owner(port) or 'another program'}"


def _turn_away(connection: socket.socket) -> None:
    """Say that nobody has time; never wait for the client."""
    with connection, suppress(OSError):
        connection.setblocking(False)  # noqa: FBT003 - the only way to say it
        connection.send(wire.render(_BUSY, closes=True))
        connection.shutdown(socket.SHUT_WR)
        connection.recv(_CHUNK)  # what is unread would take the answer with it


class Conversation:
    """The requests of one connection, one after the other."""

    def __init__(
        self, connection: socket.socket, guard: Guard, answer: Callable[[Request], Answer]
    ) -> None:
        self._socket = connection
        self._guard = guard
        self._answer = answer
        self._rest = b""

    def run(self) -> None:
        """Answer until the client leaves, must leave, or is silent; raise OSError when it is gone.

        The bounds on time are the kernel's: a time-out of Python's would take a second call, and
        with it a second wait for the interpreter, for each request.
        """
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _bound(self._socket, socket.SO_RCVTIMEO, guard.IDLE_S)
        _bound(self._socket, socket.SO_SNDTIMEO, guard.ANSWER_S)
        for left in reversed(range(guard.MAX_REQUESTS)):
            head = self._head()
            if head is None or self._reply(head, last=left == 0):
                return

    def _reply(self, head: bytes, *, last: bool) -> bool:
        """Answer a request; True when it was the last one of this connection."""
        request = None
        try:
            request = wire.parse(head)
            self._guard.check(request)
        except RefusedError as refused:  # where it ends, too, is in doubt
            self._refuse(refused, request)
            return True
        closes = last or _wants_end(request)
        answer = self._served(request)
        self._send(wire.render(answer, closes=closes, head_only=request.method == "HEAD"))
        return closes

    def _served(self, request: Request) -> Answer:
        try:
            return self._answer(request)
        except RefusedError as refused:
            return wire.error(refused)
        except Exception as error:  # noqa: BLE001 - a bug of ours: the client gets an answer
            _log.error("request failed", error=error)
            return wire.error(RefusedError(500, "internal", "a bug of ours; see the log"))

    def _refuse(self, refused: RefusedError, request: Request | None = None) -> None:
        """Answer, and read what the client still sends, for a while: else it sees no answer."""
        allow = {"Allow": guard.ALLOWED} if refused.status == 405 else {}  # noqa: PLR2004
        bare = request is not None and request.method == "HEAD"
        self._send(wire.render(wire.error(refused, **allow), closes=True, head_only=bare))
        self._socket.shutdown(socket.SHUT_WR)
        deadline_s, size = monotonic_s() + guard.REST_S, 0
        while size < guard.MAX_REST and (left_s := deadline_s - monotonic_s()) > 0:
            _bound(self._socket, socket.SO_RCVTIMEO, left_s)
            part = self._socket.recv(_CHUNK)
            if not part:
                return
            size += len(part)

    # -- bytes -----------------------------------------------------------------------------------

    def _head(self) -> bytes | None:
        """Return the next head; None at the end, or when the client is silent or was refused."""
        try:
            data = self._rest or self._socket.recv(_CHUNK)
            end = data.find(END)
            if end < 0 and data:
                data = self._whole(data)
                end = data.find(END)
        except BlockingIOError:  # silent for too long
            return None
        except RefusedError as refused:
            self._refuse(refused)
            return None
        if end > guard.MAX_HEAD:
            self._refuse(RefusedError(431, "too_large", "the headers are too large"))
            return None
        self._rest = data[end + len(END) :]
        return data[:end] if data else None

    def _whole(self, data: bytes) -> bytes:
        """Read on until there is a whole head; raise RefusedError when none can come of it."""
        deadline_s = monotonic_s() + guard.REQUEST_S
        while END not in data:
            if len(data) > guard.MAX_HEAD:
                raise RefusedError(431, "too_large", "the headers are too large")
            left_s = deadline_s - monotonic_s()
            part = self._receive(left_s) if left_s > 0 else None
            if part is None:
                raise RefusedError(408, "too_slow", "the request did not come in time")
            if not part:
                raise RefusedError(400, "bad_request", "half a request")
            data += part
        _bound(self._socket, socket.SO_RCVTIMEO, guard.IDLE_S)
        return data

    def _receive(self, timeout_s: float) -> bytes | None:
        _bound(self._socket, socket.SO_RCVTIMEO, timeout_s)
        with suppress(BlockingIOError):
            return self._socket.recv(_CHUNK)
        return None

    def _send(self, data: bytes) -> None:
        """Send all of it; raise OSError when the client does not take it in time."""
        deadline_s = monotonic_s() + guard.ANSWER_S
        sent = self._socket.send(data)
        while sent < len(data):
            if monotonic_s() > deadline_s:
                raise BlockingIOError
            sent += self._socket.send(data[sent:])


def _wants_end(request: Request) -> bool:
    words = ",".join(request.headers.get("connection", ())).lower()
    return request.version < (1, 1) or "close" in words


def _bound(connection: socket.socket, option: int, seconds: float) -> None:
    """Have the kernel give a call up after a time."""
    micros = max(1, int(seconds * 1_000_000))
    moment = struct.pack("@ll", *divmod(micros, 1_000_000))
    connection.setsockopt(socket.SOL_SOCKET, option, moment)
