"""What looks at the road and shows it: health, its history and incidents, and HTTP, wired.

Owns which monitors there are, and who is told of a snapshot.
Promises that nothing here is needed for an event to be written.
Leaves the road itself, and starting and stopping, to the daemon.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from blueplane.analytics.worker import Workers
from blueplane.capture.claude_code.settings import user_settings_file, user_settings_path
from blueplane.capture.cursor.settings import user_hooks_file, user_hooks_path
from blueplane.capture.pausing import paused
from blueplane.capture.spool import Spooler
from blueplane.clock import NS_PER_MS, monotonic_s
from blueplane.config import Settings
from blueplane.errors import QueueDetachedError
from blueplane.health.capture import CaptureMonitor
from blueplane.health.chain import ChainMonitor
from blueplane.health.check import Moment, Snapshot
from blueplane.health.database import DatabaseMonitor
from blueplane.health.history import History
from blueplane.health.incidents import Incidents
from blueplane.health.probes import MonitorState, Probes, WorkerState
from blueplane.health.queue import QueueMonitor
from blueplane.health.sampler import Sampler
from blueplane.health.workers import WorkersMonitor
from blueplane.install.notify import Notifier
from blueplane.paths import Home
from blueplane.pipeline.commits import Commits
from blueplane.pipeline.health_log import HealthLog
from blueplane.pipeline.pressure import Pressure
from blueplane.pipeline.redis_choice import RedisChoice
from blueplane.pipeline.stream import Stream
from blueplane.pipeline.writer import Writer
from blueplane.server.api import Api
from blueplane.server.http import HttpServer

#: Seconds between two snapshots that are stored, for whoever asks while no server runs.
KEEP_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Road:
    """The parts that are looked at; ``settings`` are those of now."""

    home: Home
    user_home: Path
    settings: Callable[[], Settings]
    redis: RedisChoice
    redis_status: Callable[[], Mapping[str, Any]]
    stream: Stream
    commits: Commits
    writer: Writer
    spooler: Spooler
    pressure: Pressure
    workers: Workers
    #: The monitors of what editors store, as ``Probes.monitors`` has them.
    monitors: Callable[[], Mapping[str, MonitorState]]
    #: Opens what is personal over HTTP, and what proves that we are the server of this home.
    token: str
    prove: Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Onlookers:
    """The threads: the one that looks, and the one that answers over HTTP, where it is wanted."""

    sampler: Sampler
    http: HttpServer | None


def make_onlookers(road: Road) -> Onlookers:
    """Put them together."""
    probes = _probes(road)
    history = History(
        HealthLog(lambda: our_redis(road.stream, road.redis), road.settings().redis.key_prefix)
    )
    listeners = [_Keeper(road).keep, history.keep, _incidents(road).follow]
    http = None
    if port := road.settings().http.port:
        hidden = (str(road.home.root), str(road.user_home))
        api = Api(probes, history.answer, hidden, road.prove)
        listeners.append(api.render)
        http = HttpServer(port, road.token, api.answer)
    monitors = (QueueMonitor, DatabaseMonitor, CaptureMonitor, ChainMonitor, WorkersMonitor)
    return Onlookers(Sampler([make(probes) for make in monitors], listeners), http)


def _probes(road: Road) -> Probes:
    # Not those of the spooler: such a file is for one thread.
    cursor_hooks = user_hooks_file(road.user_home)
    claude_hooks = user_settings_file(road.user_home, os.environ)
    writer, spooler = road.writer, road.spooler
    return Probes(
        road.home.database,
        writer.measures,
        redis=road.redis_status,
        queue=road.stream.observe,
        spool=spooler.held,
        pressure=road.pressure.status,
        store_error=lambda: writer.store_error,
        backlog=writer.backlog,
        beats=lambda: {each.name: each.beat_s for each in (writer, spooler)},
        installed_hooks=lambda: {
            "cursor": cursor_hooks.ours(),
            "claude_code": claude_hooks.ours(),
        },
        monitors=road.monitors,
        workers=lambda: {
            name: WorkerState(*state) for name, state in road.workers.states().items()
        },
        settings_changed_ms=lambda: _changed_ms(road.user_home),
        paused_until_ms=lambda: _paused_until_ms(road.home),
    )


def _changed_ms(user_home: Path) -> dict[str, int]:
    """Return when the settings that list hooks were last changed, by platform, where they are."""
    files = {
        "cursor": user_hooks_path(user_home),
        "claude_code": user_settings_path(user_home, os.environ),
    }
    changed = {}
    for platform, path in files.items():
        with suppress(OSError):
            changed[platform] = path.stat().st_mtime_ns // NS_PER_MS
    return changed


def _paused_until_ms(home: Home) -> int | None:
    """Return when the pause that holds ends, 0 without an end; None when there is none."""
    try:
        pause = paused(home)
    except OSError:
        return None  # nobody knows: a hook that cannot see the file takes the event
    return (pause.until_ms or 0) if pause else None


def our_redis(stream: Stream, redis: RedisChoice) -> str:
    """Return the address of Redis, but only of one that is known to be ours to write to."""
    if not stream.attached:
        message = "not attached to redis"
        raise QueueDetachedError(message)
    return redis.url()


def _incidents(road: Road) -> Incidents:
    notifier = Notifier()
    return Incidents(
        road.home.database,
        road.writer.tell,
        road.commits.put_changes,
        lambda: notifier if road.settings().health.notify else None,
    )


class _Keeper:
    """Stores a snapshot now and then."""

    def __init__(self, road: Road) -> None:
        self._writer, self._commits = road.writer, road.commits
        self._due_s = monotonic_s() + KEEP_S

    def keep(self, snapshot: Snapshot, moment: Moment) -> None:
        if moment.monotonic_s >= self._due_s:
            self._due_s = moment.monotonic_s + KEEP_S
            self._writer.tell(lambda: self._commits.put_health(snapshot.as_of_ms, snapshot.body()))
