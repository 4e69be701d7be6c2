"""What a Redis server must be like to carry our stream.

Owns the minimum version, the checks, and what ``status`` shows of a server.
Promises one line that says what is wrong and what to change.
Leaves asking the server to ``stream.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from blueplane.errors import QueueUnusableError

#: Oldest server that knows the stream's entries-added.
MIN_VERSION: Final = (7, 0)
#: The eviction policy of a server that does not tell.
UNKNOWN_POLICY: Final = "unknown"


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """The server behind the connection."""

    run_id: str
    version: str
    persistence: str
    policy: str
    pid: int


@dataclass(frozen=True, slots=True)
class Deeds:
    """How often a server did what makes entries vanish, since its start and for whomever."""

    run_id: str
    counts: Mapping[str, int]

    def since(self, before: "Deeds | None") -> frozenset[str]:
        """Return what happened after ``before``; nothing is known when that is None.

        Words of it: ``flushed``, ``evicted``, ``trimmed``; ``restarted`` for another instance, and
        ``stayed`` for the same.
        """
        if before is None:
            return frozenset()
        if before.run_id != self.run_id:
            return frozenset(["restarted", *(deed for deed, n in self.counts.items() if n)])
        done = [deed for deed, n in self.counts.items() if n > before.counts[deed]]
        return frozenset(["stayed", *done])


def deeds(info: Mapping[str, str]) -> Deeds:
    """Read what a server did from its INFO, the statistics of its commands among it."""
    return Deeds(
        info.get("run_id", ""),
        {
            "flushed": _calls(info, "flushall") + _calls(info, "flushdb"),
            "evicted": int(info.get("evicted_keys", "0")),
            "trimmed": _calls(info, "xtrim"),
        },
    )


def _calls(info: Mapping[str, str], command: str) -> int:
    first = info.get(f"cmdstat_{command}", "").partition(",")[0]
    number = first.removeprefix("calls=")
    return int(number) if number.isdigit() else 0


def check(info: Mapping[str, str], policy: str) -> ServerInfo:
    """Check a server by its INFO and its eviction policy.

    Raises QueueUnusableError when it can never serve us as it is.
    """
    version = info.get("redis_version", "0")
    if parse_version(version) < MIN_VERSION:
        message = (
            f"redis {version} is too old (7.0 or newer is needed); upgrade it, "
            "or set redis.mode to private"
        )
        raise QueueUnusableError(message)
    if info.get("redis_mode") == "cluster" or info.get("cluster_enabled") == "1":
        message = (
            "redis runs in cluster mode, which cannot hold our transactions; use a single server"
        )
        raise QueueUnusableError(message)
    if policy not in ("noeviction", UNKNOWN_POLICY):
        message = (
            f"redis may evict our stream (maxmemory-policy {policy}); "
            "run: redis-cli CONFIG SET maxmemory-policy noeviction"
        )
        raise QueueUnusableError(message)
    return ServerInfo(
        info["run_id"], version, _persistence(info), policy, int(info.get("process_id", 0))
    )


def check_owner(epoch: str | None, home_id: str) -> None:
    """Raise QueueUnusableError when a stream, by what its epoch key holds, is another home's."""
    owner = home_id if epoch is None else epoch.partition(":")[0]
    if owner != home_id:
        message = (
            f"the stream in this redis belongs to home {owner}, ours is {home_id}: "
            "give one of them another redis.key_prefix or redis.url"
        )
        raise QueueUnusableError(message)


def parse_version(text: str) -> tuple[int, ...]:
    """Return ``7.0.15`` as (7, 0, 15); parts that are not numbers end it."""
    parts: list[int] = []
    for part in text.split("."):
        if not part.isdigit():
            break
        parts.append(int(part))
    return tuple(parts)


def _persistence(info: Mapping[str, str]) -> str:
    if info.get("aof_enabled") == "1":
        return "aof"
    return "rdb" if info.get("rdb_last_save_time", "0") != "0" else "none"
