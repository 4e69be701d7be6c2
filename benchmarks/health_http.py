"""Health over HTTP while events are ingested: how long an answer takes, and what it costs.

``python benchmarks/health_http.py [events]`` prints one JSON object. The answers: 8 clients on
keep-alive connections ask a server in a process of its own in turn for every page, 100 times a
second each, while it drains a spool. The floor: the same, while the clients ask a process that only
echoes, which is what the machine itself makes them wait. The two take turns. The cost: the backlog
of ``benchmarks/ingest.py``, with health and HTTP and without, taking turns in one run.
"""

import json
import os
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.drain import fill, is_empty
from benchmarks.ingest import make_events, time_pipeline, wait_for
from benchmarks.memory import Server
from tests.helpers.payloads import payloads

from blueplane.daemon import Daemon
from blueplane.paths import Home

CLIENTS = 8
#: Seconds between two requests of a client.
PAUSE_S = 0.01
PAGES = ("/healthz", "/readyz", "/health", "/api/v1/health/queue", "/metrics")
TARGET_MS = 2.0
ASKING_ROUNDS = 5
COST_ROUNDS = 7
MAX_COST = 0.03

#: Answers everything at once, on the port that it is given.
ECHO = """
import socket, sys, threading
def serve(connection):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while connection.recv(65536):
        connection.send(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()
"""


class _Client:
    """One connection; asks, and notes how long the answer took."""

    def __init__(self, port: int, pages: Callable[[], str]) -> None:
        self._host = f"127.0.0.1:{port}"
        self._port = port
        self._pages = pages
        self.times_ms: list[float] = []
        self.due_s = 0.0
        self._connect()

    def _connect(self) -> None:
        self.socket = socket.create_connection(("127.0.0.1", self._port), 5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self) -> None:
        """Send a request."""
        self._answer = b""
        self._request = f"GET {self._pages()} HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode()
        self._asked_s = time.perf_counter()
        self.socket.sendall(self._request)

    def take(self) -> bool:
        """Take what has come; True when the answer is whole."""
        self._answer += self.socket.recv(256 * 1024)
        head, _, body = self._answer.partition(b"\r\n\r\n")
        length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return False
        self.times_ms.append((time.perf_counter() - self._asked_s) * 1000)
        if b"Connection: close" in head:
            self.socket.close()
            self._connect()
        return True


def ask_until(done: Callable[[], bool], port: int, pause_s: float) -> list[float]:
    """Have the clients ask until ``done``; return the milliseconds of every answer."""
    pages = cycle(PAGES)
    clients = [_Client(port, lambda: next(pages)) for _ in range(CLIENTS)]
    look_s = 0.0
    idle = list(clients)
    with selectors.DefaultSelector() as waiting:
        while True:
            now_s = time.perf_counter()
            if now_s > look_s:
                look_s = now_s + 0.05
                if done():
                    break
            for client in [each for each in idle if each.due_s <= now_s]:
                idle.remove(client)
                client.ask()
                waiting.register(client.socket, selectors.EVENT_READ, client)
            for key, _ in waiting.select(0.001):
                client = key.data
                old = client.socket
                if client.take():
                    waiting.unregister(old)
                    client.due_s = time.perf_counter() + pause_s
                    idle.append(client)
    return [ms for client in clients for ms in client.times_ms]


def free_port() -> int:
    """Return a port that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def time_answers(count: int, *, echo: bool) -> list[float]:
    """Return how long answers took while ``count`` files were drained."""
    with tempfile.TemporaryDirectory() as directory:
        home = Home(Path(directory) / "home")
        home.prepare()
        staged = Path(directory) / "staged"
        staged.mkdir()
        fill(staged, list(payloads(1_000)) * (count // 1_000))
        port, other = free_port(), free_port()
        os.environ["BLUEPLANE_HTTP_PORT"] = str(port)
        server = Server(home)
        echoing = subprocess.Popen([sys.executable, "-c", ECHO, str(other)])
        try:
            wait_for(lambda: listens(port) and listens(other))
            time.sleep(2)
            for name in os.listdir(staged):
                os.rename(staged / name, home.spool / name)
            return ask_until(lambda: is_empty(home.spool), other if echo else port, PAUSE_S)
        finally:
            echoing.terminate()
            echoing.wait(5)
            server.stop()
            del os.environ["BLUEPLANE_HTTP_PORT"]


def figures(times_ms: list[float]) -> dict[str, float]:
    """Return what is shown of the times of answers."""
    ranked = sorted(times_ms)
    return {
        "answers": len(ranked),
        "p50_ms": round(ranked[len(ranked) // 2], 2),
        "p99_ms": round(ranked[len(ranked) * 99 // 100], 2),
        "worst_ms": round(ranked[-1], 2),
    }


class _Bare(Daemon):
    """A server without health and HTTP."""

    def _make(self) -> None:
        super()._make()
        shown = {"health", "http"}
        self.services = tuple(each for each in self.services if each.name not in shown)


def run(count: int = 20_000) -> dict[str, object]:
    """Return the figures."""
    times: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(ASKING_ROUNDS):
        for echo, found in times.items():
            found.extend(time_answers(count, echo=echo))
    events = make_events(count * 5, os.urandom(32))
    pairs = [(time_pipeline(events), time_pipeline(events, _Bare)) for _ in range(COST_ROUNDS)]
    return {
        "events": count,
        "clients": CLIENTS,
        "health": figures(times[False]),
        "floor": figures(times[True]),
        "target_p99_ms": TARGET_MS,
        "with_per_s": [round(len(events) / ours) for ours, _ in pairs],
        "without_per_s": [round(len(events) / bare) for _, bare in pairs],
        "cost": round(1 - statistics.median(bare / ours for ours, bare in pairs), 3),
        "target_cost": MAX_COST,
    }


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000), indent=2))
