"""The database: whether events are written, how fast, and what happened to its file.

Owns the figures of the component ``database``, their thresholds and their sentences.
Promises that a rate is judged only when there was something to write, and that no sentence has a
path or a value of an event in it.
Leaves the counting to ``pipeline/measures.py``, and losses of messages to the chain of custody.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, inf, nextafter
from typing import Any, Final, NamedTuple

from blueplane.clock import MS_PER_DAY, iso_utc
from blueplane.errors import StoreError
from blueplane.health.check import Colour, Finding, Moment, Report, State, band, falling_band
from blueplane.health.probes import Probes
from blueplane.health.window import Window
from blueplane.pipeline.measures import BatchTime
from blueplane.store.queries import SERVER_READ_S, Alarm, Footprint, footprint, reading
from blueplane.store.wal import LARGE_BYTES

#: Seconds over which throughput is taken; and without a write after which the database is idle.
WINDOW_S: Final = 10.0
IDLE_S: Final = 60.0
#: Seconds of batches whose times count, and the events for which a time is judged.
LATENCY_S: Final = 300.0
PER_EVENTS: Final = 100
#: Where yellow, orange and red begin; 99 % itself is yellow.
SUCCESS_RATE: Final = (nextafter(0.99, inf), 0.95, 0.90)
LATENCY_MS: Final = (10.0, 50.0, 100.0)
THROUGHPUT: Final = (100.0, 50.0, 10.0)
DISK_FREE_MB: Final = (500.0, 100.0, 20.0)
#: Seconds for which the store may refuse before that is red.
AWAY_S: Final = 5.0
_MB: Final = 1024 * 1024

#: Why the store refuses, by the class of the error: its words may have a path in them.
_REFUSALS: Final = {
    "StoreFullError": "its disk is full",
    "StoreBrokenError": "it is damaged, or its file is gone",
}
#: What happened to the file, by the kind of the incident, and how much it weighs.
_ALARMS: Final = {
    "store_damaged": ("was found damaged", Colour.RED),
    "store_missing": ("was gone or empty", Colour.ORANGE),
    "store_replaced": ("was replaced by another one", Colour.ORANGE),
    "store_rolled_back": ("was replaced by an older one", Colour.ORANGE),
}


class _Look(NamedTuple):
    """What one look saw: events written so far, and events that waited."""

    succeeded: int
    waiting: int


class _Flow(NamedTuple):
    """Events written per second, None until known; ``backlog``: how many wait too long for that."""

    per_s: float | None
    backlog: int | None


class _Latency(NamedTuple):
    """Milliseconds per batch, and ``judged``, the 95th percentile per 100 events."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    judged: float | None = None


@dataclass(frozen=True, slots=True)
class _Stored:
    """What the database itself says; no version is a database that cannot be read."""

    schema_version: int | None
    last_write_ms: int | None
    alarms: Sequence[Alarm]


class DatabaseMonitor:
    """The monitor of the database."""

    component = "database"

    def __init__(self, probes: Probes) -> None:
        self._probes = probes
        self._looks = Window[_Look](WINDOW_S, lambda look: look.succeeded)
        self._away_since_s: float | None = None

    def look(self, moment: Moment) -> Report:
        """Return what is found now."""
        away_s = self._away_s(moment.monotonic_s)
        flow = self._flow(moment.monotonic_s)
        latency = _latency(self._recent(moment.monotonic_s))
        room = footprint(self._probes.database)
        stored = self._stored(moment.wall_ms - MS_PER_DAY)
        hour = self._probes.measures.last_hour(moment.monotonic_s)
        findings = [
            *self._refused(away_s, room),
            *_unread(stored, away_s),
            *self._failing(hour),
            *_slow(latency, None if away_s is not None else flow),
            *_roomless(room),
            *_alarming(stored.alarms),
        ]
        figures = {
            "connected": away_s is None,
            **self._counts(hour),
            "write_latency_p50_ms": _rounded(latency.p50),
            "write_latency_p95_ms": _rounded(latency.p95),
            "write_latency_p99_ms": _rounded(latency.p99),
            "write_throughput_events_per_sec": _rounded(flow.per_s),
            **self._ends(stored),
            "db_size_mb": _megabytes(room.database),
            "wal_size_mb": _megabytes(room.wal),
            "disk_free_mb": _megabytes(room.free),
            "schema_version": stored.schema_version,
        }
        return Report(self.component, figures, findings, self._state(moment, findings))

    # -- what is measured --------------------------------------------------------------------------

    def _away_s(self, now_s: float) -> float | None:
        """Seconds since the store was first seen to refuse; None while it answers."""
        if self._probes.store_error() is None:
            self._away_since_s = None
            return None
        if self._away_since_s is None:
            self._away_since_s = now_s
        return now_s - self._away_since_s

    def _flow(self, now_s: float) -> _Flow:
        """Take the rate; a backlog is what always waited for longer than a second.

        What waits for less is on its way: as many events as are written in a second.
        """
        looks = self._looks
        looks.add(now_s, _Look(self._probes.measures.succeeded, self._probes.backlog()))
        if not looks.whole:
            return _Flow(None, None)
        waiting = min(look.what.waiting for look in looks)
        waits = waiting > looks.per_s and self._probes.redis()["connected"]
        return _Flow(looks.per_s, looks.last.what.waiting if waits else None)

    def _recent(self, now_s: float) -> list[BatchTime]:
        batches = tuple(self._probes.measures.batches)  # at once: the writer goes on
        return [batch for batch in batches if batch.at_s > now_s - LATENCY_S]

    def _stored(self, since_ms: int) -> _Stored:
        try:
            with reading(self._probes.database, SERVER_READ_S) as reader:
                alarms = reader.alarms(since_ms)
                return _Stored(reader.schema_version(), reader.last_write_ms(), alarms)
        except StoreError:
            return _Stored(None, None, ())

    def _counts(self, hour: tuple[int, int]) -> dict[str, Any]:
        measures = self._probes.measures
        total = sum(hour)
        return {
            "write_success_count": measures.succeeded,
            "write_failure_count": measures.failed,
            "write_success_rate": hour[0] / total if total else None,
        }

    def _ends(self, stored: _Stored) -> dict[str, Any]:
        measures = self._probes.measures
        return {
            "last_successful_write_timestamp": _time(
                measures.last_success_ms or stored.last_write_ms
            ),
            "last_failed_write_timestamp": _time(measures.last_failure_ms),
            "last_error": measures.last_error,
        }

    def _state(self, moment: Moment, findings: Sequence[Finding]) -> State:
        batches = self._probes.measures.batches
        quiet = not batches or batches[-1].at_s <= moment.monotonic_s - IDLE_S
        return "idle" if quiet and not self._looks.last.what.waiting and not findings else "ok"

    # -- what is wrong -----------------------------------------------------------------------------

    def _refused(self, away_s: float | None, room: Footprint) -> Iterator[Finding]:
        if away_s is None:
            return
        colour = Colour.RED if away_s >= AWAY_S else Colour.ORANGE
        why = _REFUSALS.get(self._probes.measures.last_error or "", "it cannot be written")
        if room.free is not None:
            why += f"; {room.free:,} bytes are free"
        sentence = f"nothing has been written for {away_s:.0f} s and everything waits: {why}"
        yield Finding("connected", colour, sentence, "blueplane status")

    def _failing(self, hour: tuple[int, int]) -> Iterator[Finding]:
        succeeded, failed = hour
        if not failed:
            return
        colour = falling_band(succeeded / (succeeded + failed), *SUCCESS_RATE)
        if colour:
            last = self._probes.measures.last_error
            sentence = (
                f"{failed:,} of {succeeded + failed:,} writes of the last hour failed ({last}); "
                "each counts for an hour, mended or not"
            )
            command = "blueplane dlq list --state all"
            yield Finding("write_success_rate", colour, sentence, command)


def _slow(latency: _Latency, flow: _Flow | None) -> Iterator[Finding]:
    colour = band(latency.judged, *LATENCY_MS)
    if colour:
        sentence = (
            "the database is slow: one batch in twenty of the last 5 minutes took "
            f"{latency.judged:,.0f} ms or more per {PER_EVENTS} events"
        )
        yield Finding("write_latency_p95_ms", colour, sentence, "blueplane top")
    if flow is None or flow.backlog is None:
        return
    colour = falling_band(flow.per_s, *THROUGHPUT)
    if colour:
        sentence = f"only {flow.per_s:,.1f} events a second are written while {flow.backlog:,} wait"
        yield Finding("write_throughput_events_per_sec", colour, sentence, "blueplane top")


def _roomless(room: Footprint) -> Iterator[Finding]:
    if room.wal is not None and room.wal > LARGE_BYTES:
        sentence = (
            f"the -wal of the database is large ({room.wal / _MB:,.1f} MB): another program has it "
            "open to read; end that"
        )
        yield Finding("wal_size_mb", Colour.YELLOW, sentence, "blueplane status")
    free_mb = _megabytes(room.free)
    colour = falling_band(free_mb, *DISK_FREE_MB)
    if colour:
        sentence = f"the disk of the database has {free_mb:,.1f} MB left: make room"
        yield Finding("disk_free_mb", colour, sentence, "df -h")


def _unread(stored: _Stored, away_s: float | None) -> Iterator[Finding]:
    if stored.schema_version is None and away_s is None:
        sentence = "the database cannot be read, while it is written"
        yield Finding("schema_version", Colour.ORANGE, sentence, "blueplane status")


def _alarming(alarms: Sequence[Alarm]) -> Iterator[Finding]:
    for alarm in alarms:
        what, colour = _ALARMS.get(alarm.kind, ("had an incident", Colour.ORANGE))
        times = "" if alarm.times == 1 else f" {alarm.times} times"
        lost = (
            f": {alarm.lost:,} message{'' if alarm.lost == 1 else 's'} lost" if alarm.lost else ""
        )
        sentence = f"in the last day the database {what}{times}{lost}"
        yield Finding(alarm.kind, colour, sentence, "blueplane status")


def _latency(batches: Sequence[BatchTime]) -> _Latency:
    if not batches:
        return _Latency()
    times = sorted(batch.ms for batch in batches)
    judged = sorted(batch.ms * PER_EVENTS / max(PER_EVENTS, batch.rows) for batch in batches)
    p50, p95, p99 = (_percentile(times, percent) for percent in (50, 95, 99))
    return _Latency(p50, p95, p99, _percentile(judged, 95))


def _percentile(ordered: Sequence[float], percent: int) -> float:
    """Return the smallest value that ``percent`` % of the values do not exceed."""
    return ordered[ceil(len(ordered) * percent / 100) - 1]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _megabytes(size: int | None) -> float | None:
    """Return megabytes (of 1,048,576 bytes)."""
    return None if size is None else round(size / _MB, 2)


def _time(ms: int | None) -> str | None:
    return None if ms is None else iso_utc(ms)
