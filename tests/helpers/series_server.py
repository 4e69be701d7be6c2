"""A stand-in for a Redis with the module TimeSeries.

Owns a server on a Unix socket that answers what the history of health asks of one.
Promises the module's replies, and to keep the words of every command.
Leaves everything else of Redis out: any other command is answered with OK.
"""

import socketserver
import threading
from pathlib import Path
from typing import Any, Self


class SeriesServer:
    """One server; use it as a context manager."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "series.sock"
        self.url = f"unix://{self.path}"
        self.commands: list[list[str]] = []
        self.series: dict[str, dict[int, float]] = {}
        self.labels: dict[str, set[str]] = {}
        stand_in = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while words := _read(self.rfile):
                    self.wfile.write(_encode(stand_in.answer(words)))

        self._server = socketserver.ThreadingUnixStreamServer(str(self.path), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, words: list[str]) -> Any:
        """Carry out one command and return its reply."""
        self.commands.append(words)
        match words:
            case ["COMMAND", "INFO", _]:
                return [["ts.add", -1]]
            case ["CLIENT", "ID"]:
                return 1
            case ["TS.ADD", key, at_ms, value, *options]:
                self.series.setdefault(key, {})[int(at_ms)] = float(value)
                pairs = options[options.index("LABELS") + 1 :]
                self.labels[key] = {"=".join(pair) for pair in zip(*[iter(pairs)] * 2, strict=True)}
                return int(at_ms)
            case ["TS.QUERYINDEX", wanted]:
                return [key for key, labels in self.labels.items() if wanted in labels]
            case ["TS.RANGE", key, since_ms, until_ms]:
                asked = range(int(since_ms), int(until_ms) + 1)
                found = sorted(self.series[key].items())
                return [[at_ms, str(value)] for at_ms, value in found if at_ms in asked]
        return "OK"


def _read(stream: Any) -> list[str]:
    head = stream.readline()
    words = []
    for _ in range(int(head[1:]) if head else 0):
        length = int(stream.readline()[1:])
        words.append(stream.read(length + 2)[:length].decode())
    return words


def _encode(reply: Any) -> bytes:
    if isinstance(reply, list):
        return b"*%d\r\n" % len(reply) + b"".join(map(_encode, reply))
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    return b"$%d\r\n%s\r\n" % (len(reply), reply.encode())
