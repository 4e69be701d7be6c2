"""Two witnesses: hooks, and what an editor stores itself, see the same turns.

Owns how much of what one saw the other saw, when one of them is silent, and the likely cause.
Promises to judge only what both could have seen, and neither id nor path in a sentence.
Leaves who saw what to the worker ``witnesses``, the rest of capture to ``capture.py``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from blueplane.clock import MS_PER_DAY, iso_utc
from blueplane.health.check import Colour, Finding, Moment
from blueplane.health.probes import MonitorState, Probes
from blueplane.health.stores import STORES
from blueplane.store.queries import SERVER_READ_S, Reader, reading
from blueplane.store.reports import (
    Coverage,
    Silence,
    coverage,
    first_hooks,
    refused_since,
    silences,
)

#: Days of which the coverage is shown, and milliseconds of which silence is judged.
DAYS: Final = 7
JUDGED_MS: Final = MS_PER_DAY
#: Milliseconds that the slower witness has: transcripts are written when the editor likes.
GRACE_MS: Final = 120_000
#: Turns and tool calls in a row that one witness missed before it counts as silent.
MISSED: Final = 3
#: Seconds between two looks: days do not change that fast.
EVERY_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is known of both witnesses."""

    days: Sequence[Mapping[str, Any]] = ()
    findings: Sequence[Finding] = ()


@dataclass(frozen=True, slots=True)
class _Why:
    """The likely cause of a silence, and a command that helps."""

    cause: str
    command: str = "blueplane doctor"


class WitnessMonitor:
    """Looks at what both witnesses saw, now and then; a part of the monitor of capture."""

    def __init__(self, probes: Probes) -> None:
        self._probes = probes
        self._due_s = float("-inf")
        self._seen = _Seen()

    def look(self, moment: Moment) -> tuple[Sequence[Mapping[str, Any]], Sequence[Finding]]:
        """Return the coverage, a record for each platform, day and kind, and what is wrong.

        Raises StoreError.
        """
        if moment.monotonic_s >= self._due_s:
            self._due_s = moment.monotonic_s + EVERY_S
            with reading(self._probes.database, SERVER_READ_S) as reader:
                first = first_hooks(reader)
                days = list(_days(reader, first, moment.wall_ms))
                self._seen = _Seen(days, list(self._silent(reader, first, moment.wall_ms)))
        return self._seen.days, self._seen.findings

    def _silent(self, reader: Reader, first: Mapping[str, int], now_ms: int) -> Iterator[Finding]:
        span = now_ms - JUDGED_MS, now_ms - GRACE_MS
        for each in silences(reader, "hooks", *span):
            first_ms = first.get(each.platform)
            if each.count >= MISSED and first_ms is not None and each.platform in STORES:
                why = self._why_hooks(reader, each)
                yield _finding(each, "hooks", STORES[each.platform][1], why)
        monitors = self._probes.monitors()
        for each in silences(reader, "stored", *span):
            monitor, stored = STORES.get(each.platform, ("", ""))
            if each.count >= MISSED and monitor in monitors:
                yield _finding(each, stored, "hooks", _why_stored(monitors[monitor]))

    def _why_hooks(self, reader: Reader, silence: Silence) -> _Why:
        """Return the likely cause of hooks that are silent."""
        if self._probes.paused_until_ms() is not None:
            return _Why("capture is paused", "blueplane resume")
        heard_ms = silence.heard_ms or silence.first_ms
        changed_ms = self._probes.settings_changed_ms().get(silence.platform)
        file = "settings.json" if silence.platform == "claude_code" else "hooks.json"
        if changed_ms is None:
            return _Why(f"{file} is gone", "blueplane install")
        if not self._probes.installed_hooks().get(silence.platform):
            gone = f"our hooks are not in {file}, which was changed at {_at(changed_ms)}"
            return _Why(gone, "blueplane install")
        if heard_ms <= changed_ms <= silence.first_ms + GRACE_MS:
            return _Why(f"{file} was changed at {_at(changed_ms)}")
        if refused_since(reader, heard_ms):
            refused = "the hooks refused events, for the spool was full or capture paused"
            return _Why(refused, "blueplane status")
        return _Why(
            "the editor holds hooks back: a folder that is not trusted, or hooks switched off"
        )


def _why_stored(state: MonitorState) -> _Why:
    """Return the likely cause of a store in which nothing new is seen."""
    if not state.active:
        return _Why("their monitor does not run", "blueplane logs")
    if state.backlog_bytes:
        return _Why(f"{state.backlog_bytes:,} bytes of them are not read yet", "blueplane status")
    if state.errors_count:
        return _Why("some of them cannot be read", "blueplane status")
    return _Why("the editor writes none, or not where we look")


def _days(reader: Reader, first: Mapping[str, int], now_ms: int) -> Iterator[dict[str, Any]]:
    """Yield the days since the first hook: before it there was one witness."""
    window_ms = (now_ms // MS_PER_DAY - DAYS + 1) * MS_PER_DAY
    for platform, first_ms in first.items():
        since_ms = max(window_ms, first_ms)
        for each in coverage(reader, platform, since_ms, now_ms - GRACE_MS):
            yield _day(platform, each)


def _day(platform: str, found: Coverage) -> dict[str, Any]:
    """Return the figures of a day; a share is of everything that either witness saw."""
    whole = found.both + found.hooks_only + found.stored_only
    return {
        "day": iso_utc(found.day_ms)[:10],
        "platform": platform,
        "kind": found.kind,
        "both": found.both,
        "hooks_only": found.hooks_only,
        "stored_only": found.stored_only,
        "hooks_rate": (found.both + found.hooks_only) / whole,
        "stored_rate": (found.both + found.stored_only) / whole,
    }


def _finding(silence: Silence, witness: str, other: str, why: _Why) -> Finding:
    since = "" if silence.heard_ms is None else f" since {_at(silence.heard_ms)}"
    sentence = (
        f"{silence.platform}: {witness} silent{since}: {why.cause};"
        f" {silence.count:,} turns and tool calls were seen by {other} only"
    )
    return Finding(f"witnesses.{silence.platform}", Colour.ORANGE, sentence, why.command)


def _at(ms: int) -> str:
    return f"{iso_utc(ms)[:16].replace('T', ' ')} UTC"
