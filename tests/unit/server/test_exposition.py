"""Health as Prometheus reads it: its text, strictly."""

import pytest

from blueplane.health.check import Colour, Finding, Report, Snapshot
from blueplane.health.histograms import batch_seconds, road_seconds
from blueplane.pipeline.measures import Measures
from blueplane.server import exposition
from helpers.prometheus import read

NOW_MS = 1_795_150_000_500
#: The labels that there may be.
LABELS = {"platform", "source", "hook", "component", "outcome", "le"}
REPORTS = {
    "queue": Report(
        "queue",
        {
            "queue_depth": 12_000,
            "pending_messages": None,
            "consumer_lag_ms": 1_500,
            "sources_wait_s": 2.5,
            "redis": {"connected": True, "used_memory_bytes": 1_000},
        },
        [Finding("queue_depth", Colour.ORANGE, "much", "blueplane health")],
    ),
    "database": Report(
        "database",
        {
            "write_success_count": 7,
            "write_failure_count": 1,
            "last_successful_write_timestamp": "2026-11-20T06:16:35.123Z",
            "last_failed_write_timestamp": None,
            "db_size_mb": 1.5,
            "last_error": "StoreFullError",
        },
    ),
    "capture": Report(
        "capture",
        {
            "cursor_hooks": {"installed": True, "success_count": 4, "failure_count": 0,
                             "hooks_active": {"stop": True, 'odd"\\\n': False}},
            "claude_hooks": {"installed": None, "success_count": 0, "hooks_active": {}},
            "database_monitor": {"state": "not installed", "active": None},
        },
    ),
    "chain": Report(
        "chain",
        {
            "chain_status": "healthy",
            "messages_captured_last_hour": 12,
            "quarantined_last_hour": 2,
            "refused_last_hour": 1,
            "balance": {"enqueued": 9, "written": 8, "lost": 1, "balanced": False},
        },
    ),
    "workers": Report("workers", {"usage": {"running": True, "backlog": 3, "lag_ms": 250}}),
}  # fmt: skip


def render(snapshot: Snapshot, measures: Measures | None = None) -> str:
    """Return the text of a snapshot."""
    measured = measures or Measures()
    histograms = {
        "blueplane_batch_seconds": ("Batches.", batch_seconds(measured)),
        "blueplane_road_seconds": ("Roads.", road_seconds(measured)),
    }
    return exposition.render(snapshot, histograms).decode()


def test_text_is_strict_and_in_base_units_when_figures_are_known() -> None:
    """Every metric has HELP and TYPE, counters are totals, units are seconds and bytes."""
    # Given figures of every component / When
    found = read(render(Snapshot(NOW_MS, REPORTS)))
    # Then
    assert found["blueplane_health_status"].value() == 2
    assert found["blueplane_component_status"].value(component="queue") == 2
    assert found["blueplane_component_status"].value(component="chain") == 0
    assert found["blueplane_snapshot_timestamp_seconds"].value() == 1_795_150_000.5
    assert found["blueplane_queue_depth"].value() == 12_000
    assert found["blueplane_queue_lag_seconds"].value() == 1.5
    assert found["blueplane_sources_wait_seconds"].value() == 2.5
    assert found["blueplane_redis_connected"].value() == 1
    assert found["blueplane_database_size_bytes"].value() == 1.5 * 1024 * 1024
    written = found["blueplane_database_last_write_timestamp_seconds"]
    assert written.value(outcome="success") == 1_795_155_395.123
    hooks = found["blueplane_hook_executions_total"]
    assert hooks.value(platform="cursor", outcome="success") == 4
    assert hooks.value(platform="claude_code", outcome="success") == 0
    assert found["blueplane_hook_active"].value(platform="cursor", hook="stop") == 1
    assert found["blueplane_messages_settled_total"].value(outcome="lost") == 1
    assert found["blueplane_chain_balanced"].value() == 0
    hour = found["blueplane_chain_last_hour"]
    outcomes = ("captured", "quarantined", "refused")
    assert [hour.value(outcome=word) for word in outcomes] == [12, 2, 1]
    assert found["blueplane_worker_lag_seconds"].value(component="usage") == 0.25


def test_text_leaves_out_when_a_figure_is_unknown() -> None:
    """What is not known has no sample, and a metric without one is not there; it is never 0."""
    # Given figures of which some are None or missing / When
    found = read(render(Snapshot(NOW_MS, REPORTS)))
    # Then
    assert "blueplane_queue_pending_messages" not in found
    assert "blueplane_spool_files" not in found
    assert "blueplane_monitor_active" not in found
    assert len(found["blueplane_database_last_write_timestamp_seconds"].samples) == 1
    assert len(found["blueplane_hooks_installed"].samples) == 1
    # And before the first look hardly anything is known
    assert len(read(render(Snapshot(NOW_MS)))) == 4


def test_labels_are_few_and_escaped_when_a_name_is_odd() -> None:
    """Labels are of the five that are bounded, and no name of a hook breaks a line."""
    # Given a hook with a quote, a backslash and a line break in its name / When
    found = read(render(Snapshot(NOW_MS, REPORTS)))
    # Then
    names = {label for family in found.values()
             for _, labels in family.samples for label, _ in labels}  # fmt: skip
    assert names <= LABELS
    assert found["blueplane_hook_active"].value(platform="cursor", hook='odd\\"\\\\\\n') == 0


def test_histograms_grow_when_batches_are_written() -> None:
    """Each time is in the bucket of what it was below, and in all above it; sums are seconds."""
    # Given batches of 0.4 and 3 ms, and a whole hour, and their events
    measures = Measures()
    for seconds, road_ms in ((0.0004, [0, 1]), (0.003, [500]), (3600.0, [3_600_000])):
        measures.batch(seconds, road_ms)
    # When
    found = read(render(Snapshot(NOW_MS), measures))
    # Then
    batches = found["blueplane_batch_seconds"].samples
    buckets = {dict(labels)["le"]: count for (_, labels), count in batches.items() if labels}
    shown = [buckets[bound] for bound in ("0.001", "0.002", "0.004", "65.536", "+Inf")]
    assert shown == [1, 1, 2, 2, 3]
    assert batches["blueplane_batch_seconds_sum", ()] == pytest.approx(3600.0034)
    roads = found["blueplane_road_seconds"].samples
    assert roads["blueplane_road_seconds_count", ()] == 4
    assert roads["blueplane_road_seconds_bucket", (("le", "0.512"),)] == 3


@pytest.mark.parametrize(
    "text",
    [
        "a 1\n",
        "# HELP a b\na 1\n",
        "# HELP a b\n# TYPE a gauge\n",
        "# HELP a b\n# TYPE a gauge\na 1",
        "# HELP a b\n# TYPE a gauge\na None\n",
        "# HELP a b\n# TYPE a gauge\na True\n",
        "# HELP a b\n# TYPE a gauge\na 1\na 2\n",
        "# HELP a b\n# TYPE a gauge\nb 1\n",
        "# HELP a b\n# TYPE a counter\na 1\n",
        '# HELP a b\n# TYPE a gauge\na{b="c"d"} 1\n',
        '# HELP a b\n# TYPE a gauge\na{b="c",} 1\n',
        "# HELP a b\n# TYPE a gauge\na 1\n\n",
    ],
)  # fmt: skip
def test_reader_refuses_when_text_is_not_strict(text: str) -> None:
    """The reader of these tests fails for what is not the format."""
    # Given a text with one fault / When / Then
    with pytest.raises((AssertionError, ValueError)):
        read(text)
