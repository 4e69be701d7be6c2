"""A Redis of the user's: whether it can carry the stream, and its place in the configuration.

Owns what is said of a server before it is used: version, persistence, eviction, permissions, and
who else could read it.
Promises that nothing is written to a server, nor to the configuration before it was found fit.
Leaves the checks themselves to the pipeline, which makes them again at every start.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from blueplane.config import RedisSettings, find
from blueplane.config_edit import set_value
from blueplane.config_values import parse_one, redact_url
from blueplane.errors import ConfigError, QueueError
from blueplane.paths import OTHERS_MODE, Home
from blueplane.pipeline.private_redis import find_server
from blueplane.pipeline.redis_server import UNKNOWN_POLICY, ServerInfo, check_owner
from blueplane.pipeline.stream import Stream

_URL: Final = "redis.url"


@dataclass(frozen=True, slots=True)
class RedisFound:
    """A Redis that can carry the stream, and what its owner should know of it."""

    address: str
    server: ServerInfo
    remarks: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """Address, version, persistence and eviction in one line."""
        server = self.server
        persistence = {"aof": "append-only file", "rdb": "snapshots", "none": "no persistence"}
        kept = persistence.get(server.persistence, server.persistence)
        return f"{self.address}: version {server.version}, {kept}, eviction {server.policy}"


def look(home: Home, url: str, key_prefix: str = "") -> RedisFound:
    """Look at the server at ``url``, without a change to it.

    Raises ConfigError when that is no address, and QueueError, which says what to change, when the
    server cannot be reached, can never serve us, or serves another home already.
    """
    address = _checked(url)
    stream = Stream(lambda: address, key_prefix)
    try:
        server = stream.inspect()
        epoch = stream.counts().epoch
    except QueueError as error:
        message = f"{redact_url(address)}: {error}"
        raise type(error)(message) from error
    finally:
        stream.close()
    check_owner(epoch, home.home_id() if home.secret_file.exists() else "a new one")
    return RedisFound(redact_url(address), server, tuple(_remarks(address, server)))


def use(home: Home, url: str, settings: RedisSettings) -> list[str]:
    """Write the address into the configuration; return the keys that changed."""
    changed = [_URL] if set_value(home, _URL, _checked(url)) else []
    if settings.mode == "private" and set_value(home, "redis.mode", "external"):
        changed.append("redis.mode")
    return changed


def outlook(home: Home, settings: RedisSettings) -> str:
    """Say in one line which Redis a server would use; never raises for what is wrong with it."""
    external = settings.mode == "external" or (settings.mode == "auto" and bool(settings.url))
    if not external:
        server = find_server()
        if server is None:
            return "none: install redis-server 7 or newer, or `blueplane install redis --url ...`"
        return f"a private server of our own ({server})"
    try:
        return look(home, str(settings.url), settings.key_prefix).summary
    except (QueueError, ConfigError) as error:
        return f"not usable now: {error}"


def _checked(url: str) -> str:
    try:
        return str(parse_one(find(_URL), url))
    except ValueError as error:
        message = f"{_URL}: {error}"
        raise ConfigError(message) from None


def _remarks(url: str, server: ServerInfo) -> Iterator[str]:
    if server.persistence != "aof":
        yield (
            "when it ends, what is in flight is sent again by its sources; with an append-only "
            "file it need not be: redis-cli CONFIG SET appendonly yes"
        )
    if server.policy == UNKNOWN_POLICY:
        yield "it does not tell its eviction policy; it must be noeviction"
    parts = urlsplit(url)
    if parts.scheme == "unix":
        yield from _socket_remarks(Path(unquote(parts.path)), has_password=bool(parts.password))
    elif not parts.password:
        yield "every user of this machine can read it: give it a password (requirepass)"


def is_open(path: Path) -> bool:
    """Whether another user can connect to a socket: it and its directory must both let them."""
    with suppress(OSError):
        return bool(path.stat().st_mode & OTHERS_MODE and path.parent.stat().st_mode & OTHERS_MODE)
    return False


def _socket_remarks(path: Path, *, has_password: bool) -> Iterator[str]:
    if not has_password and is_open(path):
        yield f"other users may read it: chmod 600 {path}, or give it a password (requirepass)"
