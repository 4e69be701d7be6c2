"""``blueplane top``: the hops of the road as they are now, and once a second again.

Owns which figures of health belong to which hop.
Promises one plain table for a pipe, and a dash for what is not known of a hop.
Leaves the figures to the server, which has them in memory, and a terminal to ``live.py``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import click

from blueplane.errors import ServerUnavailableError
from blueplane.figures import milliseconds, number
from blueplane.interfaces.cli.lazy import load
from blueplane.interfaces.cli.options import format_option, home_option
from blueplane.interfaces.cli.output import Column, Form, Table, is_watched, render, render_json
from blueplane.lock import is_running
from blueplane.paths import Home
from blueplane.server.control import ask

#: Seconds for which an answer is waited.
ANSWER_S: Final = 2.0

Body = Mapping[str, Any]
Figure = float | None

_COLUMNS: Final = (
    Column("hop", "hop"),
    Column("rate_per_sec", "events/s", number, "right"),
    Column("backlog", "backlog", number, "right"),
    Column("oldest_ms", "oldest", milliseconds, "right"),
    Column("p50_ms", "p50", milliseconds, "right"),
    Column("p99_ms", "p99", milliseconds, "right"),
    Column("errors", "errors", number, "right"),
    Column("dead_letters", "dead letters", number, "right"),
)


@click.command()
@click.option("--once", is_flag=True, help="Print it once, as a table, and end.")
@format_option
@home_option
def top(home: Home, form: Form, *, once: bool) -> None:
    """Show rate, backlog and errors of each hop, live.

    `q` or Ctrl-C ends it. In a pipe, and with --format json, it is shown once. Errors are those
    since the start of the server; p50 and p99 of written are per batch.
    """

    def look() -> Body:
        if not is_running(home):
            message = "no server runs; `blueplane start` starts one"
            raise ServerUnavailableError(message)
        body: Body = ask(home.control_socket, "health", timeout_s=ANSWER_S)
        return body

    body = look()
    if form == "json":
        known = {name: body[name] for name in ("as_of_ms", "health_status")}
        render_json({**known, "rows": rows(body), "total": {}})
    elif once or not is_watched():
        render(table(body), "table")
    else:
        load("live", "watch")(look, body)


# --- figures -------------------------------------------------------------------------------------


def rows(body: Body) -> list[dict[str, Any]]:
    """Return a row a hop, of a body of health; what is not known there is None."""
    queue, database, capture = (body.get(name, {}) for name in ("queue", "database", "capture"))
    workers = [each for each in body.get("workers", {}).values() if isinstance(each, Mapping)]
    hooks = [each for name, each in capture.items() if name.endswith("_hooks")]
    per_min = capture.get("capture_rate_events_per_min")
    return [
        _row("captured",
             rate_per_sec=None if per_min is None else per_min / 60,
             backlog=queue.get("spool_files"),
             oldest_ms=queue.get("oldest_spool_age_ms"),
             p50_ms=_joined(max, hooks, "overhead_ms_p50"),
             p99_ms=_joined(max, hooks, "overhead_ms_p99"),
             errors=_joined(sum, hooks, "failure_count")),
        _row("enqueued",
             rate_per_sec=queue.get("enqueue_rate_events_per_sec"),
             backlog=queue.get("queue_depth"),
             oldest_ms=queue.get("consumer_lag_ms")),
        _row("delivered",
             rate_per_sec=queue.get("processing_rate_events_per_sec"),
             backlog=queue.get("pending_messages"),
             oldest_ms=queue.get("oldest_pending_age_ms")),
        _row("written",
             rate_per_sec=database.get("write_throughput_events_per_sec"),
             p50_ms=database.get("write_latency_p50_ms"),
             p99_ms=database.get("write_latency_p99_ms"),
             errors=database.get("write_failure_count"),
             dead_letters=queue.get("dlq_size")),
        _row("derived",
             rate_per_sec=_joined(sum, workers, "processed_per_sec"),
             backlog=_joined(max, workers, "backlog"),
             oldest_ms=_joined(max, workers, "lag_ms"),
             errors=_joined(sum, workers, "failures")),
    ]  # fmt: skip


def _row(hop: str, **known: Figure) -> dict[str, Any]:
    return {column.key: known.get(column.key) for column in _COLUMNS} | {"hop": hop}


def _joined(join: Callable[[Sequence[float]], float], parts: Sequence[Body], name: str) -> Figure:
    """Return one figure of several parts; None when none of them knows it."""
    values = [part[name] for part in parts if part.get(name) is not None]
    return join(values) if values else None


def table(body: Body) -> Table:
    """Return the table of the hops, of a body of health."""
    return Table(_COLUMNS, rows(body), caption=f"health is {words(body)}")


def words(body: Body) -> str:
    """Return the colour of everything, and which parts are not green."""
    bad = [
        f"{name} {part['health_status']}"
        for name, part in body.items()
        if isinstance(part, Mapping) and part["health_status"] != "green"
    ]
    return f"{body['health_status']} ({', '.join(bad)})" if bad else str(body["health_status"])
