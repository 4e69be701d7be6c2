"""The monitors of what editors keep, as ``status`` and ``health`` tell of them.

Owns what is told of each, and from when on a file counts as one that cannot be read.
Promises nothing of a monitor that has nothing to watch over.
Leaves watching to ``capture/``, what is healthy to ``health/capture.py``.
"""

from pathlib import Path
from typing import Final

from blueplane.capture.databases import DatabaseMonitor
from blueplane.capture.transcripts import TranscriptMonitor
from blueplane.clock import monotonic_s
from blueplane.event import Extent
from blueplane.health.probes import MonitorState

#: Seconds for which a file that cannot be read may only be in use.
LOCKED_S: Final = 20.0


def monitor_states(
    transcripts: TranscriptMonitor, databases: DatabaseMonitor
) -> dict[str, MonitorState]:
    """Return how those monitors are that have something to watch over."""
    states: dict[str, MonitorState] = {}
    if transcripts.installed:
        extent = transcripts.extent()
        states["transcript_monitor"] = MonitorState(
            transcripts.alive(), transcripts.files.sessions, transcripts.courier.captured,
            transcripts.courier.active_ms, transcripts.errors,
            transcripts.courier.events_per_min(), extent.bytes_left, _unread(extent),
        )  # fmt: skip
    if databases.installed:
        active, unread = databases.alive(), _unread(databases.extent())
        states["database_monitor"] = MonitorState(active, *databases.activity(), unread)
    return states


def left_to_read(transcripts: TranscriptMonitor, databases: DatabaseMonitor) -> dict[str, int]:
    """Return how much of what editors keep is not read, and how many files cannot be."""
    extents = (transcripts.extent(), databases.extent())
    unread = [file for each in extents for file in each.unread]
    left = sum(each.bytes_left for each in extents) - sum(file.bytes for file in unread)
    return {"bytes_left": left, "unread": len(unread)}


def _unread(extent: Extent) -> list[str]:
    """Name what cannot be read for longer than an editor has it locked."""
    since_s = monotonic_s() - LOCKED_S
    return [
        f"{Path(each.path).name}: {each.reason}" for each in extent.unread if each.since_s < since_s
    ]
