"""The server: whether it runs, answers, and is ours.

Owns the proof over the control socket and over HTTP.
Promises to send nothing secret, and to believe nobody who does not prove that he has the token.
Leaves starting it to the interfaces.
"""

import os
import shlex
import socket
import stat
import struct
from pathlib import Path
from typing import Any, Final

import orjson

from blueplane import __version__, proof
from blueplane.clock import parse_iso_ms, wall_ms
from blueplane.errors import BlueplaneError, RemoteError
from blueplane.figures import lasting
from blueplane.install.doctor.check import Check, Result, fail, ok, warn
from blueplane.install.doctor.scene import ASK_S, Scene, SkipError
from blueplane.install.doctor.words import who_listens, who_uses
from blueplane.lock import holder, named_holder
from blueplane.paths import Home

_START: Final = "blueplane start"
_RESTART: Final = "blueplane restart"
#: What a server answers to an operation that it does not have.
_UNKNOWN_REQUEST: Final = 2
#: Seconds for one answer over HTTP, and its largest size.
_HTTP_S: Final = 0.4
_HTTP_BYTES: Final = 16 * 1024
_LAST_PORT: Final = 65535


def _running(scene: Scene) -> Result:
    home = scene.home
    if not scene.running():
        return fail("no server runs: events wait in the spool", _START, lambda: _start(scene))
    try:
        live = scene.ask_status()
    except BlueplaneError as error:
        return fail(f"{holder(home.lock_file)} holds the lock; {error}", _RESTART)
    dead = [name for name, alive in live["threads"].items() if not alive]
    if dead:
        return fail(f"pid {live['pid']}: ended and not restarted: {', '.join(dead)}", _RESTART)
    return ok(f"pid {live['pid']}{_for(home)}, {len(live['threads'])} threads")


def _for(home: Home) -> str:
    named = named_holder(home.lock_file)
    return "" if named is None else f" for {lasting(wall_ms() - parse_iso_ms(named[1]))}"


def _start(scene: Scene) -> str:
    scene.server.start()
    return "started the server"


def _restart(scene: Scene) -> str:
    scene.server.restart()
    return "restarted the server"


def _version(scene: Scene) -> Result:
    theirs = scene.live()["version"]
    if theirs == __version__:
        return ok(f"{__version__}, and so is the server")
    evidence = f"this program is {__version__}, the server that runs is {theirs}"
    return fail(evidence, _RESTART, lambda: _restart(scene))


# --- who answers ----------------------------------------------------------------------------------


def _identity(scene: Scene) -> Result:
    home, path = scene.home, scene.home.control_socket
    stranger = _stranger(path)
    if stranger is not None:
        return fail(stranger, f"ls -ld {shlex.quote(str(path.parent))}")
    if not scene.running():
        if not _somebody_answers(path):
            message = "no server runs, and nobody answers in its place"
            raise SkipError(message)
        return fail(f"{path}: somebody answers, and no server of this home runs", who_uses(path))
    scene.live()
    challenge = proof.make_challenge()
    try:
        given = scene.server.ask("prove", timeout_s=ASK_S, challenge=challenge)
    except RemoteError as error:
        if error.exit_code != _UNKNOWN_REQUEST:
            raise
        message = "the server is of an older version: see program.version"
        raise SkipError(message) from error
    if proof.proves(home, challenge, given):
        return ok(f"{path}: who answers has the token of home {home.home_id()}")
    return fail(f"{path}: who answers is not the server of home {home.home_id()}", _RESTART)


def _stranger(path: Path) -> str | None:
    """Say what is wrong when somebody else made the socket, or could."""
    for place in (path.parent, path):
        try:
            found = place.lstat()
        except FileNotFoundError:
            return None
        if found.st_uid != os.getuid():
            return f"{place}: belongs to uid {found.st_uid}, not to you"
        if place != path and found.st_mode & stat.S_IWOTH:
            return f"{place}: every user may put a socket there"
    return None


def _somebody_answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_HTTP_S)
        try:
            connection.connect(str(path))
            return _peer_pid(connection) != os.getpid()
        except OSError:
            return False


def _peer_pid(connection: socket.socket) -> int | None:
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    size = struct.calcsize("3i")
    return int(struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, option, size))[0])


def _http(scene: Scene) -> Result:
    running = scene.running()
    http = scene.live()["http"] if running else {"port": scene.settings().http.port}
    port = http["port"]
    if not port:
        message = "http.port is 0: nothing is shown over HTTP"
        raise SkipError(message)
    challenge = proof.make_challenge()
    where, find = f"127.0.0.1:{port}", who_listens(port)
    answer = _ask_http(port, challenge)
    if not running:
        if answer is None:
            message = f"no server runs, and nobody answers on {where} in its place"
            raise SkipError(message)
        return warn(f"{where}: somebody answers, and no server of this home runs", find)
    trouble = http["trouble"]
    if answer is None:
        return warn(f"{where}: nobody answers; {trouble or 'the port is not served'}", _RESTART)
    if proof.proves(scene.home, challenge, answer.get("proof")):
        return ok(f"{where}: who answers has the token of this home")
    stranger = f"{where}: who answers is not our server"
    if trouble:  # of every second user of a machine: all but HTTP works
        return warn(f"{stranger}; {trouble}", _take_another(port))
    return fail(f"{stranger}; do not trust it", find)


def _take_another(port: int) -> str:
    next_port = port + 1 if port < _LAST_PORT else port - 1
    return f"blueplane config set http.port {next_port} && {_RESTART}"


def _ask_http(port: int, challenge: str) -> dict[str, Any] | None:
    """Return what is answered on a port, {} for what is no answer of ours; None from nobody."""
    request = (
        f"GET /healthz?challenge={challenge} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        "Connection: close\r\n\r\n"
    )
    try:
        with socket.create_connection(("127.0.0.1", port), _HTTP_S) as connection:
            connection.sendall(request.encode())
            with connection.makefile("rb") as stream:
                text = stream.read(_HTTP_BYTES)
    except ConnectionRefusedError:
        return None
    except OSError:
        return {}
    try:
        body = orjson.loads(text.partition(b"\r\n\r\n")[2])
    except orjson.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


CHECKS: Final = (
    Check("program.version", "this program and the server that runs", _version),
    Check("server.running", "the server runs and answers", _running),
    Check("server.identity", "who answers commands is our server", _identity),
    Check("http.identity", "who answers over HTTP is our server", _http),
)
