"""The way to a server, while one begins or ends."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from blueplane.errors import ServerUnavailableError
from blueplane.interfaces.cli import acting
from blueplane.paths import Home
from blueplane.server.control import ControlServer, ask

PATIENCE_S = 20.0


@contextmanager
def locked(home: Home) -> Iterator[Callable[[int], None]]:
    """Hold the lock of a server that does not answer; give what changes that."""
    directory = os.open(home.root, os.O_RDONLY)
    fcntl.flock(directory, fcntl.LOCK_EX)
    try:
        yield lambda kind: fcntl.flock(directory, kind)
    finally:
        os.close(directory)


def at_look(monkeypatch: pytest.MonkeyPatch, number: int, what: Callable[[], None]) -> None:
    """Have something happen at one of the looks at the home."""
    real, looks = acting.is_running, iter(range(10**6))

    def look(home: Home) -> bool:
        if next(looks) == number:
            what()
        return real(home)

    monkeypatch.setattr(acting, "is_running", look)


def test_server_is_waited_for_when_it_ends(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home whose server is about to end is free soon."""
    # Given / When
    with locked(home) as lock:
        at_look(monkeypatch, 3, lambda: lock(fcntl.LOCK_UN))
        # Then
        assert acting.await_server(home) is False


def test_server_is_waited_for_when_it_begins(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that has the lock, and does not answer yet, is asked when it does."""
    # Given
    server = ControlServer(home.control_socket, {"status": lambda: "well"})
    # When
    with locked(home):
        at_look(monkeypatch, 3, server.start)
        try:
            # Then
            assert acting.await_server(home) is True
            assert ask(home.control_socket, "status") == "well"
        finally:
            server.stop()
            assert server.join(PATIENCE_S)


def test_server_is_given_up_when_it_never_answers(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that hangs keeps nobody for long: what is asked of it says so."""
    # Given
    monkeypatch.setattr(acting, "SETTLED_S", 0.2)
    # When / Then
    with locked(home), acting.serving(home) as act:
        assert act.running
        with pytest.raises(ServerUnavailableError, match="does not answer"):
            act("status")


def test_another_server_is_asked_when_the_one_before_is_gone(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can be asked twice is asked of the server that comes back."""
    # Given a server that ends while it is asked again and again
    servers = [
        ControlServer(home.control_socket, {"backfill.status": lambda each=each: each})
        for each in ("first", "second")
    ]
    with locked(home) as lock:
        servers[0].start()
        with acting.serving(home) as act:
            assert act("backfill.status") == "first"
            servers[0].stop()
            assert servers[0].join(PATIENCE_S)
            lock(fcntl.LOCK_UN)
            # When it is started again
            at_look(monkeypatch, 1, lambda: lock(fcntl.LOCK_EX))
            at_look(monkeypatch, 3, servers[1].start)
            # Then
            try:
                assert act("backfill.status") == "second"
            finally:
                servers[1].stop()
                assert servers[1].join(PATIENCE_S)
