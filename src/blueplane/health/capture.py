"""The monitor of capture: whether hooks run, and what becomes of their events.

Owns the figures of ``capture``, when an editor counts as active, and what is too little of it.
Promises counts from the store alone; judges a rate only while an editor is at work, and never what
a pause left out.
Leaves counting executions to ``pipeline/custody.py``, which hooks are installed to ``capture/``,
and monitors of what editors store to ``stores.py``.

The success rate is of the last hour, at most since the start of the server. Events a minute are
those of the five minutes up to the last sign of an editor: that it rests is no lack of events.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from math import inf, nextafter
from typing import Any, Final, NamedTuple, TypeAlias

from blueplane.clock import iso_utc
from blueplane.health import stores
from blueplane.health.check import Colour, Finding, Moment, Report, State, falling_band
from blueplane.health.probes import MonitorState, Probes
from blueplane.health.stores import ACTIVE_MS
from blueplane.health.window import Window
from blueplane.health.witnesses import WitnessMonitor
from blueplane.store.queries import SERVER_READ_S, HookCount, reading

#: The window of the success rate, and seconds between two samples for it.
WINDOW_S: Final = 3600.0
SAMPLE_S: Final = 10.0
#: Below what yellow, orange and red begin. Green is *above* 99 %, and above 10 events a minute.
RATE_BANDS: Final = (nextafter(0.99, inf), 0.95, 0.90)
PACE_BANDS: Final = (nextafter(10.0, inf), 5.0, 1.0)
#: Platforms that are always shown, with the names under which they are.
EDITORS: Final = {"cursor": "cursor_hooks", "claude_code": "claude_hooks"}
#: Our own: its only hook is the canary.
OURS: Final = "blueplane"
#: Hooks and platforms that are shown, those with the last executions; counts are of all.
MAX_HOOKS: Final = 32
MAX_PLATFORMS: Final = 8
#: What may be shown as the name of a hook or platform.
NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


class Executions(NamedTuple):
    """Executions of hooks."""

    succeeded: int = 0
    failed: int = 0

    @property
    def total(self) -> int:
        """Those that succeeded and those that did not."""
        return self.succeeded + self.failed

    @property
    def rate(self) -> float | None:
        """The share that succeeded; None when there were none."""
        return self.succeeded / self.total if self.total else None

    def since(self, before: "Executions") -> "Executions":
        """Return what came after ``before``."""
        return Executions(self.succeeded - before.succeeded, self.failed - before.failed)


_NONE: Final = Executions()


@dataclass(frozen=True, slots=True)
class _Hooks:
    """The hooks of one platform, as they are stored."""

    counts: Executions
    last_ms: Mapping[str, int]

    @property
    def newest_ms(self) -> int:
        return max(self.last_ms.values(), default=0)


_NO_HOOKS: Final = _Hooks(_NONE, {})


@dataclass(slots=True)
class _Stretch:
    """The time for which an editor is active without a break, from ``since_ms`` to ``last_ms``."""

    since_ms: int | None = None
    last_ms: int = 0

    def note(self, last_ms: int, now_ms: int, resumed_ms: int) -> None:
        """Note when the last sign of the editor was; one from before a pause says nothing."""
        if not 0 <= now_ms - last_ms <= ACTIVE_MS or last_ms <= resumed_ms:
            self.since_ms = None
        elif self.since_ms is None or last_ms - self.last_ms > ACTIVE_MS:
            self.since_ms = last_ms
        self.last_ms = last_ms

    @property
    def active(self) -> bool:
        return self.since_ms is not None

    @property
    def length_ms(self) -> int:
        return 0 if self.since_ms is None else self.last_ms - self.since_ms

    def silent(self, last_ms: int, now_ms: int) -> bool:
        """Whether a hook with this last execution is silent while its editor is active."""
        return self.since_ms is not None and now_ms - max(last_ms, self.since_ms) > ACTIVE_MS


#: The executions by platform; under "" what is of no known one.
_Counts: TypeAlias = Mapping[str, Executions]


class CaptureMonitor:
    """Looks at the hooks of every platform."""

    component = "capture"

    def __init__(self, probes: Probes) -> None:
        self._probes = probes
        self._witnesses = WitnessMonitor(probes)
        self._stretches: defaultdict[str, _Stretch] = defaultdict(_Stretch)
        #: Fewer executions than before are those of another database.
        self._past = Window(WINDOW_S, _total, SAMPLE_S)
        self._seen = -1
        #: When capture was last seen to be paused.
        self._paused_ms = 0
        #: Events a minute, and whether that is of five whole minutes of work.
        self._pace, self._pace_counts = 0.0, False

    def look(self, moment: Moment) -> Report:
        """Return the figures of capture; raises StoreError."""
        with reading(self._probes.database, SERVER_READ_S) as reader:
            found = _by_platform(reader.hooks())
        coverage, silent = self._witnesses.look(moment)
        installed = self._probes.installed_hooks()
        now = {name: each.counts for name, each in found.items()}
        paused_until_ms = self._probes.paused_until_ms()
        if paused_until_ms is not None or moment.wall_ms < self._paused_ms:
            self._paused_ms = moment.wall_ms
        self._follow(found, now, moment)
        known = {name for name, hooks in installed.items() if hooks} | (found.keys() - {""})
        recent = _attribute(self._recent(now, moment.monotonic_s), known)
        ever = _attribute(now, known)
        running = self._probes.monitors()
        pace = self._pace + sum(each.events_per_min for each in running.values())
        figures = {
            **self._figures(found, installed, ever, recent, moment.wall_ms),
            **stores.figures(running, moment.wall_ms),
            "capture_rate_events_per_min": pace,
            "coverage": coverage,
        }
        findings = [
            *_bad_rates(recent), *self._bad_pace(pace), *silent,
            *stores.find(running, installed, found.keys()),
            *_pause(paused_until_ms, moment),
        ]  # fmt: skip
        state = self._state(known, running, moment.wall_ms)
        return Report(self.component, figures, findings, state)

    # -- what happens ------------------------------------------------------------------------------

    def _follow(self, found: Mapping[str, _Hooks], now: _Counts, moment: Moment) -> None:
        """Note what ran, which editors are active, and how much comes of it."""
        self._past.add(moment.monotonic_s, now)
        for platform in {*found, *self._stretches}:
            last_ms = found.get(platform, _NO_HOOKS).newest_ms
            self._stretches[platform].note(last_ms, moment.wall_ms, self._paused_ms)
        self._take_pace(now, moment.monotonic_s)

    def _take_pace(self, now: _Counts, now_s: float) -> None:
        """Count events a minute anew whenever there is a sign of an editor."""
        length_ms = max((each.length_ms for each in self._stretches.values()), default=0)
        if not any(each.active for each in self._stretches.values()):
            self._pace, self._pace_counts = 0.0, False
        elif _total(now) != self._seen:
            before = self._past.before(now_s - ACTIVE_MS / 1000)
            seconds = max(60.0, min(length_ms / 1000, now_s - before.at_s))
            self._pace = (_total(now) - _total(before.what)) * 60 / seconds
            self._pace_counts = length_ms >= ACTIVE_MS
        self._seen = _total(now)

    def _recent(self, now: _Counts, now_s: float) -> dict[str, Executions]:
        """Return the executions of the last hour by platform."""
        before = self._past.before(now_s - WINDOW_S).what
        return {name: each.since(before.get(name, _NONE)) for name, each in now.items()}

    def _state(
        self, known: AbstractSet[str], running: Mapping[str, MonitorState], now_ms: int
    ) -> State:
        busy = any(stores.is_busy(each, now_ms) for each in running.values())
        if busy or any(each.active for each in self._stretches.values()):
            return "ok"
        return "idle" if known or running else "not installed"

    # -- figures -----------------------------------------------------------------------------------

    def _figures(
        self,
        found: Mapping[str, _Hooks],
        installed: Mapping[str, frozenset[str]],
        ever: Mapping[str, Executions],
        recent: Mapping[str, Executions],
        now_ms: int,
    ) -> dict[str, Any]:
        others = [name for name in found if name and name not in EDITORS][:MAX_PLATFORMS]
        platforms = {
            EDITORS.get(name, f"{name}_hooks"): {
                **_hook_figures(found.get(name, _NO_HOOKS), installed.get(name)),
                **_counts(ever.get(name, _NONE), recent.get(name, _NONE)),
                "hooks_active": self._hooks_active(name, found, installed, now_ms),
            }
            for name in (*EDITORS, *others)
        }
        return {**platforms, "unattributed_failure_count": ever.get("", _NONE).failed}

    def _hooks_active(
        self,
        platform: str,
        found: Mapping[str, _Hooks],
        installed: Mapping[str, frozenset[str]],
        now_ms: int,
    ) -> dict[str, bool]:
        last_ms = dict(found.get(platform, _NO_HOOKS).last_ms)
        for hook in sorted(installed.get(platform, ())):
            last_ms.setdefault(hook, 0)
        stretch = self._stretches[platform]
        shown = [name for name in last_ms if NAME.match(name)][:MAX_HOOKS]
        return {name: not stretch.silent(last_ms[name], now_ms) for name in shown}

    # -- judgement ---------------------------------------------------------------------------------

    def _bad_pace(self, pace: float) -> Iterator[Finding]:
        if not self._pace_counts:
            return
        colour = falling_band(pace, *PACE_BANDS)
        if colour is not Colour.GREEN:
            yield Finding(
                "capture_rate_events_per_min",
                colour,
                f"while an editor was at work for five minutes, {pace:.1f} events a minute"
                " came: either it did little, or hooks of ours do not run",
                "blueplane status",
            )


def _total(counts: _Counts) -> int:
    return sum(each.total for each in counts.values())


def _by_platform(rows: Sequence[HookCount]) -> dict[str, _Hooks]:
    """Return the hooks of each platform but our own, those of the last execution first."""
    platforms: dict[str, list[HookCount]] = {}
    for row in rows:
        if row.platform != OURS and (not row.platform or NAME.match(row.platform)):
            platforms.setdefault(row.platform, []).append(row)
    return {name: _sum(hooks) for name, hooks in platforms.items()}


def _sum(hooks: Sequence[HookCount]) -> _Hooks:
    counts = Executions(sum(hook.succeeded for hook in hooks), sum(hook.failed for hook in hooks))
    return _Hooks(counts, {hook.hook_type: hook.last_ms for hook in hooks if hook.hook_type})


def _attribute(counts: Mapping[str, Executions], known: AbstractSet[str]) -> dict[str, Executions]:
    """Return counts by platform; what is of no known one is of the only one there is."""
    attributed = dict(counts)
    if len(known) == 1:
        (only,) = known
        own, unknown = attributed.get(only, _NONE), attributed.pop("", _NONE)
        attributed[only] = Executions(own.succeeded, own.failed + unknown.failed)
    return attributed


def _hook_figures(hooks: _Hooks, installed: frozenset[str] | None) -> dict[str, Any]:
    """Return what is known of hooks without their counts; of a third party not where they are."""
    return {
        "installed": None if installed is None else bool(installed),
        "last_execution_timestamp": iso_utc(hooks.newest_ms) if hooks.newest_ms else None,
        "overhead_ms_p50": None,
        "overhead_ms_p99": None,
    }


def _counts(counts: Executions, recent: Executions) -> dict[str, Any]:
    return {
        "total_executions": counts.total,
        "success_count": counts.succeeded,
        "failure_count": counts.failed,
        "success_rate": recent.rate,
    }


def _bad_rates(recent: Mapping[str, Executions]) -> Iterator[Finding]:
    """Judge each platform, and all of them together for what is of no known one."""
    judged = {name: each for name, each in recent.items() if name}
    if recent.get("", _NONE).failed:
        judged[""] = Executions(*map(sum, zip(*recent.values(), strict=True)))
    for name, counts in judged.items():
        colour = falling_band(counts.rate, *RATE_BANDS)
        if colour is not Colour.GREEN:
            shown = EDITORS.get(name, f"{name}_hooks")
            yield Finding(
                f"{shown}.success_rate" if name else "unattributed_failure_count",
                colour,
                f"{counts.failed:,} of {counts.total:,} executions of hooks in the last hour"
                " brought nothing: their events were quarantined, or the spool was full",
                "blueplane status",
            )


def _pause(until_ms: int | None, moment: Moment) -> Iterator[Finding]:
    """Say that capture is paused, which is nothing wrong."""
    if until_ms is None:
        return
    minutes = max(1, -(-(until_ms - moment.wall_ms) // 60_000))
    end = f"for {minutes} more min" if until_ms else "until it is resumed"
    yield Finding(
        "paused", Colour.GREEN, f"capture is paused {end}: hooks take nothing", "blueplane resume"
    )
