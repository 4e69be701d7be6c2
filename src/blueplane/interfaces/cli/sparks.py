"""``blueplane health --since``: how figures went, a line each.

Owns the choice of figures and the sparkline.
Promises a blank where nothing was measured, the worst of each cell, plain ASCII where the encoding
has no blocks, and that on a terminal the sparkline makes room for the names.
Leaves the samples to ``pipeline/health_log.py``, which it reads itself: no server is needed, but
its Redis.
"""

import os
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from shutil import get_terminal_size
from typing import Any, Final

from blueplane.clock import MS_PER_DAY, wall_ms
from blueplane.config import Settings, load
from blueplane.errors import NotFoundError, QueueError, QueueUnavailableError, UsageError
from blueplane.figures import number
from blueplane.health.check import Colour
from blueplane.health.history import COLOUR, Point, Span, points
from blueplane.interfaces.cli import MAX_WIDTH
from blueplane.interfaces.cli.output import GAP, Column, Form, Table, render, width
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
#: Cells of a sparkline, and the fewest that say anything.
WIDTH: Final = 22
MIN_WIDTH: Final = 6
_MILLION: Final = 1_000_000
_THOUSAND: Final = 1_000

_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_ASCII: Final = "_.-=+*%#"
#: A sparkline of colours always reaches up to red.
_RED: Final = int(Colour.RED)


def _brief(value: float | None) -> str:
    """Show a number in few letters: without a fraction from 1,000 on, and in millions."""
    if value is None or abs(value) < _THOUSAND:
        return number(value)
    return f"{value:,.0f}" if abs(value) < _MILLION else f"{value / _MILLION:,.1f}M"


_COLUMNS: Final = (
    Column("metric", "metric"),
    Column("min", "min", _brief, "right", whole=True),
    Column("avg", "avg", _brief, "right", whole=True),
    Column("max", "max", _brief, "right", whole=True),
    Column("last", "last", _brief, "right", whole=True),
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
    render(Table(_COLUMNS, rows) if form == "json" else _drawn(rows, span), form)


def _span(now_ms: int, since_ms: int) -> Span:
    if since_ms > KEPT_MS:
        message = f"--since: no more than {KEPT_MS // MS_PER_DAY}d are kept"
        raise UsageError(message)
    step_ms = -(-since_ms // WIDTH // MINUTE_MS) * MINUTE_MS
    return Span.until(now_ms, now_ms - since_ms, step_ms)


def _log(home: Home, settings: Settings) -> HealthLog:
    redis = settings.redis
    url = home.redis_url if redis.private else str(redis.url)
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
    found = {each: [name for name in known if fnmatchcase(name, each)] for each in patterns}
    missing = [each for each in metrics if not found[each]]
    if known and missing:
        every = "`blueplane health --since 7d --metric '*'` has every name"
        message = f"no history of {', '.join(missing)} in that time; {every}"
        raise NotFoundError(message)
    if not any(found.values()):
        message = "no history of that time: a sample is taken once a minute while a server runs"
        raise NotFoundError(message)
    return list(dict.fromkeys(name for names in found.values() for name in names))


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


def _drawn(rows: Sequence[dict[str, Any]], span: Span) -> Table:
    """Return the table for people: its sparklines have as many cells as there is room for."""
    room = _room(rows)
    if room < MIN_WIDTH:
        return Table(_COLUMNS, rows)
    joined = max(1, -(-len(rows[0]["points"]) // room))
    sparks = [spark(join(row["points"], joined), row["metric"]) for row in rows]
    title = next(each for each in ("past to now", "to now") if len(each) <= room)
    caption = (
        f"a cell is {joined * span.step_ms // MINUTE_MS} min and shows its largest value; "
        "blank: nothing was measured"
    )
    drawn = [{**row, "spark": cells} for row, cells in zip(rows, sparks, strict=True)]
    trend = Column("spark", title, whole=True)
    return Table((_COLUMNS[0], trend, *_COLUMNS[1:]), drawn, caption=caption)


def _room(rows: Sequence[dict[str, Any]]) -> int:
    """Return how many columns are left for a sparkline; in a pipe there is room enough."""
    if sys.stdout is None or not sys.stdout.isatty():
        return MAX_WIDTH
    columns = min(get_terminal_size().columns, MAX_WIDTH)
    return columns - width(Table(_COLUMNS, rows)) - len(GAP)


def join(cells: Sequence[Point], count: int) -> list[Point]:
    """Make one cell of ``count``: their largest; the last one is of so many, the first of the rest.

    A cell of which nothing was measured is None.
    """
    starts = range(-(-len(cells) % count), len(cells), count)
    groups = [cells[max(0, start) : start + count] for start in starts]
    return [
        (group[0][0], max((v for _, v in group if v is not None), default=None)) for group in groups
    ]


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
