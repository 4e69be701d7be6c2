"""What the server and its Redis have open: sockets that listen, and connections.

Owns the proof that nothing of ours is reached from elsewhere, and that we reach nobody.
Promises to ask the operating system about our own processes only.
Leaves which Redis may be far away to the settings.
"""

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

import psutil

from blueplane.figures import count
from blueplane.install.doctor.check import Check, Result, fail, ok, warn
from blueplane.install.doctor.scene import Scene, SkipError
from blueplane.install.doctor.words import listed

_STOP: Final = "blueplane stop"


def _sockets(scene: Scene) -> Iterator[Any]:
    """Yield the internet sockets of the server and of its private Redis."""
    live = scene.live()
    pids = [live["pid"]]
    if live["redis"]["mode"] == "private" and live["redis"].get("pid"):
        pids.append(live["redis"]["pid"])
    try:
        for pid in pids:
            yield from psutil.Process(pid).net_connections("inet")
    except psutil.Error as error:
        message = f"the system does not tell what is open: {type(error).__name__}"
        raise SkipError(message) from error


def _listening(scene: Scene) -> Result:
    found = [each for each in _sockets(scene) if _listens(each)]
    wide = [_address(each.laddr) for each in found if not _is_loopback(each.laddr)]
    if wide:
        return fail(f"reached from elsewhere: {listed(wide)}", _STOP)
    shown = listed([_address(each.laddr) for each in found]) or "no port"
    return ok(f"{shown}; all on this machine only")


def _listens(found: Any) -> bool:  # noqa: ANN401 - psutil has no hints for it
    return found.status == psutil.CONN_LISTEN or (not found.raddr and bool(found.laddr))


def _outbound(scene: Scene) -> Result:
    remote = [each.raddr for each in _sockets(scene) if each.raddr]
    away = [each for each in remote if not _is_loopback(each)]
    allowed = _redis_port(scene)
    strange = [_address(each) for each in away if each.port != allowed]
    if strange:
        return fail(f"connected to elsewhere: {listed(strange)}", _STOP)
    if away:
        where = listed([_address(each) for each in away])
        return _far_redis(scene, where)
    return ok(f"none; {count(len(remote), 'connection')} on this machine")


def _far_redis(scene: Scene, where: str) -> Result:
    """Judge connections to a Redis of the user's on another machine."""
    settings = scene.settings().redis
    evidence = f"{where}: your Redis ({settings.shown_url})"
    if str(settings.url).startswith("rediss:"):
        return ok(f"{evidence}, encrypted")
    return warn(f"{evidence}, not encrypted", "blueplane config set redis.mode private")


def _redis_port(scene: Scene) -> int | None:
    parts = urlsplit(scene.settings().redis.url or "")
    return parts.port or 6379 if parts.scheme.startswith("redis") else None


def _is_loopback(address: Any) -> bool:  # noqa: ANN401 - psutil has no hints for it
    return ip_address(address.ip.partition("%")[0]).is_loopback


def _address(address: Any) -> str:  # noqa: ANN401 - psutil has no hints for it
    return f"{address.ip}:{address.port}"


CHECKS: Final = (
    Check("network.listening", "nothing of ours is reached from elsewhere", _listening),
    Check("network.outbound", "nothing of ours connects to elsewhere", _outbound),
)
