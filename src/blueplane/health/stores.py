"""The monitors of what editors store themselves: transcripts and databases.

Owns their figures, which of them is whose, and what is wrong when one does not run.
Promises that who has no hooks of ours, and is captured all the same, is told so, and not judged.
Leaves comparing them with hooks to ``witnesses.py``, the rest of capture to ``capture.py``.
"""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final

from blueplane.clock import iso_utc
from blueplane.health.check import Colour, Finding
from blueplane.health.probes import MonitorState

#: For so long after its last event an editor is active.
ACTIVE_MS: Final = 5 * 60_000
#: The monitor of what a platform stores, and what that is.
STORES: Final = {
    "claude_code": ("transcript_monitor", "transcripts"),
    "cursor": ("database_monitor", "databases"),
}
#: The figures of a monitor that has nothing to watch over.
_NOT_INSTALLED: Final = {
    "state": "not installed",
    "active": None,
    "sessions_monitored": None,
    "events_captured": None,
    "last_activity_timestamp": None,
    "errors_count": None,
    "ingest_rate_events_per_min": None,
    "backlog_bytes": None,
}


def figures(running: Mapping[str, MonitorState], now_ms: int) -> dict[str, Mapping[str, Any]]:
    """Return the figures of every monitor."""
    return {
        name: _figures(running[name], now_ms) if name in running else _NOT_INSTALLED
        for name, _ in STORES.values()
    }


def is_busy(state: MonitorState, now_ms: int) -> bool:
    """Whether an editor stored something a short while ago."""
    last_ms = state.last_activity_ms
    return last_ms is not None and 0 <= now_ms - last_ms <= ACTIVE_MS


def find(
    running: Mapping[str, MonitorState],
    installed: Mapping[str, AbstractSet[str]],
    heard: AbstractSet[str],
) -> Iterator[Finding]:
    """Say what does not run, or cannot be read, and who is all that there ever was of an editor.

    ``heard`` are platforms of which hooks ran: one of those that stopped is silent.
    """
    for platform, (name, stored) in STORES.items():
        if name not in running:
            continue
        if unread := running[name].unread:
            files = "1 file" if len(unread) == 1 else f"{len(unread):,} files"
            sentence = f"{platform}: {files} of its {stored} cannot be read ({unread[0]})"
            yield Finding(f"{name}.unread", Colour.YELLOW, sentence, "blueplane backfill")
        if not running[name].active:
            sentence = f"{platform}: the monitor of its {stored} does not run"
            yield Finding(f"{name}.active", Colour.ORANGE, sentence, "blueplane logs")
        elif platform not in heard and not installed.get(platform, {platform}):
            sentence = (
                f"{platform}: captured from its {stored} alone, for our hooks are not installed;"
                " they bring what happens at once, and what is never stored"
            )
            yield Finding(f"{platform}.hooks", Colour.GREEN, sentence, "blueplane install")


def _figures(state: MonitorState, now_ms: int) -> dict[str, Any]:
    last_ms = state.last_activity_ms
    return {
        "state": "ok" if is_busy(state, now_ms) else "idle",
        "active": state.active,
        "sessions_monitored": state.sessions_monitored,
        "events_captured": state.events_captured,
        "last_activity_timestamp": None if last_ms is None else iso_utc(last_ms),
        "errors_count": state.errors_count,
        "ingest_rate_events_per_min": state.events_per_min,
        "backlog_bytes": state.backlog_bytes,
    }
