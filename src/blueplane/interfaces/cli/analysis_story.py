"""The parts of a session that are read from the conversation itself.

Owns reading it for ``analyze.py``, which loads this file only for them: it takes long to import.
Promises a list for each part, an empty one where nothing is known.
Leaves the rows to ``analytics/session_story.py``.
"""

from collections.abc import Mapping, Sequence

from blueplane.analytics import session_story
from blueplane.analytics.metrics.measure import moments_of
from blueplane.interfaces.cli.output import Row
from blueplane.store.conversations import conversation
from blueplane.store.reading import Reads
from blueplane.store.session_list import Known
from blueplane.store.timeline import timeline


def told(reader: Reads, known: Known, parts: Sequence[str]) -> Mapping[str, list[Row]]:
    """Return the files and the timeline of a session, as far as they are asked for."""
    found: dict[str, list[Row]] = {name: [] for name in ("files", "timeline") if name in parts}
    talk = conversation(reader, known.session_id, known.platform)
    if talk is None:
        return found
    if "files" in parts:
        found["files"] = [*session_story.file_rows(talk)]
    if "timeline" in parts:
        entries = timeline(reader, known.session_id, known.platform)
        last_ms = max(moments_of(talk), default=0)
        found["timeline"] = [*session_story.timeline_rows(entries, last_ms)]
    return found
