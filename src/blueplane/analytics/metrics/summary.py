"""What sessions are looked for by: a few figures of each, as a row.

Owns which figures these are, and how they follow from what was measured.
Promises the same figures as the catalogue's.
Leaves the table to ``store/metric_rollups.py``.
"""

from collections.abc import Collection, Mapping
from typing import Any

from blueplane.analytics.metrics.catalogue import CATALOGUE, decided, executed, outcomes, verdicts
from blueplane.analytics.metrics.vector import merged, total
from blueplane.store.metric_rollups import SessionSummary


def summarised(session: int, days: Collection[Mapping[str, Any]]) -> list[SessionSummary]:
    """Return the summary of a session; none when nothing is known but its calls of models."""
    whole = merged(days)
    if not total(whole, "sessions"):
        return []
    found, edits = outcomes(whole), verdicts(whole)
    summary = SessionSummary(
        session=session,
        duration_ms=total(whole, "session_ms", "sum"),
        prompts=total(whole, "prompts"),
        tool_calls=sum(found.values()),
        executed=executed(whole),
        failed=found["failed"],
        accepted=edits["accepted"] + edits["provisional"],
        decided=decided(whole),
        productivity=CATALOGUE["productivity_score"].make(whole).value,
    )
    return [summary]
