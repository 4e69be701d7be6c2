"""Somebody who answers whatever is asked.

Owns one thread that takes connections of a listener.
Promises to keep what it was sent.
Leaves the listener to the test: when it is closed, the thread ends.
"""

import socket
from threading import Thread


class Impostor:
    """Gives the same answer to everybody; ``heard`` is what it was sent."""

    def __init__(self, listener: socket.socket, answer: bytes) -> None:
        self.heard = b""
        self._listener = listener
        self._answer = answer
        Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
                with connection:
                    connection.settimeout(1)
                    self.heard += connection.recv(65536)
                    connection.sendall(self._answer)
            except OSError:
                return
