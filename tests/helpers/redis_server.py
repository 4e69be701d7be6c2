"""A real Redis server that a test can steer.

Owns one server process with a temporary directory, a Unix socket and, if asked, a loopback port.
Promises that nothing of it is left after ``close``, whatever the test did to it.
Leaves to the test what is in it: a new server is empty.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NoReturn, Self

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from blueplane.pipeline.private_redis import find_server
from helpers.waiting import wait_until

START_TIMEOUT_S = 20.0
#: A reply that takes longer than this comes from a server that is frozen or gone.
COMMAND_TIMEOUT_S = 5.0
#: Keys that make loading last, in a database that nothing else looks at. A loading server serves
#: its clients after every 1024 bytes, which is after each such key.
FILLER_KEYS = 1000
FILL = (
    "redis.call('SELECT', 1) local filler = string.rep('x', 1024) "
    "for i = 1, ARGV[1] do redis.call('SET', i, filler) end"
)


def missing(program: str) -> NoReturn:
    """Skip the test that needs ``program``; fail it where CI is set."""
    message = f"no {program} on this machine: install it to run this test"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def find_binary() -> Path | None:
    """Return the system's redis-server, else the server that Blueplane itself would start."""
    found = shutil.which("redis-server")
    return Path(found) if found else find_server()


class RedisServer:
    """One server; use it as a context manager, or call ``start`` and ``close``.

    ``extra`` are further arguments, for instance ``("--maxmemory", "10mb")``. With ``aof`` it keeps
    its data through ``kill`` and ``restart``, without it a restarted server is empty.
    """

    def __init__(self, *extra: str, tcp: bool = False, aof: bool = True) -> None:
        binary = find_binary()
        if binary is None:
            message = "no redis-server on PATH and no private server: apt-get install redis-server"
            raise FileNotFoundError(message)
        self._binary = binary
        self._extra = extra
        # Below /tmp whatever TMPDIR says: a socket's path has room for about 100 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix="bp-redis-", dir="/tmp"))
        self.socket_path = self.directory / "redis.sock"
        self.port = _free_port() if tcp else 0
        self.aof = aof
        self._process: subprocess.Popen[bytes] | None = None
        self._client: redis.Redis | None = None

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(self.close)
            self.start()
            cleanup.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The URL of the loopback port if there is one, else of the Unix socket."""
        return f"redis://127.0.0.1:{self.port}/0" if self.port else f"unix://{self.socket_path}"

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._process is not None, "the server is not started"
        return self._process.pid

    @property
    def client(self) -> redis.Redis:
        """A client without retries, replies as bytes; for preparing and for looking."""
        if self._client is None:
            self._client = redis.Redis(
                unix_socket_path=str(self.socket_path),
                retry=Retry(NoBackoff(), 0),
                socket_timeout=COMMAND_TIMEOUT_S,
            )
        return self._client

    def start(self, *extra: str) -> None:
        """Start the server, with further arguments, and wait until it answers, if only LOADING."""
        assert not self.alive(), "the server runs already"
        with (self.directory / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binary, *self._settings(), *self._extra, *extra],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(self._answers, START_TIMEOUT_S, f"redis-server answers; log: {self.log()}")

    def stop(self) -> None:
        """End the server in order (SIGTERM)."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server at once (SIGKILL)."""
        self._end(signal.SIGKILL)

    def restart(self, *extra: str) -> None:
        """Kill the server if it runs and start it again on the same directory and socket."""
        self.kill()
        self.start(*extra)

    def wait_loaded(self) -> None:
        """Wait until the running server answers more than LOADING."""
        wait_until(self._is_loaded, START_TIMEOUT_S, "redis has loaded its data")

    def restart_loading(self, loading_s: float) -> None:
        """Kill the running server and start it so that it says LOADING for about ``loading_s``.

        It ends early with ``config_set("key-load-delay", 0)``. Needs the append-only file, and
        leaves filler in database 1.
        """
        assert self.aof, "without an append-only file there is nothing to load"
        self.command("EVAL", FILL, 0, FILLER_KEYS)
        self.command("BGREWRITEAOF")
        wait_until(self._is_rewritten, START_TIMEOUT_S, "the append-only file is rewritten")
        delay_us = int(loading_s * 1e6 / FILLER_KEYS)
        interval = ("--loading-process-events-interval-bytes", "1024")
        self.restart("--key-load-delay", str(delay_us), *interval)

    def freeze(self) -> None:
        """Stop the process (SIGSTOP): connections open, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the process go on (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    def flush(self) -> None:
        """Remove everything (FLUSHALL)."""
        self.command("FLUSHALL")

    def config_set(self, name: str, value: object) -> None:
        """Change a setting of the running server."""
        self.command("CONFIG", "SET", name, str(value))

    def command(self, *arguments: str | bytes | float) -> Any:
        """Run one command and return its reply as the server sent it; strings are bytes.

        Raises redis.ConnectionError or redis.TimeoutError at once: there are no retries.
        """
        connection = self.client.connection_pool.get_connection()
        try:
            connection.send_command(*arguments)
            return connection.read_response()
        finally:
            self.client.connection_pool.release(connection)

    def alive(self) -> bool:
        """Return whether the process runs (frozen counts)."""
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        """Return what the server has written to its log."""
        return (self.directory / "redis.log").read_text(errors="replace")

    def close(self) -> None:
        """End the process and remove its directory."""
        if self._client is not None:
            self._client.close()
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _settings(self) -> list[str]:
        # Without fsync, for ``everysec`` may answer before it writes while the disk is busy: what
        # was answered would be gone after a ``kill``.
        return [
            *("--port", str(self.port), "--bind", "127.0.0.1"),
            *("--unixsocket", str(self.socket_path), "--unixsocketperm", "600"),
            *("--dir", str(self.directory), "--save", "", "--rdbcompression", "no"),
            *("--appendonly", "yes" if self.aof else "no", "--appendfsync", "no"),
        ]

    def _answers(self) -> bool:
        if not self.alive():
            message = f"redis-server ended at start: {self.log()}"
            raise AssertionError(message)
        try:
            self.command("PING")
        except redis.BusyLoadingError:
            return True
        except redis.ConnectionError:
            return False
        return True

    def _is_loaded(self) -> bool:
        try:
            self.command("DBSIZE")
        except redis.BusyLoadingError:
            return False
        return True

    def _is_rewritten(self) -> bool:
        state = self.client.info("persistence")
        return not (state["aof_rewrite_in_progress"] or state["aof_rewrite_scheduled"])

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        if self.alive():
            self._process.send_signal(number)
            self._process.send_signal(signal.SIGCONT)
        self._process.wait(START_TIMEOUT_S)
        self._process = None
        if self._client is not None:
            self._client.connection_pool.disconnect()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
