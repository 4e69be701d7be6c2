"""Redis: whether the queue's server is fit, and who else could read it.

Owns the questions to a server of the user's; the private one the running server knows.
Promises to write nothing there, and to show no password.
Leaves what a server must be like to ``pipeline/redis_server.py``.
"""

import sys
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

from blueplane.errors import QueueError
from blueplane.install import redis_setup
from blueplane.install.doctor.check import Check, Result, fail, ok, warn
from blueplane.install.doctor.scene import Scene, SkipError
from blueplane.install.doctor.words import update
from blueplane.pipeline.link import Link
from blueplane.pipeline.private_redis import find_server

_PRIVATE: Final = "blueplane config set redis.mode private"
_RESTART: Final = "blueplane restart"
#: Seconds for one answer.
_ASK_S: Final = 0.4


def _url(scene: Scene) -> str | None:
    """Return the address of a server of the user's; None for the private one."""
    settings = scene.settings().redis
    return None if settings.mode == "private" else settings.url


def _server(scene: Scene) -> Result:
    url = _url(scene)
    if url is None:
        return _private(scene)
    settings = scene.settings().redis
    try:
        _reach(url)
    except QueueError as error:
        return fail(f"{settings.shown_url}: {error}", _PRIVATE)
    try:
        found = redis_setup.look(scene.home, url, settings.key_prefix)
    except QueueError as error:
        return fail(str(error), _PRIVATE)
    if found.server.persistence == "none":
        evidence = f"{found.summary}: what is in flight is sent again when it ends"
        return warn(evidence, "redis-cli CONFIG SET appendonly yes")
    return ok(found.summary)


def _private(scene: Scene) -> Result:
    program = find_server()
    if program is None:
        package = "redis" if sys.platform == "darwin" else "redis-server"
        return fail("no Redis program is found for the private server", update(package))
    if scene.running() and scene.home.redis_socket.exists():
        try:
            _reach(scene.home.redis_url)  # our server gives up one that hangs only after seconds
        except QueueError as error:
            return fail(f"private: {error}", _RESTART)
    found: dict[str, Any] = scene.live()["redis"]
    if not found["connected"]:
        return fail(f"private: {found['trouble'] or 'not connected'}", _RESTART)
    return ok(f"private, version {found['version']}, persistence {found['persistence']}")


# --- who else could read it -----------------------------------------------------------------------


def _access(scene: Scene) -> Result:
    url = _url(scene)
    if url is None:
        return _private_access(scene)
    parts = urlsplit(url)
    shown = scene.settings().redis.shown_url
    path = Path(unquote(parts.path))
    if parts.scheme == "unix" and not redis_setup.is_open(path):
        return ok(f"{path}: its file keeps other users out")
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    if not _answers(url):
        message = "it does not answer: see redis.server"
        raise SkipError(message)
    if _answers(bare):
        evidence = f"{shown}: every user of this machine can read and empty it without a password"
        return warn(evidence, _PRIVATE)
    return ok(f"{shown}: lets nobody in without a password")


def _private_access(scene: Scene) -> Result:
    path = scene.home.redis_socket
    if not path.exists():
        message = f"{path}: the private server does not run"
        raise SkipError(message)
    if redis_setup.is_open(path):
        return fail(f"{path}: every user of this machine can read and empty it", _RESTART)
    return ok(f"{path}: its file and its directory keep other users out")


def _answers(url: str) -> bool:
    """Whether a server lets us in with this address."""
    try:
        _reach(url)
    except QueueError:
        return False
    return True


def _reach(url: str) -> None:
    """Have a server answer us; raise QueueError when it does not, or does not let us in."""
    link = Link(url, _ASK_S)
    try:
        link.connect()
        link.call("PING")
    finally:
        link.close()


CHECKS: Final = (
    Check("redis.server", "the queue's server is reached and fit", _server),
    Check("redis.access", "nobody else can read the queue", _access),
)
