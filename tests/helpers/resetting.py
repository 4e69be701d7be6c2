"""A way to a Redis on which connections are reset in the middle of a command.

Owns a loopback port, and a thread for each direction of a connection.
Promises a real reset (RST) at every n-th request while ``every`` is set, and that all of it ends
with the block.
Leaves what the program makes of it to the test.
"""

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Self

from helpers.redis_server import RedisServer

CHUNK: Final = 1 << 20
#: Close at once and forget what was not sent: the other side is told so.
RESET: Final = struct.pack("ii", 1, 0)


class ResettingProxy:
    """A context manager; ``every`` is 0 for a way that is as good as none.

    ``accepted`` counts connections, ``cut`` those that were reset.
    """

    def __init__(self, redis: RedisServer) -> None:
        self._redis = redis
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._requests = 0
        self.every = 0
        self.accepted = 0
        self.cut = 0

    def __enter__(self) -> Self:
        _start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    @property
    def url(self) -> str:
        """The address that the program is given."""
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was shut down
            while True:
                client, _ = self._listener.accept()
                self.accepted += 1
                _start(lambda client=client: self._connect(client))  # type: ignore[misc]

    def _connect(self, client: socket.socket) -> None:
        """Pass on what is asked, until the request whose answer is not to come."""
        with client, socket.socket(socket.AF_UNIX) as server, suppress(OSError):
            server.connect(str(self._redis.socket_path))
            _start(lambda: _pass_on(server, client))
            while data := client.recv(CHUNK):
                server.sendall(data)
                if self._is_due():
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    client.close()
                    break
            # Closing would not end a connection on which the other thread reads: a read that waits
            # in Redis would be given entries for half a minute.
            server.shutdown(socket.SHUT_RDWR)

    def _is_due(self) -> bool:
        self._requests += 1
        due = bool(self.every) and self._requests % self.every == 0
        self.cut += due
        return due


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(CHUNK):
            target.sendall(data)
        target.shutdown(socket.SHUT_RDWR)


def _start(work: Callable[[], None]) -> None:
    threading.Thread(target=work, daemon=True).start()
