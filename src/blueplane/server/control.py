"""The control socket: commands asked of the running server.

Owns ``run/control.sock``: a request a connection, JSON objects a line each.
Promises to serve only the user who runs the server, a bounded number of requests at a time, each
bounded in size.
Leaves what an operation does to whoever registered it.

Request ``{"op": "dlq.retry", "args": {...}}``; answer ``{"ok": <result>}`` or
``{"error": "<one line>", "exit_code": <int>}``. An operation that takes long says how far it is
before that, as often as it likes: ``{"progress": {...}}``.
"""

import os
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import BoundedSemaphore, Thread
from typing import Any, Final, TypeAlias

import orjson

from blueplane.clock import monotonic_s
from blueplane.errors import BlueplaneError, RemoteError, ServerUnavailableError
from blueplane.logs import get
from blueplane.paths import PRIVATE_MODE
from blueplane.threads import Service

_log = get("control")

#: Bytes of a request, and of an answer: several clients must not take much of the memory.
MAX_REQUEST_BYTES: Final = 512 * 1024
MAX_BYTES: Final = 8 * 1024 * 1024
#: Seconds for a client to send its request, and for the server to answer it.
REQUEST_S: Final = 5.0
ANSWER_S: Final = 60.0
#: Seconds between two looks at the stop flag.
TICK_S: Final = 1.0
#: Seconds before a place that is taken is tried again.
AGAIN_S: Final = 30.0
#: Requests that are served at once; one more is refused.
MAX_CLIENTS: Final = 8
#: Connections that wait to be taken; one more fails at once.
BACKLOG: Final = 64

#: Tells whoever asked how far an operation is.
Report: TypeAlias = Callable[[Mapping[str, Any]], None]


class ControlServer(Service):
    """The control thread; each request has one of its own.

    ``operations`` answer soon; ``long_operations`` get a ``Report`` as their first argument.
    """

    def __init__(
        self,
        path: Path,
        operations: Mapping[str, Callable[..., Any]],
        long_operations: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        super().__init__("control")
        self._path = path
        self._operations = operations
        self._long_operations = long_operations or {}
        self._free = BoundedSemaphore(MAX_CLIENTS)

    def loop(self) -> None:
        """Answer one request after another until asked to stop."""
        while not self.stopping.is_set():
            self._path.parent.mkdir(mode=PRIVATE_MODE, exist_ok=True)
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
                try:
                    self._listen(listener)
                except OSError as error:  # something else has its place: capture goes on without
                    _log.error("no control socket", path=self._path, reason=error)
                    self.stopping.wait(AGAIN_S)
                    continue
                listener.settimeout(TICK_S)
                self._accept(listener)
        with suppress(OSError):
            self._path.unlink()

    def _listen(self, listener: socket.socket) -> None:
        """Take the place of what is there: the server's lock is held, so it can only be stale.

        Under another name first, for between the two calls a socket refuses whoever connects.
        """
        staged = self._path.with_suffix(".new")
        staged.unlink(missing_ok=True)
        listener.bind(str(staged))
        staged.chmod(0o600)
        listener.listen(BACKLOG)
        staged.rename(self._path)

    def _accept(self, listener: socket.socket) -> None:
        """Serve until asked to stop, or until somebody removed the socket: then make it anew."""
        while not self.stopping.is_set() and self._path.exists():
            self.beat()
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            except OSError as error:  # no descriptor is left: the client waits in the backlog
                _log.warning("no request taken", reason=error)
                self.stopping.wait(TICK_S)
                continue
            if not self._begin(connection):
                with connection, suppress(OSError):  # whoever asked may be gone
                    _say(connection, _refuse("the server is busy; ask again in a moment", 4))

    def _begin(self, connection: socket.socket) -> bool:
        """Serve a request in a thread of its own, if there is room for one."""
        if not self._free.acquire(blocking=False):
            return False
        try:
            Thread(target=self._serve, args=(connection,), daemon=True).start()
        except RuntimeError as error:  # the system has no thread left
            _log.warning("no thread", reason=error)
            self._free.release()
            return False
        return True

    def stop(self) -> None:
        """Ask the loop to end, and wake it from its wait."""
        super().stop()
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as nobody:
            nobody.settimeout(TICK_S)
            nobody.connect(str(self._path))

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                if _peer_uid(connection) in (os.getuid(), None) and not self.stopping.is_set():
                    _say(connection, self._answer(_read_line(connection, REQUEST_S), connection))
        except OSError as error:
            _log.info("client gone", reason=error)
        finally:
            self._free.release()

    def _answer(self, line: bytes, connection: socket.socket) -> bytes:
        try:
            request = orjson.loads(line)
            operation = self._find(request["op"], connection)
            arguments = dict(request.get("args", {}))
        except (ValueError, KeyError, TypeError, AttributeError):
            return _refuse("the server does not know this request", 2)
        try:
            return orjson.dumps({"ok": operation(**arguments)})
        except BlueplaneError as error:
            return _refuse(str(error), error.exit_code)
        except Exception as error:  # noqa: BLE001 - the top of a request: the next is served, too
            _log.error("request failed", operation=request["op"], error=error)
            return _refuse(f"a bug of ours: {type(error).__name__}; see the log", 70)

    def _find(self, name: str, connection: socket.socket) -> Callable[..., Any]:
        if name in self._operations:
            return self._operations[name]

        def report(progress: Mapping[str, Any]) -> None:
            with suppress(OSError):  # nobody watches any more; the work goes on
                _say(connection, orjson.dumps({"progress": progress}))

        return partial(self._long_operations[name], report)


def _say(connection: socket.socket, line: bytes) -> None:
    connection.settimeout(REQUEST_S)
    connection.sendall(line + b"\n")


def _refuse(message: str, exit_code: int) -> bytes:
    return orjson.dumps({"error": message, "exit_code": exit_code})


def ask(
    path: Path,
    operation: str,
    *,
    timeout_s: float = ANSWER_S,
    progress: Report | None = None,
    **arguments: object,
) -> Any:  # noqa: ANN401 - what comes back is JSON, as the operation made it
    """Ask the running server; ``timeout_s`` is how long it may be silent.

    Raises ServerUnavailableError when no server answers, RemoteError with its own words otherwise.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(path))
            with suppress(BrokenPipeError):  # a busy server answers without reading
                connection.sendall(orjson.dumps({"op": operation, "args": arguments}) + b"\n")
            answer = _last_answer(connection, progress)
    except (OSError, ValueError) as error:
        message = f"the server does not answer on {path}: {error}"
        raise ServerUnavailableError(message) from error
    if "error" in answer:
        raise RemoteError(answer["error"], answer["exit_code"])
    return answer["ok"]


def _last_answer(connection: socket.socket, progress: Report | None) -> dict[str, Any]:
    with connection.makefile("rb") as lines:
        while True:
            line = lines.readline(MAX_BYTES)
            if not line.endswith(b"\n"):
                message = "half an answer"
                raise OSError(message)
            answer: dict[str, Any] = orjson.loads(line)
            if "progress" not in answer:
                return answer
            if progress is not None:
                progress(answer["progress"])


def _read_line(connection: socket.socket, timeout_s: float) -> bytes:
    """Read up to the end of a line, all of it within ``timeout_s``."""
    deadline_s = monotonic_s() + timeout_s
    data = bytearray()
    while not data.endswith(b"\n"):
        connection.settimeout(max(0.001, deadline_s - monotonic_s()))
        part = connection.recv(64 * 1024)
        if not part or len(data) > MAX_REQUEST_BYTES:
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
