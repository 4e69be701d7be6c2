"""What monitors look at.

Owns the list of everything outside of the store that a monitor may ask.
Promises that every callable answers within a second or so, and may be called by the health thread.
Leaves what is behind them to the daemon, which puts them together.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blueplane.pipeline.measures import Measures
from blueplane.pipeline.stream import Sight


@dataclass(frozen=True, slots=True)
class WorkerState:
    """How a worker is since the start; ``failures`` are events that it could not derive from."""

    running: bool
    failures: int
    last_error: str | None


@dataclass(frozen=True, slots=True)
class MonitorState:
    """How a monitor of what an editor stores is; ``events_captured`` are those of this process.

    ``unread`` names what cannot be read for a while, and why, without a path.
    """

    active: bool
    sessions_monitored: int
    events_captured: int
    last_activity_ms: int | None
    errors_count: int
    events_per_min: float
    backlog_bytes: int
    unread: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Probes:
    """The probes of one server."""

    database: Path
    measures: Measures
    #: ``mode``, ``connected``, ``trouble`` and, once attached, ``version``, ``persistence``,
    #: ``policy`` of the Redis in use.
    redis: Callable[[], Mapping[str, Any]]
    #: What is in the stream; raises QueueError while Redis is away.
    queue: Callable[[], Sight]
    #: What waits in the spool: files, bytes, and the oldest's mtime in nanoseconds, or None.
    spool: Callable[[], tuple[int, int, int | None]]
    #: As ``Pressure.status`` has it.
    pressure: Callable[[], Mapping[str, Any]]
    #: What the database last refused; None while it answers.
    store_error: Callable[[], str | None]
    #: When a thread last went round its loop, by its name, in monotonic seconds.
    beats: Callable[[], Mapping[str, float]] = field(default=dict, kw_only=True)
    #: How many entries are in the stream, or in the writer's hands, as it last knew.
    backlog: Callable[[], int] = field(default=int, kw_only=True)
    #: The workers that were started, by name.
    workers: Callable[[], Mapping[str, WorkerState]] = field(default=dict, kw_only=True)
    #: The monitors that run, ``transcript_monitor`` and ``database_monitor``.
    monitors: Callable[[], Mapping[str, MonitorState]] = field(default=dict, kw_only=True)
    #: The hooks of ours that are installed, by platform, for those whose settings we can read.
    installed_hooks: Callable[[], Mapping[str, frozenset[str]]] = field(default=dict, kw_only=True)
    #: When the settings that list hooks were last changed, in ms, by platform.
    settings_changed_ms: Callable[[], Mapping[str, int]] = field(default=dict, kw_only=True)
    #: None while capture is not paused; else when the pause ends, in ms since the epoch, or 0.
    paused_until_ms: Callable[[], int | None] = field(default=lambda: None, kw_only=True)
