"""``blueplane health --since``: how figures went, a line each.

Owns the choice of figures and the sparkline.
Promises a blank where nothing was measured, the worst of each cell, and plain ASCII where the
encoding has no blocks.
Leaves the samples to ``pipeline/health_log.py``, which it reads itself: no server is needed, but
its Redis.
"""

import os
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

from blueplane.clock import MS_PER_DAY, wall_ms
from blueplane.config import Settings, load
from blueplane.errors import NotFoundError, QueueError, QueueUnavailableError, UsageError
from blueplane.health.check import Colour
from blueplane.health.history import COLOUR, Point, Span, points
from blueplane.interfaces.cli.figures import number
from blueplane.interfaces.cli.output import Column, Form, Table, render
from blueplane.interfaces.cli.reach import uses_private_redis
from blueplane.lock import is_running
from blueplane.paths import Home
from blueplane.pipeline.health_log import KEPT_MS, MINUTE_MS, HealthLog, Series

#: What is shown when nothing was chosen.
OVERVIEW: Final = (
    COLOUR,
    f"*.{COLOUR}",
    "queue.queue_depth",
    "queue.consumer_lag_ms",
    "queue.enqueue_rate_events_per_sec",
    "queue.spool_files",
    "database.write_throughput_events_per_sec",
    "database.write_latency_p95_ms",
    "capture.capture_rate_events_per_min",
    "chain.messages_in_dlq",
    "chain.chain_break_count",
)
#: Cells of a sparkline.
WIDTH: Final = 22

_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_ASCII: Final = "_.-=+*%#"
#: A sparkline of colours always reaches up to red.
_RED: Final = int(Colour.RED)

_COLUMNS: Final = (
    Column("metric", "metric"),
    Column("spark", "past to now", whole=True),
    Column("min", "min", number, "right", whole=True),
    Column("avg", "avg", number, "right", whole=True),
    Column("max", "max", number, "right", whole=True),
    Column("last", "last", number, "right", whole=True),
)


def show(home: Home, since_s: int, metrics: Sequence[str], form: Form) -> None:
    """Print how figures went in the last ``since_s`` seconds.

    ``metrics`` are names or patterns such as ``queue.*``; without any the most telling ones.
    Raises QueueUnavailableError when Redis cannot be asked, NotFoundError when it knows none.
    """
    now_ms = wall_ms()
    span = _span(now_ms, since_s * 1000)
    log = _log(home, load(home, os.environ))
    try:
        series = log.read(_chosen(log.names(since_s * 1000), metrics), span.since_ms, now_ms)
    except QueueError as error:
        raise QueueUnavailableError(_unreachable(home, error)) from error
    rows = [_row(name, found, span) for name, found in series.items()]
    caption = (
        f"a cell is {span.step_ms // MINUTE_MS} min and shows its largest value; "
        "blank: nothing was measured"
    )
    table_rows = [row | {"spark": spark(row["points"], row["metric"])} for row in rows]
    render(Table(_COLUMNS, rows if form == "json" else table_rows, caption=caption), form)


def _span(now_ms: int, since_ms: int) -> Span:
    if since_ms > KEPT_MS:
        message = f"--since: no more than {KEPT_MS // MS_PER_DAY}d are kept"
        raise UsageError(message)
    step_ms = -(-since_ms // WIDTH // MINUTE_MS) * MINUTE_MS
    return Span.until(now_ms, now_ms - since_ms, step_ms)


def _log(home: Home, settings: Settings) -> HealthLog:
    redis = settings.redis
    url = home.redis_url if uses_private_redis(redis) else str(redis.url)
    return HealthLog(lambda: url, redis.key_prefix)


def _unreachable(home: Home, error: QueueError) -> str:
    if is_running(home):
        return f"the history cannot be read: {error}"
    return (
        "no server runs, and the Redis with the history cannot be reached; `blueplane start` "
        "starts both"
    )


def _chosen(known: Sequence[str], metrics: Sequence[str]) -> list[str]:
    """Return what of ``known`` is meant, in the order in which it was asked for."""
    patterns = metrics or OVERVIEW
    found = [name for each in patterns for name in known if fnmatchcase(name, each)]
    if not found:
        message = "no history of that time: a sample is taken once a minute while a server runs"
        if metrics and known:
            every = "`blueplane health --since 7d --metric '*'` has every name"
            message = f"no history of {', '.join(metrics)}; {every}"
        raise NotFoundError(message)
    return list(dict.fromkeys(found))


def _row(metric: str, series: Series, span: Span) -> dict[str, Any]:
    values = list(series.values())
    some = bool(values)
    return {
        "metric": metric,
        "min": min(values) if some else None,
        "avg": sum(values) / len(values) if some else None,
        "max": max(values) if some else None,
        "last": series[max(series)] if some else None,
        "points": points(metric, series, span, "max"),
    }


def spark(cells: Sequence[Point], metric: str = "") -> str:
    """Draw values as bars from 0, or from the smallest if that is below; None is a blank."""
    bars = _bars()
    values = [value for _, value in cells if value is not None]
    low = min([0, *values])
    high = _RED if metric.rpartition(".")[2] == COLOUR else max([0, *values])
    scale = (len(bars) - 1) / ((high - low) or 1)
    return "".join(" " if v is None else bars[round((v - low) * scale)] for _, v in cells)


def _bars() -> str:
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    try:
        _BLOCKS.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return _ASCII
    return _BLOCKS
