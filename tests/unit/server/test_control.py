import os
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
import pytest

from blueplane.errors import NotFoundError, RemoteError, ServerUnavailableError
from blueplane.server import control as module
from blueplane.server.control import ControlServer, ask
from helpers.waiting import wait_until

WAIT_S = 20.0


class Operations:
    """Operations that a test asks for."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def echo(self, **arguments: Any) -> Any:
        self.seen.append(arguments)
        return arguments

    def one(self, ids: list[str]) -> int:
        return len(ids)

    def missing(self) -> None:
        raise NotFoundError("missing")

    def broken(self) -> None:
        raise ZeroDivisionError("secret")

    def unspeakable(self) -> object:
        return object()


@contextmanager
def serving(path: Path) -> Iterator[ControlServer]:
    """Give a control server that runs."""
    operations = Operations()
    names = ("echo", "one", "missing", "broken", "unspeakable")
    server = ControlServer(path, {name: getattr(operations, name) for name in names})
    server.start()
    wait_until(lambda: connects(path), WAIT_S, "the server listens")
    yield server
    server.stop()
    assert server.join(WAIT_S)


@pytest.fixture
def server(short_path: Path) -> Iterator[ControlServer]:
    """Give a control server that runs."""
    with serving(short_path) as server:
        yield server


@pytest.fixture
def short_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the path of a socket, short enough for one."""
    return tmp_path_factory.mktemp("c") / "control.sock"


def connects(path: Path) -> bool:
    """Say whether somebody listens."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def send_raw(path: Path, data: bytes) -> bytes:
    """Send bytes and return what comes back; a server may close before it has read them all."""
    answer = b""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(WAIT_S)
        connection.connect(str(path))
        with suppress(OSError):
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            while part := connection.recv(65_536):
                answer += part
    return answer


def test_control_answers_when_an_operation_is_asked(
    server: ControlServer, short_path: Path
) -> None:
    """What the operation returns comes back; its arguments arrive by name."""
    # Given a server / When / Then
    assert server.alive()
    assert ask(short_path, "echo", ids=["1-0"], flag=True) == {"ids": ["1-0"], "flag": True}


def test_control_gives_the_error_back_when_an_operation_fails(
    server: ControlServer, short_path: Path
) -> None:
    """An error of ours arrives with its words and its exit code."""
    # Given / When
    with pytest.raises(RemoteError, match="missing") as caught:
        ask(short_path, "missing")
    # Then
    assert caught.value.exit_code == 1
    assert server.alive()


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("one", {}),
        ("one", {"ids": 5}),
        ("one", {"ids": [], "more": 1}),
        ("broken", {}),
        ("unspeakable", {}),
    ],
)
def test_control_goes_on_when_an_operation_has_a_bug(
    server: ControlServer, short_path: Path, operation: str, arguments: dict[str, Any]
) -> None:
    """An error nobody foresaw is answered in one line that quotes nothing, and costs no thread."""
    # Given / When
    with pytest.raises(RemoteError) as caught:
        ask(short_path, operation, **arguments)
    # Then
    assert caught.value.exit_code == 70
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert ask(short_path, "echo") == {}
    assert server.error is None


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"nonsense\n",
        b"[]\n",
        b"5\n",
        b'{"op":"nothing"}\n',
        b'{"op":["echo"]}\n',
        b'{"op":"echo","args":5}\n',
        b'{"op":"echo","args":{"a":1}',
        b"\xff\xfe\n",
    ],
)
def test_control_goes_on_when_a_request_is_nonsense(
    server: ControlServer, short_path: Path, line: bytes
) -> None:
    """Whatever is sent, the next good request is answered."""
    # Given / When
    answer = send_raw(short_path, line)
    # Then
    assert answer == b"" or "error" in orjson.loads(answer)
    assert ask(short_path, "echo", n=1) == {"n": 1}
    assert server.error is None


def test_control_refuses_when_a_request_is_too_large(
    server: ControlServer, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request without an end is cut off."""
    # Given
    monkeypatch.setattr(module, "MAX_REQUEST_BYTES", 1_000)
    # When
    answer = send_raw(short_path, b"x" * 200_000)
    # Then
    assert answer == b""
    monkeypatch.undo()
    assert ask(short_path, "echo") == {}
    assert server.error is None


def test_control_goes_on_when_a_client_leaves_in_the_middle(
    server: ControlServer, short_path: Path
) -> None:
    """A client that asks and does not wait for the answer disturbs nobody."""
    # Given / When
    for _ in range(5):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(short_path))
            connection.sendall(b'{"op":"echo"}\n')
    # Then
    assert ask(short_path, "echo") == {}
    assert server.error is None


def test_control_gives_a_silent_client_up_when_it_takes_too_long(
    server: ControlServer, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that says nothing holds the others up for a bounded time."""
    # Given
    monkeypatch.setattr(module, "REQUEST_S", 0.05)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(short_path))
        # When / Then
        assert ask(short_path, "echo") == {}
    assert server.error is None


@pytest.mark.fault("G10")
def test_control_is_private_when_it_listens(server: ControlServer, short_path: Path) -> None:
    """Only the user who runs the server may connect."""
    # Given / When
    found = short_path.stat()
    # Then
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert found.st_uid == os.getuid()
    assert server.alive()


def test_control_serves_nobody_else_when_another_user_connects(
    server: ControlServer, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection of another user is closed without an answer."""
    # Given a system that says that it is another user's
    monkeypatch.setattr(module, "_peer_uid", lambda _connection: os.getuid() + 1)
    # When / Then
    assert send_raw(short_path, b'{"op":"echo"}\n') == b""
    assert server.alive()


def test_control_trusts_the_mode_of_its_socket_when_the_system_tells_no_user(
    server: ControlServer, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the peer is not known the mode of the socket is the guard."""
    # Given
    monkeypatch.delattr(socket, "SO_PEERCRED")
    # When / Then
    assert ask(short_path, "echo") == {}
    assert server.alive()


def test_control_ends_quietly_and_soon_when_it_is_stopped(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop wakes the thread, leaves no socket behind and is not an error."""
    # Given a thread that would look at its flag once in a day
    monkeypatch.setattr(module, "TICK_S", 86_400.0)
    with serving(short_path) as server:
        for _ in range(2):  # after the second answer it waits for the next request
            beat_s = server.beat_s
            assert ask(short_path, "echo") == {}
            wait_until(lambda beat_s=beat_s: server.beat_s > beat_s, WAIT_S, "it goes on")
    # When / Then
    assert server.error is None
    assert not short_path.exists()


def test_control_replaces_a_socket_when_a_killed_server_left_it(short_path: Path) -> None:
    """A socket that nobody listens on any more is in nobody's way."""
    # Given
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(short_path))
    assert short_path.exists()
    # When / Then
    with serving(short_path):
        assert ask(short_path, "echo") == {}


@pytest.mark.parametrize("answer", [None, b"", b"nonsense\n"])
def test_ask_says_so_when_no_server_answers(short_path: Path, answer: bytes | None) -> None:
    """Without a server, or with one that is not ours, the asker gets one line."""
    # Given nobody, or somebody who answers nonsense
    if answer is None:
        with pytest.raises(ServerUnavailableError, match="does not answer"):
            ask(short_path, "status")
        return
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(short_path))
        listener.listen(1)

        def reply() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1_000)
                connection.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        # When / Then
        with pytest.raises(ServerUnavailableError, match="does not answer"):
            ask(short_path, "status")
        thread.join(WAIT_S)


def test_a_slow_client_is_cut_off_when_its_request_takes_too_long(
    short_path: Path, server: ControlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that sends a byte now and then does not hold up the others."""
    # Given a server of little patience
    assert server.alive()
    monkeypatch.setattr(module, "REQUEST_S", 0.3)
    begun, ended = threading.Event(), threading.Event()

    def drip() -> None:
        with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
            client.connect(str(short_path))
            begun.set()
            while not ended.wait(0.05):
                client.sendall(b"x")

    # When somebody drips
    thread = threading.Thread(target=drip)
    thread.start()
    assert begun.wait(WAIT_S)
    # Then another one, who comes later, is served all the same
    try:
        assert ask(short_path, "echo", timeout_s=5.0) == {}
    finally:
        ended.set()
        thread.join(WAIT_S)


def test_the_socket_is_made_again_when_it_was_removed(
    short_path: Path, server: ControlServer
) -> None:
    """A server whose socket somebody cleared away is soon heard again."""
    # Given
    assert server.alive()
    # When
    short_path.unlink()
    # Then
    wait_until(lambda: connects(short_path), WAIT_S, "the server listens again")
    assert ask(short_path, "echo") == {}


@pytest.mark.fault("F6")
def test_control_goes_on_when_the_system_has_no_thread_left(
    short_path: Path, server: ControlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks is told to ask again, and no place is lost by it: the next ones are served."""

    # Given a system that gives no thread
    class NoThread(threading.Thread):
        def start(self) -> None:
            message = "can't start new thread"
            raise RuntimeError(message)

    # When more requests come than are served at once
    with monkeypatch.context() as patched:
        patched.setattr(module, "Thread", NoThread)
        for _ in range(module.MAX_CLIENTS + 1):
            with pytest.raises(RemoteError, match="busy; ask again") as caught:
                ask(short_path, "echo")
            assert caught.value.exit_code == 4

    # Then the same thread serves them as soon as there is one
    assert ask(short_path, "echo", n=1) == {"n": 1}
    assert server.alive()
    assert server.error is None


def test_long_operation_tells_how_far_it_is(short_path: Path) -> None:
    """Whoever asks for something that takes its time hears of it before the answer."""

    # Given an operation that reports
    def work(report: module.Report, *, steps: int) -> str:
        for number in range(steps):
            report({"done": number})
        return "all"

    server = ControlServer(short_path, {}, {"work": work})
    server.start()
    wait_until(lambda: connects(short_path), WAIT_S, "the server listens")
    heard: list[Any] = []

    # When it is asked for, with and without somebody who listens
    answers = [
        ask(short_path, "work", progress=heard.append, steps=3),
        ask(short_path, "work", steps=3),
    ]

    # Then both get the answer, and one heard every step
    server.stop()
    assert server.join(WAIT_S)
    assert answers == ["all", "all"]
    assert heard == [{"done": 0}, {"done": 1}, {"done": 2}]


def test_request_is_answered_while_another_takes_long(short_path: Path) -> None:
    """A long operation holds nobody up, and more than the bound of them are refused at once."""
    # Given as many long requests as are served at once
    ready, go = threading.Barrier(module.MAX_CLIENTS + 1), threading.Event()

    def work(_report: module.Report) -> str:
        ready.wait(WAIT_S)
        return str(go.wait(WAIT_S))

    server = ControlServer(short_path, {}, {"work": work})
    server.start()
    wait_until(lambda: connects(short_path), WAIT_S, "the server listens")
    wait_until(lambda: server._free._value == module.MAX_CLIENTS, WAIT_S, "nobody is served")
    askers = [
        threading.Thread(target=ask, args=(short_path, "work")) for _ in range(module.MAX_CLIENTS)
    ]
    for asker in askers:
        asker.start()
    ready.wait(WAIT_S)

    # When one more asks, and others are gone before they are refused
    for _ in range(50):
        with suppress(BlockingIOError), socket.socket(socket.AF_UNIX) as impatient:
            impatient.setblocking(False)  # noqa: FBT003 - the standard library's own
            impatient.connect(str(short_path))
    with pytest.raises(RemoteError, match="busy"):
        ask(short_path, "work")
    assert server.alive()

    # Then those before it get their answers, and room is free again
    go.set()
    for asker in askers:
        asker.join(WAIT_S)
    wait_until(lambda: server._free._value == module.MAX_CLIENTS, WAIT_S, "nobody is served")
    server.stop()
    assert server.join(WAIT_S)
