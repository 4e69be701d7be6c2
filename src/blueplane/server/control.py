"""The control socket: commands asked of the running server.

Owns ``run/control.sock``: one JSON object a line in each direction, then the connection closes.
Promises to serve only the user who runs the server, one request at a time, each bounded in size.
Leaves what an operation does to whoever registered it.

Request ``{"op": "dlq.retry", "args": {...}}``; answer ``{"ok": <result>}`` or
``{"error": "<one line>", "exit_code": <int>}``.
"""

import os
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import orjson

from blueplane.clock import monotonic_s
from blueplane.errors import BlueplaneError, RemoteError, ServerUnavailableError
from blueplane.logs import get
from blueplane.paths import PRIVATE_MODE
from blueplane.threads import Service

_log = get("control")

#: Bytes of a request or an answer.
MAX_BYTES: Final = 8 * 1024 * 1024
#: Seconds for a client to send its request, and for the server to answer it.
REQUEST_S: Final = 5.0
ANSWER_S: Final = 60.0
#: Seconds between two looks at the stop flag.
TICK_S: Final = 1.0


class ControlServer(Service):
    """The control thread."""

    def __init__(self, path: Path, operations: Mapping[str, Callable[..., Any]]) -> None:
        super().__init__("control")
        self._path = path
        self._operations = operations

    def loop(self) -> None:
        """Answer one request after another until asked to stop."""
        while not self.stopping.is_set():
            self._path.parent.mkdir(mode=PRIVATE_MODE, exist_ok=True)
            self._path.unlink(missing_ok=True)  # the server's lock is held: it can only be stale
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
                listener.bind(str(self._path))
                self._path.chmod(0o600)
                listener.listen(8)
                listener.settimeout(TICK_S)
                self._accept(listener)
        self._path.unlink(missing_ok=True)

    def _accept(self, listener: socket.socket) -> None:
        """Serve until asked to stop, or until somebody removed the socket: then make it anew."""
        while not self.stopping.is_set() and self._path.exists():
            self.beat()
            with suppress(TimeoutError):
                connection, _ = listener.accept()
                self._serve(connection)

    def stop(self) -> None:
        """Ask the loop to end, and wake it from its wait."""
        super().stop()
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as nobody:
            nobody.settimeout(TICK_S)
            nobody.connect(str(self._path))

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                if _peer_uid(connection) not in (os.getuid(), None) or self.stopping.is_set():
                    return
                answer = self._answer(_read_line(connection, REQUEST_S))
                connection.settimeout(REQUEST_S)
                connection.sendall(answer + b"\n")
            except OSError as error:
                _log.info("client gone", reason=error)

    def _answer(self, line: bytes) -> bytes:
        try:
            request = orjson.loads(line)
            operation = self._operations[request["op"]]
            arguments = request.get("args", {})
        except (ValueError, KeyError, TypeError, AttributeError):
            return _refuse("the server does not know this request", 2)
        try:
            return orjson.dumps({"ok": operation(**arguments)})
        except BlueplaneError as error:
            return _refuse(str(error), error.exit_code)
        except Exception as error:  # noqa: BLE001 - the top of a request: the next is served, too
            _log.error("request failed", operation=request["op"], error=error)
            return _refuse(f"a bug of ours: {type(error).__name__}; see the log", 70)


def _refuse(message: str, exit_code: int) -> bytes:
    return orjson.dumps({"error": message, "exit_code": exit_code})


def ask(
    path: Path,
    operation: str,
    *,
    timeout_s: float = ANSWER_S,
    **arguments: object,
) -> Any:  # noqa: ANN401 - what comes back is JSON, as the operation made it
    """Ask the running server.

    Raises ServerUnavailableError when no server answers, RemoteError with its own words otherwise.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(path))
            connection.sendall(orjson.dumps({"op": operation, "args": arguments}) + b"\n")
            answer = orjson.loads(_read_line(connection, timeout_s))
    except (OSError, ValueError) as error:
        message = f"the server does not answer on {path}: {error}"
        raise ServerUnavailableError(message) from error
    if "error" in answer:
        raise RemoteError(answer["error"], answer["exit_code"])
    return answer["ok"]


def _read_line(connection: socket.socket, timeout_s: float) -> bytes:
    """Read up to the end of a line, all of it within ``timeout_s``."""
    deadline_s = monotonic_s() + timeout_s
    data = bytearray()
    while not data.endswith(b"\n"):
        connection.settimeout(max(0.001, deadline_s - monotonic_s()))
        part = connection.recv(64 * 1024)
        if not part or len(data) > MAX_BYTES:
            message = "half a request"
            raise OSError(message)
        data += part
    return bytes(data)


def _peer_uid(connection: socket.socket) -> int | None:
    """Return the user at the other end, None where the system does not tell (0600 guards there)."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, option, size))
    return int(uid)
