"""One connection to Redis, of one thread.

Owns the only import of the driver, and the translation of its errors into ours.
Promises that no command is ever sent twice by itself, and that a connection which failed half-way
is closed.
Leaves keys, and what is said to the server, to ``stream.py``.
"""

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any, Final, cast

from hiredis import pack_command

from blueplane.errors import (
    QueueDetachedError,
    QueueError,
    QueueRefusedError,
    QueueUnavailableError,
    QueueUnusableError,
)
from blueplane.lean import StandIn, instead_of, without_init

# The ``__init__`` of the driver imports its asyncio client, the cluster and every module command;
# its connections import asyncio for two errors of the client that we do not use, and OpenSSL, which
# only rediss:// needs. That is 9 MB of an idle server's memory. Whoever imports any of them later
# gets all of it.
with (
    instead_of("redis", without_init("redis")),
    instead_of("asyncio", StandIn("asyncio")),
    instead_of("ssl", StandIn("ssl")),
):
    from redis import connection as driver_connection
    from redis import exceptions as driver
    from redis.backoff import NoBackoff
    from redis.connection import Connection, UnixDomainSocketConnection, parse_url
    from redis.retry import Retry

#: Seconds until a silent server counts as gone, for a command that does not wait there.
COMMAND_TIMEOUT_S: Final = 3.0
#: Bytes that are read from a socket at once: a batch arrives in few pieces.
READ_BYTES: Final = 1 << 20

Reply = Any
Argument = str | bytes | int
Command = tuple[Argument, ...]

#: hiredis' own hints know tuples of one argument only.
_pack: Callable[[Command], bytes] = cast("Callable[[Command], bytes]", pack_command)


class Link:
    """One connection of one thread, without any retry of its own."""

    def __init__(self, url: str, timeout_s: float) -> None:
        if url.startswith("rediss:"):
            driver_connection.ssl = import_module("ssl")  # type: ignore[attr-defined] # not public
        arguments = dict(parse_url(url))  # type: ignore[no-untyped-call] # the driver has no hints
        make = arguments.pop("connection_class", Connection)
        arguments.setdefault("socket_connect_timeout", min(timeout_s, COMMAND_TIMEOUT_S))
        if make is UnixDomainSocketConnection:
            arguments.pop("socket_connect_timeout", None)
        with translated():  # the driver opens a file to learn its own version
            # Its default retries turn a timeout of 1 s into 15 s and send an XADD twice.
            self._connection = make(
                **arguments,
                socket_timeout=timeout_s,
                socket_read_size=READ_BYTES,
                retry=Retry(NoBackoff(), 0),
                retry_on_timeout=False,
                health_check_interval=0,
                protocol=2,
            )
        self.client_id = 0

    def connect(self) -> None:
        """Connect and log in; what fails half-way is closed, for nobody else would before long."""
        try:
            with translated():
                self._connection.connect()
            self.client_id = int(self.call("CLIENT", "ID"))
        except QueueError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; it can be connected again."""
        self._connection.disconnect()

    def sever(self) -> None:
        """End whatever waits for this connection, from another thread: it fails at once."""
        sock = self._connection._sock  # noqa: SLF001 - disconnect() would close it under the other
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def call(self, *command: Argument) -> Reply:
        """Send one command and return its reply."""
        with translated():
            self._connection.send_command(*command, check_health=False)
            return self._connection.read_response(disable_decoding=True)

    def pipeline(self, commands: Sequence[Command]) -> list[Reply]:
        """Send all commands at once; an error reply stands in the list as an exception."""
        self.send(commands)
        return self.receive(len(commands))

    def send(self, commands: Sequence[Command]) -> None:
        """Send commands whose replies are read later."""
        with translated():
            # The driver packs with this too, and spends as much again on its way there.
            packed = [b"".join(map(_pack, commands))]
            self._connection.send_packed_command(packed, check_health=False)

    def receive(self, count: int) -> list[Reply]:
        """Read the next ``count`` replies; an error reply stands in the list as an exception."""
        with translated():
            return [self._reply() for _ in range(count)]

    def transact(self, commands: Sequence[Command]) -> list[Reply]:
        """Send all commands as one transaction, either all or none of which run.

        Raises the error of a command that was not even queued; one that failed while it ran stands
        in the list as an exception.
        """
        replies = self.pipeline([("MULTI",), *commands, ("EXEC",)])
        with translated():
            for reply in replies[:-1]:
                if isinstance(reply, driver.ResponseError):
                    raise reply
            if isinstance(replies[-1], Exception):
                raise replies[-1]
        executed: list[Reply] = replies[-1]
        return executed

    def info(self, *sections: str) -> dict[str, str]:
        """Return what the server says of itself; without ``sections`` the usual ones."""
        return read_info(self.call("INFO", *sections))

    def _reply(self) -> Reply:
        try:
            return self._connection.read_response(disable_decoding=True)
        except driver.ResponseError as error:
            return error


def has_series(link: Link) -> bool:
    """Whether the server has the module TimeSeries; one that does not tell has none for us."""
    try:
        reply = link.call("COMMAND", "INFO", "TS.ADD")
    except (QueueRefusedError, QueueUnusableError):
        return False
    return bool(reply) and reply[0] is not None


def read_info(text: bytes) -> dict[str, str]:
    """Return the values by name of a reply to INFO."""
    lines = text.decode("utf-8", "replace").splitlines()
    pairs = (line.partition(":") for line in lines if ":" in line)
    return {name: value for name, _, value in pairs}


# --- errors --------------------------------------------------------------------------------------

#: The first word of an error reply, and the error of ours that it is.
_PREFIXES: Final[dict[str, type[QueueError]]] = {
    "NOGROUP": QueueDetachedError,
    "UNBLOCKED": QueueDetachedError,
    "LOADING": QueueUnavailableError,
    "NOAUTH": QueueUnavailableError,
    "WRONGPASS": QueueUnavailableError,
    "NOPERM": QueueUnusableError,
    "WRONGTYPE": QueueUnusableError,
}


@contextmanager
def translated() -> Iterator[None]:
    """Turn the driver's errors into ours."""
    try:
        yield
    except (driver.AuthenticationError, driver.AuthorizationError) as error:
        message = f"redis refuses the login ({error}); check user and password in redis.url"
        raise QueueUnavailableError(message) from error
    except (driver.ConnectionError, driver.TimeoutError, OSError) as error:
        message = f"redis does not answer: {str(error) or type(error).__name__}"
        raise QueueUnavailableError(message) from error
    except driver.NoPermissionError as error:
        message = (
            f"redis: the user of redis.url lacks a permission: {error}; allow it with ACL SETUSER"
        )
        raise QueueUnusableError(message) from error
    except driver.ResponseError as error:
        text = str(error)
        kind = _PREFIXES.get(text.partition(" ")[0], QueueRefusedError)
        message = f"redis: {text}"
        raise kind(message) from error


def require(replies: Sequence[Reply]) -> None:
    """Raise the first error among replies."""
    with translated():
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply


def require_permission(replies: Sequence[Reply]) -> None:
    """Raise the first error among replies that speaks of a command which the user may not use."""
    require([reply for reply in replies if isinstance(reply, driver.NoPermissionError)])
