"""The metrics by name: what dashboards and alerts are made of.

Owns the name, the help and the figures of each.
Promises base units (seconds, bytes, ratios), ``_total`` for what only grows, and labels that are
bounded: platforms, sources, hooks, components and outcomes.
Leaves the figures to the monitors and the text to ``exposition.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Family:
    """A metric of a figure by its dotted name, or of several: by what its label says."""

    name: str
    help: str
    figures: str | Mapping[str, str]
    label: str = "outcome"

    @property
    def kind(self) -> str:
        """What Prometheus calls it."""
        return "counter" if self.name.endswith("_total") else "gauge"


def _outcomes(component: str, *words: str) -> dict[str, str]:
    return {word: f"{component}.{word}" for word in words}


FAMILIES: Final = (
    Family(
        "blueplane_health_status",
        "Worst colour of all: 0 green, 1 yellow, 2 orange, 3 red.",
        "health_status",
    ),
    Family("blueplane_snapshot_timestamp_seconds", "When these figures were taken.", "as_of_ms"),
    Family(
        "blueplane_queue_depth",
        "Messages that were enqueued and are not settled.",
        "queue.queue_depth",
    ),
    Family(
        "blueplane_queue_pending_messages",
        "Messages that were delivered and are not acknowledged.",
        "queue.pending_messages",
    ),
    Family(
        "blueplane_queue_oldest_pending_age_seconds",
        "Age of the oldest message that is not acknowledged.",
        "queue.oldest_pending_age_ms",
    ),
    Family("blueplane_queue_consumers", "Consumers of the group.", "queue.consumer_count"),
    Family(
        "blueplane_queue_stuck_consumers",
        "Consumers that have messages and acknowledge none.",
        "queue.stuck_consumers",
    ),
    Family(
        "blueplane_queue_lag_seconds",
        "Age of the oldest message that is not written.",
        "queue.consumer_lag_ms",
    ),
    Family(
        "blueplane_queue_enqueued_events_per_second",
        "Events enqueued a second, lately.",
        "queue.enqueue_rate_events_per_sec",
    ),
    Family(
        "blueplane_queue_processed_events_per_second",
        "Events processed a second, lately.",
        "queue.processing_rate_events_per_sec",
    ),
    Family(
        "blueplane_sources_wait_seconds",
        "For how long the sources have waited; 0 when they do not.",
        "queue.sources_wait_s",
    ),
    Family("blueplane_spool_files", "Files in the spool.", "queue.spool_files"),
    Family("blueplane_spool_bytes", "Size of the spool.", "queue.spool_bytes"),
    Family(
        "blueplane_spool_oldest_age_seconds",
        "Age of the oldest file in the spool.",
        "queue.oldest_spool_age_ms",
    ),
    Family("blueplane_dead_letters_open", "Dead letters that are open.", "queue.dlq_size"),
    Family(
        "blueplane_dead_letters_last_hour",
        "Dead letters of the last hour.",
        "queue.dlq_recent_entries",
    ),
    Family("blueplane_redis_connected", "Whether Redis is connected.", "queue.redis.connected"),
    Family(
        "blueplane_redis_memory_bytes", "Memory that Redis uses.", "queue.redis.used_memory_bytes"
    ),
    Family("blueplane_database_connected", "Whether the database answers.", "database.connected"),
    Family(
        "blueplane_database_write_events_total",
        "Events whose write succeeded or failed.",
        {"success": "database.write_success_count", "failure": "database.write_failure_count"},
    ),
    Family(
        "blueplane_database_write_success_ratio",
        "Share of writes of the last hour that succeeded.",
        "database.write_success_rate",
    ),
    Family(
        "blueplane_database_written_events_per_second",
        "Events written a second, lately.",
        "database.write_throughput_events_per_sec",
    ),
    Family(
        "blueplane_database_last_write_timestamp_seconds",
        "When a write last succeeded or failed.",
        {
            "success": "database.last_successful_write_timestamp",
            "failure": "database.last_failed_write_timestamp",
        },
    ),
    Family("blueplane_database_size_bytes", "Size of the database.", "database.db_size_mb"),
    Family("blueplane_database_wal_bytes", "Size of the database's -wal.", "database.wal_size_mb"),
    Family(
        "blueplane_database_disk_free_bytes",
        "Room on the disk of the database.",
        "database.disk_free_mb",
    ),
    Family(
        "blueplane_database_schema_version",
        "Version of the database's schema.",
        "database.schema_version",
    ),
    Family(
        "blueplane_capture_events_per_minute",
        "Events captured a minute, lately.",
        "capture.capture_rate_events_per_min",
    ),
    Family(
        "blueplane_monitor_active",
        "Whether a monitor captures.",
        {
            "database": "capture.database_monitor.active",
            "transcript": "capture.transcript_monitor.active",
        },
        label="source",
    ),
    Family(
        "blueplane_monitor_events_total",
        "Events that a monitor captured.",
        {
            "database": "capture.database_monitor.events_captured",
            "transcript": "capture.transcript_monitor.events_captured",
        },
        label="source",
    ),
    Family(
        "blueplane_monitor_errors_total",
        "Errors of a monitor.",
        {
            "database": "capture.database_monitor.errors_count",
            "transcript": "capture.transcript_monitor.errors_count",
        },
        label="source",
    ),
    Family(
        "blueplane_monitor_backlog_bytes",
        "What a monitor has still to read.",
        {
            "database": "capture.database_monitor.backlog_bytes",
            "transcript": "capture.transcript_monitor.backlog_bytes",
        },
        label="source",
    ),
    Family(
        "blueplane_chain_balanced", "Whether both laws of custody close.", "chain.balance.balanced"
    ),
    Family(
        "blueplane_chain_success_ratio",
        "Share of old enough messages that were written.",
        "chain.success_rate",
    ),
    Family(
        "blueplane_chain_breaks_last_hour",
        "Messages that vanished in the last hour.",
        "chain.chain_break_count",
    ),
    Family(
        "blueplane_chain_last_break_timestamp_seconds",
        "When a message last vanished.",
        "chain.last_chain_break_timestamp",
    ),
    Family(
        "blueplane_chain_last_hour",
        "What became of messages in the last hour.",
        {
            "captured": "chain.messages_captured_last_hour",
            "enqueued": "chain.messages_enqueued_last_hour",
            "written": "chain.messages_written_last_hour",
            "duplicate": "chain.duplicates_last_hour",
            "filtered": "chain.filtered_last_hour",
            "quarantined": "chain.quarantined_last_hour",
            "refused": "chain.refused_last_hour",
            "recovered": "chain.recovered_last_hour",
        },
    ),
    Family(
        "blueplane_messages_enqueued_total",
        "Messages that were ever enqueued.",
        "chain.balance.enqueued",
    ),
    Family(
        "blueplane_messages_settled_total",
        "What became of messages.",
        _outcomes("chain.balance", "written", "duplicate", "dead_lettered", "recovered", "lost"),
    ),
    Family(
        "blueplane_messages_in_flight", "Messages that are on their way.", "chain.balance.in_flight"
    ),
    # No counters: what waits is among them, and may be taken away by hand.
    Family(
        "blueplane_events_captured", "Events that were ever captured.", "chain.balance.captured"
    ),
    Family(
        "blueplane_events_waiting", "Events that a source still holds.", "chain.balance.waiting"
    ),
    Family(
        "blueplane_events_left_total",
        "Events that left the road before the queue.",
        _outcomes("chain.balance", "filtered", "quarantined", "refused"),
    ),
)

#: What every platform with hooks has, out of its own figures.
OF_HOOKS: Final = (
    Family("blueplane_hooks_installed", "Whether our hooks are in the settings.", "installed"),
    Family(
        "blueplane_hook_executions_total",
        "Executions of hooks.",
        {"success": "success_count", "failure": "failure_count"},
    ),
    Family("blueplane_hook_success_ratio", "Share of executions that succeeded.", "success_rate"),
    Family(
        "blueplane_hook_last_execution_timestamp_seconds",
        "When a hook last ran.",
        "last_execution_timestamp",
    ),
)
#: The same of a worker.
OF_WORKERS: Final = (
    Family("blueplane_worker_running", "Whether a worker runs.", "running"),
    Family("blueplane_worker_backlog", "Rows that a worker has still to read.", "backlog"),
    Family("blueplane_worker_processed_per_second", "Rows a second, lately.", "processed_per_sec"),
    Family("blueplane_worker_failures_total", "Failures of a worker.", "failures"),
    Family(
        "blueplane_worker_lag_seconds",
        "Age of the oldest row that a worker has not read.",
        "lag_ms",
    ),
)
