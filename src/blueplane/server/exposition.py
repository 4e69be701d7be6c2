"""Every figure of health as Prometheus reads it: its text format, version 0.0.4.

Owns how figures become lines.
Promises HELP and TYPE once for each metric, and nothing for a figure that is unknown.
Leaves which metrics there are to ``families.py``.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from blueplane.clock import parse_iso_ms
from blueplane.health.capture import EDITORS
from blueplane.health.check import Colour, Snapshot
from blueplane.health.histograms import Histogram
from blueplane.server.families import FAMILIES, OF_HOOKS, OF_WORKERS, Family

KIND: Final = "text/plain; version=0.0.4; charset=utf-8"

_MB: Final = 1024 * 1024
#: End of the names of figures that are a platform's hooks.
_HOOKS: Final = "_hooks"
#: The platforms whose names are not the rest of that.
_PLATFORMS: Final = {shown: platform for platform, shown in EDITORS.items()}
_COLOURS: Final = {colour.word: int(colour) for colour in Colour}

Labels = Mapping[str, str]
NO_LABELS: Final[Labels] = {}


def render(snapshot: Snapshot, histograms: Mapping[str, tuple[str, Histogram]]) -> bytes:
    """Return everything as text; ``histograms`` maps names to their help and what they hold."""
    body = snapshot.body()
    blocks = [
        _block(each.name, each.kind, each.help, _samples(each, body, NO_LABELS))
        for each in FAMILIES
    ]
    blocks.append(_component_colours(body, snapshot.reports))
    blocks += _per(_platforms(body), "platform", OF_HOOKS)
    blocks.append(_active_hooks(body))
    blocks += _per(_workers(body), "component", OF_WORKERS)
    blocks += [
        _block(name, "histogram", text, _buckets(name, found))
        for name, (text, found) in histograms.items()
    ]
    return "".join(blocks).encode()


def _component_colours(body: Mapping[str, Any], components: Iterable[str]) -> str:
    name = "blueplane_component_status"
    lines = [
        line
        for component in components
        for line in sample(
            name, {"component": component}, _number(body[component]["health_status"])
        )
    ]
    return _block(name, "gauge", "Colour of a component, as blueplane_health_status.", lines)


def _platforms(body: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {
        _PLATFORMS.get(name, name.removesuffix(_HOOKS)): figures
        for name, figures in body.get("capture", {}).items()
        if name.endswith(_HOOKS) and isinstance(figures, Mapping)
    }


def _workers(body: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    found = body.get("workers", {})
    return {name: each for name, each in found.items() if isinstance(each, Mapping)}


def _per(
    members: Mapping[str, Mapping[str, Any]], label: str, families: Iterable[Family]
) -> Iterator[str]:
    """Yield a block for each metric that every member has: a platform, or a worker."""
    for each in families:
        lines = [
            line
            for name, figures in members.items()
            for line in _samples(each, figures, {label: name})
        ]
        yield _block(each.name, each.kind, each.help, lines)


def _active_hooks(body: Mapping[str, Any]) -> str:
    name = "blueplane_hook_active"
    lines = [
        line
        for platform, figures in _platforms(body).items()
        for hook, active in (figures.get("hooks_active") or {}).items()
        for line in sample(name, {"platform": platform, "hook": hook}, _number(active))
    ]
    return _block(name, "gauge", "Whether a hook was heard of while its editor was active.", lines)


def _buckets(name: str, histogram: Histogram) -> Iterator[str]:
    for bound_s, count in histogram.buckets.items():
        yield from sample(f"{name}_bucket", {"le": repr(bound_s)}, count)
    yield from sample(f"{name}_bucket", {"le": "+Inf"}, histogram.count)
    yield from sample(f"{name}_sum", {}, histogram.sum_s)
    yield from sample(f"{name}_count", {}, histogram.count)


# --- the format -----------------------------------------------------------------------------------


def _samples(family: Family, body: Mapping[str, Any], labels: Labels) -> Iterator[str]:
    """Yield the lines of a metric out of figures."""
    plain = isinstance(family.figures, str)
    figures = {"": family.figures} if isinstance(family.figures, str) else family.figures
    for word, figure in figures.items():
        own = labels if plain else {**labels, family.label: word}
        number = _number(_find(body, figure))
        yield from sample(family.name, own, _in_base_units(family.name, figure, number))


def _in_base_units(name: str, figure: str, number: float | None) -> float | None:
    """Return a figure in seconds or bytes, if that is what the metric is in."""
    if number is None:
        return None
    if name.endswith("_seconds") and not figure.endswith("_s"):
        return number / 1000
    return number * _MB if figure.endswith("_mb") else number


def _block(name: str, kind: str, text: str, lines: Iterable[str]) -> str:
    """Return a metric with its head; nothing when it has no sample."""
    found = "".join(lines)
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n{found}" if found else ""


def sample(name: str, labels: Labels, value: float | None) -> Iterator[str]:
    """Yield the line of a value: none when it is unknown."""
    if value is not None:
        inner = ",".join(f'{label}="{_escape(text)}"' for label, text in labels.items())
        yield f"{name}{{{inner}}} {value!r}\n" if inner else f"{name} {value!r}\n"


def _number(value: object) -> int | float | None:
    """Return a figure as a number: yes as 1, a colour by its weight, a time in milliseconds."""
    if isinstance(value, str):
        return _COLOURS[value] if value in _COLOURS else _milliseconds(value)
    return value * 1 if isinstance(value, int | float) else None


def _milliseconds(text: str) -> int | None:
    try:
        return parse_iso_ms(text)
    except ValueError:
        return None


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _find(body: Mapping[str, Any], figure: str) -> object:
    """Return a figure by its dotted name, None when it is not there."""
    found: object = body
    for name in figure.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(name)
    return found
